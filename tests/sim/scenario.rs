//! One seeded run: settings drawn once, then a random operation after the other, then everything heals and must drain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use broker_core::assignor::MemberSubscription;
use broker_core::assignor::protocol::encode_subscription;
use broker_core::storage::MemoryDisk;
use broker_core::{Broker, BrokerConfig, JoinGroup, TokioClock};
use bytes::Bytes;
use kafka_listener::container::ContainerState;
use kafka_listener::prelude::*;
use kafka_listener::testing::{RunningTestApp, TestApp};

use super::handler::{Behaviour, POISON};
use super::model::{GROUP, MAX_POLL_RECORDS, Sent, Shadow, sleep_ms};
use super::random::Random;
use super::subscriber::in_order;

/// 2026-01-01, in ms since 1970.
const START_MS: i64 = 1_767_225_600_000;
const SESSION_MS: u64 = 6000;
const MAX_POLL_MS: u64 = 10_000;
/// How long a healthy group may take for what is left.
const DRAIN_MS: u64 = 180_000;
const APPS_MAX: usize = 3;

/// What all apps of a run have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    topics: Vec<String>,
    partitions: i32,
    ack_mode: AckMode,
    ack_count: u64,
    ack_time: Duration,
    is_batch: bool,
    async_acks: bool,
    max_unacked: usize,
    sync_commits: bool,
    assignor: &'static str,
    max_poll_records: usize,
    retries: u32,
    back_off: Duration,
    dead_letters: bool,
    operations: u64,
}

impl Settings {
    fn draw(random: &mut Random) -> Self {
        let ack_mode = random.pick(&AckMode::ALL);
        let is_manual = matches!(ack_mode, AckMode::Manual | AckMode::ManualImmediate);
        Self {
            topics: (0..random.within(1, 2)).map(|index| format!("t{index}")).collect(),
            partitions: random.within(1, 4) as i32,
            ack_mode,
            ack_count: random.within(1, 5),
            ack_time: Duration::from_millis(random.within(100, 4000)),
            is_batch: ack_mode != AckMode::Record && random.one_in(2),
            async_acks: is_manual && random.one_in(2),
            max_unacked: random.within(1, 6) as usize,
            sync_commits: !random.one_in(3),
            assignor: random.pick(&["range", "cooperative-sticky", "roundrobin", "sticky"]),
            max_poll_records: random.within(1, MAX_POLL_RECORDS as u64) as usize,
            retries: random.within(0, 3) as u32,
            back_off: Duration::from_millis(random.pick(&[0, 0, 50, 700])),
            dead_letters: random.one_in(2),
            operations: random.within(8, 40),
        }
    }

    fn is_manual(&self) -> bool {
        matches!(self.ack_mode, AckMode::Manual | AckMode::ManualImmediate)
    }

    fn factory(&self) -> ContainerFactory {
        let handler = DefaultErrorHandler::new(FixedBackOff::new(self.back_off, self.retries));
        let handler = if self.dead_letters { handler.dead_letters(DeadLetters::to_suffix("-dlt")) } else { handler };
        let mut factory = ContainerFactory::named("f")
            .sync_commits(self.sync_commits)
            .shutdown_timeout(Duration::from_secs(4))
            .property("session.timeout.ms", SESSION_MS)
            .property("heartbeat.interval.ms", 2000)
            .property("max.poll.interval.ms", MAX_POLL_MS)
            .property("max.poll.records", self.max_poll_records)
            .property("partition.assignment.strategy", self.assignor)
            .error_handler(handler);
        if self.async_acks {
            factory = factory.async_acks(true).max_unacked(self.max_unacked);
        }
        factory
    }

    fn listener(&self, concurrency: u64, behaviour: Behaviour) -> Listener {
        let handler = raw_boxed(move |delivery| {
            let behaviour = behaviour.clone();
            Box::pin(async move { behaviour.call(delivery).await })
        });
        let mut listener = Listener::new("l", handler)
            .topics(self.topics.clone())
            .group_id(GROUP)
            .batch(self.is_batch)
            .concurrency(concurrency)
            .container_factory("f")
            .ack_mode(self.ack_mode);
        if matches!(self.ack_mode, AckMode::Count | AckMode::CountTime) {
            listener = listener.ack_count(self.ack_count);
        }
        if matches!(self.ack_mode, AckMode::Time | AckMode::CountTime) {
            listener = listener.ack_time(self.ack_time);
        }
        listener
    }
}

