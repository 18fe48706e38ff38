use crate::client::*;
use crate::extract::Param;
use crate::handler::*;
use crate::registry::*;
use crate::testing::TestApp;
use std::sync::{Arc, Mutex};

struct Collect(Mutex<Vec<i64>>);
impl Call for Collect {
    fn call(self: Arc<Self>, d: Delivery) -> BoxFuture<'static, crate::error::ListenerResult> {
        Box::pin(async move {
            let r = d.single()?;
            self.0.lock().expect("no panic").push(r.record.offset());
            Ok(())
        })
    }
}

fn listener(id: &str, c: Arc<Collect>, conc: usize) -> OwnedListener {
    OwnedListener {
        spec: OwnedListenerSpec {
            id: Some(id.into()),
            topics: vec!["orders".into()],
            concurrency: Some(conc.to_string()),
            ..Default::default()
        },
        handler: ErasedHandler::new([Param::Record], c),
    }
}

#[tokio::test(start_paused = true)]
async fn slice() {
    let c = Arc::new(Collect(Mutex::default()));
    let app =
        TestApp::new().topic(NewTopic::new("orders").partitions(1)).listener(listener("g", c.clone(), 1)).start().await.unwrap();
    for i in 0..1000 {
        let r = app.template().send("orders", format!("v{i}")).await.unwrap();
        assert_eq!(r.offset, i);
    }
    app.committed("g", "orders", 0).reaches(1000).await.unwrap();
    app.shutdown().await.unwrap();
    assert_eq!(*c.0.lock().unwrap(), (0..1000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn three() {
    let c = Arc::new(Collect(Mutex::default()));
    let app =
        TestApp::new().topic(NewTopic::new("orders").partitions(3)).listener(listener("g", c.clone(), 3)).start().await.unwrap();
    for i in 0..300 {
        app.template().send_to("orders", i % 3, (), format!("v{i}")).await.unwrap();
    }
    for p in 0..3 {
        app.committed("g", "orders", p).reaches(100).await.unwrap();
    }
    assert_eq!(app.registry().get("g").unwrap().assignment().len(), 3);
    app.shutdown().await.unwrap();
}
