//! Frames: a length, then that many bytes.

use bytes::{Buf, Bytes, BytesMut};

/// Up to this size, room for a whole frame is made at once; larger ones grow with what really arrives.
const EAGER_BYTES: usize = 128 * 1024;
/// What is read at a time, at most, unless a frame has begun that is larger; and what it begins with.
pub(super) const READ_BYTES: usize = 64 * 1024;
const FIRST_READ_BYTES: usize = 4 * 1024;

/// Why a frame cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a request's size is {0}")]
    Negative(i32),
    #[error("a request of {size} bytes is over {} ({}){}", .limit.setting, .limit.bytes, hint(*.size))]
    TooLarge { size: usize, limit: Limit },
}

/// The largest frame, and the setting that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    pub bytes: usize,
    pub setting: &'static str,
}

/// TLS begins with a record's type, 22, and its version.
fn hint(size: usize) -> &'static str {
    match (size as u32).to_be_bytes() {
        [22, 3, 0..=4, _] => {
            ": these are the first bytes of TLS, which this port does not speak: a client's security.protocol is wrong"
        }
        _ => "",
    }
}

/// The next whole frame, if it is there.
pub(super) fn take(incoming: &mut BytesMut, limit: Limit) -> Result<Option<Bytes>, FrameError> {
    let Some(size) = next_size(incoming, limit)? else { return Ok(None) };
    if incoming.len() < 4 + size {
        return Ok(None);
    }
    incoming.advance(4);
    Ok(Some(incoming.split_to(size).freeze()))
}

fn next_size(incoming: &BytesMut, limit: Limit) -> Result<Option<usize>, FrameError> {
    let Some(head) = incoming.first_chunk::<4>() else { return Ok(None) };
    let size = i32::from_be_bytes(*head);
    match usize::try_from(size) {
        Err(_) => Err(FrameError::Negative(size)),
        Ok(size) if size > limit.bytes => Err(FrameError::TooLarge { size, limit }),
        Ok(size) => Ok(Some(size)),
    }
}

/// How much a connection reads at a time: a page for who asks little, as thousands may, and more for who fills what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(FIRST_READ_BYTES)
    }
}

impl Room {
    /// With nothing known of what comes.
    pub fn ahead(self) -> usize {
        self.0
    }

    /// For the rest of a frame that has begun, but not for what its length merely claims.
    pub fn next(self, incoming: &BytesMut, limit: Limit) -> usize {
        let missing = match next_size(incoming, limit) {
            Ok(Some(size)) => (4 + size).saturating_sub(incoming.len()),
            Ok(None) | Err(_) => 0,
        };
        let eager = if missing <= EAGER_BYTES { missing } else { EAGER_BYTES.max(incoming.len()).min(missing) };
        eager.max(self.0)
    }

    /// Something was read: more the next time, if it left no room.
    pub fn learn(&mut self, incoming: &BytesMut) {
        if incoming.len() == incoming.capacity() {
            self.0 = READ_BYTES.min(self.0 * 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn limit(bytes: usize) -> Limit {
        Limit { bytes, setting: "socket.request.max.bytes" }
    }

    #[test]
    fn frames_are_cut_where_they_end() {
        let mut incoming = BytesMut::from(&[0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 3, 1][..]);
        assert_eq!(take(&mut incoming, limit(100)), Ok(Some(Bytes::from_static(&[7, 8]))));
        assert_eq!(take(&mut incoming, limit(100)), Ok(Some(Bytes::new())));
        assert_eq!(take(&mut incoming, limit(100)), Ok(None), "three bytes are announced, one is there");
        incoming.extend_from_slice(&[2, 3]);
        assert_eq!(take(&mut incoming, limit(100)), Ok(Some(Bytes::from_static(&[1, 2, 3]))));
        assert_eq!((take(&mut incoming, limit(100)), incoming.len()), (Ok(None), 0));
    }

    #[test]
    fn sizes_that_cannot_be_are_refused_before_anything_is_kept_for_them() {
        for (head, refused) in [
            ([0xff, 0xff, 0xff, 0xff], FrameError::Negative(-1)),
            // A TLS client's first bytes.
            ([0x16, 0x03, 0x01, 0x02], FrameError::TooLarge { size: 369_295_618, limit: limit(100) }),
            ([0, 0, 0, 101], FrameError::TooLarge { size: 101, limit: limit(100) }),
        ] {
            assert_eq!(take(&mut BytesMut::from(&head[..]), limit(100)), Err(refused));
        }
    }

    #[test]
    fn room_follows_what_has_arrived() {
        let (limit, room) = (limit(100 << 20), Room::default());
        let mut incoming = BytesMut::from(&(limit.bytes as i32).to_be_bytes()[..]);
        assert_eq!(room.next(&incoming, limit), EAGER_BYTES, "for four bytes");
        incoming.resize(3 * EAGER_BYTES, 0);
        assert_eq!(room.next(&incoming, limit), 3 * EAGER_BYTES, "as much again");
        incoming.resize(4 + limit.bytes, 0);
        assert_eq!(room.next(&incoming, limit), FIRST_READ_BYTES);
    }

    #[test]
    fn who_fills_its_room_gets_more() {
        let (mut room, mut incoming) = (Room::default(), BytesMut::with_capacity(FIRST_READ_BYTES));
        incoming.resize(FIRST_READ_BYTES - 1, 0);
        room.learn(&incoming);
        assert_eq!(room.ahead(), FIRST_READ_BYTES, "a byte is left");
        incoming.resize(FIRST_READ_BYTES, 0);
        let seen: Vec<usize> = std::iter::repeat_with(|| {
            room.learn(&incoming);
            room.ahead()
        })
        .take(3)
        .collect();
        assert_eq!(seen, [4 * FIRST_READ_BYTES, READ_BYTES, READ_BYTES]);
    }
}
