//! Who set which field: `metadata.managedFields`, and what creates, updates and merge or JSON patches
//! do to it.

use serde_json::{Map, Value, json};

use super::compare::compare;
use super::fieldset::FieldSet;
use crate::schema::Schema;

/// Most entries of operation Update that are kept; older ones become one entry.
const MAX_UPDATE_MANAGERS: usize = 10;
/// Manager of the entry that the oldest ones become.
const ANCIENT: &str = "ancient-changes";

/// Fields that belong to the server, not to a manager.
pub(super) const SERVER_FIELDS: [&str; 11] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "clusterName",
    "managedFields",
];

/// Who writes, through which door, and when.
#[derive(Clone, Copy, Debug)]
pub struct ManagerCtx<'a> {
    /// Field manager, such as `kubectl-edit`.
    pub manager: &'a str,
    /// Subresource that was written, such as `status`; none for the object itself.
    pub subresource: Option<&'a str>,
    /// Time of the write, RFC 3339 with seconds in UTC.
    pub now: &'a str,
    /// API version that the write was made in, such as `gcluster.dev/v1alpha1`.
    pub api_version: &'a str,
    /// True when the kind has a status subresource, so that a write of the object leaves `status` alone.
    pub has_status: bool,
}

/// Records in `new` who owns which field after a create (no `old`), update or patch.
///
/// `new` must already hold what will be stored; the caller keeps `status` of `old` on writes of the
/// object and everything else on writes of `status`. A client may reset all records by sending
/// `managedFields: [{}]`; an empty or unreadable list keeps those of `old`.
pub fn track_update(old: Option<&Value>, new: &mut Value, ctx: &ManagerCtx<'_>, schema: &Schema) {
    let sent = take_managed(new);
    let mut entries = Entries::received(sent.as_ref(), old);
    let blank = json!({});
    let difference = compare(Some(old.unwrap_or(&blank)), Some(new), schema.root());
    let own = entries.position(Operation::Update, ctx);
    entries.take_from_others(None, &difference.set);
    entries.take_from_others(None, &difference.removed);
    let mut taken = difference.set;
    strip(&mut taken);
    if !taken.is_empty() {
        let index = own.unwrap_or_else(|| entries.add(Operation::Update, ctx));
        if let Some(entry) = entries.0.get_mut(index) {
            entry.fields.union(&taken);
            entry.time = Some(ctx.now.to_owned());
            entry.api_version = ctx.api_version.to_owned();
        }
    }
    entries.cap(ctx);
    entries.store(new);
}

/// What a manager did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// One record: the fields of a manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) time: Option<String>,
    pub(super) subresource: String,
    pub(super) fields: FieldSet,
}

impl Entry {
    fn parse(value: &Value) -> Option<Entry> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let operation = match text("operation")? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Entry {
            manager: text("manager").unwrap_or_default().to_owned(),
            operation,
            api_version: text("apiVersion").unwrap_or_default().to_owned(),
            time: text("time").map(str::to_owned),
            subresource: text("subresource").unwrap_or_default().to_owned(),
            fields: FieldSet::parse(value.get("fieldsV1").unwrap_or(&json!({})))?,
        })
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("manager".into(), json!(self.manager));
        map.insert("operation".into(), json!(format!("{:?}", self.operation)));
        map.insert("apiVersion".into(), json!(self.api_version));
        if let Some(time) = &self.time {
            map.insert("time".into(), json!(time));
        }
        map.insert("fieldsType".into(), json!("FieldsV1"));
        map.insert("fieldsV1".into(), self.fields.to_json());
        if !self.subresource.is_empty() {
            map.insert("subresource".into(), json!(self.subresource));
        }
        Value::Object(map)
    }

    /// As a conflict names it: `"kubectl-edit" using gcluster.dev/v1alpha1`.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// All records of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries(pub(super) Vec<Entry>);

impl Entries {
    /// The records of an object; none when any of them cannot be read.
    pub(super) fn parse(managed: &Value) -> Option<Entries> {
        managed.as_array()?.iter().map(Entry::parse).collect::<Option<Vec<_>>>().map(Entries)
    }

