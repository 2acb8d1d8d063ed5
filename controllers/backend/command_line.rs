//! The command line of a process as people may see it: one line, short, without secrets.

/// Longest text, in characters.
const LENGTH: usize = 120;
/// What stands for a secret.
const HIDDEN: &str = "***";

/// Arguments as one line. What looks like a secret, by its name or by itself, is left out: command lines are kept in
/// objects, which more people can read than the process table.
pub(crate) fn shown(arguments: &[&[u8]]) -> String {
    let whole =
        arguments.iter().map(|argument| String::from_utf8_lossy(argument)).collect::<Vec<_>>().join(" ");
    let mut words = Vec::new();
    let mut hide_next = false;
    for word in whole.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        words.push(if std::mem::take(&mut hide_next) && !word.starts_with('-') {
            HIDDEN.to_owned()
        } else {
            hide_next = says_secret(word) && !word.contains(['=', ':']) && word.starts_with('-')
                || matches!(word.trim_matches(QUOTES).to_ascii_lowercase().as_str(), "bearer" | "basic");
            without_secret(word)
        });
    }
    let line = words.join(" ");
    match line.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

const QUOTES: [char; 2] = ['"', '\''];

fn without_secret(word: &str) -> String {
    // Credentials in an address: scheme://user:password@host
    if let Some((scheme, rest)) = word.split_once("://") {
        let host = rest.find('/').unwrap_or(rest.len());
        if let Some(at) = rest.get(..host).and_then(|authority| authority.rfind('@')) {
            return format!("{scheme}://{HIDDEN}{}", rest.get(at..).unwrap_or_default());
        }
    }
    if let Some(end) = word.find(['=', ':']) {
        let (name, value) = word.split_at(end);
        if says_secret(name) && value.len() > 1 {
            return format!("{name}{}{HIDDEN}", value.get(..1).unwrap_or_default());
        }
    }
    let value = word.rsplit(['=', ':']).next().unwrap_or(word).trim_matches(QUOTES);
    let known =
        ["sk-", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "AKIA", "eyJ", "npm_"];
    if value.len() >= 12 && known.iter().any(|start| value.starts_with(start)) {
        return word.replace(value, HIDDEN);
    }
    word.to_owned()
}

/// Whether a name is that of a secret.
fn says_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts = [
        "token",
        "secret",
        "passw",
        "passphrase",
        "credential",
        "apikey",
        "api-key",
        "api_key",
        "private-key",
    ];
    let ends = ["auth", "_key", "-key", "authorization", "cookie", "pwd"];
    parts.iter().any(|part| name.contains(part)) || ends.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(arguments: &[&str]) -> String {
        shown(&arguments.iter().map(|argument| argument.as_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn secrets_are_left_out_wherever_they_stand() {
        for (given, wanted) in [
            (vec!["sleep", "1000"], "sleep 1000"),
            (vec!["sh", "-c", "API_TOKEN=abc123 run  --fast\n it"], "sh -c API_TOKEN=*** run --fast it"),
            (vec!["x", "--token", "abc", "--n", "1"], "x --token *** --n 1"),
            (vec!["x", "--api-key=abc"], "x --api-key=***"),
            (vec!["curl", "-H", "Authorization: Bearer abc"], "curl -H Authorization: Bearer ***"),
            (vec!["git", "clone", "https://me:pw@host/x.git"], "git clone https://***@host/x.git"),
            (vec!["x", "sk-ant-REDACTED"], "x ***"),
            (vec!["env", "K='ghp_0123456789abcdef'"], "env K='***'"),
            (vec!["x", "--password", "--verbose"], "x --password --verbose"),
            (vec!["ls", "key.txt"], "ls key.txt"),
        ] {
            assert_eq!(line(&given), wanted);
        }
    }

    proptest! {
        #[test]
        fn a_line_is_short_and_one_line_whatever_a_process_calls_itself(
            arguments in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..6),
            secret in "[a-z0-9]{20}",
        ) {
            let mut all: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
            let (flag, value) = (b"--token".as_slice(), secret.as_bytes());
            all.extend([flag, value]);
            let line = shown(&all);
            prop_assert!(line.chars().count() <= LENGTH + 1);
            prop_assert!(!line.contains(char::is_control));
            prop_assert!(!line.contains(&secret), "{}", line);
        }
    }
}
