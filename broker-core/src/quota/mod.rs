//! How much clients may send and read a second: which quota is whose, and how long who took too much must wait.

mod entity;
mod rate;
mod store;

pub(crate) use entity::{Entity, EntityFilter, Match, Name};
pub(crate) use store::Quotas;

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum QuotaKind {
    /// `producer_byte_rate`: bytes of records sent, a second.
    Produce,
    /// `consumer_byte_rate`: bytes of records read, a second.
    Fetch,
}

impl QuotaKind {
    pub const ALL: [Self; 2] = [Self::Produce, Self::Fetch];

    /// Kafka's name of the setting.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Produce => "producer_byte_rate",
            Self::Fetch => "consumer_byte_rate",
        }
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
