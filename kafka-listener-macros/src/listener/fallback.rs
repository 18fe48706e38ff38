//! What is left when something is wrong: the messages, and enough code that nobody else fails to find the listener.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{FnArg, ItemFn};

use super::args::Args;
use super::expand;

/// The item is no function.
pub fn other_item(item: &TokenStream, error: syn::Error) -> TokenStream {
    let kept = syn::parse2::<syn::Item>(item.clone()).ok();
    let error = match &kept {
        Some(other) => {
            let text = "only a function can be a listener: put the attribute on an `async fn`, or write `impl MessageListener<K, V> for ..`";
            syn::Error::new_spanned(keyword(other), text)
        }
        None => error,
    };
    let error = error.to_compile_error();
    quote!(#kept #error)
}

/// The item's first word, so that the message does not underline all of it.
fn keyword(item: &syn::Item) -> TokenStream {
    match item {
        syn::Item::Struct(item) => {
            let ident = &item.ident;
            quote!(#ident)
        }
        syn::Item::Enum(item) => {
            let ident = &item.ident;
            quote!(#ident)
        }
        syn::Item::Impl(item) => {
            let token = &item.impl_token;
            quote!(#token)
        }
        other => quote!(#other),
    }
}

/// The function as it is, the type of its name, and an endpoint that is never registered.
pub fn stub(args: &Args, function: &ItemFn, error: syn::Error) -> TokenStream {
    let error = error.to_compile_error();
    let method = function.sig.inputs.iter().any(|input| matches!(input, FnArg::Receiver(_)));
    if method {
        return quote! {
            #error
            #[allow(dead_code)]
            #function
        };
    }
    let root = expand::root(args);
    let name = &function.sig.ident;
    let cfgs: Vec<_> = function.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect();
    let marker = expand::marker(function, &cfgs);
    quote! {
        #error
        #[allow(dead_code)]
        #function
        #marker
        #(#cfgs)*
        #[allow(dead_code)]
        impl #name {
            /// Nothing: the attribute is wrong.
            pub const ENDPOINT: #root::Endpoint = #root::check::NOTHING;
        }
    }
}
