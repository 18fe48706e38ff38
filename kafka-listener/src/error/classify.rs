//! Which errors are worth another try: by type, anywhere in the source chain.

use std::error::Error as StdError;
use std::sync::Arc;

use super::{BatchRejection, Rejection, find_in_chain};
use crate::codec::CodecError;

type Matches = Arc<dyn Fn(&(dyn StdError + 'static)) -> bool + Send + Sync>;

/// Types of errors and whether they are retried; the last word on a type wins.
#[derive(Clone)]
pub(super) struct Classifier {
    rules: Vec<(Matches, bool)>,
    otherwise: bool,
}

impl Default for Classifier {
    /// Everything is retried but what cannot change: bytes that do not decode, extractors without their data.
    fn default() -> Self {
        let mut classifier = Self { rules: Vec::new(), otherwise: true };
        classifier.add::<Rejection>(false);
        classifier.add::<BatchRejection>(false);
        classifier.add::<CodecError>(false);
        classifier
    }
}

impl Classifier {
    pub fn add<E: StdError + 'static>(&mut self, retryable: bool) {
        self.rules.push((Arc::new(|error| find_in_chain::<E>(error).is_some()), retryable));
    }

    pub fn otherwise(&mut self, retryable: bool) {
        self.otherwise = retryable;
    }

    pub fn is_retryable(&self, error: &(dyn StdError + 'static)) -> bool {
        self.rules.iter().rev().find(|(matches, _)| matches(error)).map_or(self.otherwise, |(_, retryable)| *retryable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("declined")]
    struct Declined;

    #[derive(Debug, thiserror::Error)]
    #[error("billing")]
    struct Billing(#[source] Declined);

    #[test]
    fn types_are_found_anywhere_in_the_chain() {
        let mut classifier = Classifier::default();
        assert!(classifier.is_retryable(&Billing(Declined)));
        assert!(!classifier.is_retryable(&Rejection::new("bytes")));
        classifier.add::<Declined>(false);
        assert!(!classifier.is_retryable(&Billing(Declined)));
        classifier.add::<Billing>(true);
        assert!(classifier.is_retryable(&Billing(Declined)));
        classifier.otherwise(false);
        assert!(!classifier.is_retryable(&std::fmt::Error));
    }
}
