//! Server-side apply.
//!
//! ```text
//! live ─┐                                        ┌─ conflicts (unless force)
//!       ├─ merge ─ prune what is no longer applied ┤
//! applied ┘                                        └─ object to store with its managedFields
//! ```

use serde_json::{Map, Value, json};

use super::compare::compare;
use super::fieldset::{Branch, FieldSet, Parts, field_element, parts};
use super::managed::{Entries, ManagerCtx, Operation, SERVER_FIELDS, strip, take_managed};
use crate::schema::Schema;
use crate::schema::node::{ListType, Node};

mod definition;
mod last_applied;

/// Manager that owns everything of an object that had no records when it was applied first.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Why an apply was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Other managers own fields that the applied object would change.
    #[error("{}", conflicts_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The applied object cannot be applied.
    #[error("{0}")]
    Invalid(String),
}

/// One field that another manager owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Path of the field, such as `.spec.limits.maxIterations`.
    pub field: String,
    /// Text for `details.causes[]`: `conflict with "kubectl-edit" using gcluster.dev/v1alpha1`.
    pub message: String,
    /// The other manager.
    pub manager: String,
}

/// As kubectl shows it: `Apply failed with 1 conflict: conflict with "a" using v1: .spec.run`.
fn conflicts_message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: {}: {}", one.message, one.field);
    }
    let mut text = format!("Apply failed with {} conflicts: ", conflicts.len());
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for conflict in conflicts {
        match groups.iter_mut().find(|(message, _)| *message == conflict.message) {
            Some((_, fields)) => fields.push(&conflict.field),
            None => groups.push((&conflict.message, vec![&conflict.field])),
        }
    }
    let groups: Vec<String> = groups
        .iter()
        .map(|(message, fields)| {
            format!("{}:\n- {}", message.replacen("conflict", "conflicts", 1), fields.join("\n- "))
        })
        .collect();
    text.push_str(&groups.join("\n"));
    text
}

/// Merges an applied object into the live one; answers the object to store, with its
/// `metadata.managedFields`. When nothing changes, the answer equals `live`.
///
/// An apply of the object leaves `status` alone where that is a subresource; an apply of `status`
/// leaves everything else alone. Defaults are the caller's to fill in, after this.
///
/// # Errors
/// [`ApplyError::Conflicts`] unless `force`, [`ApplyError::Invalid`] for what cannot be applied.
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    ctx: &ManagerCtx<'_>,
    force: bool,
    schema: &Schema,
) -> Result<Value, ApplyError> {
    let root = schema.root();
    let applied = in_scope(applied, ctx)?;
    let mut entries = Entries::of(live);
    let mut before = live.cloned().unwrap_or_else(|| json!({}));
    take_managed(&mut before);
    if live.is_some() && entries.0.is_empty() {
        entries.add_all_of(&before, ctx, root);
    }
    let unchanged = entries.clone();

    let mut merged = before.clone();
    merge(&mut merged, &applied, Some(root), 0);
    let mut fields = FieldSet::of(&applied, Some(root));
    let own = entries.position(Operation::Apply, ctx);
    if let Some(last) = own.and_then(|index| entries.0.get(index)) {
        let mut keep = FieldSet::shape_of(&applied, Some(root));
        for (index, entry) in entries.0.iter().enumerate() {
            if Some(index) != own {
                keep.union(&entry.fields);
            }
        }
        prune(&mut merged, Some(root), &last.fields, &keep, &[], 0);
    }
    let whole = definition::is_whole(&applied, ctx.manager);
    if whole {
        definition::drop_foreign(&mut merged, &applied);
    }

    let difference = compare(Some(&before), Some(&merged), root);
    if !force {
        let mut foreign = difference.set.clone();
        foreign.subtract(&last_applied::own(&before, ctx.manager, ctx.api_version, root));
        if whole {
            foreign.union(&definition::texts_of(&difference.removed));
            if let Some(last) = own.and_then(|index| entries.0.get(index)) {
                foreign.subtract(&definition::had_last(&last.fields));
            }
        }
        let conflicts = conflicts(&entries, own, &foreign);
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(conflicts));
        }
    }
    entries.take_from_others(own, &difference.set);
    entries.take_from_others(own, &difference.removed);
    strip(&mut fields);
    let index = own.unwrap_or_else(|| entries.add(Operation::Apply, ctx));
    if let Some(entry) = entries.0.get_mut(index) {
        entry.fields = fields;
        entry.api_version = ctx.api_version.to_owned();
    }
    entries.0.retain(|entry| !entry.fields.is_empty());
    let nothing = entries == unchanged && difference.set.is_empty() && difference.removed.is_empty();
    if let Some(live) = live.filter(|_| nothing) {
        return Ok(live.clone());
    }
    if let Some(entry) = entries.position(Operation::Apply, ctx).and_then(|index| entries.0.get_mut(index)) {
        entry.time = Some(ctx.now.to_owned());
    }
    entries.store(&mut merged);
    Ok(merged)
}

