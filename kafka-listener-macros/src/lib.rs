//! The attribute macros of kafka-listener.
