//! Which names a definition gets, and what its status says about it. Pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition, CustomResourceDefinitionNames,
    CustomResourceDefinitionStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::kinds::Registry;
use crate::kinds::custom::Established;

/// Names that are taken in a group: resources (plural, singular, short) and kinds (of objects and lists).
#[derive(Clone, Debug, Default)]
struct Taken {
    resources: Vec<String>,
    kinds: Vec<String>,
}

impl Taken {
    fn add(&mut self, names: &CustomResourceDefinitionNames) {
        self.resources.push(names.plural.clone());
        self.resources.extend(names.singular.clone());
        self.resources.extend(names.short_names.clone().unwrap_or_default());
        self.kinds.push(names.kind.clone());
        self.kinds.extend(names.list_kind.clone());
    }

    fn in_group(group: &str, base: &Registry, others: &[&CustomResourceDefinition]) -> Self {
        let mut taken = Self::default();
        for kind in base.iter().filter(|kind| kind.group == group) {
            taken.resources.extend([kind.plural.clone(), kind.singular.clone()]);
            taken.resources.extend(kind.short_names.clone());
            taken.kinds.extend([kind.kind.clone(), kind.list_kind.clone()]);
        }
        for other in others.iter().filter(|other| other.spec.group == group) {
            if let Some(names) = other.status.as_ref().and_then(|status| status.accepted_names.as_ref()) {
                taken.add(names);
            }
        }
        taken
    }
}

/// Gives each definition its status, oldest first, so that who came first keeps a name. Answers those that are
/// served.
pub(super) fn accept(
    definitions: &mut [CustomResourceDefinition],
    base: &Registry,
    now: Timestamp,
) -> Vec<Established> {
    definitions.sort_by(|a, b| {
        let age = |crd: &CustomResourceDefinition| {
            (crd.metadata.creation_timestamp.clone(), crd.metadata.name.clone())
        };
        age(a).cmp(&age(b))
    });
    for index in 0..definitions.len() {
        let others = definitions.iter().enumerate().filter(|(other, _)| *other != index);
        let others: Vec<&CustomResourceDefinition> = others.map(|(_, crd)| crd).collect();
        let Some(crd) = definitions.get(index) else { continue };
        let taken = Taken::in_group(&crd.spec.group, base, &others);
        let status = status(crd, &taken, now);
        if let Some(crd) = definitions.get_mut(index) {
            crd.status = Some(status);
        }
    }
    let established = definitions.iter().filter(|crd| holds(crd, "Established"));
    established
        .filter_map(|crd| {
            let names = crd.status.as_ref()?.accepted_names.clone()?;
            Some(Established { definition: crd.clone(), names })
        })
        .collect()
}

/// True when a condition of the definition is True.
pub(super) fn holds(crd: &CustomResourceDefinition, condition: &str) -> bool {
    let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == condition && c.status == "True")
}

fn status(crd: &CustomResourceDefinition, taken: &Taken, now: Timestamp) -> CustomResourceDefinitionStatus {
    let mut status = crd.status.clone().unwrap_or_default();
    let before = status.accepted_names.clone().unwrap_or_default();
    let wanted = &crd.spec.names;
    let mut conflict: Option<(&str, String)> = None;
    let mut check = |reason: &'static str, name: &str, all: &[String]| {
        let free = !all.iter().any(|taken| taken == name);
        if !free && conflict.is_none() {
            conflict = Some((reason, format!("{name:?} is already in use")));
        }
        free
    };
    let mut names = before;
    if check("PluralConflict", &wanted.plural, &taken.resources) {
        names.plural = wanted.plural.clone();
    }
    let singular = wanted.singular.as_deref().unwrap_or_default();
    if singular.is_empty() || check("SingularConflict", singular, &taken.resources) {
        names.singular = wanted.singular.clone();
    }
    let short = wanted.short_names.clone().unwrap_or_default();
    if short.iter().all(|name| check("ShortNamesConflict", name, &taken.resources)) {
        names.short_names = wanted.short_names.clone();
    }
    if check("KindConflict", &wanted.kind, &taken.kinds) {
        names.kind = wanted.kind.clone();
    }
    let list_kind = wanted.list_kind.as_deref().unwrap_or_default();
    if list_kind.is_empty() || check("ListKindConflict", list_kind, &taken.kinds) {
        names.list_kind = wanted.list_kind.clone();
    }
    names.categories = wanted.categories.clone();
    status.accepted_names = Some(names);
    let conditions = status.conditions.get_or_insert_default();
    match conflict {
        Some((reason, message)) => {
            set(conditions, "NamesAccepted", false, reason, &message, now);
            if !conditions.iter().any(|c| c.type_ == "Established" && c.status == "True") {
                set(conditions, "Established", false, "NotAccepted", "not all names are accepted", now);
            }
        }
        None => {
            set(conditions, "NamesAccepted", true, "NoConflicts", "no conflicts found", now);
            let message = "the initial names have been accepted";
            set(conditions, "Established", true, "InitialNamesAccepted", message, now);
        }
    }
    if crd.metadata.deletion_timestamp.is_some() && !conditions.iter().any(|c| c.type_ == "Terminating") {
        let message = "CustomResource deletion is in progress";
        set(conditions, "Terminating", true, "InstanceDeletionInProgress", message, now);
    }
    let stored = status.stored_versions.get_or_insert_default();
    if let Some(version) = crd.spec.versions.iter().find(|version| version.storage)
        && !stored.contains(&version.name)
    {
        stored.push(version.name.clone());
    }
    status
}

fn set(
    conditions: &mut Vec<CustomResourceDefinitionCondition>,
    name: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let status = if holds { "True" } else { "False" };
    let mut condition = CustomResourceDefinitionCondition {
        type_: name.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_transition_time: Some(Time(now)),
    };
    match conditions.iter_mut().find(|c| c.type_ == name) {
        Some(old) => {
            if old.status == condition.status {
                condition.last_transition_time = old.last_transition_time.clone();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
}
