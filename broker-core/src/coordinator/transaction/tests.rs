//! The machine by tables. Facts are those of the conformance list.

use super::*;

const A: (i64, i16) = (1000, 0);

/// The clocks agree.
fn at(ms: i64) -> Now {
    Now { wall_ms: ms, monotonic_ms: ms }
}

fn machine() -> Transactions {
    Transactions::new(TransactionLimits { max_timeout_ms: 900_000, expiration_ms: 604_800_000 })
}

/// A machine, what is asked of it by id `t`, and the ids that it takes.
struct Bench {
    transactions: Transactions,
    now: i64,
    next_id: i64,
}

impl Bench {
    fn new() -> Self {
        Self { transactions: machine(), now: 0, next_id: 1000 }
    }

    fn store(&mut self, next: Transaction) {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        encode_key("t", &mut key);
        encode_value(&next, &mut value);
        // The epoch before is told by the one that came behind it, where every transaction has one.
        let last_epoch = if next.ended_v2 { next.last_epoch } else { NO_EPOCH };
        let read = Transaction { last_epoch, updated_at: 0, started_at: 0, ..next.clone() };
        assert_eq!(decode(&key, Some(&value)), Some(("t", Some(read))), "read back as it was stored");
        self.transactions.apply("t", Some(next));
    }

    fn init(&mut self, had: Option<Producer>) -> Result<Producer, ErrorCode> {
        let next_id = &mut self.next_id;
        let fresh = || {
            *next_id += 1;
            Ok(*next_id - 1)
        };
        let init = self.transactions.init_producer_id(at(self.now), "t", 60_000, had, fresh).map_err(|error| error.code())?;
        match init {
            Init::Give(next) => {
                let producer = next.producer();
                self.store(next);
                Ok(producer)
            }
            Init::Again(producer) => Ok(producer),
            Init::Fence(next) => {
                self.store(next);
                Err(ErrorCode::ConcurrentTransactions)
            }
        }
    }

    fn add(&mut self, producer: Producer, number: i32) -> Result<(), ErrorCode> {
        let partitions = [TopicPartition::new("p", number)];
        let added = self.transactions.add_partitions(at(self.now), "t", producer, &partitions);
        added.map_err(|error| error.code())?.into_iter().for_each(|next| self.store(next));
        Ok(())
    }

    fn end(&mut self, producer: Producer, committed: bool) -> Result<(), ErrorCode> {
        match self.transactions.end(at(self.now), "t", producer, committed).map_err(|error| error.code())? {
            End::Done => {}
            End::Prepare(next) => self.store(next),
        }
        Ok(())
    }

    /// As a transaction of version 2: the producer that goes on, once it is complete.
    fn end_v2(&mut self, producer: Producer, committed: bool) -> Result<Producer, ErrorCode> {
        let next_id = &mut self.next_id;
        let fresh = || {
            *next_id += 1;
            Ok(*next_id - 1)
        };
        match self.transactions.end_v2(at(self.now), "t", producer, committed, fresh).map_err(|error| error.code())? {
            End::Done => {}
            End::Prepare(next) => self.store(next),
        }
        Ok(self.transactions.get("t").expect("known").next_producer())
    }

    fn complete(&mut self) {
        let next = self.transactions.completed(at(self.now), "t").expect("decided");
        self.store(next);
    }

    /// As after a restart.
    fn read_back(&mut self) {
        let mut value = Vec::new();
        encode_value(self.transactions.get("t").expect("known"), &mut value);
        let read = decode(&[0, 0, 0, 1, b't'], Some(&value)).expect("known").1;
        self.transactions.apply("t", read);
    }

    fn state(&self) -> TransactionState {
        self.transactions.get("t").expect("known").state
    }

    /// One whose transaction is in this state; of producer [`A`].
    fn at(state: TransactionState) -> Self {
        Self::ended_at(state, |bench, committed| bench.end(A, committed))
    }

    /// The same, where [`A`] ended it as one of version 2.
    fn at_v2(state: TransactionState) -> Self {
        Self::ended_at(state, |bench, committed| bench.end_v2(A, committed).map(drop))
    }

