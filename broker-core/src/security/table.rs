use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, ErrorCode};
use crate::storage::{Disk, TOP, replace};

/// The version of a table's format, in its first line.
const VERSION: &str = "0";

/// A small table that is kept in the data folder, a line an entry, and replaced as a whole.
#[derive(Debug)]
pub(crate) struct Table {
    disk: Arc<dyn Disk>,
    file: &'static str,
}

impl Table {
    pub fn new(disk: Arc<dyn Disk>, file: &'static str) -> Self {
        Self { disk, file }
    }

    /// Its lines; an error if one is not `parse`d.
    pub fn load<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Error> {
        let text = self.read().map_err(|error| self.failed("cannot be read", error))?;
        let mut lines = text.lines();
        match lines.next() {
            None | Some(VERSION) => {}
            Some(other) => return Err(self.wrong(&format!("version '{other}' is not known here"))),
        }
        lines
            .enumerate()
            .map(|(at, line)| parse(line).ok_or_else(|| self.wrong(&format!("line {} is damaged", at + 2))))
            .collect()
    }

    pub(super) fn read(&self) -> io::Result<String> {
        if self.disk.size(TOP, self.file)?.is_none() {
            return Ok(String::new());
        }
        let file = self.disk.open(TOP, self.file)?;
        String::from_utf8(file.read(0, file.size() as usize)?.to_vec())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Keeps these lines in place of all others, durably.
    pub fn store(&self, lines: impl Iterator<Item = String>) -> Result<(), Error> {
        let mut text = format!("{VERSION}\n");
        for line in lines {
            text.push_str(&line);
            text.push('\n');
        }
        replace(self.disk.as_ref(), TOP, self.file, Bytes::from(text)).map_err(|error| self.failed("cannot be kept", error))
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        Error::with_source(ErrorCode::KafkaStorageError, format!("{} {what}", self.file), error)
    }

    fn wrong(&self, text: &str) -> Error {
        Error::new(ErrorCode::KafkaStorageError, format!("{}: {text}", self.file))
    }
}
