use std::fmt;
use std::str::FromStr;

/// When the container commits. The default is [`AckMode::Batch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum AckMode {
    /// After each record that is done, before the next one is delivered. Record listeners only.
    Record,
    /// Once the records of a poll are settled, before the next poll; a batch listener's right after it returns.
    #[default]
    Batch,
    /// Once `ack_time` has passed since the last commit, tested after each record and by a timer of its own.
    Time,
    /// Once `ack_count` records are done since the last commit, tested after each; a remainder on the first empty poll.
    Count,
    /// Whichever of [`AckMode::Time`] and [`AckMode::Count`] comes first; each resets both.
    CountTime,
    /// The listener acknowledges; committed when the poll is settled.
    Manual,
    /// The listener acknowledges; committed at once, and the acknowledgment's receipt is the commit's result.
    ManualImmediate,
}

impl AckMode {
    /// All modes, in the order of the documentation.
    pub const ALL: [AckMode; 7] =
        [Self::Record, Self::Batch, Self::Time, Self::Count, Self::CountTime, Self::Manual, Self::ManualImmediate];

    /// Whether the listener acknowledges by hand.
    pub const fn is_manual(self) -> bool {
        matches!(self, Self::Manual | Self::ManualImmediate)
    }

    /// The name as the attribute takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "Record",
            Self::Batch => "Batch",
            Self::Time => "Time",
            Self::Count => "Count",
            Self::CountTime => "CountTime",
            Self::Manual => "Manual",
            Self::ManualImmediate => "ManualImmediate",
        }
    }
}

impl fmt::Display for AckMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is no ack mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no ack mode: one of Record, Batch, Time, Count, CountTime, Manual, ManualImmediate")]
pub struct UnknownAckMode(String);

impl FromStr for AckMode {
    type Err = UnknownAckMode;

    /// Reads a mode's name; Spring's spelling (`MANUAL_IMMEDIATE`) is understood too.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |text: &str| text.chars().filter(|c| *c != '_').collect::<String>().to_ascii_lowercase();
        Self::ALL.into_iter().find(|mode| plain(mode.name()) == plain(text)).ok_or_else(|| UnknownAckMode(text.to_owned()))
    }
}
