//! Writes data folders for Kafka's dump-log to judge: what every codec, compaction, retention and recovery leave on disk.
//!
//! ```text
//! folders DIRECTORY
//! ```

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use broker_core::record::{BatchBuilder, Codec, Compression, batches};
use broker_core::{Broker, BrokerConfig, MemberIdentity, NewTopic, OffsetCommit, PartitionHandle, TransactionEnd};

/// For what a broker does in its own time.
const DEADLINE: Duration = Duration::from_secs(60);
const SMALL: [(&str, &str); 2] = [("segment.bytes", "4096"), ("index.interval.bytes", "300")];
const PRODUCERS: i64 = 3;

fn open(dir: &Path) -> Result<Broker> {
    let config = BrokerConfig { log_cleaner_backoff_ms: 100, offsets_topic_num_partitions: 1, ..BrokerConfig::default() };
    Ok(Broker::builder().dir(dir).config(config).open()?)
}

fn topic(broker: &Broker, name: &str, settings: &[(&str, &str)]) -> Result<PartitionHandle> {
    let mut topic = NewTopic::new(name).partitions(1);
    topic.configs = SMALL.iter().chain(settings).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    broker.create_topic(&topic)?;
    Ok(broker.partition(name, 0)?)
}

/// So many batches of three records of ten keys, by some producers in turn.
fn fill(broker: &Broker, to: &PartitionHandle, codec: Codec, from: usize, count: usize) -> Result<()> {
    let mut builder = BatchBuilder::new().compression(Compression::new(codec)?);
    for number in from..from + count {
        let (producer, round) = (number as i64 % PRODUCERS, number / PRODUCERS as usize);
        builder.producer(producer, 0, 3 * round as i32);
        for n in 0..3 {
            let key = format!("key-{}", (number + n) % 10);
            let value = vec![number as u8; 60];
            builder.append(broker.clock().wall_ms(), Some(key.as_bytes()), Some(&value), &[("n", Some(b"1"))]);
        }
        to.produce(builder.build())?;
    }
    Ok(())
}

fn count(partition: &PartitionHandle) -> Result<usize> {
    let (mut next, mut count) = (partition.log_start(), 0);
    while next < partition.end_offset() {
        for batch in partition.fetch(next, 1 << 20)?.batches.iter().flat_map(batches) {
            let batch = batch?;
            batch.verify_crc()?;
            (next, count) = (batch.last_offset() + 1, count + batch.count() as usize);
        }
    }
    Ok(count)
}

/// The files of a partition that end so, in order.
fn files(dir: &Path, partition: &str, ending: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir.join(partition))?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut found: Vec<_> = entries.into_iter().filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    Ok(found)
}

async fn every_codec(dir: &Path) -> Result<()> {
    let broker = open(dir)?;
    for codec in Codec::ALL {
        fill(&broker, &topic(&broker, codec.name(), &[])?, codec, 0, 60)?;
        let kind = if codec == Codec::None { "uncompressed" } else { codec.name() };
        let again = topic(&broker, &format!("repacked-{codec}"), &[("compression.type", kind)])?;
        fill(&broker, &again, Codec::Gzip, 0, 20)?;
    }
    fill(&broker, &topic(&broker, "stamped", &[("message.timestamp.type", "LogAppendTime")])?, Codec::Lz4, 0, 60)?;
    Ok(broker.close().await?)
}

