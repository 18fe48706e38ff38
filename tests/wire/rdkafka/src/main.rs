//! rdkafka: librdkafka in Rust. `wire-rdkafka [SCENARIO...]` prints a line for each.

use std::collections::BTreeSet;
use std::env;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const WAIT: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(20);

fn topic(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    format!("rdkafka-{name}-{:x}-{}", now % (1 << 40), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn config(pairs: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", env::var("BOOTSTRAP").unwrap_or_default());
    for (key, value) in pairs {
        config.set(*key, *value);
    }
    config
}

fn admin() -> Outcome<AdminClient<DefaultClientContext>> {
    Ok(config(&[]).create()?)
}

async fn create(name: &str, partitions: i32, settings: &[(&str, &str)]) -> Outcome {
    let mut new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    let made = admin()?.create_topics(&[new], &AdminOptions::new()).await?.remove(0);
    made.map(drop).map_err(|(_, code)| format!("{code}").into())
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

async fn produce(name: &str, partition: i32, values: &[String], pairs: &[(&str, &str)]) -> Result<Vec<i64>, KafkaError> {
    let producer: FutureProducer = config(pairs).create()?;
    let send = |value| {
        let headers = OwnedHeaders::new().insert(Header { key: "from", value: Some("rdkafka") });
        let record = FutureRecord::to(name).key("k").payload(value).partition(partition).headers(headers);
        producer.send_result(record).map_err(|(error, _)| error)
    };
    let told: Vec<_> = values.iter().map(send).collect::<Result<_, _>>()?;
    let told = join_all(told).await;
    told.into_iter().map(|one| Ok(one.map_err(|_| KafkaError::Canceled)?.map_err(|(error, _)| error)?.offset)).collect()
}

fn reader(name: &str, offset: i64, pairs: &[(&str, &str)]) -> Outcome<BaseConsumer> {
    let mut config = config(&[("group.id", "unused"), ("enable.auto.commit", "false"), ("check.crcs", "true")]);
    for (key, value) in pairs {
        config.set(*key, *value);
    }
    let consumer: BaseConsumer = config.create()?;
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(name, 0, Offset::Offset(offset))?;
    consumer.assign(&wanted)?;
    Ok(consumer)
}

fn member(name: &str, group: &str, pairs: &[(&str, &str)]) -> Outcome<BaseConsumer> {
    let mut config = config(&[
        ("group.id", group),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "200"),
    ]);
    for (key, value) in pairs {
        config.set(*key, *value);
    }
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&[name])?;
    Ok(consumer)
}

/// Polls all consumers in turn until it is done; the records.
fn until(what: &str, consumers: &[&BaseConsumer], done: impl Fn(&[OwnedMessage]) -> bool) -> Outcome<Vec<OwnedMessage>> {
    let mut found = Vec::new();
    let deadline = Instant::now() + 2 * WAIT;
    while Instant::now() < deadline {
        if done(&found) {
            return Ok(found);
        }
        for consumer in consumers {
            if let Some(record) = consumer.poll(TICK) {
                found.push(record?.detach());
            }
        }
    }
    Err(format!("never: {what}").into())
}

fn take(consumer: &BaseConsumer, count: usize) -> Outcome<Vec<OwnedMessage>> {
    until(&format!("{count} records"), &[consumer], |found| found.len() >= count)
}

fn values(records: &[OwnedMessage]) -> Vec<String> {
    let value = |record: &OwnedMessage| String::from_utf8_lossy(record.payload().unwrap_or_default()).into_owned();
    records.iter().map(value).collect()
}

fn owned(consumer: &BaseConsumer) -> usize {
    consumer.assignment().map_or(0, |assigned| assigned.count())
}

async fn produce_consume() -> Outcome {
    let name = topic("plain");
    assert_eq!(produce(&name, 0, &numbers(5000), &[]).await?, (0..5000).collect::<Vec<i64>>());
    let found = take(&reader(&name, 0, &[])?, 5000)?;
    assert_eq!(values(&found), numbers(5000));
    let header = found[0].headers().map(|headers| headers.get(0));
    assert_eq!(header, Some(Header { key: "from", value: Some(&b"rdkafka"[..]) }));
    Ok(())
}

async fn codecs() -> Outcome {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let name = topic(codec);
        let sent: Vec<_> = (0..500).map(|number| format!("value {number} ").repeat(20)).collect();
        produce(&name, 0, &sent, &[("compression.type", codec), ("linger.ms", "50")]).await?;
        assert_eq!(values(&take(&reader(&name, 0, &[])?, 500)?), sent, "{codec}");
    }
    Ok(())
}

