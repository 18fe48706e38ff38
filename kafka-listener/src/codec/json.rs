use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

use super::{CodecError, Deserializer, Field, Serializer};

/// JSON, by serde: `Json<Order>` as a parameter, `Json(&order)` to send. It may borrow from the log's bytes: `Json<Order<'_>>`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<'r, T: Deserialize<'r>> Deserializer<'r> for Json<T> {
    fn deserialize(field: Field<'r>) -> Result<Self, CodecError> {
        let bytes = field
            .get()
            .ok_or_else(|| CodecError::new(format!("the {} is null; take Option<Json<..>> to allow tombstones", field.part())))?;
        serde_json::from_slice(bytes).map(Json).map_err(|error| {
            let type_name = std::any::type_name::<T>();
            CodecError::with_source(format!("the {} is no JSON of {type_name}: {error}", field.part()), error)
        })
    }
}

impl<T: Serialize> Serializer for Json<T> {
    fn serialize(&self, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        serde_json::to_writer(out, &self.0).map(|()| true).map_err(|error| {
            CodecError::with_source(format!("{} does not become JSON: {error}", std::any::type_name::<T>()), error)
        })
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
