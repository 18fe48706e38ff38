use bytes::Bytes;

use super::{CodecError, Deserializer, Field, Serializer};

fn null(field: Field<'_>) -> CodecError {
    CodecError::new(format!("the {} is null; take an Option to allow that", field.part()))
}

impl<'r> Deserializer<'r> for &'r [u8] {
    fn deserialize(field: Field<'r>) -> Result<Self, CodecError> {
        field.get().ok_or_else(|| null(field))
    }
}

impl<'r> Deserializer<'r> for &'r str {
    fn deserialize(field: Field<'r>) -> Result<Self, CodecError> {
        let bytes = field.get().ok_or_else(|| null(field))?;
        std::str::from_utf8(bytes).map_err(|error| {
            CodecError::with_source(format!("the {} is not UTF-8 at byte {}", field.part(), error.valid_up_to()), error)
        })
    }
}

impl Deserializer<'_> for String {
    fn deserialize(field: Field<'_>) -> Result<Self, CodecError> {
        <&str>::deserialize(field).map(str::to_owned)
    }
}

impl Deserializer<'_> for Bytes {
    fn deserialize(field: Field<'_>) -> Result<Self, CodecError> {
        field.to_bytes().ok_or_else(|| null(field))
    }
}

impl Deserializer<'_> for Vec<u8> {
    fn deserialize(field: Field<'_>) -> Result<Self, CodecError> {
        field.get().map(<[u8]>::to_vec).ok_or_else(|| null(field))
    }
}

/// Nobody looks at the field.
impl Deserializer<'_> for () {
    fn deserialize(_: Field<'_>) -> Result<Self, CodecError> {
        Ok(())
    }
}

/// A null is `None`.
impl<'r, T: Deserializer<'r>> Deserializer<'r> for Option<T> {
    fn deserialize(field: Field<'r>) -> Result<Self, CodecError> {
        field.get().map(|_| T::deserialize(field)).transpose()
    }
}

macro_rules! plain {
    ($($type:ty),*) => {
        $(impl Serializer for $type {
            fn serialize(&self, out: &mut Vec<u8>) -> Result<bool, CodecError> {
                out.extend_from_slice(self.as_ref());
                Ok(true)
            }

            fn as_bytes(&self) -> Option<Option<&[u8]>> {
                Some(Some(self.as_ref()))
            }
        })*
    };
}

plain!(str, String, [u8], Vec<u8>, Bytes);

impl<const N: usize> Serializer for [u8; N] {
    fn serialize(&self, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        out.extend_from_slice(self);
        Ok(true)
    }

    fn as_bytes(&self) -> Option<Option<&[u8]>> {
        Some(Some(self))
    }
}

/// Kafka's null: a tombstone.
impl Serializer for () {
    fn serialize(&self, _: &mut Vec<u8>) -> Result<bool, CodecError> {
        Ok(false)
    }

    fn as_bytes(&self) -> Option<Option<&[u8]>> {
        Some(None)
    }
}

impl<T: Serializer> Serializer for Option<T> {
    fn serialize(&self, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        self.as_ref().map_or(Ok(false), |value| value.serialize(out))
    }

    fn as_bytes(&self) -> Option<Option<&[u8]>> {
        self.as_ref().map_or(Some(None), Serializer::as_bytes)
    }
}

impl<T: Serializer + ?Sized> Serializer for &T {
    fn serialize(&self, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        (**self).serialize(out)
    }

    fn as_bytes(&self) -> Option<Option<&[u8]>> {
        (**self).as_bytes()
    }
}
