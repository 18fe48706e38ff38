//! Rules about the parameters. The attribute sees names, not types, so the generated code asks the types: each rule is a
//! constant whose evaluation fails, at the argument or the value that is wrong.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};

use super::args::Args;
use super::signature::Signature;

/// One constant for each argument, and one for each value that must agree with the arguments.
pub fn probes(root: &TokenStream, name: &syn::Ident, args: &Args, signature: &Signature) -> TokenStream {
    let arguments = signature.types.iter().enumerate().map(|(index, ty)| {
        let call = refuse(root, ty);
        quote!(const _: () = if let ::core::option::Option::Some(rule) = #root::check::argument(&#name::ENDPOINT, #index) { #call };)
    });
    let values = [(&args.ack_mode, quote!(ack_mode)), (&args.batch, quote!(batch))].into_iter().filter_map(|(value, rule)| {
        let call = refuse(root, &value.as_ref()?.place);
        Some(quote!(const _: () = if let ::core::option::Option::Some(rule) = #root::check::#rule(&#name::ENDPOINT) { #call };))
    });
    quote!(#(#arguments)* #(#values)*)
}

/// A call that fails the evaluation, with a span that covers all of `place`.
fn refuse(root: &TokenStream, place: &impl ToTokens) -> TokenStream {
    let (first, last) = ends(place);
    let path = respan(quote!(#root::check::refuse), first);
    let arguments = respan(quote!((rule)), last);
    quote!(#path #arguments)
}

/// The first and the last token's place: on stable Rust, spans cannot be joined, but an expression reaches from its first
/// token to its last.
pub fn ends(place: &impl ToTokens) -> (Span, Span) {
    let mut tokens = place.to_token_stream().into_iter();
    let first = tokens.next().map_or_else(Span::call_site, |token| token.span());
    (first, tokens.last().map_or(first, |token| token.span()))
}

/// The same tokens at another place. `rule` must keep its own to be found again.
fn respan(tokens: TokenStream, place: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Group(group) => {
                let mut moved = Group::new(group.delimiter(), group.stream());
                moved.set_span(place);
                TokenTree::Group(moved)
            }
            mut token => {
                token.set_span(place);
                token
            }
        })
        .collect()
}

/// The function's return value becomes a result; if it cannot, the error is at the return type.
pub fn into_result(root: &TokenStream, function: &syn::ItemFn) -> TokenStream {
    let place = match &function.sig.output {
        syn::ReturnType::Default => function.sig.ident.span(),
        syn::ReturnType::Type(_, ty) => ends(ty).0,
    };
    quote_spanned!(place=> #root::ListenerReturn::into_result)
}
