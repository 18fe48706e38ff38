use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::codec::{Failure, read_bounded};

pub const BUILT: bool = true;

/// Kafka's Java client reads independent blocks only.
pub fn compress(records: &[u8], _level: Option<i32>, out: &mut Vec<u8>) -> bool {
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(records).is_ok() && encoder.try_finish().is_ok()
}

/// Where a frame says what its blocks are like, and the bit for "each stands for itself".
const FLAGS_AT: usize = 4;
const INDEPENDENT: u8 = 0x20;

/// A frame whose blocks need one another is not taken, though it could be read here: Kafka's Java client could not.
pub fn decompress(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    if block.get(FLAGS_AT).is_some_and(|flags| flags & INDEPENDENT == 0) {
        return Err(Failure::Damaged);
    }
    read_bounded(FrameDecoder::new(block), limit, out)
}
