//! What stands before a request's and an answer's body.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::ApiKey;

/// A request, its body still to be read.
#[derive(Debug)]
pub(super) struct Request {
    pub key: i16,
    pub version: i16,
    pub correlation: i32,
    pub client_id: Option<Bytes>,
    pub body: Bytes,
}

/// Key, version and correlation id: the part that every request has, whatever its version.
const FIXED_BYTES: usize = 8;

impl Request {
    /// Reads the header; `None` if the bytes are too few, or the client's id no text.
    pub fn parse(mut frame: Bytes) -> Option<Self> {
        if frame.len() < FIXED_BYTES {
            return None;
        }
        let (key, version, correlation) = (frame.get_i16(), frame.get_i16(), frame.get_i32());
        let mut request = Self { key, version, correlation, client_id: None, body: frame };
        let header = ApiKey::try_from(key).map_or(1, |api| api.request_header_version(version));
        if header >= 1 {
            request.client_id = request.take_client_id()?;
        }
        if header >= 2 {
            skip_tags(&mut request.body)?;
        }
        Some(request)
    }

    /// Whether lengths are compact, and structs end with tags.
    pub fn is_flexible(&self) -> bool {
        ApiKey::try_from(self.key).is_ok_and(|api| api.request_header_version(self.version) >= 2)
    }

    /// What the client calls itself.
    pub fn client(&self) -> String {
        self.client_id.as_ref().map_or_else(String::new, |id| String::from_utf8_lossy(id).into_owned())
    }

    fn take_client_id(&mut self) -> Option<Option<Bytes>> {
        match self.body.try_get_i16().ok()? {
            -1 => Some(None),
            length => {
                let length = usize::try_from(length).ok().filter(|length| *length <= self.body.len())?;
                let id = self.body.split_to(length);
                std::str::from_utf8(&id).ok()?;
                Some(Some(id))
            }
        }
    }
}

/// Whether an answer's header ends with tags.
pub(super) fn answer_has_tags(key: i16, version: i16) -> bool {
    ApiKey::try_from(key).is_ok_and(|api| api.response_header_version(version) >= 1)
}

/// An unsigned number, seven bits a byte.
pub(super) fn take_uvarint(bytes: &mut Bytes) -> Option<u32> {
    let mut value = 0u32;
    for shift in [0, 7, 14, 21, 28] {
        let byte = bytes.try_get_u8().ok()?;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Tags that nobody here knows are passed over.
pub(super) fn skip_tags(bytes: &mut Bytes) -> Option<()> {
    for _ in 0..take_uvarint(bytes)? {
        take_uvarint(bytes)?;
        let size = take_uvarint(bytes)? as usize;
        if size > bytes.len() {
            return None;
        }
        bytes.advance(size);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_versions() {
        // Metadata version 1: header 1. Metadata version 9: header 2, with one tag.
        let plain = Request::parse(Bytes::from_static(&[0, 3, 0, 1, 0, 0, 0, 7, 0, 2, b'm', b'e', 9])).expect("a header");
        assert_eq!((plain.key, plain.version, plain.correlation), (3, 1, 7));
        assert_eq!((plain.client_id.as_deref(), &plain.body[..]), (Some(&b"me"[..]), &[9][..]));
        let tagged = [0, 3, 0, 9, 0, 0, 0, 7, 0xff, 0xff, 1, 0, 2, 1, 1, 9];
        let tagged = Request::parse(Bytes::copy_from_slice(&tagged)).expect("a header");
        assert_eq!((tagged.client_id, &tagged.body[..]), (None, &[9][..]));
    }

    #[test]
    fn damaged_headers_are_none() {
        for bytes in [
            &[0, 3, 0, 1, 0, 0][..],
            &[0, 3, 0, 1, 0, 0, 0, 7, 0],
            &[0, 3, 0, 1, 0, 0, 0, 7, 0, 9, b'm'],
            &[0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xfe],
            &[0, 3, 0, 1, 0, 0, 0, 7, 0, 1, 0xff],
            &[0, 3, 0, 9, 0, 0, 0, 7, 0xff, 0xff, 1, 0, 9, 1],
            &[0, 3, 0, 9, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert!(Request::parse(Bytes::copy_from_slice(bytes)).is_none(), "{bytes:?}");
        }
    }
}
