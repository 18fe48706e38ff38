use std::fmt::Write as _;
use std::io::Write as _;

use crate::client::{Failure, Result};

/// Rows under a headline, each column as wide as its widest cell; the last one as it is.
pub fn table(headline: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headline[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headline.len()).map(width).collect();
    let mut out = String::new();
    let headline: Vec<String> = headline.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&headline).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String does not fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Writes to standard output. `false`: who reads it has gone, as `head` does; nothing more is wanted.
pub fn out(text: &[u8]) -> Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure(format!("standard output: {error}"))),
    }
}

/// A JSON string.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long-name".to_owned(), String::new()]];
        assert_eq!(table(&["TOPIC", "N"], &rows), "TOPIC      N\na          1\nlong-name\n");
    }

    #[test]
    fn texts_are_sound_json() {
        assert_eq!(json("a \"b\" \\ \n\u{1}é"), "\"a \\\"b\\\" \\\\ \\n\\u0001é\"");
    }
}
