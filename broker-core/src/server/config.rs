use std::time::Duration;

/// How a broker is reached over TCP, by Kafka's names with `_` for `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens: `host:port`. On loopback, with a port that the system chooses, unless told otherwise.
    pub listen: String,
    /// `advertised.listeners`: the host and port that clients are told to connect to. If none, each client is told the address
    /// that it reached.
    pub advertised: Option<(String, u16)>,
    /// `node.id`: 0.
    pub node_id: i32,
    /// The cluster's name for clients that compare it.
    pub cluster_id: String,
    /// `socket.request.max.bytes`: the largest request; 100 MiB.
    pub socket_request_max_bytes: usize,
    /// `fetch.max.bytes`: the most that one fetch is given, whatever it asks for; 55 MiB. A batch that is larger is given alone.
    pub fetch_max_bytes: usize,
    /// `max.connections`: connections at a time; 16,384, where Kafka has no bound. What is over it is closed at once.
    pub max_connections: usize,
    /// `max.connections.per.ip`: connections from one address at a time; no bound of its own by default.
    pub max_connections_per_ip: usize,
    /// `connections.max.idle.ms`: how long a connection may say nothing, or leave its answers unread; ten minutes.
    pub connections_max_idle: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            advertised: None,
            node_id: 0,
            cluster_id: "embedded-kafka-cluster".to_owned(),
            socket_request_max_bytes: 104_857_600,
            fetch_max_bytes: 57_671_680,
            max_connections: 16_384,
            max_connections_per_ip: usize::MAX,
            connections_max_idle: Duration::from_secs(600),
        }
    }
}

impl ServerConfig {
    /// Every setting that makes no sense, one text each.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, text: String| {
            if !fine {
                problems.push(text);
            }
        };
        check(self.node_id >= 0, format!("node.id is {}: 0 or more", self.node_id));
        check(!self.cluster_id.is_empty(), "the cluster's id is empty".to_owned());
        check(
            (1024..=i32::MAX as usize).contains(&self.socket_request_max_bytes),
            format!("socket.request.max.bytes is {}: 1024 to 2147483647", self.socket_request_max_bytes),
        );
        check(
            (1024..=i32::MAX as usize).contains(&self.fetch_max_bytes),
            format!("fetch.max.bytes is {}: 1024 to 2147483647", self.fetch_max_bytes),
        );
        check(self.max_connections >= 1, "max.connections is 0: at least 1".to_owned());
        check(self.max_connections_per_ip >= 1, "max.connections.per.ip is 0: at least 1".to_owned());
        check(!self.connections_max_idle.is_zero(), "connections.max.idle.ms is 0: at least 1".to_owned());
        problems
    }
}
