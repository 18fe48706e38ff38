use std::collections::BTreeMap;
use std::sync::Arc;

use crate::container::ConcurrentListenerContainer;

/// The containers of a running app, by id.
#[derive(Debug, Clone, Default)]
pub struct ListenerRegistry(Arc<BTreeMap<Arc<str>, ConcurrentListenerContainer>>);

/// No container has this id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no listener has the id '{id}'; there are: {known}")]
pub struct UnknownListener {
    id: String,
    known: String,
}

impl ListenerRegistry {
    pub(crate) fn new(containers: impl IntoIterator<Item = ConcurrentListenerContainer>) -> Self {
        Self(Arc::new(containers.into_iter().map(|container| (container.id().clone(), container)).collect()))
    }

    /// The container of this id; the error lists the ids that are there.
    pub fn get(&self, id: &str) -> Result<&ConcurrentListenerContainer, UnknownListener> {
        self.0.get(id).ok_or_else(|| UnknownListener {
            id: id.to_owned(),
            known: self.0.keys().map(|id| id.as_ref()).collect::<Vec<_>>().join(", "),
        })
    }

    /// All containers, by id.
    pub fn all(&self) -> impl Iterator<Item = &ConcurrentListenerContainer> {
        self.0.values()
    }
}
