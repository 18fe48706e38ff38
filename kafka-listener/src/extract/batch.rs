use std::ops::Deref;

use super::{FromDelivery, FromRecord, Param};
use crate::error::{BatchRejection, Rejection};
use crate::handler::{DeliveredRecord, Delivery};

/// The payloads of one poll: `Batch<Json<Order>>`, `Batch<ConsumerRecord<K, V>>`, or any other [`FromRecord`] type, tuples
/// included: `Batch<(Key<String>, Json<Order>, Offset)>`.
///
/// An element that does not decode goes to the error handler as a record of its own, and the listener gets the rest.
/// `Batch<Result<Json<Order>, Rejection>>` receives it instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<T>(Vec<T>);

impl<T> Batch<T> {
    /// The elements.
    pub fn into_inner(self) -> Vec<T> {
        self.0
    }
}

impl<T> From<Vec<T>> for Batch<T> {
    fn from(elements: Vec<T>) -> Self {
        Self(elements)
    }
}

impl<T> Deref for Batch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> IntoIterator for Batch<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'b, T> IntoIterator for &'b Batch<T> {
    type Item = &'b T;
    type IntoIter = std::slice::Iter<'b, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'r, T: FromRecord<'r>> FromDelivery<'r> for Batch<T> {
    const PARAM: Param = Param::Batch;

    fn from_delivery(delivery: &'r Delivery) -> Result<Self, Rejection> {
        let Some(records) = delivery.batch_records() else {
            return Err(delivery.reject("a batch was expected, and one record came: the container is a record container"));
        };
        let mut elements = Vec::with_capacity(records.len());
        let mut failed = Vec::new();
        for (index, (topic_partition, element)) in records.iter().enumerate() {
            let record = DeliveredRecord { topic_partition, record: &element.record, attempt: element.attempt };
            match T::from_record(record) {
                Ok(element) => elements.push(element),
                Err(rejection) => failed.push((index, record.blame(rejection))),
            }
        }
        if failed.is_empty() {
            return Ok(Batch(elements));
        }
        let rejection = BatchRejection::new(failed);
        Err(Rejection::with_source(rejection.to_string(), rejection))
    }
}

/// An element of a batch that may fail: the listener gets the rejection.
impl<'r, T: FromRecord<'r>> FromRecord<'r> for Result<T, Rejection> {
    const PARAM: Param = Param::Record;

    fn from_record(record: DeliveredRecord<'r>) -> Result<Self, Rejection> {
        Ok(T::from_record(record).map_err(|rejection| record.blame(rejection)))
    }
}

macro_rules! tuples {
    ($(($($name:ident),+);)*) => {
        $(
            /// Several views of one record.
            impl<'r, $($name: FromRecord<'r>),+> FromRecord<'r> for ($($name,)+) {
                const PARAM: Param = Param::Record;

                fn from_record(record: DeliveredRecord<'r>) -> Result<Self, Rejection> {
                    Ok(($($name::from_record(record)?,)+))
                }
            }
        )*
    };
}

tuples! {
    (A, B);
    (A, B, C);
    (A, B, C, D);
}
