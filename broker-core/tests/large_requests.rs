//! What requests of very many elements take while they are answered: all together no more than `queued.max.request.bytes`, and one.
#![cfg(feature = "server")]

use std::alloc::System;
use std::io;
use std::net::SocketAddr;

use broker_core::server::{Server, ServerConfig};
use broker_core::{Broker, BrokerConfig};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;
const CLIENTS: usize = 20;
const NAMES: u32 = 20_000;

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Metadata, version 4, of as many topics that are not there. Each takes ten bytes here, and a few hundred where it is answered.
fn metadata() -> Vec<u8> {
    let mut request = vec![0; 4];
    for part in [3i16, 4, 0, 1, -1] {
        request.extend(part.to_be_bytes());
    }
    request.extend(NAMES.to_be_bytes());
    for number in 0..NAMES {
        request.extend(8i16.to_be_bytes());
        request.extend(format!("{number:08x}").bytes());
    }
    request.push(0);
    let size = request.len() as u32 - 4;
    request[..4].copy_from_slice(&size.to_be_bytes());
    request
}

/// Asks, and reads what comes; how much that is.
async fn ask(address: SocketAddr, request: &[u8]) -> io::Result<usize> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    let (mut left, mut part) = (stream.read_u32().await? as usize, [0; 4096]);
    let size = left;
    while left > 0 {
        let end = part.len().min(left);
        left -= stream.read(&mut part[..end]).await?;
    }
    Ok(size)
}

#[tokio::test]
async fn very_many_elements_at_once_take_a_bounded_amount_of_memory() {
    let config = BrokerConfig { auto_create_topics_enable: false, ..BrokerConfig::default() };
    let broker = Broker::builder().config(config).open().expect("opened");
    let config = ServerConfig { queued_max_request_bytes: 8 * MIB, ..ServerConfig::default() };
    let server = Server::start(broker, config).await.expect("a server");
    let (address, request) = (server.address(), metadata());
    let before = held();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let request = request.clone();
        clients.spawn(async move { ask(address, &request).await });
    }
    // All run on one thread: this looks on between them.
    let mut most = 0;
    let mut answered = 0;
    while answered < CLIENTS {
        most = most.max(held().saturating_sub(before));
        if let Some(answer) = clients.try_join_next() {
            assert!(answer.expect("no panic").expect("answered") > NAMES as usize * 10);
            answered += 1;
        }
        yield_now().await;
    }
    assert!(most < 40 * MIB, "{CLIENTS} requests of {} bytes took {most}", request.len());
    server.stop().await;
}
