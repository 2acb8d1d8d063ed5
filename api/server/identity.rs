//! Who asks.

mod agent;

use std::sync::Arc;

use http::{HeaderMap, header};

pub(crate) use agent::AgentIdentity;

/// The identity behind a request. In-process callers are the master itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The master's own controllers.
    Master,
    /// The admin token.
    Admin,
    /// The read-only token.
    Viewer,
    /// The token that an agent's programs are given.
    Agent(Arc<AgentIdentity>),
    /// No token: health and version only.
    Anonymous,
}

/// What is asked for, as far as rights depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    /// The plural.
    pub(crate) resource: &'a str,
    /// Empty: the object itself.
    pub(crate) subresource: &'a str,
    /// None: all namespaces, or the kind has none.
    pub(crate) namespace: Option<&'a str>,
    /// Empty: not one object.
    pub(crate) name: &'a str,
}

impl Asked<'_> {
    /// `plural/subresource`, as Kubernetes writes it.
    pub(crate) fn named(&self) -> String {
        match self.subresource {
            "" => self.resource.to_owned(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }
}

impl Identity {
    pub(crate) fn user(&self) -> &str {
        match self {
            Self::Master => "system:gcluster",
            Self::Admin => "gcluster-admin",
            Self::Viewer => "gcluster-viewer",
            Self::Agent(agent) => agent.user(),
            Self::Anonymous => "system:anonymous",
        }
    }

    pub(crate) fn groups(&self) -> Vec<&str> {
        match self {
            Self::Master | Self::Admin => vec!["system:masters", "system:authenticated"],
            Self::Viewer => vec!["gcluster:viewers", "system:authenticated"],
            Self::Agent(agent) => agent.groups(),
            Self::Anonymous => vec!["system:unauthenticated"],
        }
    }

    /// May it do this? As in Kubernetes, viewing does not include Secrets.
    pub(crate) fn may(&self, asked: &Asked<'_>) -> bool {
        match self {
            Self::Master | Self::Admin => true,
            Self::Viewer => {
                matches!(asked.verb, "get" | "list" | "watch")
                    && !(asked.group.is_empty() && matches!(asked.resource, "secrets" | "secret"))
            }
            Self::Agent(agent) => agent.may(asked),
            Self::Anonymous => false,
        }
    }

    /// May it do everything?
    pub(crate) fn is_admin(&self) -> bool {
        matches!(self, Self::Master | Self::Admin)
    }

    /// All that it may do, in words; for refusals.
    pub(crate) fn rights(&self) -> String {
        match self {
            Self::Master | Self::Admin => "it may do everything".into(),
            Self::Viewer => "this token may get, list and watch everything but Secrets".into(),
            Self::Agent(agent) => agent.rights(),
            Self::Anonymous => "it may do nothing without a token".into(),
        }
    }
}

/// The field manager of a client that names none: the program in its `User-Agent`.
pub(crate) fn manager_of(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let program = agent.split('/').next().unwrap_or_default().trim();
    match program.is_empty() {
        true => "unknown".into(),
        false => program.chars().take(128).collect(),
    }
}
