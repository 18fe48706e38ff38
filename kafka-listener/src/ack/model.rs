//! The engine against a naive model of what the ack modes promise, driven by a worker that does everything a worker may do, in
//! random order. Each case is one seed; a failure prints it.

use super::*;

/// A small generator: the same seed, the same case.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }
}

/// One assignment of a partition, remembered in full.
#[derive(Debug, Default)]
struct Naive {
    generation: u64,
    position: i64,
    /// Every record delivered and not put back since, in order; true when it is done.
    records: Vec<(i64, bool)>,
    /// The next offset that the log has.
    next: i64,
    /// What was ever committable: it does not go back.
    floor: i64,
    stored: i64,
    /// Requests and their answers, if any.
    requests: Vec<(i64, Option<bool>)>,
}

impl Naive {
    fn at(generation: u64, position: i64) -> Self {
        Self { generation, position, next: position, floor: position, stored: position, ..Self::default() }
    }

    /// The end of the gap-free run of done records.
    fn committable(&self) -> i64 {
        let run = self.records.iter().take_while(|(_, done)| *done).last();
        self.floor.max(run.map_or(self.position, |(offset, _)| offset + 1))
    }

    fn lowest_unfinished(&self) -> Option<i64> {
        self.records.iter().find(|(_, done)| !done).map(|(offset, _)| *offset)
    }

    /// What need not be asked for again: stored, or asked for without a refusal.
    fn covered(&self) -> i64 {
        let asked = self.requests.iter().filter(|(_, answer)| *answer != Some(false)).map(|(offset, _)| *offset);
        asked.max().unwrap_or(0).max(self.stored)
    }

    fn pending(&self) -> bool {
        self.committable() > self.covered()
    }

    /// Behind the run: what bounds memory.
    fn open(&self) -> usize {
        let run = self.records.iter().take_while(|(_, done)| *done).count();
        self.records.len() - run
    }
}

#[derive(Debug, Clone, Copy)]
enum Point {
    Record,
    Batch,
    Settled,
    Empty,
    Acks,
    Timer,
    Flush,
}

const SLOTS: usize = 3;

