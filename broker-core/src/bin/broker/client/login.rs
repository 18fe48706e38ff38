use broker_core::ScramClient;
use broker_core::server::SaslMechanism;
use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;

use super::jaas::Jaas;
use super::{Connection, Failure, Result, fail, refused};

/// A mechanism that the broker does not take.
const UNSUPPORTED: i16 = 33;

/// Who logs in, and how.
#[derive(Debug, Clone)]
pub struct Login {
    pub mechanism: SaslMechanism,
    pub jaas: Jaas,
}

impl Login {
    /// Says who we are; with SCRAM the broker has to prove that it knows our password, too.
    pub async fn run(&self, connection: &mut Connection) -> Result<()> {
        let name = self.mechanism.name();
        let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(name));
        let agreed = connection.ask(1, &request).await?;
        if agreed.error_code == UNSUPPORTED {
            let offered: Vec<_> = agreed.mechanisms.iter().map(|one| one.as_str()).collect();
            let address = connection.address();
            return fail(format!("{address} does not take sasl.mechanism={name}: it offers {}", offered.join(", ")));
        }
        refused(&format!("{}: sasl.mechanism={name}", connection.address()), agreed.error_code, None)?;
        match self.mechanism {
            SaslMechanism::Plain => {
                let token = format!("\0{}\0{}", self.jaas.user, self.jaas.password);
                self.exchange(connection, token).await.map(drop)
            }
            SaslMechanism::Scram(mechanism) => {
                let failed = |address: &str, cause: &dyn std::fmt::Display| {
                    Failure(format!("{address}: login as '{}' with {name}: {cause}", self.jaas.user))
                };
                let client = ScramClient::new(mechanism, &self.jaas.user, &self.jaas.password)
                    .map_err(|error| failed(connection.address(), &error))?;
                let answer = self.exchange(connection, client.first_message()).await?;
                let (last, proof) = client.prove(&answer).map_err(|cause| failed(connection.address(), &cause))?;
                let answer = self.exchange(connection, last).await?;
                proof.check(&answer).map_err(|cause| failed(connection.address(), &cause))
            }
        }
    }

    async fn exchange(&self, connection: &mut Connection, token: String) -> Result<Bytes> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(token));
        let answer = connection.ask(2, &request).await?;
        let what = format!("{}: login as '{}' with {}", connection.address(), self.jaas.user, self.mechanism.name());
        refused(&what, answer.error_code, answer.error_message.as_ref())?;
        connection.logged_in(answer.session_lifetime_ms);
        Ok(answer.auth_bytes)
    }
}
