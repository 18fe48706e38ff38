use std::net::IpAddr;

use super::Who;
use crate::error::{Error, ErrorCode};

/// Every name, every address.
pub(super) const ALL: &str = "*";
const EVERYBODY: &str = "User:*";
/// The one name of the one cluster.
pub(crate) const CLUSTER: &str = "kafka-cluster";
/// The longest name in a rule.
const NAME_MAX: usize = 1024;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$one_doc:meta])* $one:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name { $($(#[$one_doc])* $one = $code,)* }

        impl $name {
            /// The one of this number.
            pub fn of_code(code: i8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$one),)*
                    _ => None,
                }
            }

            /// Kafka's number of it.
            pub const fn code(self) -> i8 {
                self as i8
            }
        }
    };
}

codes! {
    /// What is done to something, by Kafka's names and numbers.
    Operation {
        /// Whatever can be done.
        All = 2,
        /// Records of a topic are read; a group is joined, and commits.
        Read = 3,
        /// Records are written.
        Write = 4,
        /// A topic is made: that one, or, on the cluster, any.
        Create = 5,
        /// A topic, its records or a group go.
        Delete = 6,
        /// A topic grows; on the cluster, users, rules and quotas change.
        Alter = 7,
        /// It is known that something is there. Who may read, write, delete or alter may do this, too.
        Describe = 8,
        /// What brokers do among each other.
        ClusterAction = 9,
        /// Settings are seen.
        DescribeConfigs = 10,
        /// Settings are changed, and seen.
        AlterConfigs = 11,
        /// An idempotent producer begins.
        IdempotentWrite = 12,
    }
}

codes! {
    /// What something is done to, by Kafka's names and numbers.
    ResourceKind {
        /// A topic.
        Topic = 2,
        /// A group.
        Group = 3,
        /// The cluster, whose name in rules is `kafka-cluster`.
        Cluster = 4,
        /// A transactional id.
        TransactionalId = 5,
    }
}

codes! {
    /// Whether it may be done, by Kafka's names and numbers.
    Permission {
        /// It may not, whatever is allowed.
        Deny = 2,
        /// It may.
        Allow = 3,
    }
}

codes! {
    /// How a rule's name is meant, by Kafka's names and numbers.
    Pattern {
        /// As a whole one; `*` is every name.
        Literal = 3,
        /// As the beginning of names.
        Prefixed = 4,
    }
}

/// Who may do what to what, or may not: what Kafka calls a binding.
///
/// ```
/// use broker_core::{AclBinding, AclOperation, ResourceType};
///
/// let reads = AclBinding::allow("User:ann", AclOperation::Read, ResourceType::Topic, "orders-").prefixed();
/// let not_from_there = AclBinding::deny("User:*", AclOperation::All, ResourceType::Cluster, "kafka-cluster").host("10.0.0.7");
/// # assert!(reads != not_from_there);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// What it is about.
    pub kind: ResourceKind,
    /// That one's name, or how its name begins.
    pub name: String,
    /// Which of both.
    pub pattern: Pattern,
    /// `User:ann`, or `User:*` for everybody.
    pub principal: String,
    /// The address from where, or `*`.
    pub host: String,
    /// What is done.
    pub operation: Operation,
    /// Whether it may be.
    pub permission: Permission,
}

impl Operation {
    /// Whether who may do this may do `other`, too.
    fn implies(self, other: Self) -> bool {
        match other {
            _ if self == other || self == Self::All => true,
            Self::Describe => matches!(self, Self::Read | Self::Write | Self::Delete | Self::Alter),
            Self::DescribeConfigs => self == Self::AlterConfigs,
            _ => false,
        }
    }
}

/// What a rule says about whatever it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// `None`: everybody.
    principal: Option<String>,
    /// `None`: every address.
    host: Option<IpAddr>,
    operation: Operation,
    permission: Permission,
}

impl Verdict {
    fn is_for(&self, who: Who<'_>) -> bool {
        self.principal.as_deref().is_none_or(|principal| principal == who.principal)
            && self.host.is_none_or(|host| host == who.host)
    }

    pub fn allows(&self, who: Who<'_>, operation: Operation) -> bool {
        self.permission == Permission::Allow && self.operation.implies(operation) && self.is_for(who)
    }

    /// What is denied is just that: who may not write may still be allowed to describe.
    pub fn denies(&self, who: Who<'_>, operation: Operation) -> bool {
        let meant = self.operation == operation || self.operation == Operation::All;
        self.permission == Permission::Deny && meant && self.is_for(who)
    }
}

