use broker_core::{Broker, ScramCredential, ScramMechanism};

/// `MECHANISM=[name=..,password=..,iterations=..]`, as Kafka's own tools take it.
pub fn add(broker: &Broker, text: &str) -> Result<(), String> {
    let user = parse(text).map_err(|problem| format!("--add-scram: {problem}"))?;
    let added = broker.put_user(&user.name, user.mechanism, &user.password, user.iterations);
    added.map_err(|error| format!("--add-scram: {error}"))
}

#[derive(PartialEq, Eq)]
struct User {
    mechanism: ScramMechanism,
    name: String,
    password: String,
    iterations: u32,
}

/// Problems never name what may be a password.
fn parse(text: &str) -> Result<User, String> {
    let (mechanism, rest) = text.split_once('=').ok_or("expected MECHANISM=[name=..,password=..]")?;
    let mechanism = mechanism.parse()?;
    let rest = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or("expected brackets behind the mechanism")?;
    let (mut name, mut password, mut iterations) = (None, None, ScramCredential::ITERATIONS_MIN);
    for part in rest.split(',') {
        match part.split_once('=').unwrap_or((part, "")) {
            ("name", value) => name = Some(value.to_owned()),
            ("password", value) => password = Some(value.to_owned()),
            ("password-file", file) => {
                let read = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
                password = Some(read.trim_end_matches(['\r', '\n']).to_owned());
            }
            ("iterations", value) => iterations = value.parse().map_err(|error| format!("iterations={value}: {error}"))?,
            (other, _) => return Err(format!("'{other}' is none of name, password, password-file and iterations")),
        }
    }
    let (name, password) = (name.ok_or("no name")?, password.ok_or("no password")?);
    Ok(User { mechanism, name, password, iterations })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_as_kafka_writes_them() {
        let user = parse("SCRAM-SHA-256=[name=ann,password=a=b,iterations=8192]").unwrap_or_else(|problem| panic!("{problem}"));
        assert!(user == User { mechanism: ScramMechanism::Sha256, name: "ann".into(), password: "a=b".into(), iterations: 8192 });
        for wrong in [
            "",
            "SCRAM-SHA-256",
            "PLAIN=[name=a,password=b]",
            "SCRAM-SHA-256=name=a",
            "SCRAM-SHA-256=[name=a]",
            "SCRAM-SHA-512=[name=a,secret]",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
