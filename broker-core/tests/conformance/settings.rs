//! Topic settings.

use broker_core::record::{Codec, Compression};
use broker_core::{AlterConfig, ConfigChange, ConfigSource};

use super::*;

fn set(name: &str, value: &str) -> ConfigChange {
    ConfigChange::new(name, AlterConfig::Set(value.to_owned()))
}

fn value(world: &World, name: &str) -> (String, ConfigSource) {
    let entries = world.broker.describe_configs("t").expect("there");
    let entry = entries.into_iter().find(|entry| entry.name == name).expect("a setting");
    (entry.value, entry.source)
}

#[test]
fn fact_91_a_setting_is_set_and_deleted_and_described() {
    let mut world = World::new();
    world.topic(&[]);
    let default = ("1048588".to_owned(), ConfigSource::Default);
    assert_eq!(value(&world, "max.message.bytes"), default);
    world.broker.alter_configs("t", &[set("max.message.bytes", "500")], false).expect("set");
    for _ in 0..2 {
        assert_eq!(value(&world, "max.message.bytes"), ("500".to_owned(), ConfigSource::DynamicTopic));
        world.restart();
    }
    let delete = ConfigChange::new("max.message.bytes", AlterConfig::Delete);
    world.broker.alter_configs("t", &[delete], false).expect("deleted");
    assert_eq!(value(&world, "max.message.bytes"), default);
    world.restart();
    assert_eq!(value(&world, "max.message.bytes"), default);
    let error = world.broker.alter_configs("nowhere", &[], false).expect_err("unknown");
    assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn a_change_holds_at_once() {
    let world = World::new();
    let t = world.topic(&[]);
    let large = batch(10);
    let limit = (large.len() - 1).to_string();
    world.broker.alter_configs("t", &[set("max.message.bytes", &limit)], true).expect("could be");
    assert_eq!(produce(&t, large.clone()), Ok(0), "it was only said that it could be");
    world.broker.alter_configs("t", &[set("max.message.bytes", &limit)], false).expect("set");
    assert_eq!(produce(&t, large.clone()), Err(ErrorCode::MessageTooLarge));
    assert_eq!(t.max_batch_bytes(), large.len() - 1);
    let both = [set("message.timestamp.type", "LogAppendTime"), set("max.message.bytes", "none")];
    assert_eq!(world.broker.alter_configs("t", &both, false).expect_err("wrong").code(), ErrorCode::InvalidConfig);
    assert_eq!(t.produce(batch(1)).expect("produced").log_append_time, None, "all or nothing");
    world
        .broker
        .replace_configs("t", &[("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())].into(), false)
        .expect("set");
    assert_eq!(t.produce(large).expect("no limit of its own any more").log_append_time, Some(NOW));
}

#[test]
fn a_topic_is_made_whole_or_not_at_all() {
    // The power fails at each operation of making a topic: afterwards it is there with all partitions and settings, or not.
    let (mut without, mut whole) = (0, 0);
    for operations in 0..100 {
        let mut world = World::new();
        world.disk.fail_after(operations);
        let mut topic = NewTopic::new("t").partitions(3);
        topic.configs.insert("max.message.bytes".to_owned(), "500".to_owned());
        let made = world.broker.create_topic(&topic);
        world.disk.crash();
        world.restart();
        match world.broker.topic("t") {
            None => {
                assert!(made.is_err(), "what was made is there, with {operations} operations");
                without += 1;
            }
            Some(found) => {
                assert_eq!((found.partitions, value(&world, "max.message.bytes").0.as_str()), (3, "500"), "{operations}");
                assert!(made.is_err() || made.is_ok_and(|made| made.id == found.id));
                whole += 1;
            }
        }
    }
    assert!(without > 1 && whole > 50, "{without} without, {whole} whole");
}

#[test]
fn an_id_stays_with_its_topic() {
    let mut world = World::new();
    world.topic(&[]);
    let id = world.broker.topic("t").expect("there").id;
    world.restart();
    assert_eq!(world.broker.topic("t").expect("there").id, id);
    world.broker.create_partitions("t", 3).expect("grown");
    for partition in 0..3 {
        let folder = format!("t-{partition}");
        let file = world.disk.open(&folder, "partition.metadata").expect("opened");
        assert_eq!(file.read(0, 100).expect("read"), format!("version: 0\ntopic_id: {id}\n"));
    }
    world.restart();
    assert_eq!((world.broker.topic("t").expect("there").id, world.broker.topic("t").expect("there").partitions), (id, 3));
}

#[test]
fn a_topic_that_is_made_again_has_another_id() {
    let world = World::new();
    world.topic(&[]);
    let id = world.broker.topic("t").expect("there").id;
    world.broker.delete_topic("t").expect("deleted");
    world.topic(&[]);
    assert_ne!(world.broker.topic("t").expect("there").id, id);
}

#[test]
fn compression_type_packs_what_comes_otherwise() {
    let built = Codec::ALL.into_iter().filter(|codec| codec.is_built());
    for wanted in built.clone() {
        let world = World::new();
        let name = if wanted == Codec::None { "uncompressed" } else { wanted.name() };
        let t = world.topic(&[("compression.type", name)]);
        for sent in built.clone() {
            let mut builder = BatchBuilder::new().compression(Compression::new(sent).expect("built"));
            for n in 0..50 {
                builder.append(NOW, Some(b"k"), Some(&[n; 100]), &[]);
            }
            let sent_bytes = builder.build();
            let kept = sent == wanted;
            let base = produce(&t, sent_bytes.clone()).expect("produced");
            let batch = stored(&t).pop().expect("stored");
            batch.verify_crc().expect("sound");
            assert_eq!((batch.codec(), batch.base_offset(), batch.count()), (Ok(wanted), base, 50), "{sent} to {wanted}");
            assert!(!kept || batch.bytes()[16..] == sent_bytes[16..], "{wanted} stays as it was sent");
            let plain = batch.decompressed(1 << 20).expect("fits");
            assert!(plain.records().enumerate().all(|(n, record)| record.expect("sound").value() == Some(&[n as u8; 100])));
        }
    }
}
