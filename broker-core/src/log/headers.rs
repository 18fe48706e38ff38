use std::io;

use bytes::Bytes;

use super::Log;
use super::read::{Stretch, read_exact};
use crate::record::batch::peek_size;
use crate::record::{CONTROL_BIT, HEADER_BYTES, MARKER_BYTES_MAX, at, header};

/// How much is read at a time: the headers of many small batches, or of one large one.
const CHUNK_BYTES: usize = 8 * 1024;

/// Shows the header of each batch from the one that holds `offset` on, in order; the records behind it are not read, but for
/// control batches, which are small.
pub(crate) fn headers(log: &mut Log, offset: i64, mut visit: impl FnMut(&[u8])) -> io::Result<()> {
    let mut next = log.locate(offset)?;
    while let Some(mut stretch) = next {
        if !stretch.look_up()? {
            log.rebuild(stretch.base)?;
            next = log.locate(offset)?;
            continue;
        }
        walk(&stretch, &mut visit)?;
        next = log.locate_behind(&stretch)?;
    }
    Ok(())
}

fn walk(stretch: &Stretch, visit: &mut impl FnMut(&[u8])) -> io::Result<()> {
    let file = stretch.file.as_ref();
    let (mut position, mut chunk, mut chunk_at) = (stretch.position, Bytes::new(), 0u64);
    while position < stretch.end {
        let skip = (position - chunk_at) as usize;
        if chunk.len() < skip + HEADER_BYTES {
            chunk = file.read(position, CHUNK_BYTES)?;
            if chunk.len() < HEADER_BYTES {
                chunk = read_exact(file, position, HEADER_BYTES)?;
            }
            chunk_at = position;
        }
        let header = &chunk[(position - chunk_at) as usize..];
        let size = peek_size(header).map_err(io::Error::other)?;
        if header::i16(header, at::ATTRIBUTES) & CONTROL_BIT == 0 {
            visit(&header[..HEADER_BYTES]);
        } else {
            visit(&read_exact(file, position, size.min(MARKER_BYTES_MAX))?);
        }
        position += size as u64;
    }
    Ok(())
}
