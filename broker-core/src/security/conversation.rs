use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::scram::{ScramCredential, ScramMechanism, same, xor};
use super::users::is_name;

/// What is told, and logged, of a name that no user can have.
pub(crate) const NO_NAME: &str = "a name that no user can have: it is empty, too long, or not to be written";

/// The longest first message: it is kept until the proof comes, of everybody who has not logged in. Enough for the longest name twice.
const FIRST_MAX: usize = 8192;

/// A SCRAM client's login, as the server sees it: the client's first message, then its proof.
#[derive(Debug)]
pub(crate) struct Conversation {
    mechanism: ScramMechanism,
    user: String,
    credential: ScramCredential,
    /// What the proof is over, up to the client's last message.
    first_messages: String,
    nonce: String,
    header: String,
}

/// What comes of a client's message.
#[derive(Debug)]
pub(crate) enum Step {
    /// Goes on with this answer.
    Continue(Conversation, String),
    /// The client is who it says; this proves the server to it.
    Done(String, String),
}

/// What a client's first message says.
struct First<'a> {
    header: &'a str,
    bare: &'a str,
    user: String,
    nonce: &'a str,
}

impl Conversation {
    /// The first message. `find` knows the user's credential, or makes one up that nothing fits: whether a user exists is not told.
    pub fn begin(
        mechanism: ScramMechanism,
        message: &[u8],
        server_nonce: &str,
        find: impl FnOnce(&str) -> ScramCredential,
    ) -> Result<Step, String> {
        let First { header, bare, user, nonce } = parse_first(message)?;
        let credential = find(&user);
        let nonce = format!("{nonce}{server_nonce}");
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(&credential.salt), credential.iterations);
        let first_messages = format!("{bare},{answer}");
        Ok(Step::Continue(Self { mechanism, user, credential, first_messages, nonce, header: header.to_owned() }, answer))
    }

    /// The client's proof.
    pub fn prove(self, message: &[u8]) -> Result<Step, String> {
        let message = std::str::from_utf8(message).map_err(|_| "a message that is no text".to_owned())?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or("a last message without proof")?;
        let mut parts = without_proof.split(',');
        let channel = parts.next().and_then(|part| part.strip_prefix("c=")).ok_or("a last message without channel")?;
        if channel != STANDARD.encode(&self.header) {
            return Err("the channel of the last message is not that of the first".to_owned());
        }
        // Older librdkafka (kcat of Debian 12) says its own part twice; Kafka looks at the end only, too.
        let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
        if !nonce.is_some_and(|nonce| nonce.ends_with(&self.nonce)) {
            return Err("the nonce is not the one that was given".to_owned());
        }
        let proof = STANDARD.decode(proof).map_err(|_| "a proof that is no base64")?;
        let all = format!("{},{without_proof}", self.first_messages);
        let signature = self.credential.client_signature(self.mechanism, &all);
        if proof.len() != signature.len() {
            return Err("a proof of another length".to_owned());
        }
        if !same(&self.mechanism.hash(&xor(&proof, &signature)), &self.credential.stored_key) {
            return Err(format!("user '{}': the password is wrong, or there is no such user", self.user));
        }
        let own = self.credential.server_signature(self.mechanism, &all);
        Ok(Step::Done(self.user, format!("v={}", STANDARD.encode(own))))
    }
}

fn parse_first(message: &[u8]) -> Result<First<'_>, String> {
    if message.len() > FIRST_MAX {
        return Err(format!("a first message of {} bytes: {FIRST_MAX} bytes at most", message.len()));
    }
    let message = std::str::from_utf8(message).map_err(|_| "a message that is no text".to_owned())?;
    // `n,,` or `y,,`, between the commas perhaps another name to act for.
    let (binding, rest) = message.split_once(',').ok_or("a first message without header")?;
    if !matches!(binding, "n" | "y") {
        return Err("a channel binding that is not offered".to_owned());
    }
    let (acts_for, bare) = rest.split_once(',').ok_or("a first message without header")?;
    let header = &message[..message.len() - bare.len()];
    let mut parts = bare.split(',');
    let name = parts.next().and_then(|part| part.strip_prefix("n=")).ok_or("a first message without user")?;
    let nonce = parts.next().and_then(|part| part.strip_prefix("r=")).ok_or("a first message without nonce")?;
    if nonce.is_empty() || !nonce.bytes().all(|byte| matches!(byte, 0x21..=0x7e)) {
        return Err("a nonce that is none".to_owned());
    }
    if parts.any(|part| part.eq_ignore_ascii_case("tokenauth=true")) {
        return Err("delegation tokens are not built".to_owned());
    }
    let user = unescaped(name)?;
    if !acts_for.is_empty() && acts_for.strip_prefix("a=").map(unescaped) != Some(Ok(user.clone())) {
        return Err(format!("user '{user}' may act for nobody else"));
    }
    Ok(First { header, bare, user, nonce })
}

