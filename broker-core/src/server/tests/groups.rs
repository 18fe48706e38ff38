//! Groups and their coordinator.

use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::protocol::StrBytes;

use super::{Bench, versions};

fn id(group: &'static str) -> StrBytes {
    StrBytes::from_static_str(group)
}

#[tokio::test]
async fn the_coordinator_is_here() {
    let mut bench = Bench::new().await;
    let port = i32::from(bench.server.address().port());
    for version in versions::<FindCoordinatorRequest>() {
        for key_type in if version == 0 { 0..=0 } else { 0..=2 } {
            let request = FindCoordinatorRequest::default().with_key_type(key_type);
            let expected = if key_type == 2 { (42, -1, -1) } else { (0, 0, port) };
            if version < 4 {
                let found = bench.ask(version, &request.with_key(id("g"))).await;
                assert_eq!((found.error_code, found.node_id.0, found.port), expected, "version {version}, type {key_type}");
                continue;
            }
            let found = bench.ask(version, &request.with_coordinator_keys(vec![id("g"), id("h")])).await;
            let keys: Vec<_> = found.coordinators.iter().map(|one| one.key.as_str()).collect();
            assert_eq!(keys, ["g", "h"]);
            let one = &found.coordinators[1];
            assert_eq!((one.error_code, one.node_id.0, one.port), expected, "version {version}, type {key_type}");
        }
    }
}
