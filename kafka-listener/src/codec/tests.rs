use bytes::Bytes;

use super::*;

fn record(value: Option<&[u8]>) -> RawRecord {
    RawRecord::from_parts(0, 0, Some(b"key"), value, &[])
}

#[test]
fn fields_are_read_as_what_they_are_asked_for() {
    let text = record(Some("grüße".as_bytes()));
    assert_eq!(<&str>::deserialize(Field::value(&text)).expect("text"), "grüße");
    assert_eq!(String::deserialize(Field::key(&text)).expect("text"), "key");
    assert_eq!(Bytes::deserialize(Field::key(&text)).expect("bytes"), "key");
    assert_eq!(<&[u8]>::deserialize(Field::key(&text)).expect("bytes"), b"key");
    assert_eq!(Vec::<u8>::deserialize(Field::key(&text)).expect("bytes"), b"key");
    <()>::deserialize(Field::value(&text)).expect("nobody looks");
    assert_eq!(Option::<String>::deserialize(Field::value(&record(None))).expect("a null"), None);
    assert_eq!(Option::<&str>::deserialize(Field::key(&text)).expect("text"), Some("key"));
    <()>::deserialize(Field::value(&record(None))).expect("a null is nothing too");
}

#[test]
fn json_borrows_from_the_record() {
    #[derive(serde::Deserialize)]
    struct Order<'a> {
        id: u64,
        #[serde(borrow)]
        customer: &'a str,
    }
    let record = record(Some(br#"{"id":3,"customer":"ann"}"#));
    let Json(order) = Json::<Order<'_>>::deserialize(Field::value(&record)).expect("an order");
    assert_eq!((order.id, order.customer), (3, "ann"));
    let bytes = record.value().expect("there").as_ptr_range();
    assert!(bytes.contains(&order.customer.as_ptr()), "no copy was made");
}

#[test]
fn what_does_not_decode_says_where_and_why() {
    let says = |result: Result<(), CodecError>, parts: &[&str]| {
        let text = result.expect_err("does not decode").to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    };
    let bad = record(Some(b"ab\xffcd"));
    says(String::deserialize(Field::value(&bad)).map(drop), &["the value", "UTF-8", "byte 2"]);
    says(<&str>::deserialize(Field::value(&record(None))).map(drop), &["the value is null", "Option"]);
    says(Bytes::deserialize(Field::value(&record(None))).map(drop), &["the value is null"]);
    says(Json::<u32>::deserialize(Field::value(&record(None))).map(drop), &["the value is null", "tombstones"]);
    says(Json::<u32>::deserialize(Field::key(&bad)).map(drop), &["the key is no JSON of u32", "column 1"]);
    says(Option::<Json<u32>>::deserialize(Field::value(&record(Some(b"\"x\"")))).map(drop), &["no JSON", "expected u32"]);
    says(Json::<u32>::deserialize(Field::value(&record(Some(b"5 6")))).map(drop), &["trailing"]);
}

#[test]
fn references_write_what_they_refer_to() {
    fn bytes(value: impl Serializer) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let some = value.serialize(&mut out).expect("written");
        if let Some(held) = value.as_bytes() {
            assert_eq!(held, some.then_some(&out[..]), "both ways say the same");
        }
        some.then_some(out)
    }
    let (text, list, nothing): (&&str, &Json<[u8; 2]>, &()) = (&"text", &Json([1, 2]), &());
    assert_eq!(bytes(text), Some(b"text".to_vec()));
    assert_eq!(bytes(list), Some(b"[1,2]".to_vec()));
    assert_eq!(bytes(Some(&Bytes::from_static(b"b"))), Some(b"b".to_vec()));
    assert_eq!(bytes(None::<&str>), None);
    assert_eq!(bytes(nothing), None);
    assert_eq!(bytes(""), Some(Vec::new()), "empty is not null");
}
