use std::ops::Deref;
use std::sync::Arc;

use super::{FromDelivery, Param};
use crate::error::Rejection;
use crate::handler::Delivery;

/// The consumer group in which the listener reads; refused at start where explicit partitions are read without one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub Arc<str>);

impl<'r> FromDelivery<'r> for GroupId {
    const PARAM: Param = Param::Group;

    fn from_delivery(delivery: &'r Delivery) -> Result<Self, Rejection> {
        match delivery.group_id() {
            Some(group) => Ok(GroupId(group.clone())),
            None => Err(delivery.reject("a group id was expected, and the listener has none: give it a `group_id`")),
        }
    }
}

impl Deref for GroupId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The id of the listener's container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub Arc<str>);

impl<'r> FromDelivery<'r> for ListenerId {
    const PARAM: Param = Param::Context;

    fn from_delivery(delivery: &'r Delivery) -> Result<Self, Rejection> {
        Ok(ListenerId(delivery.listener_id().clone()))
    }
}

impl Deref for ListenerId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'r> FromDelivery<'r> for Delivery {
    const PARAM: Param = Param::Other;

    fn from_delivery(delivery: &'r Delivery) -> Result<Self, Rejection> {
        Ok(delivery.clone())
    }
}

impl<'r> FromDelivery<'r> for &'r Delivery {
    const PARAM: Param = Param::Other;

    fn from_delivery(delivery: &'r Delivery) -> Result<Self, Rejection> {
        Ok(delivery)
    }
}
