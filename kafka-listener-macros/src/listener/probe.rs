//! Rules about the parameters. The attribute sees names, not types, so the generated code asks the types: each rule is a
//! constant whose evaluation fails, at the argument or the value that is wrong.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};

use super::args::Args;
use super::signature::Signature;

/// One constant for each argument, and one for each value that must agree with the arguments.
pub fn probes(root: &TokenStream, name: &syn::Ident, args: &Args, signature: &Signature) -> TokenStream {
    let arguments = signature.types.iter().enumerate().map(|(index, ty)| {
        let call = refuse(root, ty);
        quote!(const _: () = if let ::core::option::Option::Some(__rule) = #root::check::argument(&#name::ENDPOINT, #index) { #call };)
    });
    let values = [(&args.ack_mode, quote!(ack_mode)), (&args.batch, quote!(batch))].into_iter().filter_map(|(value, rule)| {
        let call = refuse(root, &value.as_ref()?.place);
        Some(quote!(const _: () = if let ::core::option::Option::Some(__rule) = #root::check::#rule(&#name::ENDPOINT) { #call };))
    });
    quote!(#(#arguments)* #(#values)*)
}

/// A call that fails the evaluation, with a span that covers all of `place`.
fn refuse(root: &TokenStream, place: &impl ToTokens) -> TokenStream {
    spread(quote!(#root::check::refuse(__rule)), ends(place))
}

/// The first and the last token's place: on stable Rust, spans cannot be joined, but an expression reaches from its first
/// token to its last.
pub fn ends(place: &impl ToTokens) -> (Span, Span) {
    let mut tokens = place.to_token_stream().into_iter();
    let first = tokens.next().map_or_else(Span::call_site, |token| token.span());
    (first, tokens.last().map_or(first, |token| token.span()))
}

/// The same tokens, from one place to another; what stands inside brackets keeps its own.
pub fn spread(tokens: TokenStream, (first, last): (Span, Span)) -> TokenStream {
    let place = |index: usize| if index == 0 { first } else { last };
    tokens
        .into_iter()
        .enumerate()
        .map(|(index, token)| match token {
            TokenTree::Group(group) => {
                let mut moved = Group::new(group.delimiter(), group.stream());
                moved.set_span(place(index));
                TokenTree::Group(moved)
            }
            mut token => {
                token.set_span(place(index));
                token
            }
        })
        .collect()
}

/// Where the return type stands; the function's name if there is none.
pub fn return_place(function: &syn::ItemFn) -> (Span, Span) {
    match &function.sig.output {
        syn::ReturnType::Default => (function.sig.ident.span(), function.sig.ident.span()),
        syn::ReturnType::Type(_, ty) => ends(ty),
    }
}