    fn ended_at(state: TransactionState, end: impl Fn(&mut Self, bool) -> Result<(), ErrorCode>) -> Self {
        use TransactionState::*;
        let mut bench = Self::new();
        assert_eq!(bench.init(None), Ok(A));
        if state != Empty {
            bench.add(A, 0).expect("added");
        }
        match state {
            PrepareCommit | CompleteCommit => end(&mut bench, true).expect("decided"),
            PrepareAbort | CompleteAbort => end(&mut bench, false).expect("decided"),
            _ => {}
        }
        if matches!(state, CompleteCommit | CompleteAbort) {
            bench.complete();
        }
        assert_eq!(bench.state(), state);
        bench
    }
}

use ErrorCode::*;
use TransactionState::*;

const STATES: [TransactionState; 6] = [Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort];

#[test]
fn fact_42_who_comes_later_fences_who_came_before() {
    let mut bench = Bench::at(Ongoing);
    assert_eq!(bench.init(None), Err(ConcurrentTransactions));
    assert_eq!(bench.state(), PrepareAbort, "the open one is aborted");
    assert_eq!(bench.init(None), Err(ConcurrentTransactions), "and ends first");
    bench.complete();
    assert_eq!(bench.init(None), Ok((1000, 2)), "1 fenced, and is nobody's");
    for epoch in [0, 1] {
        assert_eq!(bench.add((1000, epoch), 0), Err(ProducerFenced));
        assert_eq!(bench.end((1000, epoch), true), Err(ProducerFenced));
    }
    assert_eq!(bench.add((7, 2), 0), Err(InvalidProducerIdMapping));
}

#[test]
fn fact_48_an_end_is_answered_by_state() {
    for (state, commit, abort) in [
        (Empty, Err(InvalidTxnState), Err(InvalidTxnState)),
        (Ongoing, Ok(()), Ok(())),
        (PrepareCommit, Err(ConcurrentTransactions), Err(InvalidTxnState)),
        (PrepareAbort, Err(InvalidTxnState), Err(ConcurrentTransactions)),
        (CompleteCommit, Ok(()), Err(InvalidTxnState)),
        (CompleteAbort, Err(InvalidTxnState), Ok(())),
    ] {
        assert_eq!(Bench::at(state).end(A, true), commit, "commit at {state}");
        assert_eq!(Bench::at(state).end(A, false), abort, "abort at {state}");
    }
    let mut nobody = Bench::new();
    assert_eq!(nobody.end(A, true), Err(InvalidProducerIdMapping));
    assert_eq!(nobody.add(A, 0), Err(InvalidProducerIdMapping));
}

#[test]
fn fact_49_who_comes_while_it_ends_comes_again() {
    for state in STATES {
        let mut bench = Bench::at(state);
        let expected = if state.is_prepared() { Err(ConcurrentTransactions) } else { Ok(()) };
        assert_eq!(bench.add(A, 1), expected, "{state}");
        assert_eq!(bench.state(), if state.is_prepared() { state } else { Ongoing });
    }
    for state in [PrepareCommit, PrepareAbort] {
        let mut bench = Bench::at(state);
        assert_eq!(bench.init(None), Err(ConcurrentTransactions), "{state}");
        bench.complete();
        assert_eq!(bench.init(None), Ok((1000, 1)), "{state}");
    }
}

#[test]
fn fact_50_one_that_is_open_for_too_long_is_aborted_and_its_producer_fenced() {
    let mut bench = Bench::at(Ongoing);
    bench.now = 60_000;
    assert!(bench.transactions.timed_out(at(bench.now)).is_empty());
    bench.add(A, 1).expect("added");
    bench.now = 60_001;
    assert_eq!(bench.transactions.timed_out(at(bench.now)), ["t"], "from its beginning on, whatever came later");
    let next = bench.transactions.abort_timed_out(at(bench.now), "t").expect("late");
    bench.store(next);
    assert_eq!(bench.end(A, true), Err(ProducerFenced));
    bench.complete();
    assert_eq!((bench.add(A, 0), bench.init(Some(A))), (Err(ProducerFenced), Err(ProducerFenced)));
    assert_eq!(bench.init(None), Ok((1000, 2)));
    for state in STATES.into_iter().filter(|state| *state != Ongoing) {
        assert!(Bench::at(state).transactions.timed_out(at(i64::MAX)).is_empty(), "{state}");
        assert_eq!(Bench::at(state).transactions.abort_timed_out(at(i64::MAX), "t"), None, "{state}");
    }
}

