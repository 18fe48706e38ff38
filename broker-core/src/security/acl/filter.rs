use super::{Operation, Pattern, Permission, ResourceKind, Rule};

/// Which rules are meant: those that fit all that is given. The default means all rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleFilter {
    /// What they are about.
    pub kind: Option<ResourceKind>,
    /// A name, meant as `pattern` says.
    pub name: Option<String>,
    /// How the name is meant, or which rules' names are.
    pub pattern: PatternFilter,
    /// For whom, as the rule has it: that `User:*` is for everybody does not count.
    pub principal: Option<String>,
    /// From where, as the rule has it.
    pub host: Option<String>,
    /// What is done, as the rule has it.
    pub operation: Option<Operation>,
    /// Whether it may be done.
    pub permission: Option<Permission>,
}

/// How a filter's name is meant.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternFilter {
    /// As a rule has it, whole or not.
    #[default]
    Any,
    /// As the name of something that the rules are about.
    Match,
    /// As a rule of this pattern has it.
    Is(Pattern),
}

impl RuleFilter {
    pub(super) fn fits(&self, rule: &Rule) -> bool {
        let name = match (&self.name, self.pattern) {
            (_, PatternFilter::Is(pattern)) if pattern != rule.pattern => false,
            (None, _) => true,
            (Some(name), PatternFilter::Match) => rule.is_about(name),
            (Some(name), _) => *name == rule.name,
        };
        name && self.kind.is_none_or(|kind| kind == rule.kind)
            && self.principal.as_ref().is_none_or(|principal| *principal == rule.principal)
            && self.host.as_ref().is_none_or(|host| *host == rule.host)
            && self.operation.is_none_or(|operation| operation == rule.operation)
            && self.permission.is_none_or(|permission| permission == rule.permission)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::tests::rule;
    use super::*;

    #[test]
    fn filters() {
        let rules = ["t", "*", "or*"].map(|name| rule(Permission::Allow, "User:ann", "*", Operation::Read, name));
        let count = |filter: &RuleFilter| rules.iter().filter(|rule| filter.fits(rule)).count();
        let named = |name: &str, pattern| RuleFilter { name: Some(name.to_owned()), pattern, ..RuleFilter::default() };
        assert_eq!(count(&RuleFilter::default()), 3);
        for (name, pattern, fit) in [
            ("t", PatternFilter::Any, 1),
            ("t", PatternFilter::Match, 2),
            ("orders", PatternFilter::Match, 2),
            ("orders", PatternFilter::Any, 0),
            ("or", PatternFilter::Is(Pattern::Prefixed), 1),
            ("or", PatternFilter::Is(Pattern::Literal), 0),
            ("*", PatternFilter::Is(Pattern::Literal), 1),
        ] {
            assert_eq!(count(&named(name, pattern)), fit, "{name} {pattern:?}");
        }
        assert_eq!(count(&RuleFilter { kind: Some(ResourceKind::Group), ..RuleFilter::default() }), 0);
        assert_eq!(count(&RuleFilter { principal: Some("User:bob".to_owned()), ..RuleFilter::default() }), 0);
        assert_eq!(count(&RuleFilter { operation: Some(Operation::All), ..RuleFilter::default() }), 0);
        assert_eq!(count(&RuleFilter { permission: Some(Permission::Deny), ..RuleFilter::default() }), 0);
        assert_eq!(count(&RuleFilter { host: Some("10.0.0.1".to_owned()), ..RuleFilter::default() }), 0);
    }
}
