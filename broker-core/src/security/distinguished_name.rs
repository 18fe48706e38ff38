//! Whose a certificate is, as Kafka names its owner: RFC 2253, the way Java writes it, where that is unambiguous.

const UTF8: u8 = 0x0c;
/// Other kinds of values that are texts, of the same letters as long as these are ASCII: printable, T61, IA5, general.
const TEXTS: [u8; 4] = [0x13, 0x14, 0x16, 0x1b];
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
/// The certificate's version, which older ones do not have.
const VERSION: u8 = 0xa0;

/// Attributes that have a name; others are told by their number, and their values as bytes.
const NAMED: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
];

/// The distinguished name of a certificate's subject; empty if that has no name, `None` if the certificate is damaged.
pub(crate) fn subject(certificate: &[u8]) -> Option<String> {
    let (outer, _) = expect(SEQUENCE, certificate)?;
    let (mut signed, _) = expect(SEQUENCE, outer)?;
    if let Some((_, rest)) = expect(VERSION, signed) {
        signed = rest;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        signed = value(signed)?.rest;
    }
    let (names, _) = expect(SEQUENCE, signed)?;
    written(names)
}

/// The parts in the other order; what stands together is joined by `+`.
fn written(mut names: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    while !names.is_empty() {
        let (mut set, rest) = expect(SET, names)?;
        let mut together = Vec::new();
        while !set.is_empty() {
            let (pair, rest) = expect(SEQUENCE, set)?;
            together.push(attribute(pair)?);
            set = rest;
        }
        parts.push(together.join("+"));
        names = rest;
    }
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(pair: &[u8]) -> Option<String> {
    let (id, text) = expect(OBJECT_ID, pair)?;
    let Value { tag, content, .. } = value(text)?;
    match NAMED.iter().find(|(known, _)| *known == id) {
        Some((_, name)) => Some(match readable(tag, content) {
            Some(text) => format!("{name}={}", escaped(text)),
            None => format!("{name}=#{}", hex(text)),
        }),
        None => Some(format!("{}=#{}", dotted(id)?, hex(text))),
    }
}

/// A value that is written as the text that it is. Java takes the bytes of every kind for UTF-8, and what is none for one and the
/// same letter, so that different names become one; those are written as bytes here.
fn readable(tag: u8, content: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(content).ok()?;
    (tag == UTF8 || TEXTS.contains(&tag) && text.is_ascii()).then_some(text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An object's id as numbers: seven bits a byte, the first two numbers in one.
fn dotted(id: &[u8]) -> Option<String> {
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for byte in id {
        number = number.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let both = *numbers.first()?;
    let first = (both / 40).min(2);
    numbers[0] = both - first * 40;
    let numbers: Vec<String> = std::iter::once(first).chain(numbers).map(|number| number.to_string()).collect();
    Some(numbers.join("."))
}

/// Backslashes where Java puts them: more often than the RFC asks for.
fn escaped(text: &str) -> String {
    let blank = |c: char| matches!(c, ' ' | '\r');
    let ends_at = text.trim_end_matches(blank).len();
    let begins_at = text.len() - text.trim_start_matches(blank).len();
    let mut all = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '\0' => all.push_str("\\00"),
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => all.extend(['\\', c]),
            c if at < begins_at || at >= ends_at => all.extend(['\\', c]),
            c => all.push(c),
        }
    }
    all
}

/// One value in DER.
struct Value<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

fn value(bytes: &[u8]) -> Option<Value<'_>> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&first, mut bytes) = bytes.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (digits, rest) =
            bytes.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| (1..=4).contains(&digits.len()))?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        bytes = rest;
    }
    let (content, rest) = bytes.split_at_checked(length)?;
    Some(Value { tag, content, rest })
}