/// How a process ends.
enum Ended {
    Killed,
    Done,
}

/// A run between two operations; what outlives a kill.
pub struct Simulation {
    seed: u64,
    random: Random,
    settings: Settings,
    shadow: Shadow,
    disk: MemoryDisk,
    partitions: i32,
    left: u64,
    records: u64,
    births: u64,
}

/// The processes' own: gone with a kill.
struct Process {
    broker: Broker,
    apps: BTreeMap<usize, RunningTestApp>,
    healthy: Arc<AtomicBool>,
    born: usize,
    faulty: bool,
}

/// What a run was like.
pub struct Report {
    pub trace: Vec<String>,
    pub broken: Vec<String>,
    pub deliveries: usize,
}

/// Runs one seed to its end.
pub fn run(seed: u64) -> Report {
    let mut random = Random::new(seed, 1);
    let settings = Settings::draw(&mut random);
    let shadow = Shadow::default();
    {
        let mut model = shadow.lock();
        model.bound = settings.async_acks.then_some(settings.max_unacked);
        model.is_batch = settings.is_batch;
        model.note(format!("seed {seed}: {settings:?}"));
    }
    let (partitions, left) = (settings.partitions, settings.operations);
    let disk = MemoryDisk::new();
    let mut run = Simulation { seed, random, settings, shadow, disk, partitions, left, records: 0, births: 0 };
    in_order(run.shadow.clone(), || while let Ended::Killed = run.process() {});
    let mut model = run.shadow.lock();
    Report { trace: std::mem::take(&mut model.trace), broken: std::mem::take(&mut model.broken), deliveries: model.deliveries }
}

impl Simulation {
    /// One process, from the opening of its broker to its end.
    fn process(&mut self) -> Ended {
        self.disk.heal();
        self.births += 1;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without IO can be made");
        let ended = runtime.block_on(async {
            let mut process = self.start().await;
            let ended = self.live(&mut process).await;
            self.shadow.lock().killed();
            // Everything that runs is dropped where it stands, by the runtime.
            for (_, app) in process.apps {
                std::mem::forget(app);
            }
            ended
        });
        drop(runtime);
        ended
    }

    async fn start(&mut self) -> Process {
        let passed = self.shadow.lock().now() as i64;
        let config = BrokerConfig { offsets_topic_num_partitions: 2, ..BrokerConfig::default() };
        let broker = Broker::builder()
            .config(config)
            .disk(Arc::new(self.disk.clone()))
            .clock(Arc::new(TokioClock::new(START_MS + passed)))
            .seed(self.seed.wrapping_add(self.births))
            .open();
        let broker = match broker {
            Ok(broker) => broker,
            Err(error) => panic!("seed {}: the broker does not open: {error}", self.seed),
        };
        for topic in &self.settings.topics {
            if broker.topic(topic).is_none() {
                for name in [topic.clone(), format!("{topic}-dlt")] {
                    let topic = broker_core::NewTopic::new(name).partitions(self.partitions);
                    // One of the two may be there already.
                    let _ = broker.create_topic(&topic);
                }
            }
        }
        self.shadow.lock().born(broker.clone());
        let healthy = Arc::new(AtomicBool::new(false));
        let mut process = Process { broker, apps: BTreeMap::new(), healthy, born: 0, faulty: false };
        self.add_app(&mut process).await;
        process
    }

