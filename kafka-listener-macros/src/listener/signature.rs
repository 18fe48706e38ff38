//! The function's signature: what a listener may look like.

use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{FnArg, GenericParam, ItemFn, Lifetime, Type};

use super::Problems;

/// What the expansion needs to know of the function.
pub struct Signature {
    /// The parameters' types, in order, with lifetimes of the function's own left to inference.
    pub types: Vec<Type>,
}

impl Signature {
    /// Reads the function. What cannot be a listener is added to the problems.
    pub fn read(function: &ItemFn, problems: &mut Problems) -> Self {
        let sig = &function.sig;
        if sig.asyncness.is_none() {
            let text = format!("a listener is an `async fn`: write `async fn {}(..)`", sig.ident);
            problems.add(syn::Error::new(sig.fn_token.span(), text));
        }
        if let Some(token) = &sig.constness {
            problems.add(syn::Error::new(token.span(), "a listener cannot be `const`: write `async fn`"));
        }
        if let Some(abi) = &sig.abi {
            problems.add(syn::Error::new_spanned(abi, "a listener has Rust's own calling convention: write `async fn`"));
        }
        if let Some(variadic) = &sig.variadic {
            problems.add(syn::Error::new_spanned(variadic, "a listener's parameters are extractors, each with its own type"));
        }
        for param in &sig.generics.params {
            if !matches!(param, GenericParam::Lifetime(_)) {
                let text = "a listener cannot be generic, since nobody would say with which types to call it: write the types out, or make \
                            a `Listener::new(id, closure)` in a generic function";
                problems.add(syn::Error::new_spanned(param, text));
            }
        }
        let mut types = Vec::new();
        for input in &sig.inputs {
            match input {
                FnArg::Receiver(receiver) => problems.add(method(&sig.ident, receiver)),
                FnArg::Typed(input) => types.push(parameter(function, input, problems)),
            }
        }
        Self { types }
    }
}

fn method(name: &syn::Ident, receiver: &syn::Receiver) -> syn::Error {
    let text = format!(
        "a listener has no `self`, since nobody would say on which value to call it. The two forms that work: a function that takes \
         the value as state, `async fn {name}(this: State<S>, ..)`, with `.state(value)` on the app; or `impl MessageListener<K, V> \
         for S`, whose `on_message` takes `&self`, with `Listener::new(id, value)`"
    );
    syn::Error::new_spanned(receiver, text)
}

fn parameter(function: &ItemFn, input: &syn::PatType, problems: &mut Problems) -> Type {
    if let Some(attribute) = input.attrs.iter().find(|attribute| attribute.path().is_ident("cfg")) {
        let text = "a listener's parameters cannot be conditional: put `#[cfg(..)]` on two functions";
        problems.add(syn::Error::new_spanned(attribute, text));
    }
    let mut finder = ImplTrait(None);
    let mut ty = (*input.ty).clone();
    finder.visit_type_mut(&mut ty);
    if let Some(found) = finder.0 {
        let text = "a listener cannot be generic, and `impl Trait` is: write the type out";
        problems.add(syn::Error::new_spanned(found, text));
    }
    if let Type::Reference(reference) = &ty
        && let Some(lifetime) = &reference.lifetime
        && lifetime.ident == "static"
    {
        let text = "a parameter borrows from the delivery, which ends with the call: leave `'static` out, as in `&str`, or take a `String`";
        problems.add(syn::Error::new_spanned(lifetime, text));
    }
    let names = function.sig.generics.lifetimes().map(|lifetime| lifetime.lifetime.clone()).collect();
    InferLifetimes(names).visit_type_mut(&mut ty);
    ty
}

struct ImplTrait(Option<syn::TypeImplTrait>);

impl VisitMut for ImplTrait {
    fn visit_type_impl_trait_mut(&mut self, found: &mut syn::TypeImplTrait) {
        self.0.get_or_insert_with(|| found.clone());
    }
}

/// Inside the generated body the function's own lifetimes have no name.
struct InferLifetimes(Vec<Lifetime>);

impl VisitMut for InferLifetimes {
    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if self.0.iter().any(|name| name.ident == lifetime.ident) {
            *lifetime = Lifetime::new("'_", lifetime.span());
        }
        visit_mut::visit_lifetime_mut(self, lifetime);
    }
}
