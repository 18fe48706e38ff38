//! The only names that generated code may use. Nothing here is stable.

pub mod check;

use std::future::Future;

pub use crate::client::BoxFuture;
pub use crate::error::ListenerResult;
pub use crate::extract::{FromDelivery, Param};
pub use crate::handler::{Delivery, ListenerReturn};
pub use crate::registry::{Endpoint, Link, ListenerSpec, PartitionSpec};
pub use crate::{__register as register, __register_link as register_link};

/// Boxes a call. Its future must be `Send`: a worker may run on any thread.
pub fn boxed(future: impl Future<Output = ListenerResult> + Send + 'static) -> BoxFuture<'static, ListenerResult> {
    Box::pin(future)
}

/// Which registration is compiled in: inventory if its feature is on, else linkme, else none.
#[cfg(feature = "inventory")]
mod registration {
    pub use inventory;

    use super::{Endpoint, Link};

    /// An annotated listener as inventory collects it.
    pub struct Registered(pub &'static Endpoint);

    /// A named crate as inventory collects it.
    pub struct RegisteredLink(pub Link);

    inventory::collect!(Registered);
    inventory::collect!(RegisteredLink);

    pub(crate) fn registered_endpoints() -> Vec<&'static Endpoint> {
        inventory::iter::<Registered>.into_iter().map(|registered| registered.0).collect()
    }

    pub(crate) fn registered_links() -> Vec<Link> {
        inventory::iter::<RegisteredLink>.into_iter().map(|registered| registered.0).collect()
    }

    #[doc(hidden)]
    #[macro_export]
    macro_rules! __register {
        ($endpoint:expr) => {
            $crate::private::inventory::submit! { $crate::private::Registered(&$endpoint) }
        };
    }

    #[doc(hidden)]
    #[macro_export]
    macro_rules! __register_link {
        ($link:expr) => {
            $crate::private::inventory::submit! { $crate::private::RegisteredLink($link) }
        };
    }
}

#[cfg(all(feature = "linkme", not(feature = "inventory")))]
mod registration {
    pub use linkme;

    use super::{Endpoint, Link};

    /// The annotated listeners, gathered by the linker.
    #[linkme::distributed_slice]
    pub static ENDPOINTS: [&'static Endpoint];

    /// The named crates, gathered by the linker.
    #[linkme::distributed_slice]
    pub static LINKS: [Link];

    pub(crate) fn registered_endpoints() -> Vec<&'static Endpoint> {
        ENDPOINTS.to_vec()
    }

    pub(crate) fn registered_links() -> Vec<Link> {
        LINKS.to_vec()
    }

    #[doc(hidden)]
    #[macro_export]
    macro_rules! __register {
        ($endpoint:expr) => {
            #[$crate::private::linkme::distributed_slice($crate::private::ENDPOINTS)]
            #[linkme(crate = $crate::private::linkme)]
            static REGISTERED: &$crate::private::Endpoint = &$endpoint;
        };
    }

    #[doc(hidden)]
    #[macro_export]
    macro_rules! __register_link {
        ($link:expr) => {
            #[$crate::private::linkme::distributed_slice($crate::private::LINKS)]
            #[linkme(crate = $crate::private::linkme)]
            static REGISTERED: $crate::private::Link = $link;
        };
    }
}

#[cfg(not(any(feature = "linkme", feature = "inventory")))]
mod registration {
    use super::{Endpoint, Link};

    pub(crate) fn registered_endpoints() -> Vec<&'static Endpoint> {
        Vec::new()
    }

    pub(crate) fn registered_links() -> Vec<Link> {
        Vec::new()
    }

    /// Without a registration feature listeners are given to the app by `listeners![..]`.
    #[doc(hidden)]
    #[macro_export]
    macro_rules! __register {
        ($endpoint:expr) => {
            const _: &$crate::private::Endpoint = &$endpoint;
        };
    }

    #[doc(hidden)]
    #[macro_export]
    macro_rules! __register_link {
        ($link:expr) => {};
    }
}

pub(crate) use registration::{registered_endpoints, registered_links};

#[cfg(feature = "inventory")]
pub use registration::{Registered, RegisteredLink, inventory};

#[cfg(all(feature = "linkme", not(feature = "inventory")))]
pub use registration::{ENDPOINTS, LINKS, linkme};
