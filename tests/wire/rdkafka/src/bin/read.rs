//! Reads a partition from its start, and says when it has half of it and when it has all: `read BOOTSTRAP TOPIC RECORDS`.

use std::env;
use std::error::Error;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

const WAIT: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [bootstrap, topic, records] = args.as_slice() else { return Err("read BOOTSTRAP TOPIC RECORDS".into()) };
    let records: u64 = records.parse()?;
    let mut config = ClientConfig::new();
    // Without the last setting it waits for a second whenever 100,000 records are in its queue.
    for (key, value) in [
        ("bootstrap.servers", bootstrap.as_str()),
        ("group.id", "compared"),
        ("enable.auto.commit", "false"),
        ("fetch.queue.backoff.ms", "2"),
    ] {
        config.set(key, value);
    }
    let consumer: BaseConsumer = config.create()?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&from)?;
    for read in 1..=records {
        consumer.poll(WAIT).ok_or_else(|| format!("nothing came for {WAIT:?} behind {read} records"))??;
        if read == records / 2 || read == records {
            println!("{read}");
        }
    }
    Ok(())
}
