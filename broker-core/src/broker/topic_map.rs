use std::collections::BTreeMap;
use std::sync::Arc;

use super::topics::Topic;
use crate::id::TopicId;

/// The open topics, by name and by id.
#[derive(Debug, Default)]
pub(super) struct TopicMap {
    by_name: BTreeMap<Arc<str>, Topic>,
    /// A name that is gone is gone from here too.
    by_id: BTreeMap<TopicId, Arc<str>>,
}

impl TopicMap {
    pub fn insert(&mut self, topic: Topic) {
        let name = topic.name.clone();
        self.by_id.insert(topic.id, name.clone());
        self.by_name.insert(name, topic);
    }

    pub fn remove(&mut self, name: &str) -> Option<Topic> {
        let topic = self.by_name.remove(name)?;
        // A folder that somebody copied has an id twice.
        if self.by_id.get(&topic.id).is_some_and(|known| **known == *name) {
            self.by_id.remove(&topic.id);
        }
        Some(topic)
    }

    pub fn get(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    /// To be changed, but for its name and id.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.by_name.get_mut(name)
    }

    pub fn by_id(&self, id: TopicId) -> Option<&Topic> {
        self.by_id.get(&id).and_then(|name| self.get(name))
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values()
    }
}
