use std::error::Error as StdError;
use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal $kafka:literal $retriable:literal;)*) => {
        /// Kafka's error codes, as far as this broker uses them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// The number on the wire.
            pub const fn code(self) -> i16 {
                match self { $(Self::$name => $code,)* }
            }

            /// Kafka's own name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $kafka,)* }
            }

            /// Whether Kafka's clients try again.
            pub const fn is_retriable(self) -> bool {
                match self { $(Self::$name => $retriable,)* }
            }
        }
    };
}

codes! {
    /// Anything without a code of its own.
    UnknownServerError = -1 "UNKNOWN_SERVER_ERROR" false;
    /// The offset lies outside the log.
    OffsetOutOfRange = 1 "OFFSET_OUT_OF_RANGE" false;
    /// A batch's checksum is wrong, or its bytes are no batch.
    CorruptMessage = 2 "CORRUPT_MESSAGE" true;
    /// There is no such topic or partition.
    UnknownTopicOrPartition = 3 "UNKNOWN_TOPIC_OR_PARTITION" true;
    /// Something did not finish in its time.
    RequestTimedOut = 7 "REQUEST_TIMED_OUT" true;
    /// The batch is larger than `max.message.bytes`.
    MessageTooLarge = 10 "MESSAGE_TOO_LARGE" false;
    /// The metadata beside an offset is larger than `offset.metadata.max.bytes`.
    OffsetMetadataTooLarge = 12 "OFFSET_METADATA_TOO_LARGE" false;
    /// A connection failed, or could not be made.
    NetworkException = 13 "NETWORK_EXCEPTION" true;
    /// The group's coordinator is not there.
    CoordinatorNotAvailable = 15 "COORDINATOR_NOT_AVAILABLE" true;
    /// The topic's name is illegal, or the topic is internal.
    InvalidTopic = 17 "INVALID_TOPIC_EXCEPTION" false;
    /// The batch is larger than a segment.
    RecordListTooLarge = 18 "RECORD_LIST_TOO_LARGE" false;
    /// `acks` is none of -1, 0 and 1.
    InvalidRequiredAcks = 21 "INVALID_REQUIRED_ACKS" false;
    /// The generation is not the group's.
    IllegalGeneration = 22 "ILLEGAL_GENERATION" false;
    /// No protocol is common to all members.
    InconsistentGroupProtocol = 23 "INCONSISTENT_GROUP_PROTOCOL" false;
    /// The group's id is empty.
    InvalidGroupId = 24 "INVALID_GROUP_ID" false;
    /// The group does not know the member.
    UnknownMemberId = 25 "UNKNOWN_MEMBER_ID" false;
    /// The session time-out is outside the broker's bounds.
    InvalidSessionTimeout = 26 "INVALID_SESSION_TIMEOUT" false;
    /// The group is rebalancing.
    RebalanceInProgress = 27 "REBALANCE_IN_PROGRESS" false;
    /// More offsets in one commit than are written at a time.
    InvalidCommitOffsetSize = 28 "INVALID_COMMIT_OFFSET_SIZE" false;
    /// A record's timestamp is outside the topic's bounds.
    InvalidTimestamp = 32 "INVALID_TIMESTAMP" false;
    /// The SASL mechanism is not enabled.
    UnsupportedSaslMechanism = 33 "UNSUPPORTED_SASL_MECHANISM" false;
    /// The login is not at this point.
    IllegalSaslState = 34 "ILLEGAL_SASL_STATE" false;
    /// The version of the API is not served.
    UnsupportedVersion = 35 "UNSUPPORTED_VERSION" false;
    /// The topic is there already.
    TopicAlreadyExists = 36 "TOPIC_ALREADY_EXISTS" false;
    /// The number of partitions is illegal.
    InvalidPartitions = 37 "INVALID_PARTITIONS" false;
    /// The replication factor is not one that the cluster can give.
    InvalidReplicationFactor = 38 "INVALID_REPLICATION_FACTOR" false;
    /// The replicas named are not those that there are.
    InvalidReplicaAssignment = 39 "INVALID_REPLICA_ASSIGNMENT" false;
    /// A setting is unknown, ill-typed or not built.
    InvalidConfig = 40 "INVALID_CONFIG" false;
    /// The request does not fit.
    InvalidRequest = 42 "INVALID_REQUEST" false;
    /// The topic's settings do not allow it.
    PolicyViolation = 44 "POLICY_VIOLATION" false;
    /// A batch's sequence does not follow the producer's last one.
    OutOfOrderSequenceNumber = 45 "OUT_OF_ORDER_SEQUENCE_NUMBER" false;
    /// A newer instance of the producer has written.
    InvalidProducerEpoch = 47 "INVALID_PRODUCER_EPOCH" false;
    /// The producer's transaction does not allow it.
    InvalidTxnState = 48 "INVALID_TXN_STATE" false;
    /// The transactional id's producer is another one, or there is none.
    InvalidProducerIdMapping = 49 "INVALID_PRODUCER_ID_MAPPING" false;
    /// The transaction's time-out is outside the broker's bounds.
    InvalidTransactionTimeout = 50 "INVALID_TRANSACTION_TIMEOUT" false;
    /// The transaction is being ended: come again.
    ConcurrentTransactions = 51 "CONCURRENT_TRANSACTIONS" true;
    /// A newer coordinator has ended a transaction of the producer.
    TransactionCoordinatorFenced = 52 "TRANSACTION_COORDINATOR_FENCED" false;
    /// The batch's format is older than v2.
    UnsupportedForMessageFormat = 43 "UNSUPPORTED_FOR_MESSAGE_FORMAT" false;
    /// No right to do this to the topic.
    TopicAuthorizationFailed = 29 "TOPIC_AUTHORIZATION_FAILED" false;
    /// No right to do this to the group.
    GroupAuthorizationFailed = 30 "GROUP_AUTHORIZATION_FAILED" false;
    /// No right to do this to the cluster.
    ClusterAuthorizationFailed = 31 "CLUSTER_AUTHORIZATION_FAILED" false;
    /// No right to do this by the transactional id.
    TransactionalIdAuthorizationFailed = 53 "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" false;
    /// Nobody's rights are looked at.
    SecurityDisabled = 54 "SECURITY_DISABLED" false;
    /// Not done, since something else in the request failed.
    OperationNotAttempted = 55 "OPERATION_NOT_ATTEMPTED" false;
    /// The storage failed; the partition takes no more writes.
    KafkaStorageError = 56 "KAFKA_STORAGE_ERROR" true;
    /// The login failed.
    SaslAuthenticationFailed = 58 "SASL_AUTHENTICATION_FAILED" false;
    /// The group has members.
    NonEmptyGroup = 68 "NON_EMPTY_GROUP" false;
    /// There is no such group.
    GroupIdNotFound = 69 "GROUP_ID_NOT_FOUND" false;
    /// The fetch session was never given.
    FetchSessionIdNotFound = 70 "FETCH_SESSION_ID_NOT_FOUND" true;
    /// The client's idea of the leader's epoch is ahead of the leader.
    UnknownLeaderEpoch = 75 "UNKNOWN_LEADER_EPOCH" true;
    /// The batch is compressed with a codec that is not built.
    UnsupportedCompressionType = 76 "UNSUPPORTED_COMPRESSION_TYPE" false;
    /// A member must come back with the id that it was given.
    MemberIdRequired = 79 "MEMBER_ID_REQUIRED" false;
    /// The group has `group.max.size` members.
    GroupMaxSizeReached = 81 "GROUP_MAX_SIZE_REACHED" false;
    /// A static member was replaced by another of the same name.
    FencedInstanceId = 82 "FENCED_INSTANCE_ID" false;
    /// The leader is already the one that would be elected.
    ElectionNotNeeded = 84 "ELECTION_NOT_NEEDED" true;
    /// The partition's replicas are not being moved.
    NoReassignmentInProgress = 85 "NO_REASSIGNMENT_IN_PROGRESS" false;
    /// Members of the group read the topic.
    GroupSubscribedToTopic = 86 "GROUP_SUBSCRIBED_TO_TOPIC" false;
    /// A record or batch breaks a rule.
    InvalidRecord = 87 "INVALID_RECORD" false;
    /// A transaction that is open has offsets for the partition.
    UnstableOffsetCommit = 88 "UNSTABLE_OFFSET_COMMIT" true;
    /// A newer instance of the producer has come, or its transaction has timed out.
    ProducerFenced = 90 "PRODUCER_FENCED" false;
    /// There is no such thing.
    ResourceNotFound = 91 "RESOURCE_NOT_FOUND" false;
    /// The same thing is named twice.
    DuplicateResource = 92 "DUPLICATE_RESOURCE" false;
    /// A password or a user's name is none.
    UnacceptableCredential = 93 "UNACCEPTABLE_CREDENTIAL" false;
    /// There is no topic of this id.
    UnknownTopicId = 100 "UNKNOWN_TOPIC_ID" true;
    /// Nothing is known by this transactional id.
    TransactionalIdNotFound = 105 "TRANSACTIONAL_ID_NOT_FOUND" false;
    /// The kind of node that is asked for is not the one that answers.
    MismatchedEndpointType = 114 "MISMATCHED_ENDPOINT_TYPE" false;
    /// There is no such kind of node.
    UnsupportedEndpointType = 115 "UNSUPPORTED_ENDPOINT_TYPE" false;
    /// The producer's transaction cannot go on: it is to be aborted, then the producer may go on.
    TransactionAbortable = 120 "TRANSACTION_ABORTABLE" false;
}

/// The broker's one error: a Kafka code and a text that names the thing and the limit.
#[derive(Debug)]
pub struct Error {
    code: ErrorCode,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    records: Vec<RecordError>,
}

/// A name as errors tell it. A request holds a name once, of any length, and may ask for very many things under it: what is no
/// topic's name for its length is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a>(pub &'a str);

/// The longest name of a topic.
const NAME_TOLD_BYTES: usize = 249;

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.0.floor_char_boundary(NAME_TOLD_BYTES);
        f.write_str(&self.0[..told])?;
        if told < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}

/// What is wrong with one record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// Its place in the batch, from 0.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: String,
}

impl Error {
    /// An error of a code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), source: None, records: Vec::new() }
    }

    /// The same, caused by another error.
    pub fn with_source(code: ErrorCode, message: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { code, message: message.into(), source: Some(source.into()), records: Vec::new() }
    }

    /// The same, because of these records.
    pub fn with_records(mut self, records: Vec<RecordError>) -> Self {
        self.records = records;
        self
    }

    /// The records that a batch was refused for: the first hundred.
    pub fn record_errors(&self) -> &[RecordError] {
        &self.records
    }

    /// Kafka's code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.name())?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}
