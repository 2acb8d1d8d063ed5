//! Who asks.

use http::{HeaderMap, header};

/// The identity behind a request. In-process callers are the master itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The master's own controllers.
    Master,
    /// The admin token.
    Admin,
    /// The read-only token.
    Viewer,
    /// No token: health and version only.
    Anonymous,
}

impl Identity {
    pub(crate) fn user(self) -> &'static str {
        match self {
            Self::Master => "system:gcluster",
            Self::Admin => "gcluster-admin",
            Self::Viewer => "gcluster-viewer",
            Self::Anonymous => "system:anonymous",
        }
    }

    pub(crate) fn groups(self) -> &'static [&'static str] {
        match self {
            Self::Master | Self::Admin => &["system:masters", "system:authenticated"],
            Self::Viewer => &["gcluster:viewers", "system:authenticated"],
            Self::Anonymous => &["system:unauthenticated"],
        }
    }

    /// May it do this, on whatever resource?
    pub(crate) fn may(self, verb: &str) -> bool {
        match self {
            Self::Master | Self::Admin => true,
            Self::Viewer => matches!(verb, "get" | "list" | "watch"),
            Self::Anonymous => false,
        }
    }
}

impl Identity {
    /// May it do this on that resource? As in Kubernetes, viewing does not include Secrets.
    pub(crate) fn may_on(self, verb: &str, group: &str, resource: &str) -> bool {
        self.may(verb)
            && !(self == Self::Viewer && group.is_empty() && matches!(resource, "secrets" | "secret"))
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
