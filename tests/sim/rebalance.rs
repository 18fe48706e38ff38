//! Two workers through a rebalance, twice from one seed: the same trace.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use broker_core::{Broker, TokioClock};
use kafka_listener::prelude::*;
use kafka_listener::testing::{RunningTestApp, TestApp};

use super::handler::Behaviour;
use super::model::{GROUP, Shadow, sleep_ms};
use super::random::Random;
use super::subscriber::in_order;

async fn start(seed: u64, app: usize, assignor: &str, broker: &Broker, shadow: &Shadow) -> RunningTestApp {
    let behaviour = Behaviour {
        seed,
        app,
        shadow: shadow.clone(),
        is_manual: false,
        async_acks: false,
        healthy: Arc::new(AtomicBool::new(false)),
    };
    let handler = raw_boxed(move |delivery| {
        let behaviour = behaviour.clone();
        Box::pin(async move { behaviour.call(delivery).await })
    });
    let listener = Listener::new("l", handler).topic("t").group_id(GROUP).batch(false).auto_startup(false);
    let listener = listener.property("partition.assignment.strategy", assignor).property("max.poll.records", 3);
    TestApp::new().embedded(Embedded::shared(broker.clone())).listener(listener).start().await.unwrap()
}

/// Events, deliveries, commits and members, each with its virtual time.
fn trace(seed: u64, assignor: &str) -> Vec<String> {
    let shadow = Shadow::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let run = async {
        let mut random = Random::new(seed, 1);
        let broker = Broker::builder().clock(Arc::new(TokioClock::new(0))).seed(seed).open().unwrap();
        broker.create_topic(&broker_core::NewTopic::new("t").partitions(4)).unwrap();
        shadow.lock().born(broker.clone());
        let mut apps = Vec::new();
        for app in 0..2 {
            let started = start(seed, app, assignor, &broker, &shadow).await;
            shadow.lock().listen(app, started.events());
            started.registry().get("l").unwrap().start().await.unwrap();
            for _ in 0..20 {
                let sent = started.template().send_to("t", random.below(4) as i32, (), "v".to_owned()).await.unwrap();
                shadow.lock().note(format!("sent {}@{}", sent.partition, sent.offset));
                sleep_ms(random.below(200)).await;
            }
            apps.push(started);
            // The longest call ends, and with it the rebalance.
            sleep_ms(60_000).await;
            let group = broker.describe_group(GROUP).unwrap();
            let members: Vec<_> = group.members.into_iter().map(|member| member.member_id).collect();
            shadow.lock().note(format!("generation {} of {members:?}", group.generation));
        }
        apps[0].registry().get("l").unwrap().stop().await;
        sleep_ms(120_000).await;
        let open = shadow.lock().unfinished();
        assert!(open.is_empty(), "seed {seed}: {open:?}");
        for app in apps {
            app.shutdown().await.unwrap();
        }
        shadow.lock().drain();
    };
    in_order(shadow.clone(), || runtime.block_on(run));
    let model = shadow.lock();
    assert!(model.broken.is_empty(), "seed {seed}: {:?}", model.broken);
    model.trace.clone()
}

#[test]
fn two_workers_through_a_rebalance_twice_from_one_seed() {
    super::quiet_panics();
    for assignor in ["range", "cooperative-sticky"] {
        let mut all = std::collections::BTreeSet::new();
        for seed in 1..=50 {
            println!("seed {seed}, {assignor}");
            let (first, second) = (trace(seed, assignor), trace(seed, assignor));
            for (index, (one, two)) in first.iter().zip(&second).enumerate() {
                assert_eq!(one, two, "seed {seed}, {assignor}: line {index} differs");
            }
            assert_eq!(first.len(), second.len(), "seed {seed}, {assignor}");
            let moved = |what: &str| first.iter().any(|line| line.contains(what));
            assert!(moved("app 0 worker 0: Revoked") && moved("app 1 worker 0: Assigned"), "{first:#?}");
            all.insert(first);
        }
        assert_eq!(all.len(), 50, "different seeds are different runs");
    }
}