impl Rule {
    /// This user may do this to what has this name, from wherever.
    pub fn allow(principal: impl Into<String>, operation: Operation, kind: ResourceKind, name: impl Into<String>) -> Self {
        let (name, principal, host) = (name.into(), principal.into(), ALL.to_owned());
        Self { kind, name, pattern: Pattern::Literal, principal, host, operation, permission: Permission::Allow }
    }

    /// This user may not, from wherever.
    pub fn deny(principal: impl Into<String>, operation: Operation, kind: ResourceKind, name: impl Into<String>) -> Self {
        Self { permission: Permission::Deny, ..Self::allow(principal, operation, kind, name) }
    }

    /// The same about all names that begin so.
    pub fn prefixed(mut self) -> Self {
        self.pattern = Pattern::Prefixed;
        self
    }

    /// The same from this address only.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Whether it is about what has this name.
    pub(super) fn is_about(&self, name: &str) -> bool {
        match self.pattern {
            Pattern::Literal => self.name == name || self.name == ALL,
            Pattern::Prefixed => name.starts_with(&self.name),
        }
    }

    /// An error if it could never say anything.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.verdict().map(|_| ())
    }

    /// What it says; an error if it could never say anything.
    pub(super) fn verdict(&self) -> Result<Verdict, Error> {
        let refuse = |text: String| Err(Error::new(ErrorCode::InvalidRequest, text));
        for (what, name) in [("resource", &self.name), ("principal", &self.principal), ("host", &self.host)] {
            if name.is_empty() || name.len() > NAME_MAX {
                return refuse(format!("the {what} of a rule has {} bytes: 1 to {NAME_MAX}", name.len()));
            }
        }
        if self.kind == ResourceKind::Cluster && self.name != CLUSTER {
            return refuse(format!("the cluster's name is '{CLUSTER}', not '{}'", self.name));
        }
        if self.principal.strip_prefix("User:").is_none_or(str::is_empty) {
            return refuse(format!("principal '{}' is not 'User:' and a name: there are no others here", self.principal));
        }
        let host = match self.host.parse::<IpAddr>() {
            _ if self.host == ALL => None,
            Ok(host) => Some(host.to_canonical()),
            Err(_) => return refuse(format!("host '{}' is neither an address nor '{ALL}'", self.host)),
        };
        let principal = (self.principal != EVERYBODY).then(|| self.principal.clone());
        Ok(Verdict { principal, host, operation: self.operation, permission: self.permission })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `allow User:ann * READ t` or, with a prefix, `t*`.
    pub fn rule(permission: Permission, principal: &str, host: &str, operation: Operation, name: &str) -> Rule {
        let (name, pattern) = match name.strip_suffix('*') {
            Some(prefix) if !prefix.is_empty() => (prefix, Pattern::Prefixed),
            _ => (name, Pattern::Literal),
        };
        let (name, principal, host) = (name.to_owned(), principal.to_owned(), host.to_owned());
        Rule { kind: ResourceKind::Topic, name, pattern, principal, host, operation, permission }
    }

    #[test]
    fn what_could_never_hold_is_refused() {
        let fine = rule(Permission::Allow, "User:an n", "*", Operation::Read, "t*");
        assert!(fine.verdict().is_ok());
        let long = "x".repeat(NAME_MAX + 1);
        for (wrong, told) in [
            (Rule { kind: ResourceKind::Cluster, ..fine.clone() }, "the cluster's name is 'kafka-cluster', not 't'"),
            (Rule { kind: ResourceKind::Cluster, name: "*".to_owned(), ..fine.clone() }, "not '*'"),
            (Rule { principal: "Group:a".to_owned(), ..fine.clone() }, "principal 'Group:a' is not 'User:' and a name"),
            (Rule { principal: "User:".to_owned(), ..fine.clone() }, "principal 'User:' is not"),
            (Rule { name: String::new(), ..fine.clone() }, "the resource of a rule has 0 bytes: 1 to 1024"),
            (Rule { name: long, ..fine.clone() }, "the resource of a rule has 1025 bytes"),
            (Rule { host: "localhost".to_owned(), ..fine.clone() }, "host 'localhost' is neither an address nor '*'"),
        ] {
            let error = wrong.verdict().expect_err("refused");
            assert!(error.to_string().contains(told), "{told} in {error}");
            assert_eq!(error.code(), ErrorCode::InvalidRequest);
        }
    }
}
