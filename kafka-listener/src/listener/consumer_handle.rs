/// A worker's consumer, for its listener.
#[derive(Debug, Clone)]
pub struct ConsumerHandle {}

/// The handle's worker does not own the partition (any more), or is gone.
#[derive(Debug, Clone, thiserror::Error)]
#[error("consumer handle")]
pub struct HandleError {}
