//! Java's property files, as Kafka's tools read them; but in UTF-8.

/// One entry, with the line that it begins in.
#[derive(Debug, PartialEq, Eq)]
pub struct Property {
    pub line: usize,
    pub name: String,
    pub value: String,
}

/// All entries in order, and what is wrong with others.
pub fn parse(text: &str) -> (Vec<Property>, Vec<String>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (line, logical) in logical_lines(text) {
        let (name, value) = split(&logical);
        match (unescaped(name), unescaped(value)) {
            (Ok(name), Ok(value)) => found.push(Property { line, name, value }),
            (Err(problem), _) | (_, Err(problem)) => problems.push(format!("{line}: {problem}")),
        }
    }
    (found, problems)
}

/// Lines without comments and empty ones; one that ends with a backslash goes on in the next.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut logical = line.trim_start_matches(BLANKS).to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while goes_on(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, line)) => logical.push_str(line.trim_start_matches(BLANKS)),
                None => break,
            }
        }
        all.push((number + 1, logical));
    }
    all
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// An odd number of backslashes at the end: an even one is backslashes.
fn goes_on(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The name ends at the first `=`, `:` or blank without a backslash before it.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let ends = |(_, c): &(usize, char)| {
        let end = !escaped && (matches!(c, '=' | ':') || BLANKS.contains(c));
        escaped = !escaped && *c == '\\';
        end
    };
    let end = line.char_indices().find(ends).map_or(line.len(), |(at, _)| at);
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(BLANKS);
    (name, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(BLANKS))
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut units = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let escape = if c == '\\' { rest.next() } else { None };
        if escape == Some('u') {
            let digits: String = rest.by_ref().take(4).collect();
            let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
            units.push(unit.ok_or_else(|| format!("'\\u{digits}' is no character: four digits of base 16 follow \\u"))?);
            continue;
        }
        end_units(&mut units, &mut plain)?;
        plain.push(match escape {
            None if c == '\\' => break,
            None => c,
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('f') => '\u{c}',
            Some(other) => other,
        });
    }
    end_units(&mut units, &mut plain)?;
    Ok(plain)
}

/// Characters beyond the first 65,536 are two escapes in Java.
fn end_units(units: &mut Vec<u16>, plain: &mut String) -> Result<(), String> {
    plain.push_str(&String::from_utf16(units).map_err(|_| "half of a character, as \\u escapes".to_owned())?);
    units.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        let (found, problems) = parse(text);
        assert_eq!(problems, [""; 0]);
        found.into_iter().map(|one| (one.line, one.name, one.value)).collect()
    }

    #[test]
    fn as_java_reads_them() {
        for (text, name, value) in [
            ("a=b", "a", "b"),
            ("  a : b c ", "a", "b c "),
            ("a b", "a", "b"),
            ("a", "a", ""),
            ("a==b", "a", "=b"),
            (r"a\=b\ c=d", "a=b c", "d"),
            (r"a=\u00e4\ud83d\ude00\t\\\q", "a", "ä😀\t\\q"),
            ("a=one \\\n   two\\\\", "a", "one two\\"),
            ("a=b\\", "a", "b"),
            ("a=b\r\n", "a", "b"),
        ] {
            assert_eq!(pairs(text), [(1, name.to_owned(), value.to_owned())], "{text}");
        }
        assert_eq!(
            pairs("# c\\\n\n ! d\nx=1\\\n#2\ny=3"),
            [(4, "x".to_owned(), "1#2".to_owned()), (6, "y".to_owned(), "3".to_owned())]
        );
    }

    #[test]
    fn what_is_no_character_is_told() {
        let (found, problems) = parse("a=\\u12\nb=c\nd=\\ud83d");
        assert_eq!(found.len(), 1);
        assert!(problems[0].starts_with("1: '\\u12'") && problems[1].starts_with("3: half"), "{problems:?}");
    }
}