/// The part of an applied object that this apply is about, without what the server sets.
fn in_scope(applied: &Value, ctx: &ManagerCtx<'_>) -> Result<Value, ApplyError> {
    let Value::Object(map) = applied else {
        return Err(ApplyError::Invalid("the applied configuration must be an object".into()));
    };
    let managed = applied.pointer("/metadata/managedFields");
    if managed.is_some_and(|managed| !managed.is_null() && managed != &json!([])) {
        return Err(ApplyError::Invalid("metadata.managedFields must be nil".into()));
    }
    let mut scoped = map.clone();
    match ctx.subresource {
        Some(own) => {
            scoped.retain(|key, _| key == own || matches!(key.as_str(), "apiVersion" | "kind" | "metadata"))
        }
        None if ctx.has_status => drop(scoped.remove("status")),
        None => {}
    }
    match scoped.get_mut("metadata") {
        Some(Value::Object(metadata)) => {
            // What the server sets is not the client's to apply; preconditions are the caller's to check.
            metadata.retain(|key, _| {
                let identity = matches!(key.as_str(), "name" | "namespace");
                identity || ctx.subresource.is_none() && !SERVER_FIELDS.contains(&key.as_str())
            });
        }
        Some(_) => return Err(ApplyError::Invalid("metadata: must be an object".into())),
        None => drop(scoped.insert("metadata".into(), json!({}))),
    }
    Ok(Value::Object(scoped))
}

impl Entries {
    /// One record that owns all of an object.
    fn add_all_of(&mut self, object: &Value, ctx: &ManagerCtx<'_>, root: &Node) {
        let ctx = ManagerCtx { manager: BEFORE_FIRST_APPLY, subresource: None, ..*ctx };
        let index = self.add(Operation::Update, &ctx);
        let mut fields = FieldSet::of(object, Some(root));
        strip(&mut fields);
        if let Some(entry) = self.0.get_mut(index) {
            entry.fields = fields;
        }
    }
}

fn conflicts(entries: &Entries, own: Option<usize>, set: &FieldSet) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (_, entry) in entries.0.iter().enumerate().filter(|(index, _)| Some(*index) != own) {
        for field in entry.fields.intersection(set).paths() {
            let message = format!("conflict with {}", entry.describe());
            conflicts.push(Conflict { field, message, manager: entry.manager.clone() });
        }
    }
    conflicts
}

/// Lays the applied value over the live one.
fn merge(live: &mut Value, applied: &Value, node: Option<&Node>, depth: usize) {
    match parts(applied, node, depth) {
        Parts::Fields(fields) if live.is_object() => {
            let Value::Object(map) = live else { return };
            for (key, value) in fields {
                let node = node.and_then(|n| n.field(key));
                match map.get_mut(key) {
                    Some(live) => merge(live, value, node, depth + 1),
                    None => drop(map.insert(key.clone(), value.clone())),
                }
            }
        }
        Parts::Items(items) => {
            let positions: Option<Map<String, Value>> = match parts(live, node, depth) {
                Parts::Items(live) => {
                    Some(live.into_iter().enumerate().map(|(i, (element, _))| (element, json!(i))).collect())
                }
                _ => None,
            };
            let (Some(positions), Value::Array(list)) = (positions, &mut *live) else {
                *live = applied.clone();
                return;
            };
            let node = node.and_then(|n| n.items.as_deref());
            for (element, value) in items {
                let index = positions.get(&element).and_then(Value::as_u64).map(|i| i as usize);
                match index.and_then(|index| list.get_mut(index)) {
                    Some(live) => merge(live, value, node, depth + 1),
                    None => list.push(value.clone()),
                }
            }
        }
        _ => *live = applied.clone(),
    }
}

/// Removes from `value` what is in `last` and not in `keep`. An item of a list that stays keeps its `keys`.
fn prune(
    value: &mut Value,
    node: Option<&Node>,
    last: &FieldSet,
    keep: &FieldSet,
    keys: &[String],
    depth: usize,
) {
    let nothing = FieldSet::default();
    let stays = |element: &str, branch: &Branch| keep.get(element).is_some() || !goes(element, branch);
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                let element = field_element(key);
                let Some(branch) = last.get(&element) else { return true };
                if depth == 0 && matches!(key.as_str(), "apiVersion" | "kind" | "metadata")
                    || keys.contains(key)
                    || stays(&element, branch)
                {
                    let keep = keep.get(&element).map_or(&nothing, |kept| &kept.below);
                    prune(value, node.and_then(|n| n.field(key)), &branch.below, keep, &[], depth + 1);
                    return true;
                }
                false
            });
        }
        Value::Array(_) => {
            let elements: Vec<String> = match parts(value, node, depth) {
                Parts::Items(items) => items.into_iter().map(|(element, _)| element).collect(),
                _ => return,
            };
            let Value::Array(items) = value else { return };
            let keys: &[String] = match node.map(|n| &n.list) {
                Some(ListType::Map(keys)) => keys,
                _ => &[],
            };
            let node = node.and_then(|n| n.items.as_deref());
            let mut elements = elements.into_iter();
            items.retain_mut(|item| {
                let Some((element, branch)) = elements.next().and_then(|e| last.get(&e).map(|b| (e, b)))
                else {
                    return true;
                };
                if !stays(&element, branch) {
                    return false;
                }
                let keep = keep.get(&element).map_or(&nothing, |kept| &kept.below);
                prune(item, node, &branch.below, keep, keys, depth + 1);
                true
            });
        }
        _ => {}
    }
}

/// True when an element that nobody keeps goes with all beneath it: a field, or an item or entry that
/// was applied itself.
fn goes(element: &str, branch: &Branch) -> bool {
    branch.member || element.starts_with("f:")
}

#[cfg(test)]
mod tests;
