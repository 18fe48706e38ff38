//! What who reads sees.

use std::time::Duration;

use broker_core::record::{BatchBuilder, batches};
use broker_core::{Broker, CommittedOnly, ErrorCode, PartitionHandle, TopicPartition};

use crate::ledger::{Fate, Ledger, PARTITIONS, Seen, Transaction, View};

/// Longer than any transaction may be open.
const ALL_TIME_OUTS: Duration = Duration::from_secs(5);
/// How often a producer comes again before that counts as hanging.
const PATIENCE: usize = 10;

pub fn partition(broker: &Broker, place: usize) -> Result<PartitionHandle, String> {
    broker.partition(PARTITIONS[place].0, PARTITIONS[place].1).map_err(|error| error.to_string())
}

fn view(partition: &PartitionHandle) -> Result<View, String> {
    let stable = partition.stable_offset();
    let (mut seen, mut next) = (Vec::new(), partition.log_start());
    while next < stable {
        let before = next;
        let fetched = partition.fetch_committed(next, 300).map_err(|error| error.to_string())?;
        let mut only = CommittedOnly::new(fetched.aborted);
        for batch in fetched.batches.iter().flat_map(batches) {
            let batch = batch.map_err(|error| error.to_string())?;
            next = batch.last_offset() + 1;
            if !only.leaves_out(&batch) {
                for record in batch.records() {
                    let record = record.map_err(|error| error.to_string())?;
                    seen.push((record.offset, String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned()));
                }
            }
        }
        if next == before {
            return Err(format!("{:?}: nothing is read at {next}", partition.topic_partition()));
        }
    }
    Ok(View { stable, seen })
}

fn seen(broker: &Broker, ledger: &Ledger) -> Result<Seen, String> {
    let views: Result<_, String> = (0..PARTITIONS.len()).map(|place| view(&partition(broker, place)?)).collect();
    let offset = |id: &String| {
        let stored = broker.fetch_offsets(id, Some(&read())).remove(0).1;
        stored.map(|stored| (id.clone(), stored.offset))
    };
    Ok(Seen { views: views?, offsets: ledger.ids.iter().filter_map(offset).collect() })
}

/// What the groups read.
fn read() -> [TopicPartition; 1] {
    [TopicPartition::new(PARTITIONS[0].0, PARTITIONS[0].1)]
}

/// Whether a group's offset is decided.
fn is_group_stable(broker: &Broker, group: &str) -> bool {
    broker.fetch_stable_offsets(group, Some(&read())).iter().all(|(_, stored)| stored.is_ok())
}

/// The broker runs: what is seen is as told, and nothing at or behind what is undecided.
pub fn while_running(broker: &Broker, ledger: &Ledger) -> Result<(), String> {
    ledger.compare(&seen(broker, ledger)?, false)?;
    for (place, first) in ledger.undecided(broker.clock().wall_ms()) {
        let stable = partition(broker, place)?.stable_offset();
        if stable > first {
            return Err(format!("{:?} is stable to {stable}, a transaction is open from {first}", PARTITIONS[place]));
        }
    }
    if let Some(group) = ledger.unstable(broker.clock().wall_ms()).find(|group| is_group_stable(broker, group)) {
        return Err(format!("the offset of {group} is told to be stable, a transaction is open that stores one"));
    }
    Ok(())
}

/// The producer of an id, which comes again as long as it is told to.
pub async fn init(broker: &Broker, id: &str, timeout_ms: i32) -> Result<(i64, i16), String> {
    for _ in 0..PATIENCE {
        match broker.init_transactional_producer(id, timeout_ms, None).await {
            Ok(producer) => return Ok(producer),
            Err(error) if error.code() == ErrorCode::ConcurrentTransactions => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            Err(error) => return Err(format!("{id} cannot begin: {error}")),
        }
    }
    Err(format!("{id} is told to come again for ever"))
}

/// A batch of a producer with these values.
pub fn batch(broker: &Broker, (id, epoch): (i64, i16), sequence: i32, values: &[String]) -> bytes::BytesMut {
    let mut builder = BatchBuilder::new();
    builder.producer(id, epoch, sequence);
    builder.transactional();
    for value in values {
        builder.append(broker.clock().wall_ms(), None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

/// No transaction is open any more: everything is stable.
fn is_stable(broker: &Broker, groups: &[String]) -> Result<(), String> {
    if let Some(group) = groups.iter().find(|group| !is_group_stable(broker, group)) {
        return Err(format!("the offset of {group} is not stable"));
    }
    for (place, id) in PARTITIONS.iter().enumerate() {
        let partition = partition(broker, place)?;
        let (stable, end) = (partition.stable_offset(), partition.end_offset());
        if stable != end {
            return Err(format!("{id:?} is stable to {stable} only, it ends at {end}"));
        }
    }
    Ok(())
}

/// All time-outs have passed, and nobody has come again: nothing hangs.
pub async fn after_time_outs(broker: &Broker, groups: &[String]) -> Result<(), String> {
    tokio::time::sleep(ALL_TIME_OUTS).await;
    is_stable(broker, groups)
}

/// The machine had stopped: what was told counts, what was open is aborted, and it goes on.
pub async fn after_stop(broker: Broker, ledger: &Ledger, lost: bool) -> Result<(), String> {
    if !ledger.ready {
        return Ok(());
    }
    // Somebody comes, as somebody does where a broker is used.
    init(&broker, "another", 1000).await?;
    ledger.compare(&seen(&broker, ledger)?, lost)?;
    after_time_outs(&broker, &ledger.ids).await?;
    let mut ledger = ledger.clone();
    ledger.compare(&seen(&broker, &ledger)?, lost)?;
    for (number, id) in ledger.ids.clone().into_iter().enumerate() {
        let v2 = number % 2 == 1;
        let producer = init(&broker, &id, 1000).await?;
        let mut next = Transaction { fate: Fate::Committed, ..Transaction::default() };
        for place in 0..PARTITIONS.len() {
            let (partition, value) = (partition(&broker, place)?, format!("{id} after"));
            let told = async {
                let batch = batch(&broker, producer, 0, std::slice::from_ref(&value));
                if v2 {
                    return broker.produce_in_transaction_v2(&id, &partition, batch).await.map(|produced| produced.base_offset);
                }
                broker.add_partitions_to_transaction(&id, producer, &[partition.topic_partition().clone()]).await?;
                let produced = broker.produce_in_transaction(&id, &partition, batch)?;
                partition.acknowledged(produced.end_offset).await?;
                Ok::<_, broker_core::Error>(produced.base_offset)
            };
            next.records.push((place, told.await.map_err(|error| format!("{id} does not go on: {error}"))?, value));
        }
        let ended = match v2 {
            true => broker.end_transaction_v2(&id, producer, true).await.map(drop),
            false => broker.end_transaction(&id, producer, true).await,
        };
        ended.map_err(|error| format!("{id} does not commit: {error}"))?;
        ledger.transactions.push(next);
    }
    ledger.compare(&seen(&broker, &ledger)?, lost)?;
    is_stable(&broker, &ledger.ids)
}