struct Case {
    random: Random,
    properties: AckProperties,
    engine: AckEngine,
    slots: [Option<Naive>; SLOTS],
    generation: u64,
    now: u64,
    /// Done since the last request, and when that was.
    count: u64,
    last_commit: u64,
    requests_sent: usize,
    trace: Vec<String>,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let properties = AckProperties {
            mode: AckMode::ALL[random.below(7) as usize],
            ack_count: 1 + random.below(6),
            ack_time_ms: 20 + random.below(80),
            async_acks: random.one_in(2),
            auto_commit: random.one_in(20),
            max_unacked: 1 + random.below(6) as usize,
        };
        let engine = AckEngine::new(properties.clone(), 0);
        let slots = [None, None, None];
        let trace = vec![format!("{properties:?}")];
        Self { random, properties, engine, slots, generation: 0, now: 0, count: 0, last_commit: 0, requests_sent: 0, trace }
    }

    fn due(&self) -> bool {
        let (counting, timing) = match self.properties.mode {
            AckMode::Count => (true, false),
            AckMode::Time => (false, true),
            AckMode::CountTime => (true, true),
            _ => (false, false),
        };
        (counting && self.count >= self.properties.ack_count)
            || (timing && self.now - self.last_commit >= self.properties.ack_time_ms)
    }

    /// The table of the modes, read column by column.
    fn wanted(&self, point: Point) -> bool {
        use AckMode::*;
        match (self.properties.mode, point) {
            (_, Point::Flush) => true,
            (Time | CountTime, Point::Timer) => self.due(),
            (_, Point::Timer) => false,
            (mode, Point::Acks) => mode == ManualImmediate,
            (Count | CountTime, Point::Empty) => true,
            (Time | Count | CountTime, _) => self.due(),
            (Record | ManualImmediate, _) => true,
            (Batch | Manual, Point::Record) => false,
            (Batch | Manual, _) => true,
        }
    }

    fn decide(&mut self, point: Point) {
        let pending = !self.properties.auto_commit && self.slots.iter().flatten().any(Naive::pending);
        let expected = if self.wanted(point) && pending { Decision::Commit } else { Decision::Hold };
        let now = self.now;
        let decision = match point {
            Point::Record => self.engine.after_record(now),
            Point::Batch => self.engine.after_batch(now),
            Point::Settled => self.engine.settled(now),
            Point::Empty => self.engine.empty_poll(now),
            Point::Acks => self.engine.acks_arrived(now),
            Point::Timer => self.engine.timer(now),
            Point::Flush => self.engine.flush(),
        };
        assert_eq!(decision, expected, "at {point:?}");
        if decision == Decision::Commit {
            self.commit();
        }
    }

    fn commit(&mut self) {
        let mut commits = Vec::new();
        self.engine.take_commits(&mut commits);
        let expected: Vec<(Slot, i64)> = (0..SLOTS)
            .filter_map(|slot| {
                let naive = self.slots[slot].as_ref().filter(|naive| naive.pending())?;
                Some((Slot(slot as u32), naive.committable()))
            })
            .collect();
        assert_eq!(commits, expected, "one request for everything that is safe");
        (self.count, self.last_commit) = (0, self.now);
        self.requests_sent += 1;
        for (slot, offset) in commits {
            let naive = self.slots[slot.0 as usize].as_mut().expect("assigned");
            assert!(naive.requests.iter().all(|(earlier, _)| *earlier <= offset), "a commit went back");
            assert!(
                naive.lowest_unfinished().is_none_or(|lowest| offset <= lowest || offset <= naive.floor),
                "past what is open"
            );
            naive.requests.push((offset, None));
        }
        self.trace.push(format!("commit {expected:?}"));
        // Most answers come at once, some later, in any order.
        while !self.random.one_in(4) && self.answer() {}
    }

    /// Answers one open request; false if there is none.
    fn answer(&mut self) -> bool {
        let open: Vec<(usize, usize)> = (0..SLOTS)
            .flat_map(|slot| {
                let requests = self.slots[slot].as_ref().map_or(&[][..], |naive| &naive.requests);
                requests.iter().enumerate().filter(|(_, (_, answer))| answer.is_none()).map(move |(index, _)| (slot, index))
            })
            .collect();
        if open.is_empty() {
            return false;
        }
        let (slot, index) = open[self.random.below(open.len() as u64) as usize];
        let stored = !self.random.one_in(3);
        let naive = self.slots[slot].as_mut().expect("assigned");
        let offset = naive.requests[index].0;
        naive.requests[index].1 = Some(stored);
        self.trace.push(format!("answer {slot}:{offset} {stored}"));
        if stored {
            naive.stored = naive.stored.max(offset);
            self.engine.commit_succeeded(Slot(slot as u32), offset);
        } else {
            self.engine.commit_failed(Slot(slot as u32), offset);
        }
        true
    }

    /// Some partition that is assigned.
    fn pick(&mut self) -> Option<usize> {
        let start = self.random.below(SLOTS as u64) as usize;
        (0..SLOTS).map(|step| (start + step) % SLOTS).find(|slot| self.slots[*slot].is_some())
    }

    fn assign(&mut self, slot: usize, position: i64) {
        self.trace.push(format!("assign {slot} at {position}"));
        self.generation += 1;
        self.slots[slot] = Some(Naive::at(self.generation, position));
        self.engine.assign(Slot(slot as u32), position);
    }

    fn deliver(&mut self, slot: usize) -> i64 {
        // Gaps: transaction markers, aborted and compacted records.
        let gap = if self.random.one_in(4) { self.random.below(4) as i64 } else { 0 };
        let naive = self.slots[slot].as_mut().expect("assigned");
        let offset = naive.next + gap;
        naive.next = offset + 1;
        naive.records.push((offset, false));
        self.trace.push(format!("deliver {slot}:{offset}"));
        self.engine.delivered(Slot(slot as u32), offset);
        offset
    }

    fn note_done(&mut self, slot: usize, covers: impl Fn(i64) -> bool) {
        let naive = self.slots[slot].as_mut().expect("assigned");
        for (_, done) in naive.records.iter_mut().filter(|(offset, done)| covers(*offset) && !done) {
            *done = true;
            self.count += 1;
        }
        naive.floor = naive.committable();
    }

    fn done(&mut self, slot: usize, offset: i64) {
        self.trace.push(format!("done {slot}:{offset}"));
        self.engine.done(Slot(slot as u32), offset);
        self.note_done(slot, |other| other == offset);
    }

    fn ack(&mut self) {
        let Some(slot) = self.pick() else { return };
        let naive = self.slots[slot].as_ref().expect("assigned");
        let offset = match naive.records.len() {
            0 => naive.next,
            _ if self.random.one_in(10) => naive.next,
            count => naive.records[self.random.below(count as u64) as usize].0,
        };
        let known = offset < naive.next;
        self.trace.push(format!("ack {slot}:{offset}"));
        assert_eq!(self.engine.acked(Slot(slot as u32), offset).is_ok(), known, "an ack of {offset}");
        if known {
            let async_acks = self.properties.async_acks;
            self.note_done(slot, |other| if async_acks { other == offset } else { other <= offset });
        }
        self.decide(Point::Acks);
    }

    fn put_back(&mut self, slot: usize, from: i64) {
        self.trace.push(format!("put back {slot}:{from}"));
        self.engine.put_back(Slot(slot as u32), from);
        let naive = self.slots[slot].as_mut().expect("assigned");
        naive.records.retain(|(offset, _)| *offset < from);
        naive.next = naive.next.min(from);
    }

    /// A record listener's call.
    fn call(&mut self) {
        let Some(slot) = self.pick() else { return };
        let offset = self.deliver(slot);
        match self.random.below(10) {
            0 => self.put_back(slot, offset),
            1 => {}
            _ if self.properties.mode.is_manual() && !self.random.one_in(5) => {}
            _ => self.done(slot, offset),
        }
        self.decide(Point::Record);
    }

    /// A batch listener's call: a part of it is done, the rest waits or is put back.
    fn call_batch(&mut self) {
        let mut batch: Vec<(usize, i64)> = Vec::new();
        for slot in (0..SLOTS).filter(|slot| self.slots[*slot].is_some()).collect::<Vec<_>>() {
            for _ in 0..self.random.below(5) {
                batch.push((slot, self.deliver(slot)));
            }
        }
        let ended = if self.random.one_in(2) { batch.len() } else { self.random.below(batch.len() as u64 + 1) as usize };
        for (slot, offset) in &batch[..ended] {
            self.done(*slot, *offset);
        }
        if self.random.one_in(2) {
            for (slot, offset) in batch[ended..].iter().rev() {
                self.put_back(*slot, *offset);
            }
        }
        self.decide(Point::Batch);
    }

    /// Partitions come, go and move.
    fn reassign(&mut self) {
        let slot = self.random.below(SLOTS as u64) as usize;
        let far = self.random.below(50) as i64;
        match &self.slots[slot] {
            None => self.assign(slot, far),
            Some(naive) => {
                let stored = naive.stored;
                match self.random.below(4) {
                    // An explicit seek: commits may go back.
                    0 => self.assign(slot, far),
                    1 => {
                        self.lose(slot);
                        self.assign(slot, stored);
                    }
                    2 => self.lose(slot),
                    _ => {
                        self.decide(Point::Flush);
                        self.lose(slot);
                    }
                }
            }
        }
    }

    fn lose(&mut self, slot: usize) {
        self.trace.push(format!("lose {slot}"));
        self.engine.lose(Slot(slot as u32));
        self.slots[slot] = None;
        assert!(self.engine.acked(Slot(slot as u32), 0).is_err(), "an ack after the assignment");
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=6 => self.call(),
            7..=8 if self.properties.mode != AckMode::Record => self.call_batch(),
            7..=11 => self.ack(),
            12 => self.decide(Point::Settled),
            13 => self.decide(Point::Empty),
            14 => {
                self.now += self.random.below(60);
                self.decide(Point::Timer);
            }
            15 => self.decide(Point::Flush),
            16 => {
                // A record long delivered is settled otherwise, a second time perhaps.
                let Some(slot) = self.pick() else { return };
                let records = self.slots[slot].as_ref().map_or(0, |naive| naive.records.len());
                if records > 0 {
                    let index = self.random.below(records as u64) as usize;
                    let offset = self.slots[slot].as_ref().expect("assigned").records[index].0;
                    self.done(slot, offset);
                }
            }
            17 => {
                // A nack, or a batch put back: even what was done in it.
                let Some(slot) = self.pick() else { return };
                let naive = self.slots[slot].as_ref().expect("assigned");
                let from = naive.next - 1 - self.random.below(4) as i64;
                if from >= naive.position {
                    self.put_back(slot, from);
                }
            }
            18 => {
                self.answer();
            }
            _ => self.reassign(),
        }
        self.compare();
    }

    fn compare(&self) {
        let (mut any, timed) = (false, matches!(self.properties.mode, AckMode::Time | AckMode::CountTime));
        for (index, naive) in self.slots.iter().enumerate() {
            let (slot, Some(naive)) = (Slot(index as u32), naive) else { continue };
            any |= naive.pending();
            let engine = (
                self.engine.committable(slot),
                self.engine.committed(slot),
                self.engine.outstanding(slot),
                self.engine.oldest_unacked(slot),
                self.engine.at_max_unacked(slot),
            );
            let outstanding = naive.records.iter().filter(|(_, done)| !done).count();
            let full = self.properties.async_acks && naive.open() >= self.properties.max_unacked;
            assert_eq!(
                engine,
                (naive.committable(), naive.stored, outstanding, naive.lowest_unfinished(), full),
                "partition {index} in assignment {}",
                naive.generation
            );
        }
        let pending = any && !self.properties.auto_commit;
        assert_eq!(self.engine.pending(), pending);
        let deadline = (timed && pending).then(|| self.last_commit + self.properties.ack_time_ms);
        assert_eq!(self.engine.next_deadline(), deadline);
    }
}

/// Says which case it was, and what led there, when one fails.
impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.trace.len().saturating_sub(40);
            eprintln!("{}\n... {}", self.trace[0], self.trace[from..].join("\n    "));
        }
    }
}

#[test]
fn the_engine_does_what_the_model_says() {
    const CASES: u64 = 10_000;
    let mut requests = 0;
    for seed in 0..CASES {
        let mut case = Case::new(seed);
        (0..SLOTS).for_each(|slot| case.assign(slot, 0));
        for _ in 0..60 {
            case.step();
        }
        requests += case.requests_sent;
    }
    assert!(requests > 50_000, "the cases commit now and then: {requests}");
}
