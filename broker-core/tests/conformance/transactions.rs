//! Transactions, as far as a partition's log has to do with them, their coordinator played by the test; and offsets that they store.

use broker_core::{CommittedOnly, MemberIdentity, OffsetCommit, TopicPartition, TransactionEnd};

use super::*;

/// A batch of a producer's transaction.
fn within(id: i64, sequence: i32, count: usize) -> BytesMut {
    let mut builder = BatchBuilder::new();
    builder.producer(id, 0, sequence);
    builder.transactional();
    fill(builder, count)
}

/// The marker's offset.
pub(super) fn end(partition: &PartitionHandle, producer_id: i64, committed: bool) -> i64 {
    let end = TransactionEnd { producer_id, producer_epoch: 0, coordinator_epoch: 0, committed };
    partition.end_transaction(&end).expect("ended").base_offset
}

/// The offsets that a reader of committed records is given.
pub(super) fn committed(partition: &PartitionHandle) -> Vec<i64> {
    let (mut offsets, mut next) = (Vec::new(), partition.log_start());
    while next < partition.stable_offset() {
        let fetched = partition.fetch_committed(next, 300).expect("fetched");
        let mut only = CommittedOnly::new(fetched.aborted);
        for batch in fetched.batches.iter().flat_map(batches).map(|batch| batch.expect("sound")) {
            next = batch.last_offset() + 1;
            if !only.leaves_out(&batch) {
                offsets.extend(batch.records().map(|record| record.expect("sound").offset));
            }
        }
    }
    offsets
}

#[test]
fn fact_43_what_is_committed_is_read_everywhere_and_its_marker_takes_one_offset() {
    let mut world = World::new();
    let topic = NewTopic::new("both").partitions(2);
    world.broker.create_topic(&topic).expect("made");
    let both = |world: &World| [0, 1].map(|number| world.broker.partition("both", number).expect("there"));
    for (number, partition) in (1..).zip(both(&world)) {
        assert_eq!(produce(&partition, within(7, 0, number)), Ok(0));
        assert_eq!(committed(&partition), Vec::<i64>::new(), "not before it is committed");
    }
    for (count, partition) in (1..).zip(both(&world)) {
        assert_eq!(end(&partition, 7, true), count, "the offset behind its records");
        assert_eq!(partition.end_offset(), count + 1);
        assert_eq!(committed(&partition), (0..count).collect::<Vec<_>>());
    }
    world.restart();
    for (count, partition) in (1..).zip(both(&world)) {
        assert_eq!(committed(&partition), (0..count).collect::<Vec<_>>(), "after a restart");
        assert_eq!(produce(&partition, batch(1)), Ok(count + 1), "the next record stands behind the marker");
    }
}

#[test]
fn fact_43_what_is_aborted_is_read_by_no_reader_of_committed_records() {
    let mut world = World::new();
    let t = world.topic(&[("segment.bytes", "1024")]);
    let mut expected = Vec::new();
    for round in 0..20 {
        let sequence = 3 * round;
        let aborts = produce(&t, within(1, sequence, 3)).expect("new");
        let commits = produce(&t, within(2, sequence, 3)).expect("new");
        assert_eq!(commits, aborts + 3);
        end(&t, 2, true);
        end(&t, 1, false);
        expected.extend(commits..commits + 3);
    }
    assert_eq!(committed(&t), expected);
    assert_eq!(stored(&t).len(), 80, "who reads everything sees it all");
    world.restart();
    assert_eq!(committed(&world.t()), expected, "after a restart");
}