    async fn add_app(&mut self, process: &mut Process) {
        let app = (self.births * 100) as usize + process.born;
        process.born += 1;
        let concurrency = self.random.within(1, 3);
        self.shadow.lock().note(format!("app {app} starts with {concurrency} workers"));
        let behaviour = Behaviour {
            seed: self.seed,
            app,
            shadow: self.shadow.clone(),
            is_manual: self.settings.is_manual(),
            async_acks: self.settings.async_acks,
            healthy: process.healthy.clone(),
        };
        let started = TestApp::new()
            .embedded(Embedded::shared(process.broker.clone()))
            .factory(self.settings.factory())
            .listener(self.settings.listener(concurrency, behaviour).auto_startup(false))
            .start()
            .await;
        match started {
            Ok(started) => {
                self.shadow.lock().listen(app, started.events());
                start(&started).await;
                process.apps.insert(app, started);
            }
            Err(error) => self.shadow.lock().broke(format!("app {app} does not start: {error}")),
        }
    }

    async fn live(&mut self, process: &mut Process) -> Ended {
        while self.left > 0 {
            self.left -= 1;
            if self.operate(process).await {
                return Ended::Killed;
            }
            let mut model = self.shadow.lock();
            model.drain();
            if !model.broken.is_empty() {
                return Ended::Done;
            }
        }
        if process.faulty {
            return Ended::Killed;
        }
        self.heal(process).await;
        Ended::Done
    }

    /// One random operation; true kills the process.
    async fn operate(&mut self, process: &mut Process) -> bool {
        match self.random.below(100) {
            0..35 => self.send(process).await,
            35..55 => {
                let ms = self.random.pick(&[1, 10, 100, 1000, 5000, 15_000]);
                sleep_ms(self.random.within(1, ms)).await;
            }
            55..65 => self.pause(process),
            65..71 => self.stop(process).await,
            71..77 => self.start_again(process).await,
            77..82 if process.apps.len() < APPS_MAX && !process.faulty => self.add_app(process).await,
            82..85 => self.remove_app(process).await,
            85..88 => self.ghost(process),
            88..91 => self.grow(process),
            91..94 if !process.faulty => self.settle(process).await,
            94..96 => {
                let operations = self.random.below(30);
                self.shadow.lock().note(format!("storage fails after {operations} operations"));
                self.disk.fail_after(operations);
                process.faulty = true;
            }
            96..98 => return true,
            _ => sleep_ms(1).await,
        }
        false
    }

    async fn send(&mut self, process: &Process) {
        let Some(template) = process.apps.values().next().map(RunningTestApp::template) else { return };
        let mut sends = Vec::new();
        for _ in 0..self.random.within(1, 10) {
            self.records += 1;
            let topic = self.random.pick(&self.settings.topics);
            let partition = self.random.below(self.partitions as u64) as i32;
            let poison = if self.random.one_in(25) { POISON } else { "value" };
            let key = self.random.one_in(2).then(|| Bytes::from(format!("k{}", self.random.below(5))));
            let value = format!("{poison} {} {}", self.records, "x".repeat(self.random.below(40) as usize));
            let sent = match &key {
                Some(key) => template.send_to(&topic, partition, key.clone(), value.clone()),
                None => template.send_to(&topic, partition, (), value.clone()),
            };
            sends.push((sent, key.map(|key| key.to_vec()), value));
        }
        for (sent, key, value) in sends {
            let answer = sent.await;
            let mut model = self.shadow.lock();
            match answer {
                Ok(sent) => {
                    let partition = TopicPartition::new(sent.topic.clone(), sent.partition);
                    model.note(format!("sent {partition}@{} {value}", sent.offset));
                    model.sent.entry(partition).or_default().insert(sent.offset, (key, value.into_bytes()));
                }
                Err(error) if process.faulty => model.note(format!("not sent: {error}")),
                Err(error) => model.broke(format!("a send failed without a fault: {error}")),
            }
        }
    }

