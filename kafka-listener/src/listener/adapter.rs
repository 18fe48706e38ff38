use std::marker::PhantomData;
use std::sync::Arc;

use super::traits::*;
use super::{Acknowledgment, ConsumerHandle};
use crate::client::BoxFuture;
use crate::error::ListenerResult;
use crate::extract::{Batch, ConsumerRecord, FromDelivery, FromRecord, Param};
use crate::handler::{Call, Delivery, ErasedHandler, Handler};

/// What [`Listener::new`](crate::registry::Listener::new) takes. The marker only keeps the kinds apart; it is inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no listener",
    label = "no listener",
    note = "the forms that work: a struct with one of the eight listener traits (`impl MessageListener<K, V> for ..`), an `async fn` or a closure of up to eight owned extractors, or `handler::raw(function)` of an `async fn(&Delivery)`"
)]
pub trait IntoListener<Marker> {
    /// Forgets the types.
    fn into_handler(self) -> ErasedHandler;
}

impl IntoListener<ErasedHandler> for ErasedHandler {
    fn into_handler(self) -> ErasedHandler {
        self
    }
}

/// Marks functions and closures.
pub struct ByFunction<Params>(PhantomData<Params>);

struct Function<F, Params>(Arc<F>, PhantomData<fn(Params)>);

impl<F: Handler<Params>, Params: 'static> Call for Function<F, Params> {
    fn call(self: Arc<Self>, delivery: Delivery) -> BoxFuture<'static, ListenerResult> {
        self.0.clone().call(delivery)
    }
}

impl<F: Handler<Params>, Params: 'static> IntoListener<ByFunction<Params>> for F {
    fn into_handler(self) -> ErasedHandler {
        ErasedHandler::new(F::params(), Arc::new(Function(Arc::new(self), PhantomData)))
    }
}

macro_rules! adapters {
    ($($marker:ident: $listener:ident<$($generic:ident),+>($payload:ty $(, $more:ident: $kind:ty)*) where { $($bound:tt)+ };)*) => {
        $(
            #[doc = concat!("Marks a [`", stringify!($listener), "`].")]
            pub struct $marker<$($generic),+>(PhantomData<($($generic,)+)>);

            impl<L, $($generic),+> IntoListener<$marker<$($generic),+>> for L
            where
                L: $listener<$($generic),+>,
                $($bound)+
            {
                fn into_handler(self) -> ErasedHandler {
                    struct Adapter<L, $($generic),+>(L, PhantomData<fn($($generic),+)>);

                    impl<L, $($generic),+> Call for Adapter<L, $($generic),+>
                    where
                        L: $listener<$($generic),+>,
                        $($bound)+
                    {
                        fn call(self: Arc<Self>, delivery: Delivery) -> BoxFuture<'static, ListenerResult> {
                            Box::pin(async move {
                                let payload = <$payload>::from_delivery(&delivery)?;
                                self.0.on_message(payload $(, <$kind>::from_delivery(&delivery)?)*).await
                            })
                        }
                    }

                    let params = [<$payload as FromDelivery<'static>>::PARAM $(, <$kind as FromDelivery<'static>>::PARAM)*];
                    ErasedHandler::new(params, Arc::new(Adapter(self, PhantomData)))
                }
            }
        )*
    };
}

adapters! {
    ByMessage: MessageListener<K, V>(ConsumerRecord<K, V>)
        where { ConsumerRecord<K, V>: for<'r> FromRecord<'r>, K: Send + 'static, V: Send + 'static };
    ByAcknowledging: AcknowledgingMessageListener<K, V>(ConsumerRecord<K, V>, acknowledgment: Acknowledgment)
        where { ConsumerRecord<K, V>: for<'r> FromRecord<'r>, K: Send + 'static, V: Send + 'static };
    ByConsumerAware: ConsumerAwareMessageListener<K, V>(ConsumerRecord<K, V>, consumer: ConsumerHandle)
        where { ConsumerRecord<K, V>: for<'r> FromRecord<'r>, K: Send + 'static, V: Send + 'static };
    ByAcknowledgingConsumerAware: AcknowledgingConsumerAwareMessageListener<K, V>(ConsumerRecord<K, V>, acknowledgment: Acknowledgment, consumer: ConsumerHandle)
        where { ConsumerRecord<K, V>: for<'r> FromRecord<'r>, K: Send + 'static, V: Send + 'static };
    ByBatch: BatchMessageListener<T>(Batch<T>)
        where { Batch<T>: for<'r> FromDelivery<'r>, T: Send + 'static };
    ByBatchAcknowledging: BatchAcknowledgingMessageListener<T>(Batch<T>, acknowledgment: Acknowledgment)
        where { Batch<T>: for<'r> FromDelivery<'r>, T: Send + 'static };
    ByBatchConsumerAware: BatchConsumerAwareMessageListener<T>(Batch<T>, consumer: ConsumerHandle)
        where { Batch<T>: for<'r> FromDelivery<'r>, T: Send + 'static };
    ByBatchAcknowledgingConsumerAware: BatchAcknowledgingConsumerAwareMessageListener<T>(Batch<T>, acknowledgment: Acknowledgment, consumer: ConsumerHandle)
        where { Batch<T>: for<'r> FromDelivery<'r>, T: Send + 'static };
}

impl<'r> FromDelivery<'r> for Acknowledgment {
    const PARAM: Param = Param::Acknowledgment;

    fn from_delivery(delivery: &'r Delivery) -> Result<Self, crate::error::Rejection> {
        match delivery.acknowledgment() {
            Some(acknowledgment) => Ok(acknowledgment.clone()),
            None => Err(delivery
                .reject("an acknowledgment was expected, and the ack mode is not manual: set it to Manual or ManualImmediate")),
        }
    }
}

impl<'r> FromDelivery<'r> for ConsumerHandle {
    const PARAM: Param = Param::Consumer;

    fn from_delivery(delivery: &'r Delivery) -> Result<Self, crate::error::Rejection> {
        match delivery.consumer() {
            Some(consumer) => Ok(consumer.clone()),
            None => Err(delivery.reject("a consumer handle was expected, and the delivery has none")),
        }
    }
}
