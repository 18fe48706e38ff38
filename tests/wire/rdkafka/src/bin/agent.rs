//! The agent of rdkafka: a line in is a command, a line out is its answer (see tests/wire/transactions/run.py).

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, stdin};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const WAIT: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(100);
const FENCED: [RDKafkaErrorCode; 3] =
    [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::ProducerFenced, RDKafkaErrorCode::InvalidProducerEpoch];

fn config(pairs: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", env::var("BOOTSTRAP").unwrap_or_default());
    config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "100");
    for (key, value) in pairs {
        config.set(*key, *value);
    }
    config
}

fn take(consumer: &BaseConsumer, count: usize) -> Outcome<Vec<OwnedMessage>> {
    let (mut found, deadline) = (Vec::new(), Instant::now() + WAIT);
    while found.len() < count {
        if let Some(record) = consumer.poll(TICK) {
            found.push(record?.detach());
        } else if Instant::now() > deadline {
            return Err(format!("{} of {count} records", found.len()).into());
        }
    }
    Ok(found)
}

fn value(record: &OwnedMessage) -> String {
    String::from_utf8_lossy(record.payload().unwrap_or_default()).into_owned()
}

fn told(found: &[OwnedMessage]) -> String {
    found.iter().map(|record| format!("{}@{}", value(record), record.offset())).collect::<Vec<_>>().join(" ")
}

fn read(isolation: &str, topic: &str, partition: i32, count: usize) -> Outcome<String> {
    let isolation = format!("read_{isolation}");
    let consumer: BaseConsumer = config(&[("group.id", "unused"), ("isolation.level", &isolation)]).create()?;
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(topic, partition, Offset::Beginning)?;
    consumer.assign(&wanted)?;
    Ok(told(&take(&consumer, count)?))
}

#[derive(Default)]
struct Agent(HashMap<String, FutureProducer>);

impl Agent {
    fn named(&self, name: &str) -> Outcome<&FutureProducer> {
        Ok(self.0.get(name).ok_or_else(|| format!("no producer '{name}'"))?)
    }

    async fn send(&self, name: &str, topic: &str, partition: i32, values: &[impl AsRef<str>]) -> Outcome {
        let producer = self.named(name)?;
        let send = |value| producer.send_result(FutureRecord::<(), str>::to(topic).partition(partition).payload(value));
        let sent: Result<Vec<_>, _> = values.iter().map(|value| send(value.as_ref()).map_err(|(error, _)| error)).collect();
        for one in sent? {
            one.await?.map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    fn end(&self, name: &str, how: &str) -> Outcome {
        let producer = self.named(name)?;
        Ok(if how == "commit" { producer.commit_transaction(WAIT) } else { producer.abort_transaction(WAIT) }?)
    }

    async fn transform(&self, name: &str, group: &str, topics: (&str, &str), count: usize, end: &str) -> Outcome<String> {
        let (source, target) = topics;
        let settings = [("group.id", group), ("auto.offset.reset", "earliest"), ("enable.auto.commit", "false")];
        let consumer: BaseConsumer = config(&settings).create()?;
        consumer.subscribe(&[source])?;
        let found = take(&consumer, count)?;
        let producer = self.named(name)?;
        producer.begin_transaction()?;
        let values: Vec<_> = found.iter().map(|record| value(record).to_uppercase()).collect();
        self.send(name, target, 0, &values).await?;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(source, 0, Offset::Offset(found.last().map_or(0, |last| last.offset() + 1)))?;
        let member = consumer.group_metadata().ok_or("no group metadata")?;
        producer.send_offsets_to_transaction(&offsets, &member, WAIT)?;
        self.end(name, end)?;
        Ok(told(&found))
    }

    async fn answer(&mut self, words: &[&str]) -> Outcome<String> {
        match words {
            ["producer", name, id, timeout_ms] => {
                let settings = [("transactional.id", *id), ("transaction.timeout.ms", *timeout_ms), ("linger.ms", "1")];
                let producer: FutureProducer = config(&settings).create()?;
                producer.init_transactions(WAIT)?;
                self.0.insert((*name).to_owned(), producer);
            }
            ["begin", name] => self.named(name)?.begin_transaction()?,
            ["send", name, topic, partition, values @ ..] => self.send(name, topic, partition.parse()?, values).await?,
            [end @ ("commit" | "abort"), name] => self.end(name, end)?,
            ["read", isolation, topic, partition, count] => return read(isolation, topic, partition.parse()?, count.parse()?),
            ["transform", name, group, source, target, count, end] => {
                return self.transform(name, group, (source, target), count.parse()?, end).await;
            }
            other => return Err(format!("no command {other:?}").into()),
        }
        Ok(String::new())
    }
}

fn is_fenced(error: &(dyn std::error::Error + 'static)) -> bool {
    let code = error.downcast_ref::<KafkaError>().and_then(|error| match error {
        KafkaError::Transaction(error) => Some(error.code()),
        error => error.rdkafka_error_code(),
    });
    code.is_some_and(|code| FENCED.contains(&code))
}

#[tokio::main]
async fn main() {
    let mut agent = Agent::default();
    for line in stdin().lock().lines().map_while(Result::ok) {
        match agent.answer(&line.split_whitespace().collect::<Vec<_>>()).await {
            Ok(told) => println!("ok {told}"),
            Err(error) => println!("{} {}", if is_fenced(&*error) { "fenced" } else { "error" }, error.to_string().replace('\n', " ")),
        }
    }
}