async fn acks() -> Outcome {
    let name = topic("acks");
    create(&name, 1, &[]).await?;
    for acks in ["0", "1", "all"] {
        produce(&name, 0, &[acks.to_owned()], &[("acks", acks)]).await?;
    }
    assert_eq!(values(&take(&reader(&name, 0, &[])?, 3)?), ["0", "1", "all"]);
    Ok(())
}

async fn too_large_is_refused() -> Outcome {
    let name = topic("over");
    create(&name, 1, &[("max.message.bytes", "1000")]).await?;
    let refused = produce(&name, 0, &["x".repeat(5000)], &[]).await;
    assert_eq!(refused, Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)));
    Ok(())
}

async fn seek() -> Outcome {
    let name = topic("seek");
    produce(&name, 0, &numbers(100), &[]).await?;
    let consumer = reader(&name, 90, &[])?;
    assert_eq!(take(&consumer, 1)?[0].offset(), 90);
    consumer.seek(&name, 0, Offset::Offset(10), WAIT)?;
    assert_eq!(take(&consumer, 1)?[0].offset(), 10);
    assert_eq!(consumer.fetch_watermarks(&name, 0, WAIT)?, (0, 100));
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(&name, 0, Offset::Offset(1))?;
    assert_eq!(consumer.offsets_for_times(asked, WAIT)?.elements()[0].offset(), Offset::Offset(0));
    Ok(())
}

async fn rebalances(strategy: &str) -> Outcome {
    let (name, group) = (topic(strategy), topic("group"));
    create(&name, 4, &[]).await?;
    for partition in 0..4 {
        produce(&name, partition, &numbers(50), &[]).await?;
    }
    let pairs = [("partition.assignment.strategy", strategy)];
    let first = member(&name, &group, &pairs)?;
    let found = take(&first, 200)?;
    assert_eq!(found.iter().map(|record| record.partition()).collect::<BTreeSet<_>>(), (0..4).collect());
    first.commit_consumer_state(CommitMode::Sync)?;
    let second = member(&name, &group, &pairs)?;
    let again = until("two each", &[&first, &second], |_| (owned(&first), owned(&second)) == (2, 2))?;
    assert_eq!(again.len(), 0);
    drop(first);
    until("all for the second", &[&second], |_| owned(&second) == 4)?;
    produce(&name, 3, &["more".to_owned()], &[]).await?;
    assert_eq!(values(&take(&second, 1)?), ["more"]);
    Ok(())
}

async fn commit_and_go_on() -> Outcome {
    let (name, group) = (topic("commit"), topic("group"));
    produce(&name, 0, &numbers(100), &[]).await?;
    let consumer = member(&name, &group, &[])?;
    take(&consumer, 40)?;
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&name, 0, Offset::Offset(40))?;
    consumer.commit(&offsets, CommitMode::Sync)?;
    // The list goes at once: librdkafka cannot end a consumer as long as somebody holds its partitions.
    let kept = consumer.committed(WAIT)?.find_partition(&name, 0).map(|one| one.offset());
    assert_eq!(kept, Some(Offset::Offset(40)));
    drop(consumer);
    assert_eq!(take(&member(&name, &group, &[])?, 60)?[0].offset(), 40);
    Ok(())
}

async fn idempotent_producer() -> Outcome {
    let name = topic("idempotent");
    let pairs = [("enable.idempotence", "true"), ("linger.ms", "1"), ("batch.num.messages", "50")];
    assert_eq!(produce(&name, 0, &numbers(3000), &pairs).await?, (0..3000).collect::<Vec<i64>>());
    assert_eq!(values(&take(&reader(&name, 0, &[])?, 3000)?), numbers(3000));
    Ok(())
}

