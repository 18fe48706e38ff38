use super::Broker;
use crate::error::{Error, ErrorCode};
use crate::security::{Acls, Rule, RuleFilter};

impl Broker {
    pub(crate) fn acls(&self) -> &Acls {
        &self.0.acls
    }

    /// Adds rules about what the port's clients may do, as Kafka's `Admin.createAcls` does; all of them, or none and an error
    /// that names every one that could never hold. They are kept in the data folder. Rules that are there already stay.
    ///
    /// They are looked at by a server whose `authorizer.class.name` is set, and by no other; what is done in the process, by this
    /// type, is never refused.
    ///
    /// ```
    /// use broker_core::{AclBinding, AclBindingFilter, AclOperation, Broker, ResourceType};
    ///
    /// let broker = Broker::in_memory();
    /// broker.create_acls(&[
    ///     AclBinding::allow("User:ann", AclOperation::Read, ResourceType::Topic, "orders-").prefixed(),
    ///     AclBinding::allow("User:ann", AclOperation::Read, ResourceType::Group, "billing"),
    /// ])?;
    /// let anns = AclBindingFilter { principal: Some("User:ann".to_owned()), ..AclBindingFilter::default() };
    /// assert_eq!(broker.describe_acls(&anns).len(), 2);
    /// assert_eq!(broker.delete_acls(&[anns])?.len(), 2);
    /// # Ok::<(), broker_core::Error>(())
    /// ```
    pub fn create_acls(&self, acls: &[Rule]) -> Result<(), Error> {
        let problems: Vec<String> = acls.iter().filter_map(|rule| rule.check().err()).map(|error| error.to_string()).collect();
        if !problems.is_empty() {
            return Err(Error::new(ErrorCode::InvalidRequest, problems.join("; ")));
        }
        self.0.acls.add(acls.iter().cloned().map(Ok).collect()).into_iter().collect()
    }

    /// The rules that fit, as Kafka's `Admin.describeAcls` tells them.
    pub fn describe_acls(&self, filter: &RuleFilter) -> Vec<Rule> {
        self.0.acls.describe(filter)
    }

    /// Takes all rules away that fit any of these filters, as Kafka's `Admin.deleteAcls` does, and returns them. If the disk does not
    /// take it, all stay.
    pub fn delete_acls(&self, filters: &[RuleFilter]) -> Result<Vec<Rule>, Error> {
        let gone: Result<Vec<_>, _> = self.0.acls.remove(filters.iter().cloned().map(Ok).collect()).into_iter().collect();
        Ok(gone?.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::{Operation, ResourceKind};

    fn reads(topic: &str) -> Rule {
        Rule::allow("User:ann", Operation::Read, ResourceKind::Topic, topic)
    }

    #[test]
    fn all_rules_are_made_or_none_and_every_problem_is_told() {
        let broker = Broker::in_memory();
        let wrong = [reads("t"), reads(""), reads("u").host("localhost")];
        let told = broker.create_acls(&wrong).expect_err("refused");
        assert_eq!(told.code(), ErrorCode::InvalidRequest);
        assert!(told.to_string().contains("0 bytes") && told.to_string().contains("host 'localhost'"), "{told}");
        assert!(broker.describe_acls(&RuleFilter::default()).is_empty());
        broker.create_acls(&[reads("t"), reads("t").prefixed()]).expect("made");
        broker.create_acls(&[reads("t")]).expect("there already");
        assert_eq!(broker.describe_acls(&RuleFilter::default()), [reads("t"), reads("t").prefixed()]);
        let named = |name: &str| RuleFilter { name: Some(name.to_owned()), ..RuleFilter::default() };
        assert_eq!(broker.delete_acls(&[named("u"), named("t"), named("t")]).expect("gone").len(), 2);
        assert!(broker.delete_acls(&[RuleFilter::default()]).expect("nothing").is_empty());
    }
}
