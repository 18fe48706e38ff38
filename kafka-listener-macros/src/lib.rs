//! The attribute of kafka-listener. It is documented there, where its examples can be compiled.

mod listener;

use proc_macro::TokenStream;

#[expect(missing_docs, reason = "documented where it is re-exported")]
#[proc_macro_attribute]
pub fn kafka_listener(args: TokenStream, item: TokenStream) -> TokenStream {
    listener::attribute(args.into(), item.into()).into()
}
