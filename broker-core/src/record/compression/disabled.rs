//! In place of a codec whose cargo feature is off. Nothing comes here: [`Compression::new`](super::Compression::new) and
//! `Codec::decompress` ask `BUILT` first.

use super::codec::Failure;

pub const BUILT: bool = false;

pub fn compress(_records: &[u8], _level: Option<i32>, _out: &mut Vec<u8>) -> bool {
    false
}

pub fn decompress(_block: &[u8], _limit: usize, _out: &mut Vec<u8>) -> Result<(), Failure> {
    Err(Failure::Damaged)
}
