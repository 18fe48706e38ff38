//! Changes of topics, and who produces and reads meanwhile.

use super::{Broker, NewTopic};
use crate::error::ErrorCode;
use crate::record::BatchBuilder;
use crate::storage::held::HeldDisk;
use crate::topic_config::{AlterConfig, ConfigChange};

fn produce(broker: &Broker) -> i64 {
    let mut batch = BatchBuilder::new();
    batch.append(1000, Some(b"k"), Some(b"v"), &[]);
    broker.partition("t", 0).expect("there").produce(batch.build()).expect("produced").end_offset
}

#[test]
fn who_produces_does_not_wait_for_the_disk_while_topics_change() {
    let (disk, holder) = HeldDisk::with_holder();
    let broker = Broker::builder().disk(disk).open().expect("opened");
    broker.create_topic(&NewTopic::new("t").partitions(1)).expect("made");
    let new = NewTopic::new("new").partitions(2);
    holder.beside(
        || drop(broker.create_topic(&new).expect("made")),
        || {
            assert_eq!((produce(&broker), broker.topic("new")), (1, None), "not before it is whole");
            assert_eq!(broker.partition("new", 0).expect_err("not yet").code(), ErrorCode::UnknownTopicOrPartition);
        },
    );
    assert!(broker.partition("new", 1).is_ok());
    let change = ConfigChange { name: "retention.ms".to_owned(), change: AlterConfig::Set("7".to_owned()) };
    let alter = || broker.alter_configs("new", &[change], false).expect("altered");
    holder.beside(alter, || assert_eq!(produce(&broker), 2));
    assert_eq!(broker.topic_config("new").expect("there").retention_ms, 7);
    holder.beside(
        || broker.create_partitions("new", 4).expect("grown"),
        || {
            assert_eq!(produce(&broker), 3);
            assert!(broker.partition("new", 1).is_ok() && broker.partition("new", 2).is_err());
        },
    );
    assert!(broker.partition("new", 3).is_ok());
    holder.beside(|| broker.delete_topic("new").expect("deleted"), || assert_eq!(produce(&broker), 4));
    assert_eq!(broker.topic("new"), None);
    // Changes still come one after the other.
    let twice = broker.create_topic(&NewTopic::new("t")).expect_err("there");
    assert_eq!(twice.code(), ErrorCode::TopicAlreadyExists);
}
