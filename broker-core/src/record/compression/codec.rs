use std::fmt;
use std::io::Read;

use super::{gzip, lz4, snappy, zstd};

/// How a batch's records are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in xerial's framing; a bare block is read too.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Why records cannot be packed or unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The attribute bits name no codec.
    #[error("compression codec {0} is unknown")]
    Unknown(i16),
    /// This build is without the codec.
    #[error("compression with {0} is not built: turn on the cargo feature '{0}'")]
    NotBuilt(Codec),
    /// The codec does not understand the bytes.
    #[error("the {0} block is damaged")]
    Damaged(Codec),
    /// More comes out than is allowed.
    #[error("the {codec} block holds more than {limit} bytes")]
    TooLarge {
        /// The codec.
        codec: Codec,
        /// The most that may come out.
        limit: usize,
    },
    /// The codec has no such level.
    #[error("{codec} has no level {level}: {least} to {most}")]
    Level {
        /// The codec.
        codec: Codec,
        /// The level asked for.
        level: i32,
        /// The lowest one.
        least: i32,
        /// The highest one.
        most: i32,
    },
}

/// A codec that is built, and its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compression {
    codec: Codec,
    level: Option<i32>,
}

impl Codec {
    /// All of them, by number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Its number in a batch's attributes.
    pub const fn id(self) -> i16 {
        self as i16
    }

    /// The codec of a number.
    pub fn of(id: i16) -> Result<Self, CodecError> {
        Self::ALL.into_iter().find(|codec| codec.id() == id).ok_or(CodecError::Unknown(id))
    }

    /// Kafka's name for it in `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Whether this build has it.
    pub const fn is_built(self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip => gzip::BUILT,
            Self::Snappy => snappy::BUILT,
            Self::Lz4 => lz4::BUILT,
            Self::Zstd => zstd::BUILT,
        }
    }

    /// The levels that can be chosen, and Kafka's default; none where there is nothing to choose.
    pub const fn levels(self) -> Option<(i32, i32, i32)> {
        match self {
            Self::None | Self::Snappy => None,
            Self::Gzip => Some((1, 9, -1)),
            // The higher levels of LZ4 are another algorithm, which is not built.
            Self::Lz4 => Some((9, 9, 9)),
            Self::Zstd => Some((-131_072, 22, 3)),
        }
    }

    /// Unpacks a block behind what `out` holds; at most `limit` bytes.
    pub(crate) fn decompress(self, block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if !self.is_built() {
            return Err(CodecError::NotBuilt(self));
        }
        let done = match self {
            Self::None => push(block, limit, out),
            Self::Gzip => gzip::decompress(block, limit, out),
            Self::Snappy => snappy::decompress(block, limit, out),
            Self::Lz4 => lz4::decompress(block, limit, out),
            Self::Zstd => zstd::decompress(block, limit, out),
        };
        done.map_err(|failure| match failure {
            Failure::Damaged => CodecError::Damaged(self),
            Failure::TooLarge => CodecError::TooLarge { codec: self, limit },
        })
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Compression {
    /// None.
    pub const NONE: Self = Self { codec: Codec::None, level: None };

    /// A codec at its default level; an error if it is not built.
    pub fn new(codec: Codec) -> Result<Self, CodecError> {
        if codec.is_built() { Ok(Self { codec, level: None }) } else { Err(CodecError::NotBuilt(codec)) }
    }

    /// Chooses the level; -1 is gzip's own default.
    pub fn with_level(self, level: i32) -> Result<Self, CodecError> {
        match self.codec.levels() {
            None => Ok(self),
            Some((least, most, default)) if level == default || (least..=most).contains(&level) => {
                Ok(Self { level: (level != default).then_some(level), ..self })
            }
            Some((least, most, _)) => Err(CodecError::Level { codec: self.codec, level, least, most }),
        }
    }

    /// The codec.
    pub fn codec(self) -> Codec {
        self.codec
    }

    /// Packs records behind what `out` holds; false if the codec failed, whose output is then unfinished.
    pub(crate) fn compress(self, records: &[u8], out: &mut Vec<u8>) -> bool {
        match self.codec {
            Codec::None => {
                out.extend_from_slice(records);
                true
            }
            Codec::Gzip => gzip::compress(records, self.level, out),
            Codec::Snappy => snappy::compress(records, self.level, out),
            Codec::Lz4 => lz4::compress(records, self.level, out),
            Codec::Zstd => zstd::compress(records, self.level, out),
        }
    }
}

/// How a codec failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Damaged,
    TooLarge,
}

fn push(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    if block.len() > limit {
        return Err(Failure::TooLarge);
    }
    out.extend_from_slice(block);
    Ok(())
}

/// Reads to the end, but no more than `limit` bytes: one more shows that there is more.
#[cfg_attr(not(any(feature = "gzip", feature = "lz4")), expect(dead_code, reason = "for the codecs that are readers"))]
pub(super) fn read_bounded(reader: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let start = out.len();
    match reader.take(limit as u64 + 1).read_to_end(out) {
        Ok(_) if out.len() - start > limit => Err(Failure::TooLarge),
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::Damaged),
    }
}
