//! The shape of a request's body. It is walked before the messages' library reads the body: the library makes room for as many
//! elements as a length claims, and a length is four bytes that anybody can send.

/// Elements of all arrays in one request, and tags: far more than a client that works sends, and little enough that the
/// memory they take is of no weight.
const ELEMENTS_MAX: usize = 250_000;

/// One field, in the versions that have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    kind: Kind,
    from: i16,
    to: i16,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Fixed(usize),
    Text,
    Bytes,
    /// An array of one simple kind.
    List(&'static Field),
    /// An array of structs.
    Array(&'static [Field]),
    /// A struct, or none.
    Optional(&'static [Field]),
}

const fn always(kind: Kind) -> Field {
    Field { kind, from: 0, to: i16::MAX }
}

pub(super) const BOOL: Field = always(Kind::Fixed(1));
pub(super) const I8: Field = always(Kind::Fixed(1));
pub(super) const I16: Field = always(Kind::Fixed(2));
pub(super) const I32: Field = always(Kind::Fixed(4));
pub(super) const I64: Field = always(Kind::Fixed(8));
pub(super) const UUID: Field = always(Kind::Fixed(16));
pub(super) const TEXT: Field = always(Kind::Text);
pub(super) const BYTES: Field = always(Kind::Bytes);

pub(super) const fn list(of: &'static Field) -> Field {
    always(Kind::List(of))
}

pub(super) const fn array(of: &'static [Field]) -> Field {
    always(Kind::Array(of))
}

pub(super) const fn optional(of: &'static [Field]) -> Field {
    always(Kind::Optional(of))
}

impl Field {
    pub const fn from(self, version: i16) -> Self {
        Self { from: version, ..self }
    }

    pub const fn to(self, version: i16) -> Self {
        Self { to: version, ..self }
    }
}

/// Why a body is not of its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ShapeError {
    #[error("it ends within a field")]
    Short,
    #[error("a length of {0}")]
    Length(i64),
    #[error("it has more than {ELEMENTS_MAX} elements")]
    Elements,
}

/// Checks that a body holds all that its lengths claim. Returns how many elements it has.
pub(super) fn elements(shape: &[Field], version: i16, flexible: bool, body: &[u8]) -> Result<usize, ShapeError> {
    walk(shape, version, flexible, body).map(|walk| walk.elements)
}

/// The same; returns how many bytes are left over.
#[cfg(test)]
pub(super) fn check(shape: &[Field], version: i16, flexible: bool, body: &[u8]) -> Result<usize, ShapeError> {
    walk(shape, version, flexible, body).map(|walk| walk.rest.len())
}

fn walk<'a>(shape: &[Field], version: i16, flexible: bool, body: &'a [u8]) -> Result<Walk<'a>, ShapeError> {
    let mut walk = Walk { rest: body, elements: 0, version, flexible };
    walk.fields(shape)?;
    Ok(walk)
}

