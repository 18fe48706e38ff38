/// Acknowledges a record or a batch by hand.
#[derive(Debug, Clone)]
pub struct Acknowledgment {}

/// The result of an acknowledgment.
#[derive(Debug)]
pub struct AckReceipt {}

/// Misuse of an acknowledgment, or its commit's failure.
#[derive(Debug, Clone, thiserror::Error)]
#[error("acknowledgment")]
pub struct AckError {}
