//! The table of backends.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Backend;
use super::acp::AcpBackend;
use super::amp::AmpBackend;
use super::claude::ClaudeBackend;
use super::codex::CodexBackend;
use super::command::CommandBackend;
use super::rehearsal::RehearsalBackend;

/// Backends by the name that `spec.backend.name` gives.
#[derive(Clone, Default)]
pub struct Backends {
    table: BTreeMap<String, Arc<dyn Backend>>,
}

impl Backends {
    /// All that gcluster comes with.
    pub fn standard() -> Backends {
        Backends::default()
            .with(Arc::new(AcpBackend))
            .with(Arc::new(AmpBackend::default()))
            .with(Arc::new(ClaudeBackend::default()))
            .with(Arc::new(CodexBackend::default()))
            .with(Arc::new(CommandBackend))
            .with(Arc::new(RehearsalBackend))
    }

    /// With one more backend; it replaces one of the same name.
    #[must_use]
    pub fn with(mut self, backend: Arc<dyn Backend>) -> Backends {
        self.table.insert(backend.name().to_owned(), backend);
        self
    }

    /// The backend of this name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Backend>> {
        self.table.get(name).cloned()
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.table.keys().map(String::as_str).collect()
    }
}

impl std::fmt::Debug for Backends {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.table.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_backends_are_found_by_their_names() {
        let backends = Backends::standard();
        assert_eq!(backends.names(), ["acp", "amp", "claude", "codex", "command", "rehearsal"]);
        for name in backends.names() {
            assert_eq!(backends.get(name).unwrap().name(), name);
        }
        assert!(backends.get("other").is_none());
    }
}