struct Walk<'a> {
    rest: &'a [u8],
    elements: usize,
    version: i16,
    flexible: bool,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Result<(), ShapeError> {
        let version = self.version;
        for field in fields.iter().filter(|field| (field.from..=field.to).contains(&version)) {
            self.field(field)?;
        }
        if self.flexible { self.tags() } else { Ok(()) }
    }

    fn field(&mut self, field: &Field) -> Result<(), ShapeError> {
        match field.kind {
            Kind::Fixed(size) => self.skip(size),
            Kind::Text => {
                let length = if self.flexible { self.compact_length()? } else { i64::from(self.i16()?) };
                self.skip_counted(length)
            }
            Kind::Bytes => {
                let length = self.length()?;
                self.skip_counted(length)
            }
            Kind::List(of) => {
                for _ in 0..self.count()? {
                    self.element()?;
                    self.field(of)?;
                }
                Ok(())
            }
            Kind::Array(of) => {
                for _ in 0..self.count()? {
                    self.element()?;
                    self.fields(of)?;
                }
                Ok(())
            }
            Kind::Optional(of) => match self.take()? {
                [1] => self.fields(of),
                _ => Ok(()),
            },
        }
    }

    fn element(&mut self) -> Result<(), ShapeError> {
        self.elements += 1;
        if self.elements > ELEMENTS_MAX { Err(ShapeError::Elements) } else { Ok(()) }
    }

    /// An array's length; null is none. Each element takes a byte at least.
    fn count(&mut self) -> Result<usize, ShapeError> {
        match self.length()? {
            -1 => Ok(0),
            length => match usize::try_from(length) {
                Ok(count) if count <= self.rest.len() => Ok(count),
                _ => Err(ShapeError::Length(length)),
            },
        }
    }

    fn length(&mut self) -> Result<i64, ShapeError> {
        if self.flexible { self.compact_length() } else { Ok(i64::from(self.i32()?)) }
    }

    fn compact_length(&mut self) -> Result<i64, ShapeError> {
        Ok(i64::from(self.uvarint()?) - 1)
    }

    fn skip_counted(&mut self, length: i64) -> Result<(), ShapeError> {
        match length {
            -1 => Ok(()),
            _ => self.skip(usize::try_from(length).map_err(|_| ShapeError::Length(length))?),
        }
    }

    fn skip(&mut self, size: usize) -> Result<(), ShapeError> {
        self.rest = self.rest.get(size..).ok_or(ShapeError::Short)?;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ShapeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(ShapeError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn i16(&mut self) -> Result<i16, ShapeError> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, ShapeError> {
        self.take().map(i32::from_be_bytes)
    }

    fn uvarint(&mut self) -> Result<u32, ShapeError> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| ShapeError::Length(value as i64));
            }
        }
        Err(ShapeError::Length(i64::MAX))
    }

    fn tags(&mut self) -> Result<(), ShapeError> {
        for _ in 0..self.uvarint()? {
            self.element()?;
            self.uvarint()?;
            let size = self.uvarint()?;
            self.skip(size as usize)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: &[Field] = &[I32, TEXT.from(1), array(&[TEXT, list(&I32), BYTES])];

    #[test]
    fn bodies_of_their_shape() {
        for (version, flexible, body, left) in [
            (0, false, &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff][..], 0),
            (1, false, &[0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 0, 9], 1),
            (0, false, &[0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 1, 5], 0),
            (1, true, &[0, 0, 0, 1, 2, b'a', 2, 1, 2, 0, 0, 0, 7, 0, 0, 1, 9, 2, 1, 1], 0),
        ] {
            assert_eq!(check(SHAPE, version, flexible, body), Ok(left), "{body:?}");
        }
    }

    #[test]
    fn lengths_that_lie() {
        for (flexible, body, error) in [
            (false, &[0, 0, 0][..], ShapeError::Short),
            (false, &[0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff], ShapeError::Length(i64::from(i32::MAX))),
            (false, &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe], ShapeError::Length(-2)),
            (false, &[0, 0, 0, 1, 0, 0, 0, 1, 0, 9, b'a'], ShapeError::Short),
            (true, &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f], ShapeError::Length(i64::from(u32::MAX) - 1)),
            (true, &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x1f], ShapeError::Length(0x1_ffff_ffff)),
            (true, &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 1], ShapeError::Length(i64::MAX)),
            (true, &[0, 0, 0, 1, 1, 1, 0, 0xff, 0xff, 3], ShapeError::Short),
        ] {
            assert_eq!(check(SHAPE, 0, flexible, body), Err(error), "{body:?}");
        }
    }

    #[test]
    fn too_many_elements() {
        let count = ELEMENTS_MAX as i32 + 1;
        let mut body = vec![0, 0, 0, 1];
        body.extend_from_slice(&count.to_be_bytes());
        body.resize(8 + 10 * count as usize, 0);
        assert_eq!(check(SHAPE, 0, false, &body), Err(ShapeError::Elements));
    }
}
