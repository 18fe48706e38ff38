//! Tower layers around listeners: a time-out, a concurrency limit, and a layer of one's own. `cargo run --example tower_layers`

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kafka_listener::handler::{BoxedHandler, Outcome};
use kafka_listener::prelude::*;
use tower::limit::ConcurrencyLimitLayer;
use tower::timeout::TimeoutLayer;
use tower::{Layer, Service};

/// Says how long each call took.
#[derive(Clone)]
struct Stopwatch;

impl Layer<BoxedHandler> for Stopwatch {
    type Service = Timed;

    fn layer(&self, inner: BoxedHandler) -> Timed {
        Timed(inner)
    }
}

#[derive(Clone)]
struct Timed(BoxedHandler);

impl Service<Delivery> for Timed {
    type Response = Outcome;
    type Error = kafka_listener::error::BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Outcome, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let (start, call) = (Instant::now(), self.0.call(delivery));
        Box::pin(async move {
            let outcome = call.await;
            println!("took {:.1?}: {}", start.elapsed(), outcome.as_ref().map_or_else(ToString::to_string, |_| "fine".into()));
            outcome
        })
    }
}

#[kafka_listener(topic = "work", group_id = "workers", container_factory = "bounded", concurrency = 2)]
async fn work(millis: String) -> Result<(), std::num::ParseIntError> {
    tokio::time::sleep(Duration::from_millis(millis.parse()?)).await;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let bounded = ContainerFactory::named("bounded")
        .layer(Stopwatch)
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(TimeoutLayer::new(Duration::from_millis(50)))
        .error_handler(DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 1)));
    let app = KafkaApp::builder()
        .property("auto.offset.reset", "earliest")
        .topic(NewTopic::new("work").partitions(2))
        .factory(bounded)
        .start()
        .await?;
    for (partition, millis) in [(0, "10"), (1, "20"), (0, "500"), (1, "no number")] {
        app.template().send_to("work", partition, (), millis).await?;
    }
    for partition in 0..2 {
        while app.committed("workers", "work", partition).await? != Some(2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    app.shutdown().await?;
    Ok(())
}
