//! Events in, expected commits out: one table a mode, for record and batch listeners.

use proptest::prelude::*;

use super::AckMode::{self, *};
use super::*;

/// One thing that happens to the engine. Offsets are of partition 0 unless a second number says otherwise.
#[derive(Debug, Clone, Copy)]
enum E {
    /// Delivered and done, with the decision point behind it.
    Ok(i64),
    Ok1(i64),
    /// Delivered; the listener returned without an acknowledgment.
    Out(i64),
    /// Recovered, skipped or filtered.
    Settle(i64),
    /// Acknowledged by hand.
    Ack(i64),
    Ack1(i64),
    /// A batch from..=to was handled.
    Many(i64, i64),
    /// A batch from..=to was handed out and returned; acknowledged up to the third number before (-1: not at all).
    BatchAcked(i64, i64, i64),
    /// Undelivered again from here on.
    Back(i64),
    Settled,
    Empty,
    Pass(u64),
    Flush,
    Lost,
    Seek(i64),
    /// The last request fails.
    Fail,
}

use E::*;

fn engine(mode: AckMode, async_acks: bool) -> AckEngine {
    let properties = AckProperties { mode, ack_count: 3, ack_time_ms: 100, async_acks, auto_commit: false, max_unacked: 4 };
    let mut engine = AckEngine::new(properties, 0);
    engine.assign(Slot(0), 0);
    engine.assign(Slot(1), 0);
    engine
}

/// Plays the events and writes down each request, as `partition:offset`.
fn play(engine: &mut AckEngine, events: &[E]) -> String {
    let mut now = 0;
    let mut log: Vec<String> = Vec::new();
    let mut last: Vec<(Slot, i64)> = Vec::new();
    for event in events {
        let decision = match *event {
            Ok(offset) | Ok1(offset) => {
                let slot = Slot(u32::from(matches!(event, Ok1(_))));
                engine.delivered(slot, offset);
                engine.done(slot, offset);
                engine.after_record(now)
            }
            Out(offset) => {
                engine.delivered(Slot(0), offset);
                engine.after_record(now)
            }
            Settle(offset) => {
                engine.delivered(Slot(0), offset);
                engine.done(Slot(0), offset);
                engine.after_record(now)
            }
            Ack(offset) | Ack1(offset) => {
                let slot = Slot(u32::from(matches!(event, Ack1(_))));
                if engine.acked(slot, offset).is_err() {
                    log.push(format!("refused {offset}"));
                }
                engine.acks_arrived(now)
            }
            Many(from, to) => {
                (from..=to).for_each(|offset| engine.delivered(Slot(0), offset));
                (from..=to).for_each(|offset| engine.done(Slot(0), offset));
                engine.after_batch(now)
            }
            BatchAcked(from, to, acked) => {
                (from..=to).for_each(|offset| engine.delivered(Slot(0), offset));
                if acked >= 0 {
                    engine.acked(Slot(0), acked).expect("delivered");
                }
                engine.after_batch(now)
            }
            Back(from) => {
                engine.put_back(Slot(0), from);
                Decision::Hold
            }
            Settled => engine.settled(now),
            Empty => engine.empty_poll(now),
            Pass(passed) => {
                now += passed;
                engine.timer(now)
            }
            Flush => engine.flush(),
            Lost => {
                engine.lose(Slot(0));
                Decision::Hold
            }
            Seek(position) => {
                engine.assign(Slot(0), position);
                Decision::Hold
            }
            Fail => {
                last.iter().for_each(|(slot, offset)| engine.commit_failed(*slot, *offset));
                log.push("failed".to_owned());
                Decision::Hold
            }
        };
        if decision == Decision::Commit {
            last.clear();
            engine.take_commits(&mut last);
            assert!(!last.is_empty(), "a commit was decided, but there is none: {event:?}");
            let text: Vec<String> = last.iter().map(|(slot, offset)| format!("{}:{offset}", slot.0)).collect();
            log.push(text.join("+"));
        }
    }
    log.join(" ")
}

