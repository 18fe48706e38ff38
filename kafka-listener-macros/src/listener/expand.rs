//! The generated code, as a value: no decision is taken here.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ItemFn;
use syn::ext::IdentExt;

use super::args::Args;
use super::probe;
use super::signature::Signature;
use super::value::{Partitions, Value};

/// Where generated code finds its names.
pub fn root(args: &Args) -> TokenStream {
    match &args.krate {
        Some(path) => quote!(#path::private),
        None => quote!(::kafka_listener::private),
    }
}

/// The function as it is, a type of its name that carries the endpoint, its registration, and the checks.
pub fn expand(args: &Args, signature: &Signature, function: &ItemFn) -> TokenStream {
    let root = root(args);
    let name = &function.sig.ident;
    let cfgs: Vec<_> = function.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect();
    let marker = marker(function, &cfgs);
    let endpoint = endpoint(&root, args, signature, function);
    let probes = probe::probes(&root, name, args, signature);
    quote! {
        #function
        #marker
        #(#cfgs)*
        impl #name {
            /// The listener: what the attribute says, and how to call the function.
            pub const ENDPOINT: #root::Endpoint = #endpoint;
        }
        #(#cfgs)*
        const _: () = {
            #root::register!(#name::ENDPOINT);
            #probes
        };
    }
}

/// `struct name {}`: a name among the types only, so the function keeps its own.
pub fn marker(function: &ItemFn, cfgs: &[&syn::Attribute]) -> TokenStream {
    let (vis, name) = (&function.vis, &function.sig.ident);
    let doc = format!("Names the listener `{name}`, for `listeners![{name}]`.");
    quote! {
        #(#cfgs)*
        #[doc = #doc]
        #[allow(non_camel_case_types, dead_code)]
        #vis struct #name {}
    }
}

fn endpoint(root: &TokenStream, args: &Args, signature: &Signature, function: &ItemFn) -> TokenStream {
    let spec = spec(root, args, &function.sig.ident);
    let invoke = invoke(root, signature, function);
    let params = signature.types.iter().map(|ty| quote!(<#ty as #root::FromDelivery<'_>>::PARAM));
    quote! {
        #root::Endpoint {
            spec: #spec,
            params: &[#(#params),*],
            invoke: #invoke,
        }
    }
}

/// A closure, not a function: it is checked together with the parameters' list, so that a type that is no extractor is told once.
fn invoke(root: &TokenStream, signature: &Signature, function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    let locals: Vec<Ident> =
        (0..signature.types.len()).map(|index| format_ident!("__argument_{index}", span = Span::mixed_site())).collect();
    // Names of the user's own must not be shadowed.
    let delivery = Ident::new("__delivery", Span::mixed_site());
    let extracts = signature.types.iter().zip(&locals).map(|(ty, local)| {
        // A type that outlives the delivery is told at the type.
        let place = probe::ends(ty).0;
        let mut borrowed = delivery.clone();
        borrowed.set_span(Span::mixed_site().located_at(place));
        let borrowed = quote_spanned!(place=> &#borrowed);
        quote! {
            let #local = match <#ty as #root::FromDelivery<'_>>::from_delivery(#borrowed) {
                ::core::result::Result::Ok(__argument) => __argument,
                ::core::result::Result::Err(__rejection) => return ::core::result::Result::Err(__rejection.into()),
            };
        }
    });
    // A value that no listener returns is told at the return type.
    let ends = probe::return_place(function);
    let into_result = probe::spread(quote!(#root::ListenerReturn::into_result), ends);
    let returned = Ident::new("__returned", Span::mixed_site().located_at(ends.0));
    let body = quote! {
        #(#extracts)*
        let #returned = #name(#(#locals),*).await;
        #into_result(#returned)
    };
    // A future that is not Send is told at the function's name.
    let place = (name.span(), name.span());
    let future = probe::spread(quote!(async move { #body }), place);
    let boxed = probe::spread(quote!(#root::boxed(#future)), place);
    quote!(|#delivery: #root::Delivery| -> #root::BoxFuture<'static, #root::ListenerResult> { #boxed })
}

fn spec(root: &TokenStream, args: &Args, name: &Ident) -> TokenStream {
    let function = name.unraw().to_string();
    let topics: Vec<TokenStream> = args
        .topic
        .iter()
        .map(|topic| text(&topic.value))
        .chain(args.topics.iter().flat_map(|topics| &topics.value).map(text))
        .collect();
    let partitions = args.partitions.iter().flat_map(|partitions| &partitions.value).map(|entry| partition(root, entry));
    let properties = args.properties.iter().map(text);
    let [
        id,
        topic_pattern,
        group_id,
        client_id_prefix,
        container_factory,
        concurrency,
        batch,
        ack_mode,
        ack_count,
        ack_time,
        auto_startup,
    ] = [
        args.id.as_ref(),
        args.topic_pattern.as_ref().map(|keyed| &keyed.value),
        args.group_id.as_ref(),
        args.client_id_prefix.as_ref(),
        args.container_factory.as_ref(),
        args.concurrency.as_ref(),
        args.batch.as_ref(),
        args.ack_mode.as_ref(),
        args.ack_count.as_ref().map(|keyed| &keyed.value),
        args.ack_time.as_ref().map(|keyed| &keyed.value),
        args.auto_startup.as_ref(),
    ]
    .map(option);
    quote! {
        #root::ListenerSpec {
            function: #function,
            module: ::core::module_path!(),
            package: ::core::env!("CARGO_PKG_NAME"),
            file: ::core::file!(),
            line: ::core::line!(),
            id: #id,
            topics: &[#(#topics),*],
            topic_pattern: #topic_pattern,
            partitions: &[#(#partitions),*],
            group_id: #group_id,
            client_id_prefix: #client_id_prefix,
            container_factory: #container_factory,
            concurrency: #concurrency,
            batch: #batch,
            ack_mode: #ack_mode,
            ack_count: #ack_count,
            ack_time: #ack_time,
            auto_startup: #auto_startup,
            properties: &[#(#properties),*],
        }
    }
}

fn text(value: &Value) -> TokenStream {
    let text = &value.text;
    quote!(#text)
}

fn option(value: Option<&Value>) -> TokenStream {
    match value.map(text) {
        Some(text) => quote!(::core::option::Option::Some(#text)),
        None => quote!(::core::option::Option::None),
    }
}

fn partition(root: &TokenStream, entry: &Partitions) -> TokenStream {
    let (topic, partitions, offset) = (text(&entry.topic), text(&entry.partitions), option(entry.offset.as_ref()));
    quote!(#root::PartitionSpec { topic: #topic, partitions: #partitions, offset: #offset })
}
