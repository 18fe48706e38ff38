//! A day in a broker's life, in small.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::storage::Disk;
use broker_core::{Broker, MemberIdentity, NewTopic, OffsetCommit, TokioClock};

use super::transactions;
use super::world::{GROUP, NOW, PLANS, Promised, base_of, batch, config, new_topic, producer_of};

const ROUNDS: usize = 64;

pub struct Script {
    pub disk: Arc<dyn Disk>,
    pub promised: Arc<Mutex<Promised>>,
}

impl Script {
    fn tell(&self, told: impl FnOnce(&mut Promised)) {
        told(&mut self.promised.lock().expect("sound"));
    }

    fn open(&self) -> Broker {
        let clock = Arc::new(TokioClock::new(NOW));
        Broker::builder().disk(self.disk.clone()).clock(clock).config(config()).seed(1).open().expect("opened")
    }

    /// Runs it from the first start to a stop in order, with another one on the way.
    pub async fn run(&self) {
        let broker = self.open();
        for plan in &PLANS {
            self.create(&broker, &new_topic(plan));
        }
        for plan in &transactions::PLANS {
            broker.create_topic(&transactions::new_topic(plan)).expect("made");
            self.tell(|promised| promised.transactions.extend([(plan.name, transactions::Told::default())]));
        }
        self.rounds(&broker, 0..ROUNDS / 2).await;
        self.stop(broker).await;
        let broker = self.open();
        self.rounds(&broker, ROUNDS / 2..ROUNDS).await;
        self.stop(broker).await;
    }

    async fn rounds(&self, broker: &Broker, rounds: std::ops::Range<usize>) {
        for round in rounds {
            for plan in &PLANS {
                for partition in 0..plan.partitions {
                    self.produce(broker, plan.name, partition).await;
                }
            }
            for plan in &transactions::PLANS {
                self.write_within(broker, plan.name).await;
            }
            self.commit(broker, round as i64);
            match round % 8 {
                1 => self.create(broker, &NewTopic::new(format!("passing-{round}")).partitions(2)),
                3 => {
                    let passing = format!("passing-{}", round - 2);
                    broker.partition(&passing, 1).expect("there").produce(batch(0, 1, 0)).expect("produced");
                    self.delete(broker, &passing);
                }
                5 => {
                    self.delete_records(broker, "synced", base_of(round / 2));
                    self.delete_records(broker, "cached", base_of(round));
                }
                6 => {
                    let id = broker.init_producer_id().expect("given").0;
                    self.tell(|promised| promised.producer_id = Some(id));
                }
                _ => {}
            }
            if round % 3 == 2 {
                self.pass(broker, 700).await;
            }
        }
    }

    async fn produce(&self, broker: &Broker, topic: &str, number: i32) {
        let partition = broker.partition(topic, number).expect("there");
        let id = (topic.to_owned(), number);
        let nth = self.promised.lock().expect("sound").partitions[&id].batches;
        let bytes = batch(broker.clock().wall_ms(), producer_of(topic, number), nth);
        let produced = partition.produce(bytes).expect("produced");
        assert_eq!(produced.base_offset, base_of(nth), "{topic}-{number}");
        partition.acknowledged(produced.end_offset).await.expect("acknowledged");
        self.tell(|promised| {
            let told = promised.partitions.entry(id).or_default();
            (told.batches, told.end) = (nth + 1, produced.end_offset);
        });
    }

    /// The next entry of a topic with transactions.
    async fn write_within(&self, broker: &Broker, topic: &'static str) {
        let partition = broker.partition(topic, 0).expect("there");
        let number = self.promised.lock().expect("sound").transactions[topic].entries;
        let end = transactions::write(&partition, broker.clock().wall_ms(), number).expect("written");
        partition.acknowledged(end).await.expect("acknowledged");
        self.tell(|promised| promised.transactions.entry(topic).or_default().entries = number + 1);
    }

    /// Lets time pass; the broker does what is due.
    async fn pass(&self, broker: &Broker, ms: u64) {
        // Retention may take what is not told to be gone yet.
        self.note_starts(broker, |told| told.start_at_most = i64::MAX);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.note_starts(broker, |_| {});
        self.tell(|promised| {
            let timed = promised.partitions.get_mut(&("timed".to_owned(), 0)).expect("there");
            timed.durable = timed.end;
        });
    }

    fn note_starts(&self, broker: &Broker, note: impl Fn(&mut super::world::Told)) {
        self.tell(|promised| {
            for ((topic, number), told) in &mut promised.partitions {
                let partition = broker.partition(topic, *number).expect("there");
                told.start_at_most = partition.log_start();
                note(told);
            }
        });
    }

    fn commit(&self, broker: &Broker, offset: i64) {
        self.tell(|promised| promised.committed.1 = offset);
        let commit = OffsetCommit { topic: "synced", partition: 0, offset, leader_epoch: -1, metadata: "" };
        broker.commit_offsets(GROUP, MemberIdentity::administrator(), &[commit]).expect("stored");
        self.tell(|promised| promised.committed.0 = Some(offset));
    }

    fn create(&self, broker: &Broker, topic: &NewTopic) {
        self.tell(|promised| promised.topics.extend([(topic.name.clone(), false)]));
        let made = broker.create_topic(topic).expect("made");
        self.tell(|promised| {
            promised.topics.insert(topic.name.clone(), true);
            if !topic.name.starts_with("passing") {
                let ids = (0..made.partitions).map(|number| ((topic.name.clone(), number), super::world::Told::default()));
                promised.partitions.extend(ids);
            }
        });
    }

    fn delete(&self, broker: &Broker, topic: &str) {
        self.tell(|promised| promised.topics.extend([(topic.to_owned(), false)]));
        broker.delete_topic(topic).expect("deleted");
        self.tell(|promised| {
            promised.topics.remove(topic);
            promised.gone.push(topic.to_owned());
        });
    }

    fn delete_records(&self, broker: &Broker, topic: &str, before: i64) {
        let id = (topic.to_owned(), 0);
        let start = broker.partition(topic, 0).expect("there").log_start();
        let before = before.max(start);
        self.tell(|promised| promised.partitions.get_mut(&id).expect("there").start_at_most = before);
        let start = broker.delete_records(topic, 0, before).expect("deleted");
        self.tell(|promised| promised.partitions.get_mut(&id).expect("there").start = start);
    }

    async fn stop(&self, broker: Broker) {
        broker.close().await.expect("closed");
        self.tell(|promised| {
            promised.partitions.values_mut().for_each(|told| told.durable = told.end);
            promised.transactions.values_mut().for_each(|told| told.durable = told.entries);
        });
    }
}
