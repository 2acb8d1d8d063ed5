//! The kinds that are served at one moment. A registry never changes: a new one takes its place.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::Version;

use super::custom::{Established, UserKinds, from_crd};
use super::{Kind, Life, builtin};

/// All kinds that are served.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    kinds: Vec<Arc<Kind>>,
    by_resource: HashMap<(String, String, String), usize>,
    by_kind: HashMap<(String, String, String), usize>,
    users: UserKinds,
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

    /// The registry after users' definitions changed: `self` is the one without any, `before` the one that is
    /// served now.
    pub(crate) fn next(&self, before: &Registry, definitions: Vec<Established>) -> Registry {
        let mut registry = self.clone();
        let users = before.users.next(definitions);
        for kind in users.iter() {
            registry.insert(Arc::clone(kind));
        }
        registry.users = users;
        registry
    }

    /// Ends the streams of all kinds that `next` does not serve in the same form.
    pub(crate) fn end_streams(&self, next: &Registry) {
        self.users.ended(&next.users).iter().for_each(Life::end);
    }

    fn insert(&mut self, kind: impl Into<Arc<Kind>>) {
        let kind = kind.into();
        let index = self.kinds.len();
        let key = |last: &str| (kind.group.clone(), kind.version.clone(), last.to_owned());
        self.by_resource.insert(key(&kind.plural), index);
        self.by_kind.insert(key(&kind.kind), index);
        self.kinds.push(kind);
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

    /// Groups with their versions, in the order of the kinds; the core group is the empty name. The version
    /// that clients prefer comes first: stable ones before beta and alpha, newer ones before older.
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
        for (_, versions) in &mut groups {
            versions.sort_by_key(|version| std::cmp::Reverse(Version::parse(version).priority()));
        }
        groups
    }
}
