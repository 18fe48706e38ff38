//! `#[kafka_listener(..)]`: read the arguments and the signature, check both, then write the code or a stub.

mod args;
mod check;
mod expand;
mod fallback;
mod nearest;
mod probe;
mod signature;
mod value;

#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;

use self::args::Args;
use self::signature::Signature;

/// All problems of one use of the attribute.
#[derive(Default)]
pub struct Problems(Option<syn::Error>);

impl Problems {
    /// Adds one, at the tokens that are wrong.
    pub fn add(&mut self, problem: syn::Error) {
        match &mut self.0 {
            Some(problems) => problems.combine(problem),
            None => self.0 = Some(problem),
        }
    }

    fn into_error(self) -> Option<syn::Error> {
        self.0
    }
}

/// The attribute: everything that is wrong is told at once; what can be kept of the item is kept.
pub fn attribute(args: TokenStream, item: TokenStream) -> TokenStream {
    let function = match syn::parse2::<syn::ItemFn>(item.clone()) {
        Ok(function) => function,
        Err(error) => return fallback::other_item(&item, error),
    };
    let mut problems = Problems::default();
    let args = Args::parse(args, &mut problems);
    let signature = Signature::read(&function, &mut problems);
    check::check(&args, &mut problems);
    match problems.into_error() {
        Some(error) => fallback::stub(&args, &function, error),
        None => expand::expand(&args, &signature, &function),
    }
}
