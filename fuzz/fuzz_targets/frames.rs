//! What a client may send: any bytes, on a connection of a broker that holds a little. The server answers or closes; it neither
//! panics nor hangs nor keeps more memory than it was sent.
//!
//! An input is a run of pieces, two bytes of length and then so many bytes. Each piece is sent as a frame, its length before it,
//! so that what is inside is looked at; a piece whose length is 65535 sends the rest as it is.

#![no_main]

use std::time::Duration;

use broker_core::record::BatchBuilder;
use broker_core::server::{Server, ServerConfig};
use broker_core::{Broker, BrokerConfig, NewTopic};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const RAW: usize = 0xffff;

fuzz_target!(|input: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(run(input));
});

fn broker() -> Broker {
    let mut config = BrokerConfig { offsets_topic_num_partitions: 1, ..BrokerConfig::default() };
    config.message_decompressed_bytes_max = 1 << 20;
    config.partitions_max = 500;
    let broker = Broker::builder().config(config).seed(1).open().expect("a broker");
    broker.create_topic(&NewTopic::new("t").partitions(2)).expect("a topic");
    let mut batch = BatchBuilder::new();
    batch.append(1_700_000_000_000, Some(b"k"), Some(b"v"), &[]);
    broker.partition("t", 0).expect("there").produce(batch.build()).expect("produced");
    broker
}

fn sent(mut input: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(input.len() * 2);
    while let Some((length, rest)) = input.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        if length == RAW {
            bytes.extend_from_slice(rest);
            break;
        }
        let (piece, rest) = rest.split_at(length.min(rest.len()));
        bytes.extend_from_slice(&(piece.len() as u32).to_be_bytes());
        bytes.extend_from_slice(piece);
        input = rest;
    }
    bytes
}

async fn run(input: &[u8]) {
    let broker = broker();
    let (client, server) = tokio::io::duplex(1 << 16);
    let (mut reads, mut writes) = tokio::io::split(client);
    let config = ServerConfig { socket_request_max_bytes: 1 << 20, ..ServerConfig::default() };
    let served = Server::serve(broker.clone(), config, server);
    let wrote = async {
        // The server may close before it has read everything.
        let _ = writes.write_all(&sent(input)).await;
        let _ = writes.shutdown().await;
    };
    let read = async {
        let mut answers = Vec::new();
        let _ = reads.read_to_end(&mut answers).await;
    };
    let all = async { tokio::join!(served, wrote, read) };
    // On a paused clock: the longest wait of a client that is there, and more.
    tokio::time::timeout(Duration::from_secs(86_400), all).await.expect("the server neither answers nor closes");
    broker.close().await.expect("closed");
}
