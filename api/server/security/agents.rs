//! Tokens of agents: a name that this data directory has signed.
//!
//! ```text
//! gcluster-agent.BASE64URL(namespace/name/uid).BASE64URL(HMAC-SHA256)      key: agents.key, mode 0600
//! ```
//! Nothing has to be stored for one, it is the same after a restart, and whether it still counts is asked of the
//! object with every request. Who removes agents.key makes all of them void at the next start.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;

use super::{SecurityError, token};
use crate::identity::AgentIdentity;

/// What every token begins with, so that people and scanners recognise one.
const PREFIX: &str = "gcluster-agent";
/// What is signed begins with, so that no other use of the key makes a token.
const PURPOSE: &str = "gcluster agent token v1";

/// Signs and recognises tokens of agents.
#[derive(Clone)]
pub(super) struct AgentTokens(hmac::Key);

impl AgentTokens {
    /// Reads the key of a data directory, or makes it.
    pub(super) fn open(data_dir: &Path) -> Result<Self, SecurityError> {
        let secret = token(&data_dir.join("agents.key"))?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())))
    }

    /// The token of one life of one agent.
    pub(super) fn issue(&self, namespace: &str, name: &str, uid: &str) -> String {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(format!("{namespace}/{name}/{uid}"));
        let signature = hmac::sign(&self.0, signed(&claims).as_bytes());
        format!("{PREFIX}.{claims}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    /// Whose token this is, if it is one of this data directory. The comparison takes the same time for every wrong
    /// signature. Whether the agent still exists is another question.
    pub(super) fn recognise(&self, token: &str) -> Option<AgentIdentity> {
        let (claims, signature) = token.strip_prefix(PREFIX)?.strip_prefix('.')?.split_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.0, signed(claims).as_bytes(), &signature).ok()?;
        let claims = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let mut parts = claims.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(namespace), Some(name), Some(uid), None) if !uid.is_empty() => {
                Some(AgentIdentity::new(namespace, name, uid))
            }
            _ => None,
        }
    }
}

fn signed(claims: &str) -> String {
    format!("{PURPOSE}\n{claims}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens() -> (AgentTokens, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (AgentTokens::open(dir.path()).unwrap(), dir)
    }

    #[test]
    fn a_token_names_one_life_of_one_agent_also_after_a_restart() {
        let (tokens, dir) = tokens();
        let token = tokens.issue("team", "builder", "5f0c");
        let again = AgentTokens::open(dir.path()).unwrap();
        assert_eq!(again.recognise(&token), Some(AgentIdentity::new("team", "builder", "5f0c")));
        assert_eq!(again.issue("team", "builder", "5f0c"), token);
        let (other, _elsewhere) = super::tests::tokens();
        assert_eq!(other.recognise(&token), None, "of another data directory");
        assert_eq!(tokens.recognise(&tokens.issue("team", "builder", "")), None);
    }

    proptest! {
        #[test]
        fn whatever_is_changed_makes_it_nobodys(at in 0..200_usize, with in "[a-zA-Z0-9._-]") {
            let (tokens, _dir) = tokens();
            let token = tokens.issue("default", "builder", "0b7e0d36-9f8e-4f4e-8d44-6a1c3b1f7c55");
            let at = at % token.len();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(tokens.recognise(&changed).is_some(), changed == token, "{}", changed);
            prop_assert_eq!(tokens.recognise(&token[..at]), None);
        }
    }
}
