use std::io::{Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::codec::{Failure, read_bounded};

pub const BUILT: bool = true;

/// Kafka's Java client reads independent blocks only.
pub fn compress(records: &[u8], _level: Option<i32>, out: &mut Vec<u8>) -> bool {
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(records).is_ok() && encoder.try_finish().is_ok()
}

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Where a frame's header says what its blocks are like, and how large they are at most.
const FLAGS_AT: usize = 4;
const BLOCK_SIZE_AT: usize = 5;
/// The longest header: with a size and a dictionary.
const HEADER_BYTES_MAX: usize = 19;
/// Each block stands for itself.
const INDEPENDENT: u8 = 0x20;
const HAS_SIZE: u8 = 0x08;
const HAS_DICTIONARY: u8 = 0x01;
/// A byte of a block stands for no more bytes.
const RATIO_MAX: usize = 255;

/// A frame whose blocks need one another is not taken, though it could be read here: Kafka's Java client could not.
pub fn decompress(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut header = [0; HEADER_BYTES_MAX];
    let length = with_honest_size(block, &mut header).ok_or(Failure::Damaged)?;
    read_bounded(FrameDecoder::new(header[..length].chain(&block[length..])), limit, out)
}

/// Copies the frame's header, with blocks no larger than these bytes can give, and returns its length. Some clients claim 4 MiB
/// whatever they send, and that much would be allocated. `None` if it is no frame that is taken.
fn with_honest_size(block: &[u8], header: &mut [u8; HEADER_BYTES_MAX]) -> Option<usize> {
    let flags = *block.get(FLAGS_AT)?;
    if !block.starts_with(&MAGIC) || flags & INDEPENDENT == 0 {
        return None;
    }
    let length = 7 + if flags & HAS_SIZE != 0 { 8 } else { 0 } + if flags & HAS_DICTIONARY != 0 { 4 } else { 0 };
    let header = &mut header[..length];
    header.copy_from_slice(block.get(..length)?);
    let check = |header: &[u8]| (XxHash32::oneshot(0, &header[FLAGS_AT..length - 1]) >> 8) as u8;
    if header[length - 1] != check(header) {
        return None;
    }
    let claimed = header[BLOCK_SIZE_AT] >> 4;
    // 4 is 64 KiB, and each one more is four times that.
    let enough = (4..7).find(|size| 1usize << (8 + 2 * size) >= block.len().saturating_mul(RATIO_MAX)).unwrap_or(7);
    if (enough + 1..=7).contains(&claimed) {
        header[BLOCK_SIZE_AT] = enough << 4;
        header[length - 1] = check(header);
    }
    Some(length)
}
