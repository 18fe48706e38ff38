use std::collections::BTreeMap;

/// Settings by Kafka's names, in order of their names; later ones win.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// No settings: every default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one; the value's text is what Kafka's configuration files would hold. Space around it does not count, as in Kafka.
    pub fn set(&mut self, key: impl Into<String>, value: impl ToString) -> &mut Self {
        self.0.insert(key.into(), value.to_string().trim().to_owned());
        self
    }

    /// The same, for chaining.
    pub fn with(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.set(key, value);
        self
    }

    /// The text of a setting.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Lays these settings over others.
    pub fn over(&self, below: &Properties) -> Properties {
        let mut merged = below.clone();
        merged.0.extend(self.0.iter().map(|(key, value)| (key.clone(), value.clone())));
        merged
    }
}

impl<K: Into<String>, V: ToString> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(settings: I) -> Self {
        settings.into_iter().fold(Self::new(), |all, (key, value)| all.with(key, value))
    }
}