    fn pick_app<'p>(&mut self, process: &'p Process) -> Option<(usize, &'p RunningTestApp)> {
        let apps: Vec<_> = process.apps.iter().collect();
        (!apps.is_empty()).then(|| self.random.pick(&apps)).map(|(app, running)| (*app, running))
    }

    fn pause(&mut self, process: &Process) {
        let (paused, whole) = (self.random.one_in(2), self.random.one_in(3));
        let partition =
            TopicPartition::new(self.random.pick(&self.settings.topics), self.random.below(self.partitions as u64) as i32);
        let Some((app, running)) = self.pick_app(process) else { return };
        let place = (!whole).then(|| partition.clone());
        let mut model = self.shadow.lock();
        model.note(format!("app {app}: paused {paused} of {place:?}"));
        model.intend(app, place, paused);
        drop(model);
        let container = container(running);
        let requested = match (whole, paused) {
            (true, true) => container.pause(),
            (true, false) => container.resume(),
            (false, true) => container.pause_partition(partition),
            (false, false) => container.resume_partition(&partition),
        };
        // It takes effect without being awaited.
        drop(requested);
    }

    async fn stop(&mut self, process: &Process) {
        let how = self.random.below(3);
        let Some((app, running)) = self.pick_app(process) else { return };
        let container = container(running);
        let was_running = container.is_running();
        let ends = {
            let mut model = self.shadow.lock();
            model.drain();
            model.note(format!("app {app} stops, {how}"));
            model.ends.get(&app).copied().unwrap_or(0)
        };
        match how {
            0 => container.stop().await,
            1 => container.stop_immediate().await,
            _ => container.abandon().await,
        }
        let mut model = self.shadow.lock();
        model.drain();
        let told = model.ends.get(&app).copied().unwrap_or(0) > ends;
        if was_running != told {
            model.broke(format!("app {app} ran: {was_running}; its end was told: {told}"));
        }
    }

    async fn start_again(&mut self, process: &Process) {
        if let Some((app, running)) = self.pick_app(process) {
            self.shadow.lock().note(format!("app {app} starts again"));
            start(running).await;
        }
    }

    async fn remove_app(&mut self, process: &mut Process) {
        if process.apps.len() < 2 {
            return;
        }
        let Some((app, _)) = self.pick_app(process) else { return };
        let Some(running) = process.apps.remove(&app) else { return };
        self.shadow.lock().note(format!("app {app} shuts down"));
        // It may have failed, which its events told.
        let _ = running.shutdown().await;
        let mut model = self.shadow.lock();
        model.drain();
        model.intend(app, None, false);
        for topic in &self.settings.topics {
            (0..self.partitions).for_each(|one| model.intend(app, Some(TopicPartition::new(topic.clone(), one)), false));
        }
    }

    /// A member that joins and dies at once: its session must pass.
    fn ghost(&mut self, process: &Process) {
        self.shadow.lock().note("a member joins and dies");
        let topics = self.settings.topics.iter().map(|topic| Arc::from(topic.as_str())).collect();
        let subscription = encode_subscription(&MemberSubscription { topics, owned: Vec::new(), generation: -1 });
        let joined = process.broker.join_group(JoinGroup {
            group: GROUP.to_owned(),
            member_id: String::new(),
            client_id: "ghost".to_owned(),
            client_host: "/".to_owned(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: MAX_POLL_MS,
            protocol_type: "consumer".to_owned(),
            protocols: vec![(self.settings.assignor.to_owned(), subscription)],
            ..JoinGroup::default()
        });
        // Ends with the answer, or with the runtime.
        tokio::spawn(joined);
    }

    fn grow(&mut self, process: &Process) {
        if self.partitions >= 6 || process.faulty {
            return;
        }
        self.partitions += 1;
        self.shadow.lock().note(format!("topics grow to {} partitions", self.partitions));
        for topic in &self.settings.topics {
            if let Err(error) = process.broker.create_partitions(topic, self.partitions) {
                self.shadow.lock().broke(format!("{topic} does not grow: {error}"));
            }
        }
    }

    /// With everything running and nothing paused, what is there gets done though listeners fail at times.
    async fn settle(&mut self, process: &Process) {
        let all_run = process.apps.values().all(|app| container(app).is_running());
        if self.shadow.lock().is_paused() || !all_run {
            return;
        }
        self.drained(600_000, "settling").await;
    }

    async fn drained(&mut self, within_ms: u64, what: &str) {
        self.shadow.lock().note(what);
        let deadline = self.shadow.lock().now() + within_ms;
        loop {
            {
                let mut model = self.shadow.lock();
                let open = model.unfinished();
                if open.is_empty() || !model.broken.is_empty() {
                    return;
                }
                if model.now() > deadline {
                    return model.broke(format!("{what}: after {within_ms} ms there is still {open:?}"));
                }
            }
            sleep_ms(100).await;
        }
    }

    async fn heal(&mut self, process: &mut Process) {
        // Long enough for calls, back-offs and rebalances in hand.
        sleep_ms(30_000).await;
        self.shadow.lock().check_pauses();
        self.shadow.lock().note("healing");
        process.healthy.store(true, SeqCst);
        if process.apps.is_empty() {
            self.add_app(process).await;
        }
        for (app, running) in &process.apps {
            self.resume_all(*app, running);
            start(running).await;
        }
        self.drained(DRAIN_MS, "draining").await;
        if self.shadow.lock().broken.is_empty() {
            self.shadow.lock().check_all_handled();
            self.check_dead_letters(process);
            self.shut_down(process).await;
        }
    }

    fn resume_all(&self, app: usize, running: &RunningTestApp) {
        let container = container(running);
        let mut model = self.shadow.lock();
        model.intend(app, None, false);
        drop(container.resume());
        for topic in &self.settings.topics {
            for index in 0..self.partitions {
                let partition = TopicPartition::new(topic.clone(), index);
                drop(container.resume_partition(&partition));
                model.intend(app, Some(partition), false);
            }
        }
    }

    async fn shut_down(&mut self, process: &mut Process) {
        for (app, running) in std::mem::take(&mut process.apps) {
            let ended = running.shutdown().await;
            let mut model = self.shadow.lock();
            model.drain();
            if let Err(error) = ended {
                model.broke(format!("app {app} does not shut down: {error}"));
            }
        }
    }

    /// What was given up lies in the dead letter topic, byte for byte, and nothing else does.
    fn check_dead_letters(&self, process: &Process) {
        if !self.settings.dead_letters {
            return;
        }
        let mut there: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
        for topic in &self.settings.topics {
            there.insert(topic.clone(), read(&process.broker, &format!("{topic}-dlt")));
        }
        let mut model = self.shadow.lock();
        for (partition, offset) in model.recovered.clone() {
            let Some(sent) = model.sent.get(&partition).and_then(|sent| sent.get(&offset)).cloned() else { continue };
            if !there[partition.topic.as_ref()].contains(&sent) {
                model.broke(format!("{partition}@{offset} was given up, and is no dead letter"));
            }
        }
        let known: Vec<_> = model.sent.values().flat_map(|sent| sent.values().cloned()).collect();
        let unsure = self.births > 1;
        for stray in there.values().flatten().filter(|one| !known.contains(one) && !unsure) {
            model.broke(format!("a dead letter is no record that was sent: {stray:?}"));
        }
    }
}

/// Keys and values of a topic.
pub fn read(broker: &Broker, topic: &str) -> Vec<Sent> {
    let mut all = Vec::new();
    for index in 0..broker.topic(topic).map_or(0, |topic| topic.partitions) {
        let Ok(handle) = broker.partition(topic, index) else { continue };
        let mut at = handle.log_start();
        while at < handle.end_offset() {
            let Ok(fetched) = handle.fetch(at, 1 << 20) else { break };
            for batch in fetched.batches.iter().flat_map(broker_core::record::batches).flatten() {
                all.extend(
                    batch
                        .records()
                        .flatten()
                        .map(|record| (record.key().map(<[u8]>::to_vec), record.value().unwrap_or_default().to_vec())),
                );
                at = batch.last_offset() + 1;
            }
        }
    }
    all
}

fn container(app: &RunningTestApp) -> &kafka_listener::container::ConcurrentListenerContainer {
    app.registry().get("l").expect("each app has this listener")
}

async fn start(app: &RunningTestApp) {
    let container = container(app);
    if !matches!(container.state(), ContainerState::Running) {
        // What it could not do is told by an event.
        let _ = container.start().await;
    }
}
