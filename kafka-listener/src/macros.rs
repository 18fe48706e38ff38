/// Names annotated listeners: a `Vec<&'static Endpoint>`, for an app or a test that wants only those.
///
/// ```
/// use kafka_listener::prelude::*;
///
/// mod orders {
///     use kafka_listener::prelude::*;
///
///     #[kafka_listener(topic = "orders")]
///     pub async fn archive(_text: &str) {}
/// }
///
/// #[kafka_listener(topic = "orders")]
/// async fn bill(_text: String) {}
///
/// # fn main() {
/// let two = listeners![bill, orders::archive];
/// # assert_eq!(two.len(), 2);
/// # }
/// ```
#[macro_export]
macro_rules! listeners {
    ($($($segment:ident)::+),* $(,)?) => {
        ::std::vec::Vec::<&'static $crate::registry::Endpoint>::from([$(&$($segment)::+::ENDPOINT),*])
    };
}

/// Links library crates whose only use is their annotated listeners. Without a path to it, a library is not linked, and its
/// listeners are silently missing; with this, start-up checks that each named crate brought at least one.
///
/// A crate is named as it is known in its own code: one renamed in `Cargo.toml` cannot be checked here.
///
/// ```compile_fail,E0432
/// kafka_listener::link_listeners!(billing_listeners, audit_listeners);
/// ```
#[macro_export]
macro_rules! link_listeners {
    ($($name:ident),+ $(,)?) => {
        $(
            const _: () = {
                use ::$name as _;
                $crate::private::register_link!($crate::registry::Link {
                    name: ::core::stringify!($name),
                    by: ::core::module_path!(),
                });
            };
        )+
    };
}
