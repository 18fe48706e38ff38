//! `sasl.jaas.config`: one login module and its options. Problems never name what may be a password.

use broker_core::server::SaslMechanism;

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];

/// Who logs in, and for which mechanisms that is meant.
#[derive(Clone, PartialEq, Eq)]
pub struct Jaas {
    pub plain: bool,
    pub user: String,
    pub password: String,
}

impl Jaas {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = tokens(text)?.into_iter();
        let mut next = || tokens.next().unwrap_or(Token::Mark('?'));
        let plain = match next() {
            Token::Word(module) if module == PLAIN => true,
            Token::Word(module) if module == SCRAM => false,
            Token::Word(module) => return Err(format!("login module '{module}' is not built: set {PLAIN} or {SCRAM}")),
            Token::Mark(_) => return Err(format!("no login module: it begins with {PLAIN} or {SCRAM}")),
        };
        if !matches!(next(), Token::Word(flag) if FLAGS.contains(&&*flag.to_ascii_lowercase())) {
            return Err("'required' is missing behind the login module".to_owned());
        }
        let (mut user, mut password) = (None, None);
        loop {
            let name = match next() {
                Token::Word(name) => name,
                Token::Mark(';') => break,
                Token::Mark(_) => return Err("no ';' at the end".to_owned()),
            };
            let (Token::Mark('='), Token::Word(value)) = (next(), next()) else {
                return Err("an option that is not NAME=\"VALUE\"".to_owned());
            };
            match &*name {
                "username" => user = Some(value),
                "password" => password = Some(value),
                "tokenauth" => return Err("option tokenauth: delegation tokens are not built: take it out".to_owned()),
                _ => return Err("an option that is neither username nor password: take it out".to_owned()),
            }
        }
        if next() != Token::Mark('?') {
            return Err("a second login module: clients have one".to_owned());
        }
        match (user.filter(|user| !user.is_empty()), password.filter(|password| !password.is_empty())) {
            (Some(user), Some(password)) if !user.contains('\0') && !password.contains('\0') => {
                Ok(Self { plain, user, password })
            }
            (Some(_), Some(_)) => Err("a username or password with the character of number 0".to_owned()),
            (None, _) => Err("username=\"..\" is missing".to_owned()),
            (_, None) => Err("password=\"..\" is missing".to_owned()),
        }
    }

    /// Whether this module is the mechanism's; in words if not.
    pub fn fits(&self, mechanism: SaslMechanism) -> Result<(), String> {
        let wanted = if mechanism == SaslMechanism::Plain { PLAIN } else { SCRAM };
        match self.plain == (mechanism == SaslMechanism::Plain) {
            true => Ok(()),
            false => Err(format!("its login module is not that of sasl.mechanism={}: set {wanted}", mechanism.name())),
        }
    }
}

impl std::fmt::Debug for Jaas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jaas").field("user", &self.user).finish_non_exhaustive()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `=`, `;`, or what stands nowhere.
    Mark(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut all = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            c if c.is_whitespace() => {}
            '=' | ';' => all.push(Token::Mark(c)),
            '"' | '\'' => all.push(Token::Word(quoted(c, &mut rest)?)),
            c => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| !c.is_whitespace() && !matches!(c, '=' | ';' | '"' | '\'')) {
                    word.push(c);
                }
                all.push(Token::Word(word));
            }
        }
    }
    Ok(all)
}

fn quoted(quote: char, rest: &mut impl Iterator<Item = char>) -> Result<String, String> {
    let mut word = String::new();
    let open = || "a quote that is not closed".to_owned();
    loop {
        match rest.next().ok_or_else(open)? {
            c if c == quote => return Ok(word),
            '\\' => word.push(match rest.next().ok_or_else(open)? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_core::ScramMechanism;

    use super::*;

    #[test]
    fn the_two_modules() {
        let jaas = Jaas::parse(&format!("{SCRAM} required username=\"ann\" password=\"a;b=\\\"c'\";")).expect("fine");
        assert_eq!((jaas.plain, &*jaas.user, &*jaas.password), (false, "ann", "a;b=\"c'"));
        assert!(jaas.fits(SaslMechanism::Scram(ScramMechanism::Sha512)).is_ok());
        assert!(jaas.fits(SaslMechanism::Plain).is_err_and(|told| told.ends_with(PLAIN)));
        let jaas = Jaas::parse(&format!("\n{PLAIN}  REQUIRED\n username = ann\n password='p';\n")).expect("fine");
        assert_eq!((jaas.plain, &*jaas.user, &*jaas.password), (true, "ann", "p"));
        assert_eq!(format!("{jaas:?}"), "Jaas { user: \"ann\", .. }");
    }

    #[test]
    fn others_are_refused_and_no_password_is_told() {
        for (text, part) in [
            ("", "no login module"),
            ("com.sun.security.auth.module.Krb5LoginModule required;", "Krb5LoginModule' is not built"),
            ("SCRAM username=\"a\" password=\"geheim\";", "'required' is missing"),
            ("SCRAM required username=\"a\" password=\"geheim\"", "no ';'"),
            ("SCRAM required username=\"a\" password=\"geheim;", "not closed"),
            ("SCRAM required username=\"a\";", "password=\"..\" is missing"),
            ("SCRAM required password=\"geheim\";", "username=\"..\" is missing"),
            ("SCRAM required username=\"a\" geheim;", "NAME=\"VALUE\""),
            ("SCRAM required username=\"a\" geheim=\"x\";", "neither username nor password"),
            ("SCRAM required username=\"a\" password=\"geheim\" tokenauth=\"true\";", "tokens are not built"),
            ("SCRAM required username=\"a\" password=\"geheim\"; PLAIN required;", "a second login module"),
        ] {
            let told = Jaas::parse(&text.replace("SCRAM", SCRAM).replace("PLAIN", PLAIN)).expect_err("refused");
            assert!(told.contains(part) && !told.contains("geheim"), "{text}: {told}");
        }
    }
}
