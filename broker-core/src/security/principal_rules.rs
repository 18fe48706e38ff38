//! `ssl.principal.mapping.rules`: what the owner of a certificate is called.

use regex::{Captures, Regex};

/// Rules in order: the first that fits names the owner.
#[derive(Debug, Clone)]
pub(crate) struct PrincipalRules(Vec<Rule>);

#[derive(Debug, Clone)]
enum Rule {
    /// `DEFAULT`: the whole distinguished name.
    Default,
    /// `RULE:pattern/replacement/[LU]`.
    Replace { pattern: Regex, replacement: Vec<Piece>, case: Option<char> },
}

#[derive(Debug, Clone)]
enum Piece {
    Text(char),
    Group(usize),
}

impl PrincipalRules {
    /// `DEFAULT` and `RULE:..`, with commas between them; in words what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut rules, mut rest) = (Vec::new(), text.trim());
        while !rest.is_empty() {
            let (rule, behind) = match (rest.strip_prefix("DEFAULT"), rest.strip_prefix("RULE:")) {
                (Some(behind), _) => (Rule::Default, behind),
                (None, Some(rule)) => Rule::parse(rule)?,
                (None, None) => return Err(format!("'{rest}' is neither DEFAULT nor RULE:pattern/replacement/[LU]")),
            };
            rules.push(rule);
            let behind = behind.trim_start();
            rest = match behind.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if behind.is_empty() => behind,
                None => return Err(format!("'{behind}' stands where a comma belongs")),
            };
        }
        Ok(Self(if rules.is_empty() { vec![Rule::Default] } else { rules }))
    }

    /// What the owner is called; `None` if no rule fits: then there is no such client.
    pub fn name(&self, distinguished_name: &str) -> Option<String> {
        self.0.iter().find_map(|rule| rule.apply(distinguished_name))
    }
}

impl Rule {
    fn parse(text: &str) -> Result<(Self, &str), String> {
        let two_parts = until_slash(text).and_then(|(pattern, rest)| until_slash(rest).map(|found| (pattern, found)));
        let Some((pattern, (replacement, rest))) = two_parts else {
            return Err(format!("'RULE:{text}' is not RULE:pattern/replacement/[LU]"));
        };
        let compiled = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| format!("the pattern '{pattern}': {error}"))?;
        let replacement = pieces(replacement, compiled.captures_len() - 1)?;
        let case = rest.chars().next().filter(|c| matches!(c, 'L' | 'U'));
        let rest = if case.is_some() { &rest[1..] } else { rest };
        Ok((Self::Replace { pattern: compiled, replacement, case }, rest))
    }

    fn apply(&self, name: &str) -> Option<String> {
        let Self::Replace { pattern, replacement, case } = self else { return Some(name.to_owned()) };
        let found: Captures<'_> = pattern.captures(name)?;
        let mut made = String::new();
        for piece in replacement {
            match piece {
                Piece::Text(c) => made.push(*c),
                Piece::Group(number) => made.push_str(found.get(*number).map_or("", |group| group.as_str())),
            }
        }
        Some(match case {
            Some('L') => made.to_lowercase(),
            Some(_) => made.to_uppercase(),
            None => made,
        })
    }
}

/// Up to the next slash that has no backslash before it, and what is behind it.
fn until_slash(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let end = text.char_indices().find(|(_, c)| {
        let end = *c == '/' && !escaped;
        escaped = *c == '\\' && !escaped;
        end
    });
    end.map(|(at, _)| (&text[..at], &text[at + 1..]))
}

/// `$1` is a group, as many digits as there are groups; a `$` before what is none, and what follows a backslash, is text.
fn pieces(text: &str, groups: usize) -> Result<Vec<Piece>, String> {
    let mut all = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => all.extend(rest.next().map(Piece::Text)),
            '$' if rest.peek() == Some(&'{') => {
                return Err(format!("the replacement '{text}': groups with names are not built: use $1"));
            }
            '$' => {
                let mut number = None;
                while let Some(next) = rest.peek().and_then(|c| c.to_digit(10)) {
                    let longer = number.unwrap_or(0) * 10 + next as usize;
                    if longer > groups {
                        break;
                    }
                    number = Some(longer);
                    rest.next();
                }
                all.push(number.map_or(Piece::Text('$'), Piece::Group));
            }
            c => all.push(Piece::Text(c)),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(rules: &str, of: &str) -> Option<String> {
        PrincipalRules::parse(rules).unwrap_or_else(|problem| panic!("{problem}")).name(of)
    }

    #[test]
    fn rules_as_kafka_documents_them() {
        let documented = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,
            RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L,
            RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L,
            DEFAULT";
        for (of, called) in [
            ("CN=serviceuser,OU=ServiceUsers,O=Unknown,L=Unknown,ST=Unknown,C=Unknown", "serviceuser"),
            ("CN=adminUser,OU=Admin,O=Unknown,L=Unknown,ST=Unknown,C=Unknown", "adminuser@admin"),
            ("O=x,cn=Ann.B", "ann.b"),
            ("O=x", "O=x"),
        ] {
            assert_eq!(name(documented, of).as_deref(), Some(called));
        }
    }

    #[test]
    fn what_fits_is_replaced_as_a_whole() {
        for (rules, of, called) in [
            ("", "CN=ann", Some("CN=ann")),
            ("DEFAULT", "CN=ann", Some("CN=ann")),
            ("RULE:CN=a/b/", "CN=ann", None),
            (r"RULE:CN=(a\/b),(.*)/$1\/$2$3\$1/U", "CN=a/b,O=c", Some("A/B/O=C$3$1")),
            ("RULE:CN=(.)(.)(.)/$12$4/", "CN=ann", Some("a2$4")),
            ("RULE:CN=(x)?.*/[$1]/,DEFAULT", "CN=ann", Some("[]")),
        ] {
            assert_eq!(name(rules, of).as_deref(), called, "{rules}");
        }
    }

    #[test]
    fn what_is_no_rule_is_told() {
        for (rules, part) in [
            ("default", "neither DEFAULT nor RULE:"),
            ("RULE:a/b", "is not RULE:pattern/replacement/[LU]"),
            ("RULE:a/b/X", "'X' stands where a comma belongs"),
            ("RULE:(/b/", "the pattern '(': "),
            ("RULE:(?!a)b/b/", "look-ahead"),
            ("RULE:(?<x>a)/${x}/", "groups with names"),
        ] {
            let told = PrincipalRules::parse(rules).map(|_| ()).expect_err("refused");
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
