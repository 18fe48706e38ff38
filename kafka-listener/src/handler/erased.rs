use std::fmt;
use std::sync::Arc;

use tower::Layer;

use super::{BoxedHandler, Delivery, HandlerService};
use crate::client::BoxFuture;
use crate::error::ListenerResult;
use crate::extract::Param;
use crate::layer::CatchPanicLayer;

/// Something that takes a delivery: the erased side of all listeners.
pub trait Call: Send + Sync + 'static {
    /// Calls the listener. The future owns the delivery; dropping it drops the call.
    fn call(self: Arc<Self>, delivery: Delivery) -> BoxFuture<'static, ListenerResult>;
}

/// A listener whose types are forgotten: what it takes, and how to call it.
#[derive(Clone)]
pub struct ErasedHandler {
    /// What the parameters take, in order.
    pub params: Vec<Param>,
    target: Target,
}

#[derive(Clone)]
pub(super) enum Target {
    Static(fn(Delivery) -> BoxFuture<'static, ListenerResult>),
    Shared(Arc<dyn Call>),
}

impl ErasedHandler {
    /// An annotated function.
    pub fn from_fn(params: &[Param], invoke: fn(Delivery) -> BoxFuture<'static, ListenerResult>) -> Self {
        Self { params: params.to_vec(), target: Target::Static(invoke) }
    }

    /// Anything else, with what its parameters take.
    pub fn new(params: impl Into<Vec<Param>>, call: Arc<dyn Call>) -> Self {
        Self { params: params.into(), target: Target::Shared(call) }
    }

    /// Whether it takes the records of a poll at once; `None` if its parameters do not say, as with a raw
    /// `async fn(&Delivery)`: then the specification's `batch` decides, else it takes one record.
    pub fn takes_batch(&self) -> Option<bool> {
        self.params.iter().find_map(|param| match param {
            Param::Batch => Some(true),
            Param::Record | Param::Metadata => Some(false),
            _ => None,
        })
    }

    /// Whether it acknowledges by hand, which needs a manual ack mode.
    pub fn takes_acknowledgment(&self) -> bool {
        self.params.iter().any(|param| matches!(param, Param::Acknowledgment))
    }

    /// Calls the listener. The future owns the delivery; dropping it drops the call.
    pub fn call(&self, delivery: Delivery) -> BoxFuture<'static, ListenerResult> {
        self.target.call(delivery)
    }

    /// The innermost service of a stack, with panics made errors.
    pub fn into_service(self) -> BoxedHandler {
        BoxedHandler::new(CatchPanicLayer::new().layer(HandlerService::new(self)))
    }

    pub(super) fn into_target(self) -> Target {
        self.target
    }
}

impl Target {
    pub(super) fn call(&self, delivery: Delivery) -> BoxFuture<'static, ListenerResult> {
        match self {
            Target::Static(invoke) => invoke(delivery),
            Target::Shared(call) => call.clone().call(delivery),
        }
    }
}

impl fmt::Debug for ErasedHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasedHandler").field("params", &self.params).finish_non_exhaustive()
    }
}
