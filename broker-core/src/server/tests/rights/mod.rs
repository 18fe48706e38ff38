//! What one may do where an authorizer is set: refused without a right, done with it, and seen only as far as that.

mod ask;
mod rules;
mod seen;
mod table;

use super::Bench;
use crate::broker::{Broker, NewTopic};
use crate::coordinator::group::{MemberIdentity, OffsetCommit};
use crate::security::{CLUSTER, Operation, Pattern, Permission, ResourceKind, Rule};
use crate::server::ServerConfig;
use crate::server::rights::AUTHORIZER;

pub(super) fn config() -> ServerConfig {
    ServerConfig { authorizer_class_name: AUTHORIZER.to_owned(), ..ServerConfig::default() }
}

/// A server with an authorizer and no rules, topic `t` and group `g`.
async fn guarded() -> Bench {
    guarded_by(config()).await
}

async fn guarded_by(config: ServerConfig) -> Bench {
    let broker = Broker::in_memory();
    broker.create_topic(&NewTopic::new("t").partitions(2)).expect("a topic");
    let commit = OffsetCommit { topic: "t", partition: 0, offset: 0, leader_epoch: -1, metadata: "" };
    let nobody = MemberIdentity { generation: -1, member_id: "", group_instance_id: None };
    broker.commit_offsets("g", nobody, &[commit]).expect("committed");
    Bench::on(broker, config).await
}

fn rule(permission: Permission, principal: &str, operation: Operation, kind: ResourceKind, name: &str) -> Rule {
    let (pattern, name) = match name.strip_suffix('*') {
        Some(prefix) if !prefix.is_empty() => (Pattern::Prefixed, prefix),
        _ => (Pattern::Literal, name),
    };
    let (name, principal, host) = (name.to_owned(), principal.to_owned(), "*".to_owned());
    Rule { kind, name, pattern, principal, host, operation, permission }
}

/// A rule, whatever it says.
pub(super) fn anybodys() -> Rule {
    rule(Permission::Allow, "User:*", Operation::Read, ResourceKind::Topic, "t")
}

fn put(bench: &Bench, rule: Rule) {
    bench.broker.acls().add(vec![Ok(rule)]).remove(0).expect("a rule");
}

/// Whoever has not logged in may do this to `t` and `new`, to `g`, or to the cluster.
fn may(bench: &Bench, operation: Operation, kind: ResourceKind) {
    let names: &[&str] = match kind {
        ResourceKind::Topic => &["t", "new"],
        ResourceKind::Group => &["g"],
        ResourceKind::Cluster => &[CLUSTER],
        ResourceKind::TransactionalId => &["x"],
    };
    for name in names {
        put(bench, rule(Permission::Allow, "User:ANONYMOUS", operation, kind, name));
    }
}
