//! Extractors: what a listener's parameters may be.
//!
//! | parameter | takes |
//! | --- | --- |
//! | [`Json<T>`](crate::codec::Json), `String`, `&str`, [`Bytes`](bytes::Bytes), `&[u8]`, `Vec<u8>` | the payload; it may borrow from the log's bytes |
//! | `Option<..>` of these | the payload; `None` is a tombstone |
//! | [`ConsumerRecord<K, V>`] | the payload with key, place, timestamp and headers |
//! | [`Batch<T>`] | the payloads of one poll |
//! | [`Key<T>`], [`Headers`], [`Header<N, T>`](Header), [`Topic`], [`Partition`], [`Offset`], [`Timestamp`], [`DeliveryAttempt`] | something about the one record |
//! | [`GroupId`], [`ListenerId`] | who listens |
//! | [`State<S>`](State) | what was given to the app |
//! | [`Acknowledgment`](crate::listener::Acknowledgment) | in a manual ack mode, the record's or the batch's |
//! | [`ConsumerHandle`](crate::listener::ConsumerHandle) | the worker's consumer |
//! | [`Delivery`], `&Delivery` | everything, as it is |
//!
//! An own type becomes an extractor by one trait: [`FromRecord`] if it reads one record (it then works as an element of a
//! [`Batch`] too), [`FromDelivery`] if it reads anything else.

mod batch;
mod context;
mod header;
mod key;
mod meta;
mod payload;
mod record;
mod state;

use std::any::TypeId;

pub use batch::Batch;
pub use context::{GroupId, ListenerId};
pub use header::{FromHeader, Header, HeaderName, Headers};
pub use key::Key;
pub use meta::{DeliveryAttempt, Offset, Partition, Timestamp, Topic};
pub use payload::payload;
pub use record::ConsumerRecord;
pub use state::State;

use crate::error::Rejection;
use crate::handler::{DeliveredRecord, Delivery};

/// What an extractor takes, known before any record comes: it decides a listener's shape, and start-up checks read it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Param {
    /// The payload of one record.
    Record,
    /// The payloads of one poll.
    Batch,
    /// The acknowledgment: needs a manual ack mode.
    Acknowledgment,
    /// The consumer handle.
    Consumer,
    /// Something about one record beside its payload: key, header, topic, offset, attempt, ...
    Metadata,
    /// A state of this type must have been given to the app.
    State {
        /// Its identity.
        id: fn() -> TypeId,
        /// Its name, for messages.
        name: fn() -> &'static str,
    },
    /// Who listens: nothing of the records.
    Context,
    /// The consumer group: needs one.
    Group,
    /// The delivery as it is, or something that the framework knows nothing of: it may hold anything.
    Other,
}

/// One parameter of a listener function, made from a delivery; it may borrow from it.
///
/// ```
/// use kafka_listener::error::Rejection;
/// use kafka_listener::extract::{FromDelivery, Param};
/// use kafka_listener::handler::Delivery;
///
/// /// How many records the call is about.
/// struct Size(usize);
///
/// impl<'r> FromDelivery<'r> for Size {
///     const PARAM: Param = Param::Other;
///
///     fn from_delivery(delivery: &'r Delivery) -> Result<Self, Rejection> {
///         Ok(Size(delivery.len()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no extractor, so it cannot be a listener's parameter",
    label = "no extractor",
    note = "the forms that work: a payload (`Json<T>`, `String`, `&str`, `Bytes`, `ConsumerRecord<K, V>`, `Batch<T>`, `Option<..>` of a payload), `Key<T>`, `Header<N>`, `Headers`, `Topic`, `Partition`, `Offset`, `Timestamp`, `DeliveryAttempt`, `State<S>`, `Acknowledgment`, `ConsumerHandle`",
    note = "a value of your own: `Json<{Self}>` if it is the payload, `State<{Self}>` if it was given to the app, or implement `FromRecord` for it",
    note = "what stands inside must fit too: `Json<T>` needs `T: Deserialize`, `Batch<T>` a `T` that can be made of one record, `State<S>` an `S: Send + Sync + 'static`"
)]
pub trait FromDelivery<'r>: Sized {
    /// What it takes.
    const PARAM: Param;

    /// Takes it. A [`Rejection`] goes to the error handler in place of the call.
    fn from_delivery(delivery: &'r Delivery) -> Result<Self, Rejection>;
}

/// What can be made of one record: a parameter of a record listener, and an element of a [`Batch`].
///
/// ```
/// use kafka_listener::error::Rejection;
/// use kafka_listener::extract::{FromRecord, Param};
/// use kafka_listener::handler::DeliveredRecord;
///
/// /// The length of the value.
/// struct Length(usize);
///
/// impl<'r> FromRecord<'r> for Length {
///     const PARAM: Param = Param::Metadata;
///
///     fn from_record(record: DeliveredRecord<'r>) -> Result<Self, Rejection> {
///         Ok(Length(record.record.value().map_or(0, <[u8]>::len)))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no extractor of a record, so it cannot be a listener's parameter",
    label = "no extractor",
    note = "the forms that work: a payload (`Json<T>`, `String`, `&str`, `Bytes`, `ConsumerRecord<K, V>`, `Batch<T>`, `Option<..>` of a payload), `Key<T>`, `Header<N>`, `Headers`, `Topic`, `Partition`, `Offset`, `Timestamp`, `DeliveryAttempt`, `State<S>`, `Acknowledgment`, `ConsumerHandle`",
    note = "a value of your own: `Json<{Self}>` if it is the payload, `State<{Self}>` if it was given to the app, or implement `FromRecord` for it",
    note = "what stands inside must fit too: `Json<T>` needs `T: Deserialize`, `Batch<T>` a `T` that can be made of one record, `State<S>` an `S: Send + Sync + 'static`"
)]
pub trait FromRecord<'r>: Sized {
    /// What it takes: [`Param::Record`] if it is the payload, [`Param::Metadata`] if it stands beside one.
    const PARAM: Param;

    /// Takes it. The [`Rejection`] need not name the record, its caller does.
    fn from_record(record: DeliveredRecord<'r>) -> Result<Self, Rejection>;
}

impl<'r, T: FromRecord<'r>> FromDelivery<'r> for T {
    const PARAM: Param = T::PARAM;

    fn from_delivery(delivery: &'r Delivery) -> Result<Self, Rejection> {
        let record = delivery.single()?;
        T::from_record(record).map_err(|rejection| record.blame(rejection))
    }
}

#[cfg(test)]
mod tests;