/// A name in which `=2C` stands for a comma and `=3D` for `=`. What is none is not repeated: it may be long, and all sorts of things.
fn unescaped(name: &str) -> Result<String, String> {
    let plain = name.replace("=2C", ",").replace("=3D", "\u{0}");
    if name.contains(char::is_control) || plain.contains('=') {
        return Err(NO_NAME.to_owned());
    }
    let plain = plain.replace('\u{0}', "=");
    if is_name(&plain) { Ok(plain) } else { Err(NO_NAME.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const PROOF: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn begin(first: &str, password: &str) -> Result<Step, String> {
        Conversation::begin(ScramMechanism::Sha256, first.as_bytes(), SERVER_NONCE, |user| {
            assert_eq!(user, "user");
            let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("the RFC's salt");
            ScramCredential::new(ScramMechanism::Sha256, password, &salt, 4096)
        })
    }

    fn prove(step: Result<Step, String>, proof: &str) -> Result<(String, String), String> {
        let Ok(Step::Continue(begun, _)) = step else { panic!("it goes on: {step:?}") };
        match begun.prove(proof.as_bytes())? {
            Step::Done(user, answer) => Ok((user, answer)),
            Step::Continue(..) => panic!("it is over"),
        }
    }

    #[test]
    fn the_example_of_the_rfc() {
        let begun = begin(FIRST, "pencil");
        let Ok(Step::Continue(_, answer)) = &begun else { panic!("it goes on: {begun:?}") };
        assert_eq!(answer, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let done = prove(begun, PROOF).expect("the RFC's proof");
        assert_eq!(done, ("user".to_owned(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_owned()));
    }

    #[test]
    fn a_nonce_that_begins_twice_is_taken() {
        let doubled = PROOF.replace("r=rOpr", "r=rOprNGfwEbeRWgbNEkqOrOpr");
        // The proof is of another message: it is looked at, and is wrong.
        assert!(prove(begin(FIRST, "pencil"), &doubled).is_err_and(|told| told.contains("password")));
    }

    #[test]
    fn what_proves_nothing() {
        assert!(prove(begin(FIRST, "pencils"), PROOF).is_err(), "another password");
        for (from, to) in [("c=biws", "c=eSws"), ("r=rOpr", "r=rOpz"), ("p=dHz", "p=dHy"), ("dVQ=", ""), (",p=", ",q=")] {
            assert!(prove(begin(FIRST, "pencil"), &PROOF.replace(from, to)).is_err(), "{to}");
        }
        for first in ["", "n,,", "p=tls-unique,,n=user,r=a", "n,a=other,n=user,r=a", "n,,n=,r=a", "n,,n=user,r=", "n,,n=a=b,r=a"]
        {
            assert!(begin(first, "pencil").is_err(), "{first}");
        }
        assert!(begin("n,,n=user,r=a,tokenauth=true", "pencil").is_err_and(|told| told.contains("tokens")));
        assert_eq!(unescaped("a=2Cb=3Dc"), Ok("a,b=c".to_owned()));
    }

    #[test]
    fn what_is_kept_of_a_stranger_is_little() {
        let fits = format!("n,,n=user,r={}", "x".repeat(FIRST_MAX - "n,,n=user,r=".len()));
        assert!(begin(&fits, "pencil").is_ok());
        for long in [format!("{fits}x"), format!("n,,n=user,r=a,ext={}", "x".repeat(FIRST_MAX))] {
            let told = begin(&long, "pencil").expect_err("refused");
            assert!(told.contains("8192 bytes"), "{told}");
        }
    }

    #[test]
    fn what_a_stranger_says_is_not_repeated() {
        let long = "x".repeat(100_000);
        for name in ["a\nb", "a\u{1b}[2Jb", "a\n=b", &long] {
            for first in [format!("n,,n={name},r=a"), format!("n,a=other,n={name},r=a"), format!("{name},,n=user,r=a")] {
                let told = begin(&first, "pencil").expect_err("refused");
                assert!(told.len() < 200 && !told.chars().any(char::is_control), "{told:?}");
            }
        }
    }
}
