//! Kinds from CustomResourceDefinitions, gcluster's own and those of users.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionVersion,
};
use serde_json::Value;

use super::{
    Custom, Kind, Life, STORED_VERBS, ScalePaths, SelectableField, StorageForm, Subresource, VIEW_VERBS, View,
};
use crate::schema::Schema;
use crate::table::{Column, JsonPath};

/// A user's definition under the names that were accepted for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Established {
    /// The definition, as it is stored.
    pub(crate) definition: CustomResourceDefinition,
    /// The names under which it is served; those of its spec may be taken.
    pub(crate) names: CustomResourceDefinitionNames,
}

impl Established {
    /// Name of the definition, `plural.group`.
    pub(crate) fn name(&self) -> &str {
        self.definition.metadata.name.as_deref().unwrap_or_default()
    }

    /// True while its instances are being deleted.
    pub(crate) fn terminating(&self) -> bool {
        self.definition.metadata.deletion_timestamp.is_some()
    }

    /// True when both make the same kinds, but for `terminating`.
    fn same_kinds(&self, other: &Established) -> bool {
        self.definition.metadata.uid == other.definition.metadata.uid
            && self.definition.spec == other.definition.spec
            && self.names == other.names
    }

    /// The served kinds; with `all` those of versions that are not served too.
    pub(crate) fn kinds(&self, all: bool) -> Vec<Kind> {
        let mut crd = self.definition.clone();
        crd.spec.names = self.names.clone();
        let generation = crd.metadata.generation.unwrap_or(1);
        let stored = crd.spec.versions.iter().find(|version| version.storage).map(|version| {
            let props = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
            Arc::new(StorageForm {
                api_version: format!("{}/{}", crd.spec.group, version.name),
                schema: props.map_or_else(Schema::any, Schema::from_props),
            })
        });
        // Objects of an only version, whose schema never changed, are stored as they are served.
        let converted = generation > 1 || crd.spec.versions.len() > 1;
        let served = crd.spec.versions.iter().filter(|version| version.served || all);
        served
            .map(|version| {
                let mut kind = from_crd(&crd, version);
                kind.custom.definition = self.name().to_owned();
                kind.custom.terminating = self.terminating();
                if converted {
                    kind.view = View::Custom;
                    kind.custom.storage = stored.clone();
                }
                kind
            })
            .collect()
    }
}

impl Kind {
    /// A stored object in the version of this kind, with the defaults that came after it was written.
    pub(crate) fn converted(&self, mut object: Value) -> Value {
        if let Some(storage) = &self.custom.storage {
            storage.schema.prune(&mut object);
            storage.schema.default(&mut object);
            if storage.api_version != self.api_version() {
                self.schema.prune(&mut object);
            }
            object["apiVersion"] = self.api_version().into();
        }
        object
    }

    /// An object in the version in which it is stored.
    pub(crate) fn to_storage(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if let Some(storage) = &self.custom.storage {
            object["apiVersion"] = storage.api_version.as_str().into();
        }
        object
    }
}

/// The kinds of users' definitions, by the name of the definition.
#[derive(Clone, Debug, Default)]
pub(super) struct UserKinds(HashMap<String, (Established, Vec<Arc<Kind>>)>);

impl UserKinds {
    /// The kinds of these definitions. Those that did not change are taken over from before, so that their
    /// watches go on; the watches of all others end.
    pub(super) fn next(&self, definitions: Vec<Established>) -> Self {
        let mut next = HashMap::new();
        for established in definitions {
            let name = established.name().to_owned();
            let kinds = match self.0.get(&name) {
                Some((before, kinds)) if before.same_kinds(&established) => {
                    let terminating = established.terminating();
                    kinds.iter().map(|kind| marked(kind, terminating)).collect()
                }
                _ => established.kinds(false).into_iter().map(Arc::new).collect(),
            };
            next.insert(name, (established, kinds));
        }
        Self(next)
    }

    /// What is served no more in the form that it had.
    pub(super) fn ended(&self, next: &Self) -> Vec<Life> {
        let lives = |all: &Self| -> Vec<Life> { all.iter().map(|kind| kind.custom.life.clone()).collect() };
        let kept = lives(next);
        lives(self).into_iter().filter(|life| !kept.contains(life)).collect()
    }

    /// All kinds, in the order of the names of their definitions.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        let mut names: Vec<&String> = self.0.keys().collect();
        names.sort();
        names.into_iter().filter_map(|name| self.0.get(name)).flat_map(|(_, kinds)| kinds)
    }
}

fn marked(kind: &Arc<Kind>, terminating: bool) -> Arc<Kind> {
    if kind.custom.terminating == terminating {
        return Arc::clone(kind);
    }
    let mut kind = Kind::clone(kind);
    kind.custom.terminating = terminating;
    Arc::new(kind)
}

/// The kind of one version of a definition.
pub(crate) fn from_crd(crd: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) -> Kind {
    let names = &crd.spec.names;
    let status = version.subresources.as_ref().is_some_and(|s| s.status.is_some());
    let mut subresources = Vec::new();
    if status {
        subresources.push(Subresource { name: "status", verbs: VIEW_VERBS });
    }
    if crd.spec.group == gcluster_types::kinds::GROUP && names.plural == "iterations" {
        subresources.push(Subresource { name: "transcript", verbs: &["get", "create"] });
    }
    let scale = version.subresources.as_ref().and_then(|s| s.scale.as_ref()).map(|scale| {
        let path = |text: &str| text.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Arc::new(ScalePaths {
            spec: path(&scale.spec_replicas_path),
            status: path(&scale.status_replicas_path),
            selector: scale.label_selector_path.as_deref().map(path),
        })
    });
    if scale.is_some() {
        subresources.push(Subresource { name: "scale", verbs: VIEW_VERBS });
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
        custom: Custom { scale, deprecation: deprecation(crd, version), ..Custom::default() },
    }
}

fn deprecation(
    crd: &CustomResourceDefinition,
    version: &CustomResourceDefinitionVersion,
) -> Option<Arc<str>> {
    let told = version.deprecation_warning.clone();
    let plain = || format!("{}/{} {} is deprecated", crd.spec.group, version.name, crd.spec.names.kind);
    version.deprecated.unwrap_or_default().then(|| told.unwrap_or_else(plain).into())
}
