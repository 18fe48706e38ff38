use std::path::PathBuf;

use kafka_listener::container::Source;
use kafka_listener::prelude::*;

use crate::support::*;

/// An app that sees nothing of this process's environment.
fn builder(environment: &[(&str, &str)]) -> KafkaAppBuilder {
    let variables = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    KafkaApp::builder()
        .environment(variables.collect::<Vec<_>>())
        .embedded(Embedded::memory().virtual_time(1_767_225_600_000).seed(1))
        .handle_signals(false)
        .listeners([])
}

fn text(id: &str) -> Listener {
    Listener::new(id, |_: String| async {})
}

/// A configuration file in a folder of its own.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

async fn problems(builder: KafkaAppBuilder) -> Vec<String> {
    builder.start().await.expect_err("it must not start").problems().to_vec()
}

struct Ledger;

#[tokio::test(start_paused = true)]
async fn all_problems_are_told_together_before_the_first_poll() {
    let log = Log::default();
    let app = builder(&[])
        .topic(NewTopic::new("t").partitions(1))
        .property("auto.offset.reset", "earliest")
        .listener(logging("fine", &log).topic("t"))
        .listener(text("a").topic("t").container_factory("careful"))
        .listener(Listener::new("b", |_: String, _: State<Ledger>| async {}).topic("t"))
        .listener(text("c").topic("t").property("max.pol.records", 5))
        .listener(text("d").topic("${nowhere}"))
        .listener(Listener::new("e", |_: Rows| async {}).topic("t").ack_mode(AckMode::Record))
        .listener(text("fine").topic("t"))
        .listener(text("f").topic("t").ack_mode(AckMode::Manual))
        .listener(text("g").topic("t").property("fetch.min.bytes", "many"))
        .listener(text("h"));
    let error = app.start().await.expect_err("nine problems");
    let expected = [
        ("'a'", "container_factory = \"careful\" is unknown"),
        ("'b'", "has no value: give it to the app with .state("),
        ("'c'", "max.pol.records"),
        ("'d'", "'nowhere' is set nowhere"),
        ("'e'", "ack_mode Record cannot serve a batch listener"),
        ("'fine'", "the id 'fine' is taken by listener 'fine'"),
        ("'f'", "needs an Acknowledgment among the parameters"),
        ("'g'", "fetch.min.bytes"),
        ("'h'", "exactly one of topic (or topics), topic_pattern and partitions"),
    ];
    for (listener, text) in expected {
        let found = error.problems().iter().filter(|problem| problem.contains(listener) && problem.contains(text)).count();
        assert_eq!(found, 1, "{listener}: {text}\n{error}");
        assert!(error.to_string().contains(text), "the error's own text names it");
    }
    assert_eq!(error.problems().len(), expected.len(), "{error}");
    assert!(error.to_string().starts_with("the app cannot start: 9 problems"), "{error}");
    assert_eq!(log.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn code_wins_over_environment_over_file_over_default() {
    let (_dir, path) = file("[order]\ntopic = \"from-file\"\n");
    let variable = [("ORDER_TOPIC", "from-environment")];
    for (in_code, in_environment, in_file, expected) in [
        (true, true, true, "from-code"),
        (false, true, true, "from-environment"),
        (false, false, true, "from-file"),
        (false, false, false, "from-default"),
        (true, false, false, "from-code"),
    ] {
        let mut builder = builder(if in_environment { &variable } else { &[] });
        if in_code {
            builder = builder.config("order.topic", "from-code");
        }
        if in_file {
            builder = builder.config_file(&path);
        }
        let listener = text("l").topic("${order.topic:from-default}").auto_startup(false);
        let app = builder.listener(listener).start().await.unwrap();
        let source = app.registry().get("l").unwrap().properties().source.clone();
        let Source::Subscribed(kafka_listener::client::Subscription::Topics(topics)) = source else { panic!("{source:?}") };
        assert_eq!(topics.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), [expected]);
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn kafkas_own_settings_have_the_same_order_and_the_listener_is_nearest() {
    let (_dir, path) = file("[kafka]\n\"max.poll.records\" = 1\n\"client.id\" = \"file\"\n");
    let variable = [("KAFKA_MAX_POLL_RECORDS", "2")];
    for (layers, expected) in [(1, "1"), (2, "2"), (3, "3"), (4, "4"), (5, "5")] {
        let mut builder = builder(if layers >= 2 { &variable } else { &[] }).config_file(&path);
        let mut listener = text("l").topic("t").container_factory("f").auto_startup(false);
        let mut used = factory();
        if layers >= 3 {
            builder = builder.property("max.poll.records", 3);
        }
        if layers >= 4 {
            used = used.property("max.poll.records", 4);
        }
        if layers >= 5 {
            listener = listener.property("max.poll.records", 5);
        }
        let app = builder.factory(used).listener(listener).start().await.unwrap();
        let settings = app.registry().get("l").unwrap().properties().consumer.clone();
        assert_eq!(settings.get("max.poll.records"), Some(expected));
        assert_eq!(settings.get("client.id"), Some("file"));
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn apache_kafka_is_refused_by_name_wherever_it_is_asked_for() {
    let (_dir, path) = file("[kafka]\n\"bootstrap.servers\" = \"broker:9092\"\n");
    for builder in [
        builder(&[]).property("bootstrap.servers", "broker:9092"),
        builder(&[("KAFKA_BOOTSTRAP_SERVERS", "broker:9092")]),
        builder(&[]).config_file(&path),
    ] {
        let problems = problems(builder).await;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("bootstrap.servers = \"broker:9092\" means Apache Kafka"), "{problems:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_or_missing_file_is_named_with_the_place() {
    let (dir, path) = file("[kafka]\ngroup = \n");
    let found = problems(builder(&[]).config_file(&path)).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(&path.display().to_string()) && found[0].contains("line 2"), "{found:?}");
    let missing = dir.path().join("no.toml");
    let found = problems(builder(&[]).config_file(&missing)).await;
    assert!(found.len() == 1 && found[0].contains(&missing.display().to_string()), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_set_nowhere_is_told_once() {
    let mut spec = kafka_listener::registry::OwnedListener::from(text("l").topic("${a}").concurrency("${b}")).spec;
    for value in [&mut spec.ack_mode, &mut spec.ack_count, &mut spec.ack_time, &mut spec.auto_startup, &mut spec.batch] {
        *value = Some("${c}".to_owned());
    }
    spec.properties = vec!["${d}".to_owned(), "max.poll.records=${e}".to_owned()];
    let handler = kafka_listener::registry::OwnedListener::from(text("l")).handler;
    let others = [
        text("m").topic_pattern("${a}"),
        text("n").partitions_from("${a}", "${b}", "${c}"),
        text("o").topic("t").container_factory("${a}"),
    ];
    let app = builder(&[]).listener(kafka_listener::registry::OwnedListener { spec, handler });
    let problems = problems(others.into_iter().fold(app, KafkaAppBuilder::listener)).await;
    assert!(problems.iter().all(|problem| problem.contains("is set nowhere")), "{problems:#?}");
    assert_eq!(problems.len(), 9 + 1 + 3 + 1, "{problems:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_text_from_the_configuration_is_checked_as_one_in_the_code() {
    for (value, text) in [("0", "concurrency = \"0\""), ("many", "expected a whole number from 1 or \"auto\"")] {
        let listener = crate::support::logging("l", &Log::default()).topic("t").concurrency("${workers}");
        let problems = problems(builder(&[("WORKERS", value)]).listener(listener)).await;
        assert!(problems.len() == 1 && problems[0].contains(text), "{problems:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_app_wide_settings_serve_both_clients_and_are_told_once() {
    let (_dir, path) = file("[kafka]\n\"max.poll.records\" = \"many\"\nlingr.ms = 1\n");
    let foreign = [("KAFKA_HOME", "/opt/kafka"), ("KAFKA_SERVICE_PORT", "9092"), ("KAFKA_ACKS", "2")];
    let app = builder(&foreign).config_file(&path).listener(text("a").topic("t")).listener(text("b").topic("t"));
    let found = problems(app).await;
    assert_eq!(found.len(), 3, "{found:#?}");
    for (of, text) in [("lingr.ms", "linger.ms"), ("max.poll.records", "many"), ("acks", "2")] {
        assert_eq!(found.iter().filter(|problem| problem.contains(of) && problem.contains(text)).count(), 1, "{of}: {found:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn listeners_of_one_group_have_names_of_their_own() {
    let app = || builder(&[]).topic(NewTopic::new("t").partitions(1)).property("group.instance.id", "a");
    let of = |id: &str, group: &str| text(id).topic("t").group_id(group);
    let told = problems(app().listener(of("l", "g")).listener(of("m", "g"))).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("listener 'm'") && told[0].contains("\"a\" is listener 'l''s in group 'g' already"), "{told:?}");
    // Two workers have names of their own, by number.
    let told =
        problems(app().listener(of("l", "g").concurrency(2)).listener(of("m", "g").property("group.instance.id", "a-2"))).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("\"a-2\" is listener 'l''s"), "{told:?}");
    let fine = app().listener(of("l", "g").concurrency(2)).listener(of("m", "h"));
    let fine = fine.listener(of("n", "g").property("group.instance.id", "a-3"));
    // Whoever reads partitions that it names is no member.
    let fine = fine.listener(text("o").partitions("t", "0").group_id("g"));
    fine.start().await.unwrap().shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_setting_is_read_as_the_consumer_reads_it() {
    let by_hand = || Listener::new("l", |_: String, _: Acknowledgment| async {}).topic("t").ack_mode(AckMode::Manual);
    for value in ["true", "TRUE", " true "] {
        let found = problems(builder(&[]).property("enable.auto.commit", value).listener(by_hand())).await;
        assert!(found.len() == 1 && found[0].contains("acknowledgments would mean nothing"), "{value:?}: {found:?}");
    }
    let spaced = builder(&[])
        .property("enable.auto.commit", " False ")
        .property("max.poll.interval.ms", " 7000 ")
        .property("auto.offset.reset", " latest ")
        .property("group.id", " g ");
    let app = spaced.listener(text("l").topic("t").container_factory("f").auto_startup(false)).factory(factory());
    let app = app.start().await.unwrap();
    let properties = app.registry().get("l").unwrap().properties().clone();
    assert_eq!((properties.auto_commit, properties.reset_latest), (false, true));
    assert_eq!(properties.max_poll_interval, std::time::Duration::from_secs(7));
    assert_eq!(properties.consumer.get("auto.offset.reset"), Some("latest"));
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_batch_cannot_give_is_refused_in_closures_too() {
    let about_one = "about one record, and the listener takes a batch";
    let whole = || Listener::new("l", |_: Offset| async {}).topic("t");
    for (listener, factory, expected) in [
        (Listener::new("l", |_: Rows, _: Offset| async {}).topic("t"), factory(), about_one),
        (Listener::new("l", |_: Rows, _: String| async {}).topic("t"), factory(), "takes one payload"),
        (Listener::new("l", |_: String, _: Rows| async {}).topic("t"), factory(), "takes one payload"),
        (whole().batch(true), factory(), about_one),
        (whole(), factory().batch(true), about_one),
    ] {
        let found = problems(builder(&[]).factory(factory).listener(listener.container_factory("f"))).await;
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_holds_a_name_itself_is_told_and_not_passed_over() {
    let workers = || crate::support::logging("l", &Log::default()).topic("t").concurrency("${workers}");
    let found = problems(builder(&[("WORKERS", "${N}")]).listener(workers())).await;
    assert!(found.len() == 1 && found[0].contains("'workers' holds '${N}'"), "{found:?}");
    let nested = crate::support::logging("l", &Log::default()).topic("${a:${b}}");
    let found = problems(builder(&[]).listener(nested)).await;
    assert!(found.len() == 1 && found[0].contains("topic: '${a:${b}}'"), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_factorys_numbers_are_checked_once_for_all_its_listeners() {
    use std::time::Duration;
    let zero = Duration::ZERO;
    for (name, factory) in [
        ("concurrency", factory().concurrency(Concurrency::Fixed(0))),
        ("ack_count", factory().ack_mode(AckMode::Count).ack_count(0)),
        ("ack_time", factory().ack_mode(AckMode::Time).ack_time(Duration::from_nanos(1))),
        ("max_unacked", factory().ack_mode(AckMode::Manual).async_acks(true).max_unacked(0)),
        ("poll_timeout", factory().poll_timeout(zero)),
        ("poll_error_back_off", factory().poll_error_back_off(zero)),
        ("idle_event_interval", factory().idle_event_interval(zero)),
        ("idle_partition_event_interval", factory().idle_partition_event_interval(zero)),
        ("lag_event_interval", factory().lag_event_interval(zero)),
        ("max_unacked", factory().ack_mode(AckMode::Manual).max_unacked(5)),
        ("ack_timeout", factory().ack_mode(AckMode::Manual).ack_timeout(Duration::from_secs(1))),
    ] {
        let manual = name.ends_with("unacked") || name == "ack_timeout";
        let listener = |id: &str| {
            let made = if manual { Listener::new(id, |_: String, _: Acknowledgment| async {}) } else { text(id) };
            made.topic("t").container_factory("f")
        };
        let found = problems(builder(&[]).factory(factory).listener(listener("l")).listener(listener("m"))).await;
        assert!(found.len() == 1 && found[0].starts_with(&format!("factory 'f': {name} ")), "{name}: {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn counts_and_times_belong_to_a_mode_wherever_they_come_from() {
    let second = std::time::Duration::from_secs(1);
    let of = |mode: &str| {
        let mut spec = kafka_listener::registry::OwnedListener::from(text("l").topic("t").container_factory("f")).spec;
        spec.ack_mode = (!mode.is_empty()).then(|| mode.to_owned());
        kafka_listener::registry::OwnedListener {
            spec,
            handler: kafka_listener::registry::OwnedListener::from(text("l")).handler,
        }
    };
    for (mode, factory, expected) in [
        ("", factory().ack_count(5), "ack_count is set, but ack_mode Batch ignores it"),
        ("", factory().ack_time(second), "ack_time is set, but ack_mode Batch ignores it"),
        ("", factory().ack_mode(AckMode::Count), "ack_mode Count needs ack_count"),
        ("", factory().ack_mode(AckMode::Time), "ack_mode Time needs ack_time"),
        ("${mode}", factory(), "ack_mode Count needs ack_count"),
    ] {
        let found = problems(builder(&[("MODE", "COUNT")]).factory(factory).listener(of(mode))).await;
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
    // A factory may hold them for those of its listeners whose mode asks for them.
    for mode in ["Count", "Record"] {
        let app = builder(&[]).factory(factory().ack_count(5)).listener(of(mode)).start().await.unwrap();
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_topic_is_told_with_everything_else() {
    let fatal = || factory().missing_topics_fatal(true);
    let app = builder(&[])
        .factory(fatal())
        .topic(NewTopic::new("declared").partitions(1))
        .listener(text("a").topics(["declared", "nowhere"]).container_factory("f"))
        .listener(text("b").partitions("gone", "0-1").group_id("g").container_factory("f"))
        .listener(text("c").topic("declared").container_factory("nobody"));
    let found = problems(app).await;
    for (listener, text) in
        [("'a'", "'nowhere' does not exist"), ("'b'", "'gone' does not exist"), ("'c'", "\"nobody\" is unknown")]
    {
        assert_eq!(found.iter().filter(|one| one.contains(listener) && one.contains(text)).count(), 1, "{text}: {found:#?}");
    }
    assert_eq!(found.len(), 3, "{found:#?}");
}

#[tokio::test(start_paused = true)]
async fn acknowledgments_need_a_group_to_mean_something() {
    let listener = Listener::new("l", |_: String, _: Acknowledgment| async {}).ack_mode(AckMode::Manual);
    let mut listener = kafka_listener::registry::OwnedListener::from(listener.partitions_from("t", "0", "beginning"));
    listener.spec.function = listener.spec.id.take().unwrap();
    let found = problems(builder(&[]).topic(NewTopic::new("t").partitions(1)).listener(listener)).await;
    assert!(found.len() == 1 && found[0].contains("ack_mode Manual needs a consumer group"), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn all_that_is_wrong_with_one_listener_is_told_at_once() {
    let listener = Listener::new("l", |_: String, _: Acknowledgment, _: State<Ledger>| async {}).topic("t");
    let found = problems(builder(&[]).listener(listener)).await;
    for text in ["has no value", "takes an Acknowledgment, but ack_mode is Batch"] {
        assert_eq!(found.iter().filter(|one| one.contains(text)).count(), 1, "{text}: {found:?}");
    }
    assert_eq!(found.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_shared_brokers_settings_are_given_where_it_is_opened() {
    let broker = broker_core::Broker::builder().open().unwrap();
    let shared = || Embedded::shared(broker.clone());
    let one = |embedded| KafkaApp::builder().environment([]).handle_signals(false).listeners([]).embedded(embedded);
    let config = broker_core::BrokerConfig { num_partitions: 7, ..Default::default() };
    for (embedded, name) in
        [(shared().config(config), "config"), (shared().seed(1), "seed"), (shared().virtual_time(1), "virtual_time")]
    {
        let found = problems(one(embedded)).await;
        assert!(found.len() == 1 && found[0].contains(&format!("Embedded::shared(..).{name}(..)")), "{found:?}");
    }
    one(shared()).start().await.unwrap().shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_would_reject_every_record_is_refused() {
    let filter = || kafka_listener::layer::RecordFilterLayer::keep(|_| true);
    let batches = logging_batches("l", &Log::default()).topic("t").container_factory("f");
    let found = problems(builder(&[]).factory(factory().layer(filter())).listener(batches)).await;
    assert!(found.len() == 1 && found[0].contains("RecordFilterLayer cannot serve a batch listener"), "{found:?}");

    let group = |_: String, _: kafka_listener::extract::GroupId| async {};
    let mut nobody = kafka_listener::registry::OwnedListener::from(Listener::new("l", group).partitions("t", "0"));
    nobody.spec.function = nobody.spec.id.take().unwrap();
    let found = problems(builder(&[]).listener(nobody)).await;
    assert!(found.len() == 1 && found[0].contains("it takes a GroupId, and has no consumer group"), "{found:?}");

    let app = builder(&[]).factory(factory().layer(filter())).listener(text("l").topic("t").container_factory("f"));
    let app = app.listener(Listener::new("m", group).topic("t")).start().await.unwrap();
    app.shutdown().await.unwrap();
    let found = problems(builder(&[]).listener(text(" ").topic("t").group_id("g"))).await;
    assert!(found.len() == 1 && found[0].contains("the id is empty"), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_file_may_hold_what_is_none_of_ours() {
    let (_dir, path) = file("[[servers]]\nname = \"a\"\n[order]\ntopic = \"t\"\n");
    let app = builder(&[]).config_file(&path).listener(text("l").topic("${order.topic}")).start().await.unwrap();
    app.shutdown().await.unwrap();
    let (_dir, path) = file("[[kafka.servers]]\nname = \"a\"\n");
    let found = problems(builder(&[]).config_file(&path)).await;
    assert!(found.len() == 1 && found[0].contains("'kafka.servers' is a list of tables"), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pattern_is_checked_as_it_is_used() {
    // Alone it is one; where whole names must match, its comment takes in what stands behind it.
    let found = problems(builder(&[]).listener(text("l").topic_pattern("(?x) a # names"))).await;
    assert!(found.len() == 1 && found[0].contains("is no regular expression"), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_topic_of_explicit_partitions_is_checked_as_any_other() {
    let found = problems(builder(&[("T", "no name!")]).listener(text("l").partitions("${t}", "0"))).await;
    assert!(found.len() == 1 && found[0].contains("\"no name!\" is no topic name"), "{found:?}");
}

/// Says to the test `child_with_a_strange_environment` that it is one.
const STRANGE: &str = "IT_CHILD_STRANGE";

/// Not a test by itself: what the one below starts with an environment that is not all text.
#[test]
fn child_with_a_strange_environment() {
    if std::env::var_os(STRANGE).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let app =
            KafkaApp::builder().handle_signals(false).listeners([]).listener(text("l").topic("${order.topic}").group_id("g"));
        let app = app.start().await.unwrap();
        let source = app.registry().get("l").unwrap().properties().source.clone();
        println!("listens to {source:?}");
        app.shutdown().await.unwrap();
    });
}

#[cfg(unix)]
#[test]
fn an_environment_that_is_not_all_text_is_no_panic() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "startup::child_with_a_strange_environment", "--nocapture", "--test-threads=1"])
        .envs([(STRANGE, "1"), ("ORDER_TOPIC", "orders")])
        .env("SOMEBODY_ELSES", odd)
        .env(odd, "text")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success() && said.contains("listens to") && said.contains("\"orders\""), "{said}");
}
