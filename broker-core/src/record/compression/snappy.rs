//! Snappy blocks in the framing of xerial's Java library: a header of sixteen bytes, then blocks behind their lengths. Some
//! clients send one bare block.

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::codec::Failure;

pub const BUILT: bool = true;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and the oldest version that reads it.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// What the Java library packs at a time.
const CHUNK_BYTES: usize = 32 * 1024;
/// The most that a byte of a block can stand for: three bytes copy sixty-four.
const RATIO_MAX: usize = 22;

pub fn compress(records: &[u8], _level: Option<i32>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&HEADER);
    let mut encoder = Encoder::new();
    for chunk in records.chunks(CHUNK_BYTES) {
        let start = out.len();
        out.resize(start + 4 + max_compress_len(chunk.len()), 0);
        let Ok(size) = encoder.compress(chunk, &mut out[start + 4..]) else { return false };
        out[start..start + 4].copy_from_slice(&(size as u32).to_be_bytes());
        out.truncate(start + 4 + size);
    }
    true
}

pub fn decompress(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let start = out.len();
    let mut decoder = Decoder::new();
    if !block.starts_with(&MAGIC) {
        return decompress_chunk(&mut decoder, block, limit, out);
    }
    let mut rest = block.get(HEADER.len()..).ok_or(Failure::Damaged)?;
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or(Failure::Damaged)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (chunk, behind) = behind.split_at_checked(length).ok_or(Failure::Damaged)?;
        decompress_chunk(&mut decoder, chunk, limit - (out.len() - start), out)?;
        rest = behind;
    }
    Ok(())
}

fn decompress_chunk(decoder: &mut Decoder, chunk: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let size = decompress_len(chunk).map_err(|_| Failure::Damaged)?;
    if size > limit {
        return Err(Failure::TooLarge);
    }
    if size > chunk.len().saturating_mul(RATIO_MAX) {
        return Err(Failure::Damaged);
    }
    let start = out.len();
    out.resize(start + size, 0);
    match decoder.decompress(chunk, &mut out[start..]) {
        Ok(written) if written == size => Ok(()),
        _ => Err(Failure::Damaged),
    }
}
