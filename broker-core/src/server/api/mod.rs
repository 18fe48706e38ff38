//! One file an API: decode, ask the broker, encode. What an API does stands at the top of its file; which versions are served
//! stands in `dispatch`.

pub(super) mod api_versions;
pub(super) mod fetch;
pub(super) mod list_offsets;
pub(super) mod metadata;
pub(super) mod produce;

use std::fmt::Display;

use kafka_protocol::protocol::StrBytes;

use crate::error::{Error, ErrorCode};

/// The one epoch that a leader has here: there is one broker, and it leads.
const LEADER_EPOCH: i32 = 0;

fn text(value: impl Display) -> StrBytes {
    StrBytes::from_string(value.to_string())
}

/// Whether a client's idea of the leader's epoch is not ahead of the leader; -1 is no idea.
fn check_epoch(epoch: i32) -> Result<(), Error> {
    if epoch > LEADER_EPOCH {
        let text = format!("leader epoch {epoch} is not known here: it is {LEADER_EPOCH}");
        return Err(Error::new(ErrorCode::UnknownLeaderEpoch, text));
    }
    Ok(())
}
