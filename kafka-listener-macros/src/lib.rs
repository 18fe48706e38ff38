//! The attribute macros of kafka-listener.

use proc_macro::TokenStream;

/// Makes an `async fn` a listener.
#[proc_macro_attribute]
pub fn kafka_listener(_args: TokenStream, item: TokenStream) -> TokenStream {
    item
}
