//! Whether a broker that was opened after a crash keeps what was promised.

use std::collections::BTreeMap;

use broker_core::{Broker, PartitionHandle};

use super::transactions;
use super::world::{self, PLANS, Plan, Promised, Record, Told, batch, committed, producer_of, read, written};

/// How the machine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The process was killed: all that it wrote is there.
    Kill,
    /// The power was cut: what was not synced may be gone.
    PowerCut,
}

/// What is wrong with it.
pub fn check(broker: &Broker, promised: &Promised, stop: Stop) -> Result<(), String> {
    for (topic, sure) in &promised.topics {
        if *sure && broker.topic(topic).is_none() {
            return Err(format!("topic {topic} is not there"));
        }
    }
    if let Some(topic) = promised.gone.iter().find(|topic| broker.topic(topic).is_some()) {
        return Err(format!("topic {topic} is there again"));
    }
    for plan in &PLANS {
        for number in 0..plan.partitions {
            let Some(told) = promised.partitions.get(&(plan.name.to_owned(), number)) else { continue };
            let partition = broker.partition(plan.name, number).map_err(|error| error.to_string())?;
            check_log(&partition, plan, told, stop).map_err(|what| format!("{}: {what}", partition.topic_partition()))?;
        }
    }
    let (told, perhaps) = promised.committed;
    let found = committed(broker);
    let fine = match stop {
        Stop::Kill => found == told || found == Some(perhaps),
        Stop::PowerCut => found.is_none_or(|found| found <= perhaps),
    };
    if !fine {
        return Err(format!("committed is {found:?}, told was {told:?} and {perhaps} on its way"));
    }
    let id = broker.init_producer_id().map_err(|error| error.to_string())?.0;
    if Some(id) <= promised.producer_id {
        return Err(format!("producer id {id} was given before"));
    }
    for plan in &transactions::PLANS {
        if let Some(told) = promised.transactions.get(plan.name) {
            transactions::check(broker, plan, told, stop)?;
        }
    }
    retry(broker, promised, stop)
}

fn check_log(partition: &PartitionHandle, plan: &Plan, told: &Told, stop: Stop) -> Result<(), String> {
    let (start, end) = (partition.log_start(), partition.end_offset());
    let must = match (stop, plan.may_lose) {
        (Stop::Kill, _) => told.end,
        (Stop::PowerCut, Some(lost)) => told.durable.max(told.end - lost),
        (Stop::PowerCut, None) => told.durable,
    };
    if end < must {
        return Err(format!("it ends at {end}, everything before {must} was promised"));
    }
    if start < told.start || start > told.start_at_most.min(end) {
        return Err(format!("it starts at {start}, not between {} and {}", told.start, told.start_at_most));
    }
    let all = written(told.batches + 1);
    if end > all.len() as i64 {
        return Err(format!("it ends at {end}, only {} were ever written", all.len()));
    }
    let expected = &all[start as usize..end as usize];
    let found = read(partition);
    if !plan.compacted {
        return if found == expected { Ok(()) } else { Err(format!("it holds {found:?}, expected {expected:?}")) };
    }
    let last: BTreeMap<&[u8], &Record> = expected.iter().map(|record| (&record.key[..], record)).collect();
    if let Some(missing) = last.values().find(|record| !found.contains(record)) {
        return Err(format!("{missing:?} is its key's last and not there, up to {end} there are {found:?}"));
    }
    match found.iter().find(|record| expected.get((record.offset - start) as usize) != Some(record)) {
        Some(strange) => Err(format!("{strange:?} was never written")),
        None => Ok(()),
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// The producers outlived the crash: they send again what was told last, as if the answer had been lost, and what was on its way.
/// Nothing is there twice.
fn retry(broker: &Broker, promised: &Promised, stop: Stop) -> Result<(), String> {
    let keeps_all = |plan: &&Plan| stop == Stop::Kill || plan.may_lose == Some(0);
    for plan in PLANS.iter().filter(keeps_all) {
        for number in 0..plan.partitions {
            let Some(told) = promised.partitions.get(&(plan.name.to_owned(), number)) else { continue };
            let partition = broker.partition(plan.name, number).map_err(|error| error.to_string())?;
            for nth in told.batches.saturating_sub(1)..told.batches + 2 {
                let bytes = batch(broker.clock().wall_ms(), producer_of(plan.name, number), nth);
                let produced = partition.produce(bytes).map_err(|error| format!("batch {nth}: {error}"))?;
                let (duplicate, offset) = (produced.duplicate, produced.base_offset);
                if offset != world::base_of(nth) || nth < told.batches && !duplicate {
                    return Err(format!("{}: batch {nth} went to {offset}, duplicate: {duplicate}", partition.topic_partition()));
                }
            }
            let acknowledged = block_on(partition.acknowledged(world::base_of(told.batches + 2)));
            acknowledged.map_err(|error| error.to_string())?;
            let again = Told { batches: told.batches + 2, start_at_most: i64::MAX, end: 0, durable: 0, ..*told };
            check_log(&partition, plan, &again, stop)
                .map_err(|what| format!("{} sent again: {what}", partition.topic_partition()))?;
        }
    }
    Ok(())
}
