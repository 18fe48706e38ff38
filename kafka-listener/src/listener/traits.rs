use std::future::Future;

use super::{Acknowledgment, ConsumerHandle};
use crate::error::ListenerResult;
use crate::extract::{Batch, ConsumerRecord};
use crate::handler::ListenerReturn;

/// A listener trait made of a closure of its shape by [`from_fn`].
#[derive(Debug, Clone, Copy)]
pub struct FnListener<F>(pub(super) F);

/// Makes a value that implements the listener trait of the closure's shape.
///
/// ```
/// use bytes::Bytes;
/// use kafka_listener::extract::ConsumerRecord;
/// use kafka_listener::listener::{MessageListener, from_fn};
///
/// fn listen(listener: impl MessageListener<String, Bytes>) {
///     # drop(listener)
/// }
/// listen(from_fn(|record: ConsumerRecord<String, Bytes>| async move { println!("{}", record.key()) }));
/// ```
pub fn from_fn<F>(function: F) -> FnListener<F> {
    FnListener(function)
}

macro_rules! listeners {
    ($($(#[$doc:meta])* $name:ident<$($generic:ident),+>($first:ident: $payload:ty $(, $more:ident: $kind:ty)*);)*) => {
        $(
            $(#[$doc])*
            ///
            /// Implement it with an `async fn`.
            pub trait $name<$($generic),+>: Send + Sync + 'static {
                /// Takes what was delivered. An error goes to the container's error handler.
                fn on_message(&self, $first: $payload $(, $more: $kind)*) -> impl Future<Output = ListenerResult> + Send;
            }

            impl<F, Fut, $($generic),+> $name<$($generic),+> for FnListener<F>
            where
                F: Fn($payload $(, $kind)*) -> Fut + Send + Sync + 'static,
                Fut: Future<Output: ListenerReturn> + Send,
                $($generic: Send,)+
            {
                fn on_message(&self, $first: $payload $(, $more: $kind)*) -> impl Future<Output = ListenerResult> + Send {
                    let future = (self.0)($first $(, $more)*);
                    async move { future.await.into_result() }
                }
            }
        )*
    };
}

listeners! {
    /// Takes one record; the container commits by its ack mode.
    MessageListener<K, V>(record: ConsumerRecord<K, V>);
    /// Takes one record and acknowledges it by hand.
    AcknowledgingMessageListener<K, V>(record: ConsumerRecord<K, V>, acknowledgment: Acknowledgment);
    /// Takes one record and the consumer; the container commits by its ack mode.
    ConsumerAwareMessageListener<K, V>(record: ConsumerRecord<K, V>, consumer: ConsumerHandle);
    /// Takes one record and the consumer, and acknowledges the record by hand.
    AcknowledgingConsumerAwareMessageListener<K, V>(record: ConsumerRecord<K, V>, acknowledgment: Acknowledgment, consumer: ConsumerHandle);
    /// Takes the records of one poll; the container commits by its ack mode.
    BatchMessageListener<T>(records: Batch<T>);
    /// Takes the records of one poll and acknowledges them by hand.
    BatchAcknowledgingMessageListener<T>(records: Batch<T>, acknowledgment: Acknowledgment);
    /// Takes the records of one poll and the consumer; the container commits by its ack mode.
    BatchConsumerAwareMessageListener<T>(records: Batch<T>, consumer: ConsumerHandle);
    /// Takes the records of one poll and the consumer, and acknowledges the records by hand.
    BatchAcknowledgingConsumerAwareMessageListener<T>(records: Batch<T>, acknowledgment: Acknowledgment, consumer: ConsumerHandle);
}
