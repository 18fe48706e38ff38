//! Fills a partition with values of 100 bytes, and says when it has half of them and when it has all:
//! `write BOOTSTRAP TOPIC RECORDS [BATCH]`. With `BATCH`, every batch has that many records, whenever the broker answers.

use std::env;
use std::error::Error;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const WAIT: Duration = Duration::from_secs(20);
/// Deliveries are looked at once in so many records.
const LOOK: u64 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let (bootstrap, topic, records, batch) = match args.as_slice() {
        [bootstrap, topic, records] => (bootstrap, topic, records, None),
        [bootstrap, topic, records, batch] => (bootstrap, topic, records, Some(batch)),
        _ => return Err("write BOOTSTRAP TOPIC RECORDS [BATCH]".into()),
    };
    let records: u64 = records.parse()?;
    let mut config = ClientConfig::new();
    for (key, value) in [("bootstrap.servers", bootstrap.as_str()), ("acks", "all"), ("queue.buffering.max.messages", "200000")] {
        config.set(key, value);
    }
    if let Some(batch) = batch {
        config.set("batch.num.messages", batch).set("linger.ms", "10000");
    }
    let producer: BaseProducer = config.create()?;
    let value = [b'v'; 100];
    for written in 1..=records {
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(0).payload(&value);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(1));
            record = back;
        }
        if written % LOOK == 0 {
            producer.poll(Duration::ZERO);
        }
        if written == records / 2 || written == records {
            producer.flush(WAIT)?;
            println!("{written}");
        }
    }
    Ok(())
}
