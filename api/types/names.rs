//! Object names: what Kubernetes allows, and how an agent's name becomes one.

use thiserror::Error;

/// Longest DNS label.
pub const MAX_LABEL: usize = 63;
/// Longest DNS subdomain.
pub const MAX_SUBDOMAIN: usize = 253;

/// Why a text cannot be the name of an agent object.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// No letter or digit is left of it.
    #[error("the name {0:?} holds no ASCII letter or digit, so no object name can be made of it")]
    Nothing(String),
    /// It is longer than a DNS label may be.
    #[error("the name {0:?} has more than 63 characters")]
    TooLong(String),
    /// A character is in it that no rule maps.
    #[error("the name {0:?} may hold only ASCII letters, digits, '-' and '_' as an object name")]
    Character(String),
}

/// The object name of an agent: lower case, `_` becomes `-`, no `-` at either end.
pub fn object_name(agent: &str) -> Result<String, NameError> {
    if !agent.chars().any(|c| c.is_ascii_alphanumeric()) {
        return Err(NameError::Nothing(agent.to_owned()));
    }
    let mapped: String = agent.to_lowercase().replace('_', "-");
    let trimmed = mapped.trim_matches('-');
    if !trimmed.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(NameError::Character(agent.to_owned()));
    }
    if trimmed.len() > MAX_LABEL {
        return Err(NameError::TooLong(agent.to_owned()));
    }
    Ok(trimmed.to_owned())
}

/// Digits of the digest in a revision's name.
const DIGEST_DIGITS: usize = 10;

/// Name of an agent's revision with this digest.
pub fn revision_name(agent: &str, digest: &str) -> String {
    format!("{agent}-{}", digest.get(..DIGEST_DIGITS).unwrap_or(digest))
}

/// True for a DNS label: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, 63 characters at most.
pub fn is_dns_label(name: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= MAX_LABEL
        && ends(name.chars().next())
        && ends(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// True for a DNS subdomain: labels joined by dots, 253 characters at most.
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= MAX_SUBDOMAIN
        && name.split('.').all(|label| {
            let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            ends(label.chars().next())
                && ends(label.chars().next_back())
                && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_names_map_to_dns_labels() {
        assert_eq!(object_name("builder").as_deref(), Ok("builder"));
        assert_eq!(object_name("Release_Manager").as_deref(), Ok("release-manager"));
        assert_eq!(object_name("_x_").as_deref(), Ok("x"));
        assert_eq!(object_name("--"), Err(NameError::Nothing("--".into())));
        assert_eq!(object_name("größe1"), Err(NameError::Character("größe1".into())));
        assert_eq!(object_name(&"a".repeat(64)), Err(NameError::TooLong("a".repeat(64))));
    }

    #[test]
    fn labels_and_subdomains_are_told_from_other_text() {
        assert!(is_dns_label("a-1") && is_dns_label("a"));
        assert!(!is_dns_label("") && !is_dns_label("-a") && !is_dns_label("A") && !is_dns_label("a.b"));
        assert!(is_dns_subdomain("builder.build.3") && !is_dns_subdomain("a..b") && !is_dns_subdomain(".a"));
    }
}
