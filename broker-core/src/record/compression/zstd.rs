use std::cell::RefCell;
use std::io::Cursor;

use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound, is_error_kind};

use super::codec::Failure;

pub const BUILT: bool = true;

/// Kafka's default.
const LEVEL: i32 = 3;
/// What is unpacked into at first: as much as most batches of a size give.
const FIRST_RATIO: usize = 8;

thread_local! {
    // A context costs more to make than a small batch to pack.
    static PACK: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
    static UNPACK: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

pub fn compress(records: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> bool {
    out.reserve(compress_bound(records.len()));
    let mut cursor = Cursor::new(&mut *out);
    cursor.set_position(cursor.get_ref().len() as u64);
    PACK.with_borrow_mut(|context| {
        context.set_parameter(CParameter::CompressionLevel(level.unwrap_or(LEVEL))).is_ok()
            && context.compress2(&mut cursor, records).is_ok()
    })
}

/// In one go into a buffer that grows until all fits: neither the size nor the window that the frame claims is allocated.
pub fn decompress(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let start = out.len();
    let mut room = block.len().saturating_mul(FIRST_RATIO).clamp(1024, limit.max(1024));
    loop {
        out.reserve_exact(room);
        let mut cursor = Cursor::new(&mut *out);
        cursor.set_position(start as u64);
        match UNPACK.with_borrow_mut(|context| context.decompress(&mut cursor, block)) {
            Ok(_) if out.len() - start > limit => return Err(Failure::TooLarge),
            Ok(_) => return Ok(()),
            Err(code) if is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall) => {
                out.truncate(start);
                if room >= limit {
                    return Err(Failure::TooLarge);
                }
                room = room.saturating_mul(4).min(limit);
            }
            Err(_) => return Err(Failure::Damaged),
        }
    }
}
