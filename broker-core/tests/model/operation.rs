//! What is done, and by what settings.

use broker_core::record::Codec;
use proptest::prelude::*;

/// How the machine, or the process, stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Order,
    Kill,
    PowerCut,
    /// A power cut that leaves parts of what was not durable.
    Chance(u64),
}

#[derive(Debug, Clone)]
pub enum Operation {
    /// Keys, and whether it is a tombstone; of an idempotent producer or of nobody.
    Produce {
        records: Vec<(u8, bool)>,
        producer: Option<u8>,
        /// Whether it is part of the producer's transaction: it is in any case if one is open.
        within: bool,
        late: u8,
        bytes: u8,
    },
    /// One of the open transactions ends.
    End {
        which: u8,
        commits: bool,
    },
    /// A producer's last batch is sent again.
    Again(u8),
    Fetch {
        at: u16,
        max_bytes: u16,
    },
    Find {
        at: u16,
    },
    DeleteRecords {
        at: u16,
    },
    /// Time passes; what is due is done: retention, compaction, checkpoints, flushes.
    Pass(u16),
    Retention {
        bytes: Option<u16>,
    },
    /// The disk fails at the next operation but so many, or has room for so many bytes only.
    Fail {
        fault: Failure,
        after: u8,
    },
    Reopen(Stop),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Everything,
    Syncs,
    TornAppends,
    Full,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub delete: bool,
    pub compact: bool,
    pub flush_messages: Option<i64>,
    pub flush_ms: Option<i64>,
    pub segment_ms: Option<i64>,
    pub codec: Codec,
}

pub fn settings() -> impl Strategy<Value = Settings> {
    let policy = prop_oneof![3 => Just((true, false)), 2 => Just((false, true)), 1 => Just((true, true))];
    let codec = prop_oneof![4 => Just(Codec::None), 1 => Just(Codec::Lz4), 1 => Just(Codec::Snappy)];
    let flush_messages = prop_oneof![2 => Just(None), 2 => Just(Some(1)), 1 => Just(Some(4))];
    let sometimes = |ms: i64| prop_oneof![3 => Just(None), 1 => Just(Some(ms))];
    (policy, flush_messages, sometimes(200), sometimes(300), codec).prop_map(
        |((delete, compact), flush_messages, flush_ms, segment_ms, codec)| Settings {
            delete,
            compact,
            flush_messages,
            flush_ms,
            segment_ms,
            codec,
        },
    )
}

pub fn operation() -> impl Strategy<Value = Operation> {
    let records = proptest::collection::vec((0..6u8, proptest::bool::weighted(0.15)), 1..4);
    let produce = (records, proptest::option::weighted(0.7, 0..2u8), proptest::bool::weighted(0.4), 0..40u8, any::<u8>())
        .prop_map(|(records, producer, within, late, bytes)| Operation::Produce { records, producer, within, late, bytes });
    let failure = prop_oneof![Just(Failure::Everything), Just(Failure::Syncs), Just(Failure::TornAppends), Just(Failure::Full)];
    let stop = prop_oneof![Just(Stop::Order), Just(Stop::Kill), Just(Stop::PowerCut), any::<u64>().prop_map(Stop::Chance)];
    prop_oneof![
        12 => produce,
        3 => (any::<u8>(), any::<bool>()).prop_map(|(which, commits)| Operation::End { which, commits }),
        2 => (0..2u8).prop_map(Operation::Again),
        4 => (any::<u16>(), 0..2000u16).prop_map(|(at, max_bytes)| Operation::Fetch { at, max_bytes }),
        2 => any::<u16>().prop_map(|at| Operation::Find { at }),
        1 => any::<u16>().prop_map(|at| Operation::DeleteRecords { at }),
        3 => (0..500u16).prop_map(Operation::Pass),
        1 => proptest::option::of(0..4000u16).prop_map(|bytes| Operation::Retention { bytes }),
        1 => (failure, 0..12u8).prop_map(|(fault, after)| Operation::Fail { fault, after }),
        3 => stop.prop_map(Operation::Reopen),
    ]
}
