//! Runnable examples: `cargo run --release --example flights`.
