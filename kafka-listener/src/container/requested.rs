use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::ContainerError;

/// A request to a container: it has taken effect when this is returned, and need not be awaited. Awaited, it is ready at once;
/// its error says that the container has failed, so that nobody is left to carry the request out.
#[derive(Debug, Clone)]
pub struct Requested(Result<(), ContainerError>);

impl Requested {
    pub(super) fn new(result: Result<(), ContainerError>) -> Self {
        Self(result)
    }
}

impl Future for Requested {
    type Output = Result<(), ContainerError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(self.0.clone())
    }
}