#[test]
fn fact_51_a_time_out_has_bounds() {
    for (timeout, expected) in [(0, false), (-1, false), (1, true), (900_000, true), (900_001, false)] {
        let init = machine().init_producer_id(at(0), "t", timeout, None, || Ok(5));
        assert_eq!(init.map(drop).map_err(|error| error.code()), expected.then_some(()).ok_or(InvalidTransactionTimeout));
    }
    for id in [String::new(), "x".repeat(32_768)] {
        let refused = machine().init_producer_id(at(0), &id, 1000, None, || Ok(5)).expect_err("no id");
        assert_eq!(refused.code(), InvalidRequest);
    }
}

#[test]
fn fact_55_exhausted_epochs_lead_to_a_new_id() {
    let mut bench = Bench::at(Empty);
    let nearly = Transaction { producer_epoch: 32_765, ..bench.transactions.get("t").expect("known").clone() };
    bench.store(nearly);
    assert_eq!(bench.init(None), Ok((1000, 32_766)));
    assert_eq!(bench.init(Some((1000, 32_766))), Ok((1001, 0)));
    assert_eq!(bench.init(Some((1000, 32_766))), Ok((1001, 0)), "its answer was lost");
    assert_eq!(bench.add((1001, 0), 0), Ok(()));
    assert_eq!(bench.add((1000, 32_766), 0), Err(InvalidProducerIdMapping));
    // The last epoch fences.
    let last = Transaction { producer_epoch: 32_766, ..bench.transactions.get("t").expect("known").clone() };
    bench.store(last);
    assert_eq!(bench.init(None), Err(ConcurrentTransactions));
    assert_eq!(bench.transactions.get("t").expect("known").producer_epoch, i16::MAX);
    bench.complete();
    assert_eq!(bench.init(None), Ok((1002, 0)));
}

/// The one before the end, and the one behind it.
const N: (i64, i16) = (1000, 1);

#[test]
fn fact_56_each_end_of_version_2_is_behind_another_epoch() {
    let over = Err(InvalidTxnState);
    // By state: the producer that began it commits, or aborts; the one that it became does.
    for (state, commit, abort, next_commit, next_abort) in [
        (Empty, over, Ok(N), Err(ProducerFenced), Err(ProducerFenced)),
        (Ongoing, Ok(N), Ok(N), Err(ProducerFenced), Err(ProducerFenced)),
        (PrepareCommit, Err(ConcurrentTransactions), over, over, over),
        (PrepareAbort, over, Err(ConcurrentTransactions), over, over),
        (CompleteCommit, Ok(N), over, over, Ok((1000, 2))),
        (CompleteAbort, over, Ok(N), over, Ok((1000, 2))),
    ] {
        assert_eq!(Bench::at_v2(state).end_v2(A, true), commit, "commit at {state}");
        assert_eq!(Bench::at_v2(state).end_v2(A, false), abort, "abort at {state}");
        assert_eq!(Bench::at_v2(state).end_v2(N, true), next_commit, "the next one commits at {state}");
        assert_eq!(Bench::at_v2(state).end_v2(N, false), next_abort, "the next one aborts at {state}");
    }
    for state in [CompleteCommit, CompleteAbort] {
        let mut bench = Bench::at_v2(state);
        assert_eq!(bench.add(A, 0), Err(ProducerFenced), "what comes late is not of the next transaction");
        assert_eq!(bench.end(A, true), Err(ProducerFenced));
        bench.add(N, 0).expect("the next one");
        assert_eq!(bench.end_v2(A, state == CompleteCommit), Err(ProducerFenced), "what comes late ends no other");
        assert_eq!((bench.state(), bench.end_v2(N, true)), (Ongoing, Ok((1000, 2))));
    }
    assert_eq!(Bench::new().end_v2(A, false), Err(InvalidProducerIdMapping));
}

