//! Takes each event of a container before the next one happens, so that the order of events of several apps is known.

use std::cell::RefCell;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::model::Shadow;

thread_local! {
    static CURRENT: RefCell<Option<Shadow>> = const { RefCell::new(None) };
}

/// Runs something on this thread, its events told to this model.
///
/// One subscriber serves the process: those of single threads come and go for all of them, and miss events meanwhile.
pub fn in_order<T>(shadow: Shadow, run: impl FnOnce() -> T) -> T {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(InOrder).expect("nobody else sets one"));
    CURRENT.with(|current| current.replace(Some(shadow)));
    let done = run();
    CURRENT.with(|current| current.take());
    done
}

struct InOrder;

impl Subscriber for InOrder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "kafka_listener::container"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        // An event is traced before it is sent: what is taken here are those before it.
        event.record(&mut Nothing);
        if let Some(shadow) = CURRENT.with(|current| current.borrow().clone()) {
            shadow.catch_up();
        }
    }
}

struct Nothing;

impl Visit for Nothing {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
