use crate::error::{ListenerError, ListenerResult};

/// How a call ended well. A failure is an error of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The listener returned Ok. In the container's own ack modes the delivery is done.
    Handled,
    /// A layer dropped the delivery before the listener saw it: done in every mode.
    Filtered,
}

/// What a listener function may return: nothing, or a `Result<(), E>` whose error becomes a [`ListenerError`].
#[diagnostic::on_unimplemented(
    message = "a listener cannot return `{Self}`",
    label = "no listener's return value",
    note = "the forms that work: no return value, `ListenerResult`, or `Result<(), E>` where `E` is an error (`E: std::error::Error + Send + Sync`, or `E: Into<ListenerError>`)"
)]
pub trait ListenerReturn {
    /// The same as a result.
    fn into_result(self) -> ListenerResult;
}

impl ListenerReturn for () {
    fn into_result(self) -> ListenerResult {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<ListenerError>> ListenerReturn for Result<(), E> {
    fn into_result(self) -> ListenerResult {
        self.map_err(Into::into)
    }
}
