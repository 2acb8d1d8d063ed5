//! What an agent's programs authenticate with: a name that two agents share when they share an account, and that
//! reveals nothing.
//!
//! ```text
//! backend's variables ─▶ environment of the run ─▶ SHA-256(salt, names, values) ─▶ claude-5f0c9a2b1d
//! ```
//!
//! The salt is random and stays on this machine, so that not even a short secret can be guessed from its name.

use gcluster_types::Agent;
use gcluster_types::kinds::agent::EnvVar;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use crate::backend::Backend;

/// Hex digits of the digest in a name.
const DIGITS: usize = 10;
/// Begins the source of a credential that the program keeps itself.
const LOGIN: &str = "the login below ";

/// One account, or what stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credential {
    /// Backend and digest.
    pub(super) name: String,
    /// Where it comes from, in words.
    pub(super) source: String,
}

impl Credential {
    /// Whether the program keeps it, and no variable holds it.
    pub(super) fn is_login(&self) -> bool {
        self.source.starts_with(LOGIN)
    }

    /// What an agent's status says.
    pub(super) fn known(agent: &Agent) -> Option<Credential> {
        let status = agent.status.as_ref()?;
        let source = status.credential_source.clone().unwrap_or_default();
        status.credential.clone().map(|name| Credential { name, source })
    }
}

/// The credential of a run with the variables `env` above those of this process, `ambient`. `None` where the backend
/// does not say what it authenticates with, or nothing of it is set.
pub(super) fn of(
    backend: &dyn Backend,
    agent: &Agent,
    env: &[(String, String)],
    ambient: &dyn Fn(&str) -> Option<String>,
    salt: &[u8],
) -> Option<Credential> {
    let what = backend.authentication();
    // The last of several settings of one name wins, as it does in the program's environment.
    let own = |name: &str| env.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    let value = |name: &str| own(name).or_else(|| ambient(name)).filter(|value| !value.is_empty());
    let key = what.keys.iter().find(|name| value(name).is_some());
    let secrets: Vec<&str> = match key {
        Some(key) => vec![key],
        None => what.logins.iter().copied().filter(|name| value(name).is_some()).collect(),
    };
    let first = *secrets.first()?;
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add(salt);
    add(backend.name().as_bytes());
    for name in secrets.iter().chain(what.endpoints) {
        add(name.as_bytes());
        add(value(name).unwrap_or_default().as_bytes());
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let digits: String = digest.chars().take(DIGITS).collect();
    let source = match key {
        Some(_) => format!("{first} {}", place(agent, first, own(first).is_some())),
        None => format!("{LOGIN}{}", value(first).unwrap_or_default()),
    };
    Some(Credential { name: format!("{}-{digits}", backend.name()), source })
}

/// A variable of this process.
pub(super) fn ambient(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where a variable gets its value.
fn place(agent: &Agent, name: &str, own: bool) -> String {
    let mut variables = agent.spec.backend.iter().flat_map(|backend| &backend.env).rev();
    let variable: Option<&EnvVar> = variables.find(|variable| own && variable.name == name);
    let Some(variable) = variable else { return "of the master's environment".to_owned() };
    let source = variable.value_from.clone().unwrap_or_default();
    let namespace = agent.namespace().unwrap_or_default();
    match (source.secret_key_ref, source.config_map_key_ref) {
        (Some(key), _) => format!("from the key {} of the Secret {namespace}/{}", key.key, key.name),
        (None, Some(key)) => format!("from the key {} of the ConfigMap {namespace}/{}", key.key, key.name),
        (None, None) => "of spec.backend.env".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::claude::ClaudeBackend;
    use crate::backend::command::CommandBackend;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn agent(env: Value) -> Agent {
        serde_json::from_value(json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
            "metadata": {"name": "a", "namespace": "team"}, "spec": {"definition": "", "backend": {"env": env}}}))
        .unwrap()
    }

    fn claude(env: &[(&str, &str)], ambient: &[(&str, &str)]) -> Option<Credential> {
        let own: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let of_master = |name: &str| {
            ambient.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        let variables: Vec<_> =
            env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        of(&ClaudeBackend::default(), &agent(json!(variables)), &own, &of_master, b"salt")
    }

    #[test]
    fn agents_share_a_credential_when_they_share_what_counts() {
        let home = [("HOME", "/home/ann")];
        let key = |value| [("ANTHROPIC_API_KEY", value)];
        let name = |credential: Option<Credential>| credential.unwrap().name;
        let login = name(claude(&[], &home));
        assert_eq!(login, name(claude(&[("UNRELATED", "x")], &home)));
        assert_ne!(login, name(claude(&[("HOME", "/home/bob")], &home)));
        assert_ne!(login, name(claude(&[("CLAUDE_CONFIG_DIR", "/c")], &home)));
        // A key wins over a login, wherever either is.
        assert_eq!(name(claude(&key("k"), &home)), name(claude(&[], &key("k"))));
        assert_ne!(name(claude(&key("k"), &home)), name(claude(&key("l"), &home)));
        assert_eq!(name(claude(&key(""), &home)), login, "an empty variable is none");
        let proxied = [("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_BASE_URL", "http://proxy")];
        assert_ne!(name(claude(&proxied, &[])), name(claude(&key("k"), &[])));
        assert_eq!(claude(&[], &[]), None);
        assert_eq!(of(&CommandBackend, &agent(json!([])), &[], &|_| Some("x".into()), b"salt"), None);
    }

    #[test]
    fn where_it_comes_from_is_said_in_words() {
        let source = |credential: Option<Credential>| credential.unwrap().source;
        assert_eq!(
            source(claude(&[("ANTHROPIC_API_KEY", "k")], &[])),
            "ANTHROPIC_API_KEY of spec.backend.env"
        );
        assert_eq!(source(claude(&[], &[("HOME", "/home/ann")])), "the login below /home/ann");
        let env = json!([{"name": "ANTHROPIC_API_KEY",
            "valueFrom": {"secretKeyRef": {"name": "token", "key": "api-key"}}}]);
        let own = [("ANTHROPIC_API_KEY".to_owned(), "k".to_owned())];
        let from_secret = of(&ClaudeBackend::default(), &agent(env), &own, &|_| None, b"salt").unwrap();
        assert_eq!(from_secret.source, "ANTHROPIC_API_KEY from the key api-key of the Secret team/token");
    }

    proptest! {
        #[test]
        fn a_name_reveals_nothing_and_another_salt_gives_another(secret in "[g-z]{4,20}") {
            let env = [("ANTHROPIC_API_KEY".to_owned(), secret.clone())];
            let named = |salt: &[u8]| {
                of(&ClaudeBackend::default(), &agent(json!([])), &env, &|_| None, salt).unwrap().name
            };
            let digest = named(b"one").strip_prefix("claude-").unwrap().to_owned();
            prop_assert!(digest.len() == DIGITS && !digest.contains(&secret));
            prop_assert_ne!(named(b"one"), named(b"two"));
        }
    }
}
