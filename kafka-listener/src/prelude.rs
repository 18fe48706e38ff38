//! What listeners are written with: `use kafka_listener::prelude::*`.

pub use crate::ack::AckMode;
pub use crate::app::{Embedded, KafkaApp, KafkaAppBuilder, RunningApp};
pub use crate::client::{NewTopic, SeekTo, TopicPartition};
pub use crate::codec::Json;
pub use crate::container::Concurrency;
pub use crate::error::{
    BackOff, BatchError, CommonContainerStoppingErrorHandler, CommonLoggingErrorHandler, DeadLetters, DefaultErrorHandler,
    ExponentialBackOff, FixedBackOff, ListenerError, ListenerResult, Rejection,
};
pub use crate::extract::{
    Batch, ConsumerRecord, DeliveryAttempt, FromDelivery, FromRecord, GroupId, Header, HeaderName, Headers, Key, ListenerId,
    Offset, Partition, State, Timestamp, Topic,
};
pub use crate::factory::ContainerFactory;
pub use crate::handler::{Delivery, raw, raw_boxed};
pub use crate::listener::{
    AcknowledgingConsumerAwareMessageListener, AcknowledgingMessageListener, Acknowledgment,
    BatchAcknowledgingConsumerAwareMessageListener, BatchAcknowledgingMessageListener, BatchConsumerAwareMessageListener,
    BatchMessageListener, ConsumerAwareMessageListener, ConsumerHandle, MessageListener,
};
pub use crate::registry::Listener;
pub use crate::template::{KafkaTemplate, ProducerRecord, SendError, SendFuture, SendResult};
#[cfg(feature = "testing")]
pub use crate::testing::TestApp;
pub use crate::{kafka_listener, link_listeners, listeners};