    /// The records of a stored object.
    pub(super) fn of(object: Option<&Value>) -> Entries {
        object
            .and_then(|object| object.pointer("/metadata/managedFields"))
            .and_then(Entries::parse)
            .unwrap_or_default()
    }

    /// The records that an update begins with: those that it sends, else those that are stored.
    fn received(sent: Option<&Value>, old: Option<&Value>) -> Entries {
        if sent.and_then(Value::as_array).is_some_and(|all| all.as_slice() == [json!({})]) {
            return Entries::default();
        }
        match sent.and_then(Entries::parse) {
            Some(entries) if !entries.0.is_empty() => entries,
            _ => Entries::of(old),
        }
    }

    /// Where the record of a manager is. An apply keeps one record across versions.
    pub(super) fn position(&self, operation: Operation, ctx: &ManagerCtx<'_>) -> Option<usize> {
        self.0.iter().position(|entry| {
            entry.operation == operation
                && entry.manager == ctx.manager
                && entry.subresource == ctx.subresource.unwrap_or_default()
                && (operation == Operation::Apply || entry.api_version == ctx.api_version)
        })
    }

    /// Adds an empty record and answers where it is.
    pub(super) fn add(&mut self, operation: Operation, ctx: &ManagerCtx<'_>) -> usize {
        self.0.push(Entry {
            manager: ctx.manager.to_owned(),
            operation,
            api_version: ctx.api_version.to_owned(),
            time: Some(ctx.now.to_owned()),
            subresource: ctx.subresource.unwrap_or_default().to_owned(),
            fields: FieldSet::default(),
        });
        self.0.len() - 1
    }

    /// Takes paths from every record but the one at `except`.
    pub(super) fn take_from_others(&mut self, except: Option<usize>, paths: &FieldSet) {
        for (index, entry) in self.0.iter_mut().enumerate() {
            if Some(index) != except {
                entry.fields.subtract(paths);
            }
        }
    }

    /// Joins the oldest records of updates when there are too many.
    fn cap(&mut self, ctx: &ManagerCtx<'_>) {
        self.0.retain(|entry| !entry.fields.is_empty());
        let updates = self.0.iter().filter(|entry| entry.operation == Operation::Update).count();
        if updates <= MAX_UPDATE_MANAGERS {
            return;
        }
        self.sort();
        let mut excess = updates - MAX_UPDATE_MANAGERS + 1;
        let (mut kept, mut ancient) = (Vec::new(), None::<Entry>);
        for entry in self.0.drain(..) {
            let own =
                entry.manager == ctx.manager && entry.subresource == ctx.subresource.unwrap_or_default();
            if excess == 0 || own || entry.operation == Operation::Apply {
                kept.push(entry);
                continue;
            }
            excess -= 1;
            let joined = ancient.get_or_insert_with(|| Entry { manager: ANCIENT.into(), ..entry.clone() });
            joined.fields.union(&entry.fields);
            joined.time = entry.time;
            joined.subresource = String::new();
        }
        kept.extend(ancient);
        self.0 = kept;
    }

    fn sort(&mut self) {
        self.0.sort_by(|a, b| {
            let key = |e: &Entry| (e.operation, e.time.clone(), e.manager.clone(), e.subresource.clone());
            key(a).cmp(&key(b))
        });
    }

    /// Writes the records into an object, without empty ones.
    pub(super) fn store(mut self, object: &mut Value) {
        self.0.retain(|entry| !entry.fields.is_empty());
        self.sort();
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
        if self.0.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".into(), self.0.iter().map(Entry::to_json).collect());
        }
    }
}

/// Takes `metadata.managedFields` out of an object.
pub(super) fn take_managed(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata").and_then(Value::as_object_mut).and_then(|m| m.remove("managedFields"))
}

/// Removes what belongs to the server from a set.
pub(super) fn strip(set: &mut FieldSet) {
    set.remove("f:apiVersion");
    set.remove("f:kind");
    if set.get("f:metadata").is_some() {
        let metadata = set.branch("f:metadata");
        metadata.member = false;
        for field in SERVER_FIELDS {
            metadata.below.remove(&format!("f:{field}"));
        }
    }
    set.tidy();
}

#[cfg(test)]
mod tests;
