use super::Broker;
use crate::error::Error;
use crate::security::{ScramMechanism, UserChange, Users};

impl Broker {
    pub(crate) fn users(&self) -> &Users {
        &self.0.users
    }

    pub(crate) fn quotas(&self) -> &crate::quota::Quotas {
        &self.0.quotas
    }

    /// Gives a user a password for logging in over the port. It is kept salted, in the data folder; `iterations` are 4096 to
    /// 16384. An error if the user's name or the password is none.
    ///
    /// ```
    /// use broker_core::{Broker, ScramMechanism};
    ///
    /// let broker = Broker::in_memory();
    /// broker.put_user("ann", ScramMechanism::Sha512, "secret", 4096)?;
    /// # Ok::<(), broker_core::Error>(())
    /// ```
    pub fn put_user(&self, user: &str, mechanism: ScramMechanism, password: &str, iterations: u32) -> Result<(), Error> {
        self.0.users.put_password(user, mechanism, password, iterations)
    }

    /// Takes a user's password of one mechanism away. Connections that are logged in stay.
    pub fn remove_user(&self, user: &str, mechanism: ScramMechanism) -> Result<(), Error> {
        self.0.users.change(user, mechanism, UserChange::Remove)
    }
}