#[test]
fn who_was_fenced_is_told_so_and_not_that_it_asks_again() {
    // By a new instance, and by the time-out: the epoch is one higher as well.
    let mut bench = Bench::at_v2(Ongoing);
    assert_eq!(bench.init(None), Err(ConcurrentTransactions));
    for committed in [true, false] {
        assert_eq!(bench.end_v2(A, committed), Err(ProducerFenced));
    }
    bench.complete();
    for committed in [true, false] {
        assert_eq!(bench.end_v2(A, committed), Err(ProducerFenced));
    }
    // A new instance forgets how the one before ended.
    let mut bench = Bench::at_v2(CompleteCommit);
    assert_eq!(bench.init(None), Ok((1000, 2)));
    assert_eq!((bench.end_v2(A, true), bench.end_v2(N, true)), (Err(ProducerFenced), Err(ProducerFenced)));
    // One that ended the transaction before as version 1 asks for nothing again: there is nothing yet.
    assert_eq!(Bench::at(CompleteCommit).end_v2(A, true), Err(InvalidTxnState));
}

#[test]
fn its_producer_goes_on_after_an_end_whose_answer_was_lost() {
    for read_back in [false, true] {
        let mut bench = Bench::at_v2(PrepareCommit);
        assert_eq!(bench.init(Some(A)), Err(ConcurrentTransactions), "it is still told");
        bench.complete();
        if read_back {
            bench.read_back();
        }
        assert_eq!(bench.end_v2(A, true), Ok(N));
        assert_eq!(bench.init(Some(A)), Ok(N), "read back {read_back}");
        assert_eq!(bench.init(Some(N)), Ok((1000, 2)));
    }
}

#[test]
fn fact_55_exhausted_epochs_lead_to_a_new_id_at_an_end_of_version_2() {
    for read_back in [false, true] {
        let mut bench = Bench::at(Empty);
        let last = (1000, i16::MAX - 1);
        let nearly = Transaction { producer_epoch: last.1, ..bench.transactions.get("t").expect("known").clone() };
        bench.store(nearly);
        bench.add(last, 0).expect("added");
        assert_eq!(bench.end_v2(last, true), Ok((1001, 0)));
        let decided = bench.transactions.get("t").expect("known");
        assert_eq!(
            (decided.producer(), decided.writer()),
            ((1000, i16::MAX), last),
            "its markers fence, as they do for other epochs"
        );
        if read_back {
            bench.read_back();
        }
        assert_eq!(bench.end_v2(last, true), Err(ConcurrentTransactions));
        bench.complete();
        if read_back {
            bench.read_back();
        }
        assert_eq!(bench.end_v2(last, true), Ok((1001, 0)), "its answer was lost");
        assert_eq!(bench.init(Some(last)), Ok((1001, 0)));
        assert_eq!(bench.add(last, 0), Err(InvalidProducerIdMapping));
        bench.add((1001, 0), 0).expect("the next one");
        assert_eq!(bench.end_v2((1001, 0), false), Ok((1001, 1)));
    }
}

#[test]
fn kip_360_a_producer_goes_on_with_what_it_had() {
    let mut bench = Bench::at(CompleteAbort);
    assert_eq!(bench.init(Some(A)), Ok((1000, 1)));
    assert_eq!(bench.init(Some(A)), Ok((1000, 1)), "its answer was lost");
    assert_eq!(bench.init(Some((1000, 1))), Ok((1000, 2)));
    assert_eq!(bench.init(Some(A)), Err(ProducerFenced), "two ago");
    assert_eq!(bench.init(Some((7, 2))), Err(ProducerFenced), "another one");
    assert_eq!(bench.init(None), Ok((1000, 3)), "a new instance");
    assert_eq!(bench.init(Some((1000, 2))), Err(ProducerFenced), "fences the one before");
    // A request that comes late does not abort what its own producer has begun since.
    assert_eq!(bench.init(Some((1000, 3))), Ok((1000, 4)));
    bench.add((1000, 4), 0).expect("added");
    assert_eq!((bench.init(Some((1000, 3))), bench.state()), (Ok((1000, 4)), Ongoing));
    // A stranger aborts nothing.
    assert_eq!((bench.init(Some((1000, 1))), bench.state()), (Err(ProducerFenced), Ongoing));
    assert_eq!(bench.init(Some((1000, 4))), Err(ConcurrentTransactions));
    // An id that is not known is new, whatever it had.
    assert_eq!(Bench::new().init(Some((7, 7))), Ok((1000, 0)));
}