async fn topics() -> Outcome {
    let (name, options, admin) = (topic("admin"), AdminOptions::new(), admin()?);
    create(&name, 3, &[]).await?;
    let again = create(&name, 3, &[]).await.expect_err("made twice").to_string();
    assert!(again.contains("TopicAlreadyExists"), "{again}");
    let grown = admin.create_partitions(&[NewPartitions::new(&name, 5)], &options).await?;
    assert_eq!(grown, [Ok(name.clone())]);
    let told = admin.inner().fetch_metadata(Some(&name), WAIT)?;
    assert_eq!((told.topics()[0].partitions().len(), told.brokers().len()), (5, 1));
    assert_eq!(admin.delete_topics(&[&name], &options).await?, [Ok(name.clone())]);
    let told = admin.inner().fetch_metadata(None, WAIT)?;
    assert!(told.topics().iter().all(|topic| topic.name() != name));
    Ok(())
}

async fn configs() -> Outcome {
    let (name, options, admin) = (topic("configs"), AdminOptions::new(), admin()?);
    create(&name, 1, &[("retention.ms", "1000")]).await?;
    let resource = ResourceSpecifier::Topic(&name);
    let altered = admin.alter_configs(&[AlterConfig::new(resource).set("max.message.bytes", "500")], &options).await?;
    assert!(altered[0].is_ok(), "{altered:?}");
    let told = admin.describe_configs(&[resource], &options).await?.remove(0).map_err(|code| format!("{code}"))?;
    let entry = |name: &str| told.get(name).map(|entry| (entry.value.as_deref(), &entry.source));
    assert_eq!(entry("max.message.bytes"), Some((Some("500"), &ConfigSource::DynamicTopic)));
    // That call replaces all settings.
    assert_eq!(entry("retention.ms"), Some((Some("604800000"), &ConfigSource::Default)));
    Ok(())
}

async fn groups_admin() -> Outcome {
    let (name, group, options, admin) = (topic("groups"), topic("group"), AdminOptions::new(), admin()?);
    create(&name, 1, &[]).await?;
    let consumer = member(&name, &group, &[])?;
    until("its assignment", &[&consumer], |_| owned(&consumer) == 1)?;
    let state = |group: &str| -> Outcome<Vec<(String, usize)>> {
        let listed = admin.inner().fetch_group_list(Some(group), WAIT)?;
        Ok(listed.groups().iter().map(|one| (one.state().to_owned(), one.members().len())).collect())
    };
    assert_eq!(state(&group)?, [("Stable".to_owned(), 1)]);
    let live = admin.delete_groups(&[&group], &options).await?;
    assert_eq!(live, [Err((group.clone(), RDKafkaErrorCode::NonEmptyGroup))]);
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&name, 0, Offset::Offset(7))?;
    consumer.commit(&offsets, CommitMode::Sync)?;
    drop(consumer);
    assert_eq!(state(&group)?, [("Empty".to_owned(), 0)]);
    assert_eq!(admin.delete_groups(&[&group], &options).await?, [Ok(group.clone())]);
    Ok(())
}

/// Runs a scenario on a task of its own, so that a failed assertion ends it alone. A scenario blocks its thread, so nobody but the
/// script can end one that hangs.
async fn run(name: &str, scenario: impl Future<Output = Outcome> + 'static) -> bool {
    let told = tokio::task::LocalSet::new()
        .run_until(async { tokio::task::spawn_local(async move { scenario.await.map_err(|error| error.to_string()) }).await })
        .await;
    let problem = match told {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(panic) => Some(panic.to_string()),
    };
    match &problem {
        None => println!("ok rdkafka {name}"),
        Some(problem) => println!("FAILED rdkafka {name}: {}", problem.replace('\n', " ")),
    }
    problem.is_none()
}

#[tokio::main]
async fn main() {
    let wanted: Vec<String> = env::args().skip(1).collect();
    let mut fine = true;
    macro_rules! scenarios {
        ($($name:literal => $run:expr;)*) => {$(
            if wanted.is_empty() || wanted.iter().any(|name| name == $name) {
                fine &= run($name, $run).await;
            }
        )*};
    }
    scenarios! {
        "produce-consume" => produce_consume();
        "codecs" => codecs();
        "acks" => acks();
        "too-large-is-refused" => too_large_is_refused();
        "seek" => seek();
        "group-rebalance-eager" => rebalances("range");
        "group-rebalance-cooperative" => rebalances("cooperative-sticky");
        "commit-and-go-on" => commit_and_go_on();
        "idempotent-producer" => idempotent_producer();
        "topics" => topics();
        "configs" => configs();
        "groups-admin" => groups_admin();
    }
    std::process::exit(if fine { 0 } else { 1 });
}
