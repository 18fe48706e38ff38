use std::io::Write;

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::codec::{Failure, read_bounded};

pub const BUILT: bool = true;

pub fn compress(records: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> bool {
    let level = level.map_or_else(flate2::Compression::default, |level| flate2::Compression::new(level.unsigned_abs()));
    let mut encoder = GzEncoder::new(out, level);
    encoder.write_all(records).and_then(|()| encoder.try_finish()).is_ok()
}

pub fn decompress(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    read_bounded(MultiGzDecoder::new(block), limit, out)
}
