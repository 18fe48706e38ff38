//! A user's own type is an extractor by one trait.
#![forbid(unsafe_code)]
#![deny(warnings)]

use kafka_listener::extract::Param;
use kafka_listener::handler::DeliveredRecord;
use kafka_listener::prelude::*;

struct Length(usize);

impl<'r> FromRecord<'r> for Length {
    const PARAM: Param = Param::Record;

    fn from_record(record: DeliveredRecord<'r>) -> Result<Self, Rejection> {
        Ok(Length(record.record.value().map_or(0, <[u8]>::len)))
    }
}

struct Tenant(String);

impl<'r> FromDelivery<'r> for Tenant {
    const PARAM: Param = Param::Context;

    fn from_delivery(delivery: &'r Delivery) -> Result<Self, Rejection> {
        Ok(Tenant(delivery.listener_id().to_string()))
    }
}

#[kafka_listener(topic = "orders")]
async fn one(Length(length): Length, Tenant(tenant): Tenant) {
    drop((length, tenant));
}

#[kafka_listener(topic = "orders")]
async fn many(lengths: Batch<Length>, Tenant(tenant): Tenant) {
    drop((lengths, tenant));
}

fn main() {
    assert_eq!(listeners![one, many].len(), 2);
}
