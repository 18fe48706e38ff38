//! Coordinators: pure machines that decide; the runtime gives them time and a log.

pub(crate) mod group;
pub(crate) mod transaction;
