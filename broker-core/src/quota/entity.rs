/// A user's or a client's name, or all that have no quota of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Default,
    Of(String),
}

impl Name {
    fn is(&self, name: &str) -> bool {
        matches!(self, Self::Of(own) if own == name)
    }
}

/// Whose quota it is: a user's, a client id's, or a user's with a client id.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entity {
    pub user: Option<Name>,
    pub client: Option<Name>,
}

impl Entity {
    /// How near this entity is to a user with a client id, the nearest first, in Kafka's order; `None` if it is not theirs.
    pub fn nearness(&self, user: &str, client: &str) -> Option<usize> {
        let rank = |name: &Option<Name>, own: &str| match name {
            None => Some(2),
            Some(Name::Default) => Some(1),
            Some(name) => name.is(own).then_some(0),
        };
        match (rank(&self.user, user)?, rank(&self.client, client)?) {
            (2, 2) => None,
            (user, client) => Some(3 * user + client),
        }
    }
}

/// What an entity's part must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Match {
    Exact(String),
    Default,
    Any,
}

impl Match {
    fn fits(&self, name: Option<&Name>) -> bool {
        match (self, name) {
            (_, None) => false,
            (Self::Exact(wanted), Some(name)) => name.is(wanted),
            (Self::Default, Some(name)) => *name == Name::Default,
            (Self::Any, Some(_)) => true,
        }
    }
}

/// Which entities are asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct EntityFilter {
    pub user: Option<Match>,
    pub client: Option<Match>,
    /// Nothing but the parts that are named.
    pub strict: bool,
}

impl EntityFilter {
    pub fn fits(&self, entity: &Entity) -> bool {
        let one = |wanted: &Option<Match>, name: &Option<Name>| match wanted {
            None => !self.strict || name.is_none(),
            Some(wanted) => wanted.fits(name.as_ref()),
        };
        one(&self.user, &entity.user) && one(&self.client, &entity.client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(user: Option<&str>, client: Option<&str>) -> Entity {
        let name = |name: &str| if name == "*" { Name::Default } else { Name::Of(name.to_owned()) };
        Entity { user: user.map(name), client: client.map(name) }
    }

    #[test]
    fn the_nearest_quota_is_kafkas() {
        // Of user "ann" with client id "app", in Kafka's order.
        let ordered = [
            entity(Some("ann"), Some("app")),
            entity(Some("ann"), Some("*")),
            entity(Some("ann"), None),
            entity(Some("*"), Some("app")),
            entity(Some("*"), Some("*")),
            entity(Some("*"), None),
            entity(None, Some("app")),
            entity(None, Some("*")),
        ];
        let ranks: Vec<_> = ordered.iter().map(|one| one.nearness("ann", "app").expect("theirs")).collect();
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
        for other in [entity(Some("bob"), None), entity(Some("ann"), Some("other")), entity(None, None)] {
            assert_eq!(other.nearness("ann", "app"), None, "{other:?}");
        }
    }

    #[test]
    fn filters_ask_for_parts() {
        let both = entity(Some("ann"), Some("app"));
        let user = entity(Some("ann"), None);
        let default = entity(Some("*"), None);
        for (filter_user, strict, expected) in [
            (None, false, [true, true, true]),
            (None, true, [false, false, false]),
            (Some(Match::Any), false, [true, true, true]),
            (Some(Match::Any), true, [false, true, true]),
            (Some(Match::Exact("ann".to_owned())), false, [true, true, false]),
            (Some(Match::Default), false, [false, false, true]),
        ] {
            let filter = EntityFilter { user: filter_user, client: None, strict };
            assert_eq!([&both, &user, &default].map(|one| filter.fits(one)), expected, "{filter:?}");
        }
    }
}
