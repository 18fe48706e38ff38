use kafka_listener::prelude::*;
use kafka_listener::registry::{contributions, discovered, links, missing_crates};

use crate::support::*;

kafka_listener::link_listeners!(linked_listeners);

#[kafka_listener(id = "found-here", topic = "found", group_id = "found")]
async fn found(text: &str, log: State<Log>) {
    log.push(format!("found {text}"));
}

/// The same texts serve both mechanisms; which one this run has is its feature's choice.
#[test]
fn listeners_of_this_program_and_of_a_library_are_found_once_and_in_order() {
    let all = discovered();
    let mut places: Vec<_> = all.iter().map(|one| (one.spec.module, one.spec.function)).collect();
    let count = places.len();
    places.dedup();
    assert_eq!(places.len(), count, "each once");
    let counts = contributions(&all);
    assert_eq!(counts["linked-listeners"], 2);
    // The eight listener types and the one above.
    assert_eq!(counts["integration-tests"], 9);
    assert_eq!(counts.len(), 2, "{counts:?}");
    assert_eq!(links().iter().map(|link| link.name).collect::<Vec<_>>(), ["linked_listeners"]);
    assert_eq!(missing_crates(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_app_that_names_no_listener_runs_all_that_are_linked() {
    let log = Log::default();
    let app = KafkaApp::builder()
        .environment([])
        .embedded(Embedded::memory().virtual_time(1_767_225_600_000).seed(1))
        .property("auto.offset.reset", "earliest")
        .handle_signals(false)
        .state(log.clone())
        .start()
        .await;
    // Two modules of the library have a `linked` each: without an id of their own they meet, and that is told.
    let error = app.expect_err("two listeners of one id");
    assert_eq!(error.problems().len(), 1, "{error}");
    assert!(error.problems()[0].contains("the id 'linked' is taken by listener 'linked'"), "{error}");

    let app = TestApp::new().listeners(listeners![found]).state(log.clone()).start().await.unwrap();
    app.template().send("found", "v".to_owned()).await.unwrap();
    app.committed("found", "found", 0).reaches(1).await.unwrap();
    app.shutdown().await.unwrap();
    assert_eq!(log.lines(), ["found v"]);
}