/// The content of a value of this kind, and what is behind it.
fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    value(bytes).filter(|found| found.tag == tag).map(|found| (found.content, found.rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    }

    /// Names as OpenSSL made them, and what Java's `X500Principal.getName` says of them.
    #[test]
    fn names_are_written_as_java_does() {
        for (name, written_by_java) in [
            ("300e310c300a06035504030c03616e6e", "CN=ann"),
            (
                "3050310b3009060355040613024445310f300d06035504080c064265726c696e310f300d06035504070c064265726c696e31133011060355040\
                 a0c0a41636d652c20496e632e310a3008060355040b0c0161",
                r"OU=a,O=Acme\, Inc.,L=Berlin,ST=Berlin,C=DE",
            ),
            ("301b3119301706035504030c10612c623d632b643c653e3b2223665c67", r#"CN=a\,b\=c\+d\<e\>\;\"\#f\\g"#),
            ("3010310e300c06035504030c05236c656164", r"CN=\#lead"),
            ("301b3119301706035504030c10206c65616420616e6420747261696c20", r"CN=\ lead and trail\ "),
            (
                "308195310e300c06035504030c05c3bc6ec3af3117301506092a864886f70d0109011608616e6e40782e646531123010060a0992268993f22c\
                 6401010c02753131173015060a0992268993f22c64011916076578616d706c6531133011060a0992268993f22c64011916036f7267310f300d\
                 06035504090c064d61696e2031310b3009060355040513023132310a3008060355040c0c0154",
                "2.5.4.12=#0c0154,2.5.4.5=#13023132,STREET=Main 1,DC=org,DC=example,UID=u1,\
                 1.2.840.113549.1.9.1=#1608616e6e40782e6465,CN=ünï",
            ),
            ("30223114300806035504030c01613008060355040b0c0162310a3008060355040a0c0163", "O=c,CN=a+OU=b"),
        ] {
            let name = bytes(&name.replace(' ', ""));
            let (names, rest) = expect(SEQUENCE, &name).expect("a name");
            assert_eq!((written(names).as_deref(), rest.len()), (Some(written_by_java), 0));
        }
    }

    /// One name, of a value of this kind.
    fn common_name(tag: u8, value: &[u8]) -> Option<String> {
        let within = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        let pair = [within(OBJECT_ID, &[0x55, 4, 3]), within(tag, value)].concat();
        written(&within(SET, &within(SEQUENCE, &pair)))
    }

    #[test]
    fn different_names_are_never_written_alike() {
        let [printable, t61, ia5, general, universal, bmp] = [0x13, 0x14, 0x16, 0x1b, 0x1c, 0x1e];
        for (tag, value, told) in [
            (UTF8, "mü".as_bytes(), "CN=mü"),
            (UTF8, b"m\xfc", "CN=#0c026dfc"),
            (printable, b"ann", "CN=ann"),
            (t61, b"ann", "CN=ann"),
            (t61, b"m\xfc", "CN=#14026dfc"),
            (t61, b"m\xe4", "CN=#14026de4"),
            // What would be `mü` in UTF-8 is something else here.
            (t61, b"m\xc3\xbc", "CN=#14036dc3bc"),
            (ia5, b"m\xfc", "CN=#16026dfc"),
            (general, b"ann", "CN=ann"),
            (universal, b"\0\0\0a", "CN=#1c0400000061"),
            // One character, and no `N-`.
            (bmp, b"N-", "CN=#1e024e2d"),
        ] {
            assert_eq!(common_name(tag, value).as_deref(), Some(told));
        }
    }

    #[test]
    fn the_subject_of_a_certificate() {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a certificate");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Acme");
        params.distinguished_name.push(DnType::CommonName, "ann");
        let made = params.self_signed(&key).expect("signed");
        let certificate = made.der();
        assert_eq!(subject(certificate).as_deref(), Some("CN=ann,O=Acme"));
        for cut in 0..certificate.len() {
            assert!(subject(&certificate[..cut]).is_none());
        }
        params.distinguished_name = DistinguishedName::new();
        assert_eq!(subject(params.self_signed(&key).expect("signed").der()).as_deref(), Some(""), "nobody in particular");
    }
}
