//! Writes the fuzzers' seeds: batches of every codec, and the files of real logs, whole and torn.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_core::record::{BatchBuilder, Codec, Compression};
use broker_core::storage::{Disk, MemoryDisk};
use broker_core::{Broker, BrokerConfig, NewTopic, TransactionEnd};
use bytes::BytesMut;
use fuzz::{Folder, KINDS};

fn batch(codec: Codec, count: usize, producer: Option<(i64, i16, i32)>) -> BytesMut {
    let mut builder = BatchBuilder::new().compression(Compression::new(codec).expect("built"));
    if let Some((id, epoch, sequence)) = producer {
        builder.producer(id, epoch, sequence);
    }
    for n in 0..count {
        let key = format!("key-{}", n % 7);
        builder.append(1000 + n as i64, Some(key.as_bytes()), Some(&[n as u8; 40]), &[("h", Some(b"1")), ("n", None)]);
    }
    builder.build()
}

fn put(target: &str, name: &str, bytes: &[u8]) {
    let directory: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&directory).expect("made");
    fs::write(directory.join(name), bytes).expect("written");
}

/// The files of a log that was really written.
fn log(settings: &[(&str, &str)], write: impl Fn(&Broker)) -> Vec<(usize, u8, Vec<u8>)> {
    let disk = MemoryDisk::new();
    let config = BrokerConfig { offsets_topic_num_partitions: 1, ..BrokerConfig::default() };
    let broker = Broker::builder().disk(Arc::new(disk.clone())).config(config).seed(1).open().expect("opened");
    let mut topic = NewTopic::new("t").partitions(1);
    topic.configs = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    broker.create_topic(&topic).expect("made");
    write(&broker);
    let mut files = Vec::new();
    for name in disk.files("t-0").expect("listed") {
        let Some((digits, kind)) = name.split_once('.') else { continue };
        let (Ok(base), Some(kind)) = (digits.parse::<u8>(), KINDS.iter().position(|one| *one == kind)) else { continue };
        let file = disk.open("t-0", &name).expect("opened");
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < file.size() {
            bytes.extend_from_slice(&file.read(bytes.len() as u64, 1 << 20).expect("read"));
        }
        files.push((kind, base, bytes));
    }
    files
}

fn main() {
    let mut run = Vec::new();
    for codec in Codec::ALL {
        put("batch", codec.name(), &batch(codec, 20, None));
        let mut padded = batch(codec, 50, Some((9, 1, 0)));
        run.extend_from_slice(&padded);
        padded.truncate(padded.len() - 1);
        put("batch", &format!("{codec}-torn"), &padded);
    }
    put("batch", "run", &run);

    let small = [("segment.bytes", "1024"), ("index.interval.bytes", "100")];
    let plain = log(&small, |broker| {
        let t = broker.partition("t", 0).expect("there");
        for n in 0..12 {
            t.produce(batch(Codec::None, 3, Some((n % 2, 0, (n / 2 * 3) as i32)))).expect("produced");
        }
    });
    let packed = log(&[("segment.bytes", "2000")], |broker| {
        let t = broker.partition("t", 0).expect("there");
        for codec in Codec::ALL {
            t.produce(batch(codec, 12, None)).expect("produced");
        }
    });
    let within = log(&small, |broker| {
        let t = broker.partition("t", 0).expect("there");
        for n in 0..12i32 {
            let id = i64::from(n % 3);
            let mut builder = BatchBuilder::new();
            builder.producer(id, 0, n / 3);
            builder.transactional();
            builder.append(1000 + i64::from(n), Some(b"k"), Some(&[n as u8; 100]), &[]);
            t.produce(builder.build()).expect("produced");
            if n % 4 == 3 {
                let end = TransactionEnd { producer_id: id, producer_epoch: 0, coordinator_epoch: 1, committed: n == 7 };
                t.end_transaction(&end).expect("ended");
            }
        }
    });
    for (name, files, end) in [("plain", plain, 36), ("packed", packed, 60), ("within", within, 15)] {
        for (state, clean, recovery_point, repair) in
            [("clean", true, end, false), ("killed", false, 0, false), ("repaired", false, 0, true), ("point", false, 12, true)]
        {
            let folder = Folder { clean, repair, recovery_point, files: files.clone(), ..Folder::default() };
            put("recovery", &format!("{name}-{state}"), &folder.write());
            let mut torn = folder.clone();
            if let Some((_, _, bytes)) = torn.files.iter_mut().rev().find(|(kind, _, _)| KINDS[*kind] == "log") {
                bytes.truncate(bytes.len() - 30);
            }
            torn.compacted_to = Some(12);
            put("recovery", &format!("{name}-{state}-torn"), &torn.write());
            let mut swap = folder;
            swap.compacted_to = Some(24);
            for (kind, base, _) in swap.files.iter_mut() {
                if *base == 0 && KINDS[*kind] == "log" {
                    *kind = 4;
                }
            }
            put("recovery", &format!("{name}-{state}-swap"), &swap.write());
        }
    }
}