#[test]
fn fact_45_nothing_behind_an_open_transaction_is_read_before_it_is_decided() {
    for commits in [true, false] {
        let mut world = World::new();
        let t = world.topic(&[]);
        assert_eq!(produce(&t, batch(10)), Ok(0));
        assert_eq!(produce(&t, within(1, 0, 10)), Ok(10));
        assert_eq!(produce(&t, within(2, 0, 5)), Ok(20));
        assert_eq!(end(&t, 2, true), 25);
        for _ in 0..2 {
            let t = world.t();
            let found = t.fetch_committed(0, usize::MAX).expect("fetched");
            assert_eq!((found.last_stable, found.high_watermark, t.stable_offset()), (10, 26, 10));
            assert_eq!(committed(&t), (0..10).collect::<Vec<_>>());
            let behind = t.fetch_committed(10, usize::MAX).expect("no error");
            assert!(behind.batches.is_empty() && behind.aborted.is_empty());
            world.restart();
        }
        let t = world.t();
        assert_eq!(end(&t, 1, commits), 26);
        assert_eq!(t.stable_offset(), 27);
        let decided = if commits { (0..25).collect::<Vec<_>>() } else { (0..10).chain(20..25).collect() };
        assert_eq!(committed(&t), decided);
    }
}

const GROUP: &str = "my-group";

/// The offsets of `t-0`: the one that is stored, and whether it is decided.
fn offset(world: &World) -> (Option<i64>, bool) {
    let asked = [TopicPartition::new("t", 0)];
    let stored = world.broker.fetch_offsets(GROUP, Some(&asked)).remove(0).1.map(|stored| stored.offset);
    match world.broker.fetch_stable_offsets(GROUP, Some(&asked)).remove(0).1 {
        Ok(stable) => {
            assert_eq!(stable.map(|stable| stable.offset), stored);
            (stored, true)
        }
        Err(error) => {
            assert_eq!((error.code(), error.code().code()), (ErrorCode::UnstableOffsetCommit, 88));
            (stored, false)
        }
    }
}

fn commit(offset: i64) -> OffsetCommit<'static> {
    OffsetCommit { topic: "t", partition: 0, offset, leader_epoch: -1, metadata: "" }
}

/// A producer with the transactional id `x`.
async fn producer(world: &World) -> (i64, i16) {
    let partition = world.broker.offsets_partition(GROUP);
    assert_eq!(partition.to_string(), "__consumer_offsets-12");
    world.broker.init_transactional_producer("x", 60_000, None).await.expect("given")
}

async fn commit_within(world: &World, producer: (i64, i16), offset: i64) {
    world.broker.add_offsets_to_transaction("x", producer, GROUP).await.expect("added");
    let nobody = MemberIdentity::administrator();
    let stored = world.broker.txn_offset_commit("x", producer, GROUP, nobody, &[commit(offset)]).await.expect("asked");
    assert!(stored[0].is_ok());
}

async fn end_all(world: &World, producer: (i64, i16), committed: bool) {
    world.broker.end_transaction("x", producer, committed).await.expect("ended");
}

#[tokio::test]
async fn fact_52_offsets_of_a_transaction_count_when_it_is_committed_and_not_when_it_is_aborted() {
    let mut world = World::new();
    world.topic(&[]);
    let x = producer(&world).await;
    world.broker.commit_offsets(GROUP, MemberIdentity::administrator(), &[commit(3)]).expect("stored");
    commit_within(&world, x, 5).await;
    assert_eq!(offset(&world).0, Some(3), "not before");
    end_all(&world, x, true).await;
    assert_eq!(offset(&world), (Some(5), true));
    commit_within(&world, x, 9).await;
    end_all(&world, x, false).await;
    assert_eq!(offset(&world), (Some(5), true));
    world.restart();
    assert_eq!(offset(&world), (Some(5), true), "after a restart");
}

#[tokio::test]
async fn fact_53_who_asks_for_a_stable_offset_is_told_that_a_transaction_is_open() {
    let mut world = World::new();
    world.topic(&[]);
    let x = producer(&world).await;
    world.broker.commit_offsets(GROUP, MemberIdentity::administrator(), &[commit(3)]).expect("stored");
    commit_within(&world, x, 5).await;
    assert_eq!(offset(&world), (Some(3), false));
    world.restart();
    assert_eq!(offset(&world), (Some(3), false), "after a restart");
    // Somebody commits outside of it meanwhile: that is newer.
    world.broker.commit_offsets(GROUP, MemberIdentity::administrator(), &[commit(4)]).expect("stored");
    assert_eq!(offset(&world), (Some(4), false));
    end_all(&world, x, true).await;
    assert_eq!(offset(&world), (Some(4), true));
}

