use std::collections::{BTreeMap, BTreeSet};

use super::rule::{ALL, Verdict};
use super::{Operation, Pattern, ResourceKind, Rule, Who};
use crate::error::Error;

type ByName = BTreeMap<String, Vec<Verdict>>;

/// All rules, found by what they are about: a decision looks at those of the one name, those of all names, and those of each
/// prefix that has a length for which there are rules.
#[derive(Debug, Default)]
pub(super) struct Index {
    of: BTreeMap<ResourceKind, OfKind>,
}

#[derive(Debug, Default)]
struct OfKind {
    whole: ByName,
    prefixes: ByName,
    /// The lengths of prefixes, in bytes.
    lengths: BTreeSet<usize>,
}

impl Index {
    pub fn new<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> Result<Self, Error> {
        let mut index = Self::default();
        for rule in rules {
            let of = index.of.entry(rule.kind).or_default();
            let by_name = match rule.pattern {
                Pattern::Literal => &mut of.whole,
                Pattern::Prefixed => {
                    of.lengths.insert(rule.name.len());
                    &mut of.prefixes
                }
            };
            by_name.entry(rule.name.clone()).or_default().push(rule.verdict()?);
        }
        Ok(index)
    }

    /// Whether one may: what denies wins. `None`: no rule is about the resource.
    pub fn decide(&self, who: Who<'_>, operation: Operation, kind: ResourceKind, name: &str) -> Option<bool> {
        let of = self.of.get(&kind)?;
        let (mut about, mut allowed) = (false, false);
        for verdict in of.whole_name(name).chain(of.prefixes_of(name)) {
            if verdict.denies(who, operation) {
                return Some(false);
            }
            about = true;
            allowed |= verdict.allows(who, operation);
        }
        about.then_some(allowed)
    }

    /// Whether one may do this to something of a kind, whatever it is: some rule allows it, and none denies all of what that one
    /// allows.
    pub fn decide_any(&self, who: Who<'_>, operation: Operation, kind: ResourceKind) -> bool {
        let Some(of) = self.of.get(&kind) else { return false };
        let denies = |verdict: &Verdict| verdict.denies(who, operation);
        let allows = |(_, verdicts): &(&String, &Vec<Verdict>)| verdicts.iter().any(|one| one.allows(who, operation));
        if of.all().any(denies) {
            return false;
        }
        let left_of_whole = |name: &str| name == ALL || !of.whole_name(name).chain(of.prefixes_of(name)).any(denies);
        let left_of_prefix = |prefix: &str| !of.prefixes_of(prefix).any(denies);
        of.whole.iter().filter(allows).any(|(name, _)| left_of_whole(name))
            || of.prefixes.iter().filter(allows).any(|(prefix, _)| left_of_prefix(prefix))
    }
}

impl OfKind {
    fn all(&self) -> impl Iterator<Item = &Verdict> {
        self.whole.get(ALL).into_iter().flatten()
    }

    fn whole_name(&self, name: &str) -> impl Iterator<Item = &Verdict> {
        let own = if name == ALL { None } else { self.whole.get(name) };
        own.into_iter().flatten().chain(self.all())
    }