fn check(mode: AckMode, batch: bool, rows: &[(&[E], &str)]) {
    for (events, expected) in rows {
        assert_eq!(play(&mut engine(mode, false), events), *expected, "{mode} batch={batch}: {events:?}");
    }
}

#[test]
fn record() {
    check(
        Record,
        false,
        &[
            (&[Ok(0), Ok(1), Settled], "0:1 0:2"),
            (&[Ok(0), Ok1(0), Ok(1)], "0:1 1:1 0:2"),
            // Gaps in the log do not count.
            (&[Ok(3), Ok(9)], "0:4 0:10"),
            (&[Settle(0), Ok(1)], "0:1 0:2"),
            // A record that failed is not done; put back and delivered again it is.
            (&[Ok(0), Out(1), Back(1), Settled, Ok(1)], "0:1 0:2"),
            (&[Settled, Empty, Flush, Pass(500)], ""),
            (&[Ok(0), Fail, Ok(1)], "0:1 failed 0:2"),
            (&[Ok(0), Fail, Settled], "0:1 failed 0:1"),
            (&[Ok(0), Fail, Lost, Settled, Flush], "0:1 failed"),
            (&[Ok(0), Ok(1), Seek(0), Ok(0)], "0:1 0:2 0:1"),
            (&[Ok(0), Flush], "0:1"),
        ],
    );
}

#[test]
fn batch_with_a_record_listener() {
    check(
        Batch,
        false,
        &[
            (&[Ok(0), Ok(1), Ok1(0), Settled], "0:2+1:1"),
            (&[Ok(0), Settled, Settled, Empty], "0:1"),
            (&[Ok(0), Pass(1000)], ""),
            (&[Ok(0), Flush], "0:1"),
            (&[Ok(0), Lost, Flush, Settled], ""),
            (&[Ok(0), Out(1), Back(1), Settled, Ok(1), Ok(2), Settled], "0:1 0:3"),
            (&[Ok(0), Settle(1), Ok(2), Settled], "0:3"),
            (&[Ok(0), Settled, Fail, Settled], "0:1 failed 0:1"),
            (&[Ok(0), Settled, Fail, Ok(1), Settled], "0:1 failed 0:2"),
            (&[Ok(0), Settled, Fail, Empty], "0:1 failed 0:1"),
            (&[Ok(5), Ok(7), Settled, Seek(2), Ok(2), Settled], "0:8 0:3"),
            (&[Out(0), Settled], ""),
        ],
    );
}

#[test]
fn batch_with_a_batch_listener() {
    check(
        Batch,
        true,
        &[
            (&[Many(0, 4)], "0:5"),
            (&[Many(0, 4), Settled, Many(5, 5)], "0:5 0:6"),
            (&[Many(0, 2), Lost, Settled], "0:3"),
            // A failed index: what came before it is done, the rest is put back.
            (&[BatchAcked(0, 4, -1), Settle(0), Settle(1), Back(2), Settled, Many(2, 4)], "0:2 0:5"),
            (&[Many(0, 1), Fail, Empty], "0:2 failed 0:2"),
        ],
    );
}

#[test]
fn time() {
    check(
        Time,
        false,
        &[
            (&[Ok(0), Ok(1), Settled, Empty], ""),
            (&[Ok(0), Pass(99), Pass(1)], "0:1"),
            (&[Pass(150), Ok(0)], "0:1"),
            (&[Ok(0), Pass(100), Ok(1), Pass(99), Pass(1)], "0:1 0:2"),
            // An idle consumer commits on time, by the timer alone.
            (&[Ok(0), Settled, Empty, Pass(100)], "0:1"),
            (&[Pass(1000)], ""),
            (&[Ok(0), Flush, Ok(1), Pass(99)], "0:1"),
            (&[Ok(0), Lost, Pass(200)], ""),
            (&[Ok(0), Out(1), Back(1), Pass(100)], "0:1"),
            (&[Ok(0), Pass(100), Fail, Pass(99), Pass(1)], "0:1 failed 0:1"),
            (&[Ok(0), Ok1(0), Pass(100)], "0:1+1:1"),
        ],
    );
    check(
        Time,
        true,
        &[
            (&[Many(0, 4), Settled], ""),
            (&[Many(0, 4), Pass(100)], "0:5"),
            (&[Pass(100), Many(0, 4)], "0:5"),
            (&[Many(0, 4), Flush], "0:5"),
        ],
    );
}

