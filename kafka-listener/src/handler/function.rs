use std::future::Future;
use std::sync::Arc;

use super::{Call, Delivery, ErasedHandler, ListenerReturn};
use crate::client::BoxFuture;
use crate::error::ListenerResult;
use crate::extract::{FromDelivery, Param};

/// A function or closure whose parameters are extractors: up to eight, in any order, each owning what it holds.
///
/// `Json<Order<'_>>` and `&str` cannot be parameters here: on stable Rust no generic implementation can say that a closure
/// takes arguments that borrow from the delivery. Annotate the function with the attribute, or take the delivery as it is
/// through [`raw`] and extract inside.
pub trait Handler<Params>: Send + Sync + 'static {
    /// What the parameters take, in order.
    fn params() -> Vec<Param>;

    /// Extracts the parameters and calls the function.
    fn call(self: Arc<Self>, delivery: Delivery) -> BoxFuture<'static, ListenerResult>;
}

macro_rules! functions {
    ($(($($name:ident),*);)*) => {
        $(
            impl<F, Fut, Returned, $($name),*> Handler<($($name,)*)> for F
            where
                F: Fn($($name),*) -> Fut + Send + Sync + 'static,
                Fut: Future<Output = Returned> + Send + 'static,
                Returned: ListenerReturn + 'static,
                $($name: for<'r> FromDelivery<'r> + Send + 'static,)*
            {
                fn params() -> Vec<Param> {
                    vec![$(<$name as FromDelivery<'static>>::PARAM),*]
                }

                #[allow(non_snake_case, unused_variables, reason = "one name a type, and none for the function without parameters")]
                fn call(self: Arc<Self>, delivery: Delivery) -> BoxFuture<'static, ListenerResult> {
                    Box::pin(async move {
                        $(let $name = <$name>::from_delivery(&delivery)?;)*
                        self($($name),*).await.into_result()
                    })
                }
            }
        )*
    };
}

functions! {
    ();
    (A);
    (A, B);
    (A, B, C);
    (A, B, C, D);
    (A, B, C, D, E);
    (A, B, C, D, E, G);
    (A, B, C, D, E, G, H);
    (A, B, C, D, E, G, H, I);
}

/// An `async fn(&Delivery)`: it extracts inside, and may borrow. For a closure see [`raw_boxed`].
pub trait RawFn<'r>: Send + Sync + 'static {
    /// Calls it.
    fn call(&self, delivery: &'r Delivery) -> BoxFuture<'r, ListenerResult>;
}

impl<'r, F, Fut> RawFn<'r> for F
where
    F: Fn(&'r Delivery) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: ListenerReturn> + Send + 'r,
{
    fn call(&self, delivery: &'r Delivery) -> BoxFuture<'r, ListenerResult> {
        let future = self(delivery);
        Box::pin(async move { future.await.into_result() })
    }
}

struct Raw<F>(F);

impl<F: for<'r> RawFn<'r>> Call for Raw<F> {
    fn call(self: Arc<Self>, delivery: Delivery) -> BoxFuture<'static, ListenerResult> {
        Box::pin(async move { self.0.call(&delivery).await })
    }
}

/// A handler of a function that takes the delivery as it is and extracts inside.
///
/// ```
/// use kafka_listener::error::ListenerResult;
/// use kafka_listener::extract::FromDelivery;
/// use kafka_listener::handler::{Delivery, raw};
///
/// async fn shout(delivery: &Delivery) -> ListenerResult {
///     let text = <&str>::from_delivery(delivery)?; // borrows from the log's bytes
///     println!("{}", text.to_uppercase());
///     Ok(())
/// }
///
/// let handler = raw(shout);
/// # let _ = handler;
/// ```
pub fn raw<F: for<'r> RawFn<'r>>(function: F) -> ErasedHandler {
    ErasedHandler::new([Param::Other], Arc::new(Raw(function)))
}

/// The same for a closure, whose future borrows from the delivery and so must be boxed by itself.
///
/// ```
/// use kafka_listener::extract::FromDelivery;
/// use kafka_listener::handler::raw_boxed;
///
/// let prefix = "heard: ".to_owned();
/// let handler = raw_boxed(move |delivery| {
///     let prefix = prefix.clone();
///     Box::pin(async move {
///         println!("{prefix}{}", <&str>::from_delivery(delivery)?);
///         Ok(())
///     })
/// });
/// # let _ = handler;
/// ```
pub fn raw_boxed<F>(function: F) -> ErasedHandler
where
    F: for<'r> Fn(&'r Delivery) -> BoxFuture<'r, ListenerResult> + Send + Sync + 'static,
{
    raw(function)
}
