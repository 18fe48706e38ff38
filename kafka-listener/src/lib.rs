//! Annotated Kafka listeners.
