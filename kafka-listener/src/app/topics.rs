//! Declared topics: made where they are not there, compared where they are.

use crate::client::{Admin, ClientError, ClientErrorKind, NewTopic};

/// Makes them. What cannot be made is a problem; what is there and differs is told.
pub(super) async fn make(admin: &dyn Admin, declared: &[NewTopic], problems: &mut Vec<String>) {
    for topic in declared {
        match admin.create_topic(topic).await {
            Ok(()) => tracing::info!(target: "kafka_listener::app", topic = topic.name, "topic made"),
            Err(error) if error.kind() == ClientErrorKind::TopicExists => match differences(admin, topic).await {
                Ok(found) => found.into_iter().for_each(|difference| {
                    tracing::warn!(target: "kafka_listener::app", topic = topic.name, difference, "the topic is not as it is declared; it is left as it is");
                }),
                Err(error) => problems.push(format!("topic '{}': {error}", topic.name)),
            },
            Err(error) => problems.push(format!("topic '{}': {error}", topic.name)),
        }
    }
}

/// How a topic that is there differs from what is declared; what is not declared does not count.
async fn differences(admin: &dyn Admin, declared: &NewTopic) -> Result<Vec<String>, ClientError> {
    let mut found = Vec::new();
    if let (Some(there), Some(wanted)) = (admin.topic(&declared.name).await?, declared.partitions)
        && there.partitions != wanted
    {
        found.push(format!("partitions = {}, declared is {wanted}", there.partitions));
    }
    if !declared.configs.is_empty() {
        let there = admin.topic_configs(&declared.name).await?;
        for (key, wanted) in &declared.configs {
            match there.iter().find(|(name, _)| name == key) {
                Some((_, value)) if value == wanted.trim() => {}
                Some((_, value)) => found.push(format!("{key} = {value}, declared is {wanted}")),
                None => found.push(format!("{key} = {wanted} is declared, and is no setting of a topic")),
            }
        }
    }
    Ok(found)
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use super::*;
    use crate::app::Embedded;

    #[tokio::test(start_paused = true)]
    async fn what_differs_from_a_declared_topic_is_found() {
        let admin = Embedded::memory().open().expect("opened").admin();
        let declared = NewTopic::new("t").partitions(2).config("retention.ms", "1000").config("cleanup.policy", "delete");
        let mut problems = Vec::new();
        make(admin.as_ref(), std::slice::from_ref(&declared), &mut problems).await;
        make(admin.as_ref(), std::slice::from_ref(&declared), &mut problems).await;
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(differences(admin.as_ref(), &declared).await.expect("there"), [""; 0]);
        let other =
            NewTopic::new("t").partitions(3).config("flush.messages", "1").config("retention.ms", "1000").config("flsh", "1");
        let found = differences(admin.as_ref(), &other).await.expect("there");
        let unset = i64::MAX;
        assert_eq!(
            found,
            [
                "partitions = 2, declared is 3".to_owned(),
                format!("flush.messages = {unset}, declared is 1"),
                "flsh = 1 is declared, and is no setting of a topic".to_owned(),
            ]
        );
    }
}