/// The disk fails at each operation of the end, and the broker is started again: records and offsets count together or not at all.
#[tokio::test]
async fn fact_47_a_transaction_ends_alike_for_records_and_offsets_wherever_the_broker_stops() {
    for commits in [true, false] {
        let (mut undecided, mut completed) = (0, 0);
        for after in 0.. {
            let mut world = World::new();
            let t = world.topic(&[]);
            let x = producer(&world).await;
            world.broker.commit_offsets(GROUP, MemberIdentity::administrator(), &[commit(3)]).expect("stored");
            commit_within(&world, x, 5).await;
            world.broker.add_partitions_to_transaction("x", x, &[TopicPartition::new("t", 0)]).await.expect("added");
            let mut batch = BatchBuilder::new();
            batch.producer(x.0, x.1, 0);
            batch.transactional();
            world.broker.produce_in_transaction("x", &t, fill(batch, 2)).expect("produced");
            world.disk.fail_after(after);
            let ended = world.broker.end_transaction("x", x, commits).await;
            world.disk.heal();
            world.restart();
            let told = (committed(&world.t()).len(), offset(&world));
            if told == (0, (Some(3), false)) {
                assert!(ended.is_err(), "operation {after}: said to have ended");
                undecided += 1;
                world.broker.end_transaction("x", x, commits).await.expect("ended");
            }
            let told = (committed(&world.t()).len(), offset(&world));
            let expected = if commits { (2, (Some(5), true)) } else { (0, (Some(3), true)) };
            assert_eq!(told, expected, "operation {after}");
            assert_eq!(world.t().stable_offset(), world.t().end_offset(), "operation {after}: nothing is open");
            if ended.is_ok() {
                break;
            }
            completed += 1;
        }
        assert!(undecided > 0 && completed > undecided, "{undecided} of {completed} stops came before it was decided");
    }
}

#[tokio::test]
async fn offsets_of_a_deleted_topic_do_not_come_back_with_a_transaction() {
    let mut world = World::new();
    world.topic(&[]);
    let x = producer(&world).await;
    commit_within(&world, x, 5).await;
    world.broker.delete_topic("t").expect("deleted");
    world.topic(&[]);
    end_all(&world, x, true).await;
    assert_eq!(offset(&world), (None, true));
    world.restart();
    assert_eq!(offset(&world), (None, true));
}

#[tokio::test]
async fn an_offset_outside_of_the_transaction_is_refused() {
    let world = World::new();
    world.topic(&[]);
    let x = producer(&world).await;
    let try_as = async |id: &str, producer| {
        let stored = world.broker.txn_offset_commit(id, producer, GROUP, MemberIdentity::administrator(), &[commit(5)]);
        stored.await.map(drop).map_err(|error| error.code())
    };
    assert_eq!(try_as("x", x).await, Err(ErrorCode::TransactionAbortable), "none is open");
    world.broker.add_offsets_to_transaction("x", x, "another-group").await.expect("added");
    assert_eq!(try_as("x", x).await, Err(ErrorCode::TransactionAbortable), "the group is not in it");
    world.broker.add_offsets_to_transaction("x", x, GROUP).await.expect("added");
    assert_eq!(try_as("y", x).await, Err(ErrorCode::InvalidProducerIdMapping), "nobody's");
    assert_eq!(try_as("x", (x.0 + 1, x.1)).await, Err(ErrorCode::InvalidProducerIdMapping));
    assert_eq!(try_as("x", (x.0, x.1 + 1)).await, Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(offset(&world), (None, true));
    assert_eq!(try_as("x", x).await, Ok(()));
    end_all(&world, x, true).await;
    assert_eq!(try_as("x", x).await, Err(ErrorCode::TransactionAbortable), "it is over");
    assert_eq!(offset(&world), (Some(5), true));
}