#[test]
fn count() {
    check(
        Count,
        false,
        &[
            (&[Ok(0), Ok(1)], ""),
            (&[Ok(0), Ok(1), Ok(2), Ok(3)], "0:3"),
            (&[Ok(0), Ok1(0), Ok(1)], "0:2+1:1"),
            (&[Ok(0), Ok(1), Settled], ""),
            (&[Ok(0), Ok(1), Empty], "0:2"),
            (&[Empty], ""),
            (&[Ok(0), Flush, Ok(1), Ok(2), Ok(3)], "0:1 0:4"),
            (&[Ok(0), Settle(1), Ok(2)], "0:3"),
            (&[Ok(0), Ok(1), Lost, Empty, Flush], ""),
            (&[Ok(0), Ok(1), Ok(2), Fail, Ok(3), Empty], "0:3 failed 0:4"),
            (&[Ok(0), Pass(10_000)], ""),
        ],
    );
    check(
        Count,
        true,
        &[
            // Records are counted, not partitions.
            (&[Many(0, 1), Settled, Many(2, 2)], "0:3"),
            (&[Many(0, 9)], "0:10"),
            (&[Many(0, 1), Empty], "0:2"),
            (&[Many(0, 1), Flush], "0:2"),
        ],
    );
}

#[test]
fn count_time() {
    check(
        CountTime,
        false,
        &[
            (&[Ok(0), Ok(1), Ok(2)], "0:3"),
            (&[Ok(0), Pass(100)], "0:1"),
            // Each resets both.
            (&[Ok(0), Pass(100), Ok(1), Ok(2), Pass(50), Ok(3), Pass(99)], "0:1 0:4"),
            (&[Ok(0), Ok(1), Pass(50), Ok(2), Pass(60), Ok(3), Pass(40)], "0:3 0:4"),
            (&[Ok(0), Settled], ""),
            (&[Ok(0), Empty], "0:1"),
            (&[Pass(100), Ok(0)], "0:1"),
            (&[Ok(0), Flush], "0:1"),
            (&[Ok(0), Lost, Pass(100), Empty], ""),
            (&[Ok(0), Ok(1), Ok(2), Fail, Pass(100)], "0:3 failed 0:3"),
        ],
    );
    check(CountTime, true, &[(&[Many(0, 2)], "0:3"), (&[Many(0, 0), Pass(100)], "0:1"), (&[Many(0, 0), Empty], "0:1")]);
}

#[test]
fn manual() {
    check(
        Manual,
        false,
        &[
            (&[Out(0), Out(1), Settled], ""),
            (&[Out(0), Ack(0), Out(1), Ack(1), Settled], "0:2"),
            // An acknowledgment covers everything lower.
            (&[Out(0), Out(1), Out(2), Ack(2), Settled], "0:3"),
            (&[Out(0), Ack(0), Ack(0), Settled, Ack(0), Settled], "0:1"),
            // Late: committed at the next turn.
            (&[Out(0), Settled, Ack(0), Settled], "0:1"),
            (&[Out(0), Ack(5)], "refused 5"),
            (&[Out(0), Lost, Ack(0), Settled], "refused 0"),
            (&[Out(0), Ack(0), Flush], "0:1"),
            // Recovered without an acknowledgment: done in every mode.
            (&[Settle(0), Settled], "0:1"),
            // A nack: what was acknowledged is committed, the rest comes again.
            (&[Out(0), Ack(0), Out(1), Back(1), Flush, Out(1), Ack(1), Settled], "0:1 0:2"),
            (&[Out(0), Ack(0), Settled, Fail, Empty], "0:1 failed 0:1"),
            (&[Out(0), Ack(0), Pass(1000)], ""),
        ],
    );
    check(
        Manual,
        true,
        &[
            (&[BatchAcked(0, 4, -1), Settled], ""),
            (&[BatchAcked(0, 4, 4)], "0:5"),
            (&[BatchAcked(0, 4, 1), Ack(4), Settled], "0:2 0:5"),
        ],
    );
}