#[test]
fn only_what_is_in_the_open_transaction_may_be_written() {
    let (p0, p1) = (TopicPartition::new("p", 0), TopicPartition::new("p", 1));
    for state in STATES {
        let bench = Bench::at(state);
        let check = |producer, partition: &TopicPartition| {
            bench.transactions.check("t", producer, partition).map(drop).map_err(|error| error.code())
        };
        assert_eq!(check(A, &p0), if state == Ongoing { Ok(()) } else { Err(TransactionAbortable) }, "{state}");
        assert_eq!(check(A, &p1), Err(TransactionAbortable), "{state}");
        assert_eq!(check((1000, 1), &p0), Err(ProducerFenced), "{state}");
        assert_eq!(check((7, 0), &p0), Err(InvalidProducerIdMapping), "{state}");
    }
}

#[test]
fn ids_that_nobody_uses_expire_but_not_while_something_is_open() {
    for state in STATES {
        let bench = Bench::at(state);
        let idle = matches!(state, Empty | CompleteCommit | CompleteAbort);
        assert!(bench.transactions.expired(at(604_799_999)).is_empty(), "{state}");
        assert_eq!(bench.transactions.expired(at(604_800_000)).is_empty(), !idle, "{state}");
    }
}

#[test]
fn partitions_are_kept_until_all_of_them_know() {
    let mut bench = Bench::at(Ongoing);
    bench.add(A, 1).expect("added");
    bench.add(A, 1).expect("added again");
    let numbers = |bench: &Bench| -> Vec<i32> {
        bench.transactions.get("t").expect("known").partitions().map(|partition| partition.partition).collect()
    };
    assert_eq!(numbers(&bench), [0, 1]);
    bench.end(A, true).expect("decided");
    assert_eq!(numbers(&bench), [0, 1]);
    bench.complete();
    assert!(numbers(&bench).is_empty());
    assert_eq!(bench.transactions.completed(at(0), "t"), None);
}

/// Values as Kafka writes them, in both versions.
#[test]
fn kafkas_records_are_read() {
    let key = [0, 0, 0, 1, b't'];
    let head = [0, 0, 0, 0, 0, 0, 3, 0xe8, 0, 3, 0, 0, 0xea, 0x60];
    let times = [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 8];
    let v0: Vec<u8> = [&[0, 0], &head[..], &[1, 0, 0, 0, 1, 0, 1, b'p', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5], &times].concat();
    let tags = [2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7, 2, 2, 0, 2];
    let v1: Vec<u8> = [&[0, 1], &head[..], &[1, 2, 2, b'p', 3, 0, 0, 0, 0, 0, 0, 0, 5, 0], &times[..], &tags].concat();
    for (value, previous) in [(v0, -1), (v1, 7)] {
        let (id, read) = decode(&key, Some(&value)).expect("known");
        let read = read.expect("a value");
        assert_eq!((id, read.producer(), read.timeout_ms, read.state), ("t", (1000, 3), 60_000, Ongoing));
        assert_eq!((read.updated_ms, read.started_ms, read.previous_producer_id), (9, 8, previous));
        assert_eq!(read.partitions().collect::<Vec<_>>(), [TopicPartition::new("p", 0), TopicPartition::new("p", 5)]);
        for cut in 0..value.len() {
            assert_eq!(decode(&key, Some(&value[..cut])), None, "cut to {cut}");
        }
    }
    // None at all, as Kafka writes an empty one.
    let empty: Vec<u8> = [&[0, 0], &head[..], &[0, 0xff, 0xff, 0xff, 0xff], &times].concat();
    assert!(decode(&key, Some(&empty)).expect("known").1.expect("a value").partitions.is_empty());
    assert_eq!(decode(&key, None), Some(("t", None)));
    assert_eq!(decode(&[0, 1, 0, 1, b't'], None), None);
}
