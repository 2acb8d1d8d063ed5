//! The table of kinds: everything that the server needs to know about a resource, as data.
//!
//! ```text
//! CRDs of gcluster_types ─┐
//! CRDs of users (crd/…) ──┤
//! built-ins (kinds/…)  ───┴─▶ Registry ──▶ routes, discovery, OpenAPI, tables, validation
//! ```

mod builtin;
pub(crate) mod custom;
mod registry;

use std::sync::Arc;

use tokio::sync::watch;

pub use registry::Registry;

use crate::schema::Schema;
use crate::table::{Column, JsonPath};

/// One resource of one API version.
#[derive(Clone, Debug)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: String,
    /// API version, such as `v1alpha1`.
    pub version: String,
    /// Kind of one object, such as `Agent`.
    pub kind: String,
    /// Kind of a list of them, such as `AgentList`.
    pub list_kind: String,
    /// Resource name in paths, such as `agents`.
    pub plural: String,
    /// Resource name of one, such as `agent`.
    pub singular: String,
    /// Abbreviations that clients accept.
    pub short_names: Vec<String>,
    /// Groups of resources that it belongs to, such as `all`.
    pub categories: Vec<String>,
    /// True when its objects live in a namespace.
    pub namespaced: bool,
    /// True when `status` is a subresource of its own.
    pub status: bool,
    /// All subresources, `status` included.
    pub subresources: Vec<Subresource>,
    /// Verbs on the resource itself.
    pub verbs: Vec<&'static str>,
    /// Shape of its objects.
    pub schema: Schema,
    /// Columns of its table.
    pub columns: Vec<Column>,
    /// Fields beside `metadata.name` and `metadata.namespace` that field selectors may name.
    pub selectable: Vec<SelectableField>,
    /// Resource name in the store; both event kinds share one.
    pub store_resource: String,
    /// How the stored form becomes the served one.
    pub view: View,
    /// False for kinds that come from a CustomResourceDefinition.
    pub builtin: bool,
    /// What only kinds have that users defined.
    pub custom: Custom,
}

/// What only kinds have that users defined; the default for all others.
#[derive(Clone, Debug, Default)]
pub struct Custom {
    /// Name of the CustomResourceDefinition; empty for kinds that come with the server.
    pub definition: String,
    /// The definition is being deleted: nothing new is created.
    pub terminating: bool,
    /// What clients of a version are warned of that its definition calls deprecated.
    pub(crate) deprecation: Option<Arc<str>>,
    /// The form in which objects are stored, when it may differ from the one that is served.
    pub(crate) storage: Option<Arc<StorageForm>>,
    /// Where the subresource `scale` finds its values.
    pub(crate) scale: Option<Arc<ScalePaths>>,
    /// Ends watches when the kind is served no more in this form.
    pub(crate) life: Life,
}

/// The version in which the objects of a kind are stored.
#[derive(Debug)]
pub(crate) struct StorageForm {
    /// `group/version`.
    pub(crate) api_version: String,
    /// Shape of the stored objects: its defaults fill in what older objects lack.
    pub(crate) schema: Schema,
}

/// Paths of the subresource `scale`, as field names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScalePaths {
    pub(crate) spec: Vec<String>,
    pub(crate) status: Vec<String>,
    pub(crate) selector: Option<Vec<String>>,
}

/// Tells streams that their kind is gone or has another form.
#[derive(Clone, Debug)]
pub(crate) struct Life(Arc<watch::Sender<bool>>);

impl Default for Life {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl PartialEq for Life {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Life {
    /// Ends every stream of the kind.
    pub(crate) fn end(&self) {
        self.0.send_replace(true);
    }

    /// Completes when the kind has ended.
    pub(crate) async fn ended(&self) {
        // The sender is held by `self`.
        let _ = self.0.subscribe().wait_for(|ended| *ended).await;
    }
}

/// A subresource, such as `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Last segment of its path.
    pub name: &'static str,
    /// Verbs that it answers.
    pub verbs: &'static [&'static str],
}

/// A field that field selectors may name.
#[derive(Clone, Debug)]
pub struct SelectableField {
    /// As written in a selector, such as `status.phase`.
    pub name: String,
    /// Where its value is, in the served form of the object.
    pub path: JsonPath,
}

/// How the stored form of an object becomes the served one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Served as stored.
    Stored,
    /// Stored as events.k8s.io/v1 and served as core/v1, see [`crate::events_view`].
    CoreEvent,
    /// Stored in one version of a CustomResourceDefinition, maybe by an older schema, and served in another.
    Custom,
}

impl Kind {
    /// `group/version`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `plural.group`, as error messages name a resource; the plural alone in the core group.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// True when the resource answers the verb.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// True for CustomResourceDefinitions themselves.
    pub fn is_definition(&self) -> bool {
        self.builtin && self.kind == crate::crd::KIND
    }

    /// True when `metadata.generation` counts the changes of what is desired.
    pub fn has_generation(&self) -> bool {
        !self.builtin || self.is_definition()
    }

    /// The `status` that the server gives to a new object of this kind.
    pub fn initial_status(&self) -> Option<serde_json::Value> {
        (self.builtin && self.kind == "Namespace").then(|| serde_json::json!({"phase": "Active"}))
    }
}

/// Verbs of a resource that stores objects.
pub(crate) const STORED_VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of a subresource that is a view on the same object.
pub(crate) const VIEW_VERBS: &[&str] = &["get", "patch", "update"];

#[cfg(test)]
mod tests;
