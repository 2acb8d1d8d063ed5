//! The table of kinds: everything that the server needs to know about a resource, as data.
//!
//! ```text
//! CRDs of gcluster_types ─┐
//! built-ins (kinds/…)  ───┴─▶ Registry ──▶ routes, discovery, OpenAPI, tables, validation
//! ```

mod builtin;

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};

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

    /// The `status` that the server gives to a new object of this kind.
    pub fn initial_status(&self) -> Option<serde_json::Value> {
        (self.builtin && self.kind == "Namespace").then(|| serde_json::json!({"phase": "Active"}))
    }
}

/// All kinds that are served.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    kinds: Vec<Arc<Kind>>,
    by_resource: HashMap<(String, String, String), usize>,
    by_kind: HashMap<(String, String, String), usize>,
}

impl Registry {
    /// The built-in kinds and those of the definitions.
    pub fn new(crds: Vec<CustomResourceDefinition>) -> Registry {
        let mut registry = Registry::default();
        for kind in builtin::kinds() {
            registry.insert(kind);
        }
        for crd in &crds {
            for version in crd.spec.versions.iter().filter(|v| v.served) {
                registry.insert(from_crd(crd, version));
            }
        }
        registry.insert(builtin::bundle());
        registry
    }

    fn insert(&mut self, kind: Kind) {
        let index = self.kinds.len();
        let key = |last: &str| (kind.group.clone(), kind.version.clone(), last.to_owned());
        self.by_resource.insert(key(&kind.plural), index);
        self.by_kind.insert(key(&kind.kind), index);
        self.kinds.push(Arc::new(kind));
    }

    /// The kind behind a path.
    pub fn by_resource(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.by_resource.get(&key).and_then(|i| self.kinds.get(*i))
    }

    /// The kind that an object names by `apiVersion` and `kind`.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let key = (group.to_owned(), version.to_owned(), kind.to_owned());
        self.by_kind.get(&key).and_then(|i| self.kinds.get(*i))
    }

    /// All kinds, built-in ones first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.iter()
    }

    /// Groups with their versions, in the order of the kinds; the core group is the empty name.
    pub fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for kind in &self.kinds {
            match groups.iter_mut().find(|(group, _)| *group == kind.group) {
                Some((_, versions)) if !versions.contains(&kind.version.as_str()) => {
                    versions.push(&kind.version)
                }
                Some(_) => {}
                None => groups.push((&kind.group, vec![&kind.version])),
            }
        }
        groups
    }
}

/// Verbs of a resource that stores objects.
pub(crate) const STORED_VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of a subresource that is a view on the same object.
pub(crate) const VIEW_VERBS: &[&str] = &["get", "patch", "update"];

fn from_crd(crd: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) -> Kind {
    let names = &crd.spec.names;
    let status = version.subresources.as_ref().is_some_and(|s| s.status.is_some());
    let mut subresources = Vec::new();
    if status {
        subresources.push(Subresource { name: "status", verbs: VIEW_VERBS });
    }
    if crd.spec.group == gcluster_types::kinds::GROUP && names.plural == "iterations" {
        subresources.push(Subresource { name: "transcript", verbs: &["get", "create"] });
    }
    let props = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
    Kind {
        group: crd.spec.group.clone(),
        version: version.name.clone(),
        kind: names.kind.clone(),
        list_kind: names.list_kind.clone().unwrap_or_else(|| format!("{}List", names.kind)),
        plural: names.plural.clone(),
        singular: names.singular.clone().unwrap_or_else(|| names.kind.to_lowercase()),
        short_names: names.short_names.clone().unwrap_or_default(),
        categories: names.categories.clone().unwrap_or_default(),
        namespaced: crd.spec.scope == "Namespaced",
        status,
        subresources,
        verbs: STORED_VERBS.to_vec(),
        schema: props.map_or_else(Schema::any, Schema::from_props),
        columns: Column::of_crd(version),
        selectable: version
            .selectable_fields
            .iter()
            .flatten()
            .map(|field| SelectableField {
                name: field.json_path.trim_start_matches('.').to_owned(),
                path: JsonPath::parse(&field.json_path),
            })
            .collect(),
        store_resource: format!("{}/{}", crd.spec.group, names.plural),
        view: View::Stored,
        builtin: false,
    }
}

#[cfg(test)]
mod tests;