    fn prefixes_of(&self, name: &str) -> impl Iterator<Item = &Verdict> {
        let begins = self.lengths.iter().take_while(|length| **length <= name.len()).filter_map(|length| name.get(..*length));
        begins.filter_map(|prefix| self.prefixes.get(prefix)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Permission;
    use super::super::rule::tests::rule;
    use super::*;

    const ANN: Who<'static> = Who { principal: "User:ann", host: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)) };

    #[test]
    fn who_may_what() {
        use Operation::{All, Alter, AlterConfigs, Create, Delete, Describe, DescribeConfigs, Read, Write};
        use Permission::{Allow, Deny};
        let allow = |operation, name| rule(Allow, "User:ann", "*", operation, name);
        let deny = |operation, name| rule(Deny, "User:ann", "*", operation, name);
        for (rules, operation, topic, may) in [
            (vec![], Read, "t", None),
            (vec![allow(Read, "t")], Read, "t", Some(true)),
            (vec![allow(Read, "t")], Read, "tt", None),
            (vec![allow(Read, "t")], Write, "t", Some(false)),
            (vec![allow(Read, "*")], Read, "any", Some(true)),
            (vec![allow(Read, "*")], Read, "", Some(true)),
            (vec![allow(Read, "or*")], Read, "orders", Some(true)),
            (vec![allow(Read, "or*")], Read, "or", Some(true)),
            (vec![allow(Read, "or*")], Read, "o", None),
            (vec![allow(Read, "or*"), allow(Read, "order*")], Read, "order", Some(true)),
            // A prefix may end where a character of the name does not.
            (vec![allow(Read, "abc*"), allow(Read, "ä*")], Read, "äää", Some(true)),
            (vec![allow(Read, "abc*")], Read, "ää", None),
            (vec![rule(Allow, "User:bob", "*", Read, "t")], Read, "t", Some(false)),
            (vec![rule(Allow, "User:*", "*", Read, "t")], Read, "t", Some(true)),
            (vec![rule(Allow, "User:ann", "10.0.0.1", Read, "t")], Read, "t", Some(true)),
            (vec![rule(Allow, "User:ann", "::ffff:10.0.0.1", Read, "t")], Read, "t", Some(true)),
            (vec![rule(Allow, "User:ann", "10.0.0.2", Read, "t")], Read, "t", Some(false)),
            (vec![allow(All, "t")], Delete, "t", Some(true)),
            (vec![allow(Read, "t")], Describe, "t", Some(true)),
            (vec![allow(Write, "t")], Describe, "t", Some(true)),
            (vec![allow(Delete, "t")], Describe, "t", Some(true)),
            (vec![allow(Alter, "t")], Describe, "t", Some(true)),
            (vec![allow(Create, "t")], Describe, "t", Some(false)),
            (vec![allow(AlterConfigs, "t")], DescribeConfigs, "t", Some(true)),
            (vec![allow(AlterConfigs, "t")], Describe, "t", Some(false)),
            (vec![allow(Describe, "t")], Read, "t", Some(false)),
            (vec![allow(All, "t"), deny(Read, "t")], Read, "t", Some(false)),
            (vec![allow(All, "t"), deny(Read, "t")], Describe, "t", Some(true)),
            (vec![allow(Read, "t"), deny(Read, "*")], Read, "t", Some(false)),
            (vec![allow(Read, "top"), deny(All, "t*")], Read, "top", Some(false)),
            (vec![allow(Read, "t"), rule(Deny, "User:*", "*", Read, "t")], Read, "t", Some(false)),
            (vec![allow(Read, "t"), rule(Deny, "User:bob", "*", Read, "t")], Read, "t", Some(true)),
            (vec![allow(Read, "t"), rule(Deny, "User:ann", "10.0.0.2", Read, "t")], Read, "t", Some(true)),
        ] {
            let told = format!("{operation:?} {topic} by {rules:?}");
            let index = Index::new(&rules).expect("rules");
            assert_eq!(index.decide(ANN, operation, ResourceKind::Topic, topic), may, "{told}");
            assert_eq!(index.decide(ANN, operation, ResourceKind::Group, topic), None, "{told}");
        }
        for (rules, may) in [
            (vec![], false),
            (vec![allow(Write, "t")], true),
            (vec![allow(Write, "*")], true),
            (vec![allow(Read, "t")], false),
            (vec![rule(Allow, "User:bob", "*", Write, "t")], false),
            (vec![allow(Write, "t"), deny(Write, "t")], false),
            (vec![allow(Write, "t"), deny(Read, "t")], true),
            (vec![allow(Write, "t*"), deny(Write, "t")], true),
            (vec![allow(Write, "t*"), deny(Write, "t*")], false),
            (vec![allow(Write, "top*"), deny(Write, "t*")], false),
            (vec![allow(Write, "t*"), deny(Write, "top*")], true),
            (vec![allow(Write, "*"), deny(Write, "t*")], true),
            // Names that begin with a star are few.
            (vec![allow(Write, "*"), deny(Write, "**")], true),
            (vec![allow(Write, "t"), deny(All, "*")], false),
            (vec![allow(Write, "t*"), deny(All, "*")], false),
            (vec![allow(Write, "t"), allow(Write, "u"), deny(Write, "t")], true),
        ] {
            let index = Index::new(&rules).expect("rules");
            assert_eq!(index.decide_any(ANN, Write, ResourceKind::Topic), may, "{rules:?}");
        }
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        use Operation::{All, Describe, Read, Write};
        let permission = prop_oneof![2 => Just(Permission::Allow), 1 => Just(Permission::Deny)];
        let principal = prop_oneof![Just("User:ann"), Just("User:bob"), Just("User:*")];
        let host = prop_oneof![4 => Just("*"), 1 => Just("10.0.0.1"), 1 => Just("10.0.0.2")];
        let operation = prop_oneof![Just(All), Just(Describe), Just(Read), Just(Write)];
        let name = prop_oneof![6 => "[ab]{1,3}[*]?", 1 => Just("*".to_owned())];
        (permission, principal, host, operation, name)
            .prop_map(|(permission, principal, host, operation, name)| rule(permission, principal, host, operation, &name))
    }

    /// One rule after the other, as the words of Kafka's documentation go.
    fn one_by_one(rules: &[Rule], operation: Operation, name: &str) -> Option<bool> {
        let about = || rules.iter().filter(|rule| rule.is_about(name));
        let says = |rule: &Rule| rule.verdict().expect("a rule");
        about().next()?;
        Some(!about().any(|rule| says(rule).denies(ANN, operation)) && about().any(|rule| says(rule).allows(ANN, operation)))
    }

    proptest! {
        #[test]
        fn the_index_says_what_the_rules_say_one_by_one(rules in prop::collection::vec(any_rule(), 0..12), name in "[abc]{0,4}") {
            let index = Index::new(&rules).expect("rules");
            for operation in [Operation::Describe, Operation::Read, Operation::Write] {
                let found = index.decide(ANN, operation, ResourceKind::Topic, &name);
                prop_assert_eq!(found, one_by_one(&rules, operation, &name), "{:?} {} by {:?}", operation, name, rules);
            }
        }

        /// Something is allowed if a name is: one of the rules' own, or one that begins so and that no rule speaks of.
        #[test]
        fn something_is_allowed_if_some_name_is(rules in prop::collection::vec(any_rule(), 0..12)) {
            let own = rules.iter().map(|rule| rule.name.replace('*', ""));
            let mut names = own.flat_map(|name| [format!("{name}z"), name]).filter(|name| !name.is_empty());
            let some = names.any(|name| one_by_one(&rules, Operation::Write, &name) == Some(true));
            let index = Index::new(&rules).expect("rules");
            prop_assert_eq!(index.decide_any(ANN, Operation::Write, ResourceKind::Topic), some, "{:?}", rules);
        }
    }
}
