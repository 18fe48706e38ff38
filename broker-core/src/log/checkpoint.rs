//! Kafka's checkpoint files: a number for each partition, as text. A version, how many lines follow, then topic, partition and
//! offset.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use bytes::Bytes;

use crate::id::TopicPartition;
use crate::storage::{Disk, TOP, read_whole, replace};

/// Up to where each log is durable.
pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Where each log starts.
pub(crate) const LOG_STARTS: &str = "log-start-offset-checkpoint";

/// Up to where each log is compacted; a log that is not named never was.
pub(crate) const COMPACTED: &str = "cleaner-offset-checkpoint";

/// Offsets by partition.
pub(crate) type Offsets = BTreeMap<TopicPartition, i64>;

/// Puts a checkpoint in the old one's place.
pub(crate) fn write_checkpoint(disk: &dyn Disk, name: &str, offsets: &Offsets) -> io::Result<()> {
    let mut text = format!("0\n{}\n", offsets.len());
    for (id, offset) in offsets {
        let _ = writeln!(text, "{} {} {offset}", id.topic, id.partition);
    }
    replace(disk, TOP, name, Bytes::from(text))
}

/// Reads a checkpoint; nothing if it is not there, an error if it is damaged or its version is not known.
pub(crate) fn read_checkpoint(disk: &dyn Disk, name: &str) -> io::Result<Offsets> {
    let Some(bytes) = read_whole(disk, TOP, name)? else { return Ok(Offsets::new()) };
    parse(&String::from_utf8_lossy(&bytes))
        .map_err(|what| io::Error::new(io::ErrorKind::InvalidData, format!("{name} is damaged: {what}")))
}

fn parse(text: &str) -> Result<Offsets, String> {
    let mut lines = text.lines();
    match lines.next() {
        Some("0") => {}
        version => return Err(format!("version {:?} is not 0", version.unwrap_or_default())),
    }
    let count: usize = lines.next().and_then(|line| line.parse().ok()).ok_or("line 2 is no number")?;
    let mut offsets = Offsets::new();
    for (number, line) in lines.enumerate() {
        let fields: Vec<&str> = line.split(' ').collect();
        let read = match fields[..] {
            [topic, partition, offset] => {
                partition.parse().ok().zip(offset.parse().ok()).map(|(p, offset)| (TopicPartition::new(topic, p), offset))
            }
            _ => None,
        };
        let (id, offset) = read.ok_or_else(|| format!("line {} is {line:?}: expected topic, partition, offset", number + 3))?;
        offsets.insert(id, offset);
    }
    if offsets.len() == count { Ok(offsets) } else { Err(format!("{} partitions of {count}", offsets.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryDisk;

    #[test]
    fn a_checkpoint_is_kafkas_text_and_a_damaged_one_is_told() {
        let disk = MemoryDisk::new();
        assert!(read_checkpoint(&disk, "c").expect("none").is_empty());
        let offsets: Offsets = [(TopicPartition::new("b-1", 0), 7), (TopicPartition::new("a", 12), 0)].into();
        for _ in 0..2 {
            write_checkpoint(&disk, "c", &offsets).expect("written");
            disk.crash();
            assert_eq!(read_checkpoint(&disk, "c").expect("read"), offsets);
        }
        let text = "0\n2\na 12 0\nb-1 0 7\n";
        assert_eq!(read_whole(&disk, TOP, "c").expect("read").expect("there"), text.as_bytes());
        for (damaged, what) in [
            ("", "version"),
            ("1\n0\n", "version \"1\" is not 0"),
            ("0\n", "line 2"),
            ("0\n3\na 12 0\nb-1 0 7\n", "2 partitions of 3"),
            ("0\n1\na 12\n", "line 3"),
            ("0\n1\na x 0\n", "line 3"),
        ] {
            replace(&disk, TOP, "c", Bytes::from(damaged)).expect("written");
            let error = read_checkpoint(&disk, "c").expect_err(damaged).to_string();
            assert!(error.starts_with("c is damaged") && error.contains(what), "{error}");
        }
    }
}