/// A topic that was compacted, written on and compacted again; with tombstones.
async fn compacted(dir: &Path) -> Result<()> {
    let broker = open(dir)?;
    let settings = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01")];
    for codec in [Codec::None, Codec::Zstd] {
        let partition = topic(&broker, &format!("compacted-{codec}"), &settings)?;
        for round in 0..2 {
            fill(&broker, &partition, codec, 90 * round, 90)?;
            let mut gone = BatchBuilder::new();
            gone.append(broker.clock().wall_ms(), Some(b"key-3"), None, &[]);
            partition.produce(gone.build())?;
            let started = Instant::now();
            while count(&partition)? > 200 {
                ensure!(started.elapsed() < DEADLINE, "nothing was compacted within {DEADLINE:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    Ok(broker.close().await?)
}

/// A process that ended without a word, and a last batch of which only a part was written.
async fn torn(dir: &Path) -> Result<()> {
    let broker = open(dir)?;
    fill(&broker, &topic(&broker, "torn", &[])?, Codec::None, 0, 100)?;
    drop(broker);
    let last = files(dir, "torn-0", ".log")?.pop().context("no log")?;
    let size = fs::metadata(&last)?.len();
    OpenOptions::new().write(true).open(&last)?.set_len(size - 17)?;
    let broker = open(dir)?;
    let partition = broker.partition("torn", 0)?;
    ensure!(count(&partition)? == 99 * 3, "only the last batch is gone");
    // The one whose batch was lost sends it again.
    fill(&broker, &partition, Codec::Snappy, 99, 50)?;
    Ok(broker.close().await?)
}

/// Indexes and snapshots that are gone, short or wrong, and made anew.
async fn rebuilt(dir: &Path) -> Result<()> {
    let broker = open(dir)?;
    let partition = topic(&broker, "rebuilt", &[])?;
    fill(&broker, &partition, Codec::None, 0, 120)?;
    broker.close().await?;
    drop((broker, partition));
    for ending in [".index", ".timeindex", ".snapshot"] {
        let mut all = files(dir, "rebuilt-0", ending)?;
        // Of snapshots the newest is read, and older ones when it is damaged.
        all.reverse();
        ensure!(all.len() > 3, "{} files end with {ending}", all.len());
        fs::remove_file(&all[0])?;
        OpenOptions::new().write(true).open(&all[1])?.set_len(5)?;
        let wrong: Vec<u8> = fs::read(&all[2])?.iter().map(|byte| byte ^ 0x55).collect();
        fs::write(&all[2], wrong)?;
    }
    let broker = open(dir)?;
    let partition = broker.partition("rebuilt", 0)?;
    for offset in 0..partition.end_offset() {
        ensure!(!partition.fetch(offset, 1)?.batches.is_empty(), "offset {offset} is not found");
    }
    partition.offset_for_timestamp(0)?;
    fill(&broker, &partition, Codec::None, 120, 20)?;
    Ok(broker.close().await?)
}

/// Transactions across each other, over many segments: two are aborted for each that is committed, and one stays open. One topic is
/// compacted, one has lost its indexes to a process that ended without a word.
async fn transactions(dir: &Path) -> Result<()> {
    let broker = open(dir)?;
    let compact = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01"), ("delete.retention.ms", "0")];
    for (name, settings) in [("within", &[][..]), ("within-compacted", &compact), ("within-rebuilt", &[])] {
        let partition = topic(&broker, name, settings)?;
        let mut builder = BatchBuilder::new();
        for round in 0..80 {
            for id in 0..4i64 {
                builder.producer(id, 0, round);
                builder.transactional();
                builder.append(broker.clock().wall_ms(), Some(format!("key-{id}").as_bytes()), Some(&[round as u8; 60]), &[]);
                partition.produce(builder.build())?;
            }
            for producer_id in 0..3 {
                let end =
                    TransactionEnd { producer_id, producer_epoch: 0, coordinator_epoch: round, committed: producer_id == 1 };
                partition.end_transaction(&end)?;
            }
            if round == 70 {
                let end = TransactionEnd { producer_id: 3, producer_epoch: 0, coordinator_epoch: 0, committed: true };
                partition.end_transaction(&end)?;
            }
        }
    }
    let partition = broker.partition("within-compacted", 0)?;
    let started = Instant::now();
    while count(&partition)? > 320 {
        ensure!(started.elapsed() < DEADLINE, "nothing was compacted within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop((broker, partition));
    let all = files(dir, "within-rebuilt-0", ".txnindex")?;
    ensure!(all.len() > 3, "{} indexes of aborted transactions", all.len());
    let before = all.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    fs::remove_file(&all[0])?;
    OpenOptions::new().write(true).open(&all[1])?.set_len(5)?;
    fs::write(&all[2], [0xff; 68])?;
    // Nothing is known to be durable, so all of it is looked through.
    for name in ["recovery-point-offset-checkpoint", ".kafka_cleanshutdown"] {
        let path = dir.join(name);
        if path.exists() {
            fs::remove_file(path)?;
        }
    }
    let broker = open(dir)?;
    let after = all.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    ensure!(after == before, "the indexes that were made anew are not what they were");
    Ok(broker.close().await?)
}

/// Transactional ids: some commit, some abort, one is fenced, one stays open.
async fn coordinated(dir: &Path) -> Result<()> {
    let broker = open(dir)?;
    let partition = topic(&broker, "coordinated", &[])?;
    let within = [partition.topic_partition().clone()];
    let mut builder = BatchBuilder::new();
    for number in 0..40 {
        let id = format!("id-{number}");
        let producer = broker.init_transactional_producer(&id, 60_000, None).await?;
        for round in 0..3 {
            broker.add_partitions_to_transaction(&id, producer, &within).await?;
            builder.producer(producer.0, producer.1, round);
            builder.transactional();
            builder.append(broker.clock().wall_ms(), Some(id.as_bytes()), Some(&[round as u8; 60]), &[]);
            broker.produce_in_transaction(&id, &partition, builder.build())?;
            let group = format!("group-{}", number % 7);
            broker.add_offsets_to_transaction(&id, producer, &group).await?;
            let (topic, offset) = ("coordinated", i64::from(number * 3 + round));
            let commit = OffsetCommit { topic, partition: 0, offset, leader_epoch: 0, metadata: "within" };
            let stored = broker.txn_offset_commit(&id, producer, &group, MemberIdentity::administrator(), &[commit]).await?;
            stored.into_iter().collect::<Result<Vec<()>, _>>()?;
            match (number, round) {
                (39, 2) => {}
                (38, 2) => ensure!(broker.init_transactional_producer(&id, 60_000, None).await.is_err(), "it was open"),
                _ => broker.end_transaction(&id, producer, round != 1).await?,
            }
        }
    }
    let listed = broker.list_transactions().len();
    ensure!(listed == 40, "{listed} transactional ids");
    let offset = |group: &str| broker.fetch_offsets(group, None).first().and_then(|(_, stored)| Some(stored.as_ref()?.offset));
    // Of number 39, which is of group 4, the first transaction was committed, the second aborted, and the third is open.
    ensure!(offset("group-4") == Some(39 * 3), "group-4 is at {:?}", offset("group-4"));
    Ok(broker.close().await?)
}

/// Records deleted from the front, so that the log starts within a segment.
async fn shortened(dir: &Path) -> Result<()> {
    let broker = open(dir)?;
    let partition = topic(&broker, "shortened", &[])?;
    fill(&broker, &partition, Codec::Lz4, 0, 100)?;
    broker.delete_records("shortened", 0, 200)?;
    broker.close().await?;
    drop((broker, partition));
    let broker = open(dir)?;
    ensure!(broker.partition("shortened", 0)?.log_start() == 200, "the start is kept");
    fill(&broker, &broker.partition("shortened", 0)?, Codec::Lz4, 100, 10)?;
    Ok(broker.close().await?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else { bail!("folders DIRECTORY") };
    let folder = |name: &str| -> Result<PathBuf> {
        fs::create_dir_all(dir.join(name))?;
        Ok(dir.join(name))
    };
    every_codec(&folder("codecs")?).await.context("codecs")?;
    compacted(&folder("compacted")?).await.context("compacted")?;
    torn(&folder("torn")?).await.context("torn")?;
    rebuilt(&folder("rebuilt")?).await.context("rebuilt")?;
    shortened(&folder("shortened")?).await.context("shortened")?;
    transactions(&folder("transactions")?).await.context("transactions")?;
    coordinated(&folder("coordinated")?).await.context("coordinated")
}
