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

pub fn decompress(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    read_bounded(FrameDecoder::new(block), limit, out)
}
