//! Rows of the flights CSV. A bad row is an error that names the file and the line.

use std::fs::File;
use std::io::{self, Read};

use anyhow::{Context, Result, anyhow, bail};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

/// January 2013, as shipped with the example.
static JANUARY: &[u8] = include_bytes!("../data/flights-2013-01.csv.gz");
/// The name of that file, for messages.
const JANUARY_NAME: &str = "flights-2013-01.csv.gz (shipped)";

/// One flight. `None` stands for `NA`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// Its place in the file, from 1.
    pub row: u64,
    /// The airline's code.
    pub carrier: String,
    /// Where it starts.
    pub origin: String,
    /// Where it goes.
    pub dest: String,
    /// The airplane.
    pub tailnum: Option<String>,
    /// When it left, as hhmm; `None` if it was cancelled.
    pub dep_time: Option<i32>,
    /// By how many minutes it left late.
    pub dep_delay: Option<i32>,
    /// By how many minutes it arrived late.
    pub arr_delay: Option<i32>,
    /// How far it goes, in miles.
    pub distance: i32,
}

/// The rows of an input, one by one.
pub struct Rows {
    name: String,
    reader: csv::Reader<Box<dyn Read + Send>>,
    columns: Columns,
    row: u64,
}

struct Columns {
    carrier: usize,
    origin: usize,
    dest: usize,
    tailnum: usize,
    dep_time: usize,
    dep_delay: usize,
    arr_delay: usize,
    distance: usize,
}

/// Opens an input: a path, `-` for standard input, or the shipped January. A name that ends in `.gz` is unpacked.
pub fn open(input: Option<&str>) -> Result<Rows> {
    let (name, bytes): (&str, Box<dyn Read + Send>) = match input {
        None => (JANUARY_NAME, Box::new(GzDecoder::new(JANUARY))),
        Some("-") => ("standard input", Box::new(io::stdin())),
        Some(path) => {
            let file = File::open(path).with_context(|| format!("--input {path}: cannot be opened"))?;
            (path, if path.ends_with(".gz") { Box::new(GzDecoder::new(file)) } else { Box::new(file) })
        }
    };
    Rows::new(name, bytes)
}

impl Rows {
    /// Reads the header; a missing column is an error that names it.
    pub fn new(name: &str, bytes: Box<dyn Read + Send>) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
        let header = reader.headers().with_context(|| format!("{name}:1: no CSV header"))?.clone();
        let column = |wanted: &str| {
            header.iter().position(|name| name == wanted).ok_or_else(|| anyhow!("{name}:1: there is no column '{wanted}'"))
        };
        let columns = Columns {
            carrier: column("carrier")?,
            origin: column("origin")?,
            dest: column("dest")?,
            tailnum: column("tailnum")?,
            dep_time: column("dep_time")?,
            dep_delay: column("dep_delay")?,
            arr_delay: column("arr_delay")?,
            distance: column("distance")?,
        };
        Ok(Self { name: name.to_owned(), reader, columns, row: 0 })
    }

    fn read(&mut self) -> Result<Option<Flight>> {
        let mut record = csv::StringRecord::new();
        let name = &self.name;
        let at = self.reader.position().line();
        if !self.reader.read_record(&mut record).with_context(|| format!("{name}:{at}: the row cannot be read"))? {
            return Ok(None);
        }
        self.row += 1;
        let line = record.position().map_or(0, csv::Position::line);
        let text = |index: usize| record.get(index).unwrap_or_default();
        let number = |index: usize, column: &str| -> Result<Option<i32>> {
            match text(index) {
                "NA" | "" => Ok(None),
                text => text
                    .parse()
                    .map(Some)
                    .map_err(|_| anyhow!("{name}:{line}: {column} is '{text}', expected a whole number or NA")),
            }
        };
        let columns = &self.columns;
        let carrier = text(columns.carrier);
        if carrier.is_empty() {
            bail!("{name}:{line}: the carrier is missing");
        }
        Ok(Some(Flight {
            row: self.row,
            carrier: carrier.to_owned(),
            origin: text(columns.origin).to_owned(),
            dest: text(columns.dest).to_owned(),
            tailnum: Some(text(columns.tailnum)).filter(|tail| !matches!(*tail, "NA" | "")).map(str::to_owned),
            dep_time: number(columns.dep_time, "dep_time")?,
            dep_delay: number(columns.dep_delay, "dep_delay")?,
            arr_delay: number(columns.arr_delay, "arr_delay")?,
            distance: number(columns.distance, "distance")?.ok_or_else(|| anyhow!("{name}:{line}: the distance is missing"))?,
        }))
    }
}

impl Iterator for Rows {
    type Item = Result<Flight>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "year,dep_time,dep_delay,arr_delay,carrier,tailnum,origin,dest,distance\n";

    fn rows(text: &str) -> Result<Vec<Flight>> {
        Rows::new("test.csv", Box::new(io::Cursor::new(format!("{HEADER}{text}"))))?.collect()
    }

    #[test]
    fn rows_are_read_and_na_is_none() {
        let read = rows("2013,517,2,11,UA,N14228,EWR,IAH,1400\n2013,NA,NA,NA,AA,NA,LGA,DFW,1389\n").expect("read");
        assert_eq!((read[0].row, read[0].dep_delay, read[0].tailnum.as_deref()), (1, Some(2), Some("N14228")));
        assert_eq!((read[1].row, read[1].dep_time, read[1].tailnum.as_deref()), (2, None, None));
    }

    #[test]
    fn bad_rows_name_file_and_line() {
        for (text, part) in [
            ("2013,517,two,11,UA,N1,EWR,IAH,1400\n", "test.csv:2: dep_delay is 'two'"),
            ("2013,517,2,11,UA,N1,EWR,IAH,1400\n2013,517,2,11,,N1,EWR,IAH,1400\n", "test.csv:3: the carrier is missing"),
            ("2013,517\n", "test.csv:2: the row cannot be read"),
        ] {
            let error = format!("{:#}", rows(text).expect_err("bad"));
            assert!(error.contains(part), "{error}");
        }
        let error = Rows::new("x.csv", Box::new(io::Cursor::new("a,b\n"))).err().expect("bad").to_string();
        assert!(error.contains("x.csv:1: there is no column 'carrier'"), "{error}");
    }

    #[test]
    fn an_input_that_was_cut_off_is_an_error_and_not_a_short_table() {
        let cut = GzDecoder::new(&JANUARY[..JANUARY.len() / 2]);
        let error = Rows::new("cut.gz", Box::new(cut)).expect("the header is whole").find_map(Result::err).expect("an error");
        let error = format!("{error:#}");
        assert!(error.starts_with("cut.gz:") && error.contains("the row cannot be read"), "{error}");
    }

    #[test]
    fn january_is_whole() {
        let all: Vec<Flight> = open(None).expect("opened").collect::<Result<_>>().expect("read");
        assert_eq!(all.len(), 27_004);
        assert_eq!(all.iter().filter(|flight| flight.carrier == "UA").count(), 4_637);
    }
}
