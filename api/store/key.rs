//! What names an object: its resource, its namespace, its name.
//!
//! ```
//! use gcluster_store::Key;
//! let key = Key::new("gcluster.dev/agents", "default", "builder");
//! assert!(key < Key::new("gcluster.dev/agents", "default", "tester"));
//! ```

use std::fmt;
use std::sync::Arc;

/// Name of one object in the store. Keys sort by resource, then namespace, then name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// API group and plural, as `gcluster.dev/agents`; the core group is empty: `/namespaces`.
    pub resource: Arc<str>,
    /// Namespace of the object; empty when the resource is cluster scoped.
    pub namespace: Arc<str>,
    /// Name of the object within its namespace.
    pub name: Arc<str>,
}

impl Key {
    /// A key of the three parts.
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }

    /// Where the object stands within its resource.
    pub(crate) fn place(&self) -> Place {
        Place { namespace: Arc::clone(&self.namespace), name: Arc::clone(&self.name) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => write!(f, "{}/{}", self.resource, self.name),
            namespace => write!(f, "{}/{namespace}/{}", self.resource, self.name),
        }
    }
}

/// Namespace and name: the order of a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Place {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}
