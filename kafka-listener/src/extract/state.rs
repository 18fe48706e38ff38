use std::any::{TypeId, type_name};
use std::ops::Deref;
use std::sync::Arc;

use super::{FromDelivery, Param};
use crate::error::Rejection;
use crate::handler::Delivery;

/// What was given to the app by `state(..)`: shared, and cheap to clone. That it was given is checked at start.
#[derive(Debug)]
pub struct State<S>(Arc<S>);

impl<S> State<S> {
    /// Wraps a state, for calling a listener function by hand.
    pub fn new(state: S) -> Self {
        Self(Arc::new(state))
    }

    /// The state itself, shared.
    pub fn into_arc(self) -> Arc<S> {
        self.0
    }
}

impl<'r, S: Send + Sync + 'static> FromDelivery<'r> for State<S> {
    const PARAM: Param = Param::State { id: TypeId::of::<S>, name: type_name::<S> };

    fn from_delivery(delivery: &'r Delivery) -> Result<Self, Rejection> {
        match delivery.state::<S>() {
            Some(state) => Ok(State(state)),
            None => Err(delivery.reject(format!("no state of type {} was given to the app", type_name::<S>()))),
        }
    }
}

impl<S> Clone for State<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> From<Arc<S>> for State<S> {
    fn from(state: Arc<S>) -> Self {
        Self(state)
    }
}

impl<S> Deref for State<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}
