//! What a client may do: the rules, where `authorizer.class.name` asks for them.

use std::net::IpAddr;

use super::config::ServerConfig;
use super::connection::Client;
use super::session::ANONYMOUS;
use crate::broker::Broker;
use crate::error::{Error, ErrorCode, Named};
use crate::security::{CLUSTER, Operation, ResourceKind, RuleFilter, Who};

/// The one authorizer that is built, by Kafka's name.
pub(super) const AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

/// What something is done to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
    Cluster,
    TransactionalId(&'a str),
}

impl Resource<'_> {
    fn parts(&self) -> (ResourceKind, &str) {
        match self {
            Self::Topic(name) => (ResourceKind::Topic, name),
            Self::Group(name) => (ResourceKind::Group, name),
            Self::Cluster => (ResourceKind::Cluster, CLUSTER),
            Self::TransactionalId(name) => (ResourceKind::TransactionalId, name),
        }
    }

    fn refusal(&self, operation: Operation) -> Error {
        let (code, what) = match self {
            Self::Topic(name) => (ErrorCode::TopicAuthorizationFailed, format!("topic '{}'", Named(name))),
            Self::Group(name) => (ErrorCode::GroupAuthorizationFailed, format!("group '{}'", Named(name))),
            Self::Cluster => (ErrorCode::ClusterAuthorizationFailed, "the cluster".to_owned()),
            Self::TransactionalId(name) => {
                (ErrorCode::TransactionalIdAuthorizationFailed, format!("transactional id '{}'", Named(name)))
            }
        };
        Error::new(code, format!("{what}: no right to {operation:?}"))
    }

    /// What can be done to it, as in Kafka; of groups' settings there are none here.
    fn operations(&self) -> &'static [Operation] {
        use Operation::{
            Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs, IdempotentWrite, Read, Write,
        };
        match self {
            Self::Topic(_) => &[Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs],
            Self::Group(_) => &[Read, Delete, Describe, DescribeConfigs, AlterConfigs],
            Self::Cluster => &[Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite],
            Self::TransactionalId(_) => &[Write, Describe],
        }
    }
}

/// Who a connection's client is to the rules: the same for as long as it is open.
#[derive(Debug)]
pub(super) struct Subject {
    principal: String,
    host: IpAddr,
    is_super: bool,
}

impl ServerConfig {
    /// Nobody can ask for the first rule where nobody may do anything.
    pub(super) fn warn_of_lockout(&self, broker: &Broker) {
        let somebody = !self.super_users.is_empty() || self.allow_everyone_if_no_acl_found;
        if self.has_authorizer() && !somebody && broker.acls().describe(&RuleFilter::default()).is_empty() {
            let text =
                "authorizer.class.name is set, but neither super.users nor any rule: nobody may do anything, nor change that";
            tracing::warn!(target: "broker_core::server", "{text}");
        }
    }
}

impl Client {
    /// Whether rights are looked at.
    pub fn has_rules(&self) -> bool {
        self.shared.config.has_authorizer()
    }

    fn subject(&self) -> &Subject {
        self.subject.get_or_init(|| {
            let principal = format!("User:{}", self.session.user().as_deref().unwrap_or(ANONYMOUS));
            let is_super = self.shared.config.super_users.contains(&principal);
            Subject { principal, host: self.peer.ip().to_canonical(), is_super }
        })
    }

    /// Decides by who asks; without an authorizer, and for super users, it is always yes.
    fn decide(&self, by_rules: impl FnOnce(Who<'_>, bool) -> bool) -> bool {
        if !self.has_rules() {
            return true;
        }
        let Subject { principal, host, is_super } = self.subject();
        *is_super || by_rules(Who { principal, host: *host }, self.shared.config.allow_everyone_if_no_acl_found)
    }

    /// Whether it may do this.
    pub fn may(&self, operation: Operation, resource: Resource<'_>) -> bool {
        let (kind, name) = resource.parts();
        self.decide(|who, unruled| self.shared.broker.acls().may(who, operation, kind, name, unruled))
    }

    /// Whether it may write to any topic at all.
    pub fn may_write_somewhere(&self) -> bool {
        let acls = self.shared.broker.acls();
        self.decide(|who, unruled| acls.may_any(who, Operation::Write, ResourceKind::Topic, unruled))
    }

    /// An error, with the resource's code, if it may not do this.
    pub fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), Error> {
        if self.may(operation, resource) {
            return Ok(());
        }
        let error = resource.refusal(operation);
        let principal = self.subject().principal.as_str();
        tracing::debug!(target: "broker_core::server", peer = %self.peer, principal, error = error.to_string(), "refused");
        Err(error)
    }

    /// Whether it may make a topic: the right to make any, or this one.
    pub fn check_create(&self, topic: &str) -> Result<(), Error> {
        if self.may(Operation::Create, Resource::Cluster) {
            Ok(())
        } else {
            self.check(Operation::Create, Resource::Topic(topic))
        }
    }

    /// What it may do to something, as answers say it: a bit for each operation's number.
    pub fn authorized_operations(&self, resource: Resource<'_>) -> i32 {
        let may = resource.operations().iter().filter(|operation| self.may(**operation, resource));
        may.fold(0, |bits, operation| bits | 1 << operation.code())
    }

    /// What it may do to the cluster; nothing to who may not even ask.
    pub fn authorized_on_cluster(&self) -> i32 {
        match self.may(Operation::Describe, Resource::Cluster) {
            true => self.authorized_operations(Resource::Cluster),
            false => 0,
        }
    }
}