#[test]
fn manual_immediate() {
    check(
        ManualImmediate,
        false,
        &[
            (&[Out(0), Ack(0), Out(1), Ack(1)], "0:1 0:2"),
            (&[Out(0), Out(1), Out(2), Ack(1), Settled], "0:2"),
            (&[Out(0), Ack(0), Ack(0)], "0:1"),
            (&[Out(0), Settled, Empty, Flush], ""),
            (&[Settle(0)], "0:1"),
            (&[Out(0), Ack(0), Fail, Ack(0)], "0:1 failed 0:1"),
            (&[Out(0), Lost, Ack(0)], "refused 0"),
            (&[Out(0), Ack1(0)], "refused 0"),
            (&[Out(0), Out(1), Back(1), Ack(1)], "refused 1"),
            (&[Out(0), Ack(0), Seek(0), Out(0), Ack(0)], "0:1 0:1"),
        ],
    );
    check(ManualImmediate, true, &[(&[BatchAcked(0, 4, -1), Ack(1), Ack(4)], "0:2 0:5")]);
}

#[test]
fn async_acks_commit_without_gaps() {
    for mode in [Manual, ManualImmediate] {
        let tail = if mode == Manual { &[Settled][..] } else { &[][..] };
        for (events, expected) in [
            (&[Out(0), Out(1), Out(2), Out(3), Ack(3), Ack(2), Ack(1), Ack(0)][..], "0:4"),
            (&[Out(0), Out(1), Out(2), Ack(1), Ack(1)][..], ""),
            (&[Out(2), Out(5), Out(9), Ack(5), Ack(2)][..], "0:6"),
            (&[Out(0), Out(1), Ack(1), Lost][..], ""),
        ] {
            let events: Vec<E> = events.iter().chain(tail).copied().collect();
            assert_eq!(play(&mut engine(mode, true), &events), expected, "{mode}: {events:?}");
        }
    }
    let mut engine = engine(Manual, true);
    (0..3).for_each(|offset| engine.delivered(Slot(0), offset));
    assert!(!engine.at_max_unacked(Slot(0)));
    engine.delivered(Slot(0), 3);
    assert!(engine.at_max_unacked(Slot(0)) && !engine.at_max_unacked(Slot(1)));
    engine.acked(Slot(0), 0).expect("delivered");
    assert!(!engine.at_max_unacked(Slot(0)));
}

#[test]
fn auto_commit_leaves_it_to_the_consumer() {
    let mut engine = engine(Record, false);
    engine.properties_mut().auto_commit = true;
    assert_eq!(play(&mut engine, &[Ok(0), Settled, Empty, Flush]), "");
}

proptest! {
    /// For every set and order of acknowledgments: what is committable is the lowest unfinished offset.
    #[test]
    fn committable_is_the_lowest_unfinished(gaps in proptest::collection::vec(1i64..4, 1..30), acks in proptest::collection::vec(0usize..30, 0..90), async_acks: bool) {
        let offsets: Vec<i64> = gaps.iter().scan(-1, |at, gap| { *at += gap; Some(*at) }).collect();
        let mut engine = engine(Manual, async_acks);
        offsets.iter().for_each(|offset| engine.delivered(Slot(0), *offset));
        let mut done = vec![false; offsets.len()];
        let mut committed = 0;
        for ack in acks {
            let ack = ack % offsets.len();
            engine.acked(Slot(0), offsets[ack]).expect("delivered");
            if async_acks { done[ack] = true } else { done[..=ack].fill(true) }
            let lowest = done.iter().position(|done| !done);
            let expected = match lowest { Some(0) => 0, Some(index) => offsets[index - 1] + 1, None => offsets[offsets.len() - 1] + 1 };
            let mut commits = Vec::new();
            engine.take_commits(&mut commits);
            if let Some((_, offset)) = commits.first() {
                prop_assert!(*offset > committed, "a commit went back");
                committed = *offset;
            }
            prop_assert_eq!(committed, expected);
        }
    }
}
