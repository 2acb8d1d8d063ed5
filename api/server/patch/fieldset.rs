//! Sets of field paths, in the form that `fieldsV1` stores them.
//!
//! ```text
//! {"f:spec": {"f:run": {}}, "f:metadata": {"f:finalizers": {".": {}, "v:\"a\"": {}}}}
//!    .spec.run                .metadata.finalizers  .metadata.finalizers[="a"]
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Map, Value};

use crate::schema::node::{ListType, Node};

/// Nesting below which a value is owned as a whole; objects of clients never get there.
pub(super) const MAX_DEPTH: usize = 100;

/// A set of paths. Keys are path elements as `fieldsV1` writes them: `f:name`, `k:{…}`, `v:…`, `i:0`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet(BTreeMap<String, Branch>);

/// One element of a path and what is beneath it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Branch {
    /// True when the path that ends here is in the set.
    pub(super) member: bool,
    /// The rest of longer paths.
    pub(super) below: FieldSet,
}

impl FieldSet {
    /// True when no path is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is at and beneath an element.
    pub(super) fn get(&self, element: &str) -> Option<&Branch> {
        self.0.get(element)
    }

    /// The part beneath an element, made when absent.
    pub(super) fn branch(&mut self, element: &str) -> &mut Branch {
        self.0.entry(element.to_owned()).or_default()
    }

    /// Puts a whole branch under an element unless it is empty.
    pub(super) fn graft(&mut self, element: String, branch: Branch) {
        if branch.member || !branch.below.is_empty() {
            self.0.insert(element, branch);
        }
    }

    /// Takes an element with all beneath it away.
    pub(super) fn remove(&mut self, element: &str) -> Option<Branch> {
        self.0.remove(element)
    }

    /// Adds all paths of another set.
    pub(super) fn union(&mut self, other: &FieldSet) {
        for (element, theirs) in &other.0 {
            match self.0.entry(element.clone()) {
                Entry::Vacant(vacant) => drop(vacant.insert(theirs.clone())),
                Entry::Occupied(mut mine) => {
                    mine.get_mut().member |= theirs.member;
                    mine.get_mut().below.union(&theirs.below);
                }
            }
        }
    }

    /// Takes exactly the paths of another set away.
    pub(super) fn subtract(&mut self, other: &FieldSet) {
        if other.is_empty() {
            return;
        }
        self.0.retain(|element, mine| {
            if let Some(theirs) = other.0.get(element) {
                mine.member &= !theirs.member;
                mine.below.subtract(&theirs.below);
            }
            mine.member || !mine.below.is_empty()
        });
    }

    /// The paths that are in both.
    pub(super) fn intersection(&self, other: &FieldSet) -> FieldSet {
        let mut both = FieldSet::default();
        for (element, mine) in &self.0 {
            let Some(theirs) = other.0.get(element) else { continue };
            let branch = Branch {
                member: mine.member && theirs.member,
                below: mine.below.intersection(&theirs.below),
            };
            both.graft(element.clone(), branch);
        }
        both
    }

    /// All paths as text, such as `.status.conditions[type="Ready"].reason`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.write_paths("", &mut paths);
        paths
    }

    fn write_paths(&self, prefix: &str, paths: &mut Vec<String>) {
        for (element, branch) in &self.0 {
            let path = format!("{prefix}{}", element_text(element));
            branch.below.write_paths(&path, paths);
            if branch.member {
                paths.push(path);
            }
        }
    }

    /// Reads `fieldsV1`; none when it is not of that form.
    pub(super) fn parse(fields: &Value) -> Option<FieldSet> {
        FieldSet::parse_at(fields, 0)
    }

    fn parse_at(fields: &Value, depth: usize) -> Option<FieldSet> {
        let map = fields.as_object().filter(|_| depth <= 2 * MAX_DEPTH)?;
        let mut set = FieldSet::default();
        for (key, value) in map.iter().filter(|(key, _)| *key != ".") {
            let element = canonical_element(key)?;
            let below = FieldSet::parse_at(value, depth + 1)?;
            let member = below.is_empty() || value.get(".").is_some();
            set.graft(element, Branch { member, below });
        }
        Some(set)
    }

    /// Writes `fieldsV1`.
    pub(super) fn to_json(&self) -> Value {
        let mut map = Map::new();
        for (element, branch) in &self.0 {
            let mut below = branch.below.to_json();
            if let (true, false, Value::Object(below)) = (branch.member, branch.below.is_empty(), &mut below)
            {
                below.insert(".".into(), Value::Object(Map::new()));
            }
            map.insert(element.clone(), below);
        }
        Value::Object(map)
    }

    /// All that an object says: its leaves, and the entries of maps and lists that stand for themselves.
    pub(super) fn of(value: &Value, node: Option<&Node>) -> FieldSet {
        let mut set = FieldSet::shape_of(value, node);
        set.tidy();
        set
    }

    /// Like [`FieldSet::of`], with branches also for empty lists, which are nobody's and still there.
    pub(super) fn shape_of(value: &Value, node: Option<&Node>) -> FieldSet {
        let mut branch = Branch::default();
        fill(value, node, &mut branch, 0);
        branch.below
    }
}

fn fill(value: &Value, node: Option<&Node>, branch: &mut Branch, depth: usize) {
    match parts(value, node, depth) {
        Parts::Leaf => branch.member = true,
        Parts::Fields(map) => {
            for (key, value) in map {
                let child = branch.below.branch(&field_element(key));
                fill(value, node.and_then(|n| n.field(key)), child, depth + 1);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                child.member |= empty || !node.is_some_and(|n| n.declares(key));
            }
        }
        Parts::Items(items) => {
            for (element, value) in items {
                let child = branch.below.branch(&element);
                fill(value, node.and_then(|n| n.items.as_deref()), child, depth + 1);
                child.member = true;
            }
        }
    }
}

impl FieldSet {
    /// Drops branches without any path, which empty lists leave behind.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|_, branch| {
            branch.below.tidy();
            branch.member || !branch.below.is_empty()
        });
    }
}

/// How a value is divided among managers.
pub(super) enum Parts<'v> {
    /// Not at all.
    Leaf,
    /// By its keys.
    Fields(&'v Map<String, Value>),
    /// By its items, told apart by path elements that differ from each other.
    Items(Vec<(String, &'v Value)>),
}

/// How a value is divided among managers, by the schema; without one, maps by key and lists not at all.
pub(super) fn parts<'v>(value: &'v Value, node: Option<&Node>, depth: usize) -> Parts<'v> {
    if depth > MAX_DEPTH {
        return Parts::Leaf;
    }
    match value {
        Value::Object(map) if !node.is_some_and(|n| n.atomic_map) => Parts::Fields(map),
        Value::Array(items) => {
            let Some(list) = node.map(|n| &n.list).filter(|list| **list != ListType::Atomic) else {
                return Parts::Leaf;
            };
            let item_node = node.and_then(|n| n.items.as_deref());
            let mut divided: Vec<(String, &Value)> = Vec::with_capacity(items.len());
            let mut seen = std::collections::HashSet::with_capacity(items.len());
            for item in items {
                match item_element(item, list, item_node) {
                    Some(element) if seen.insert(element.clone()) => divided.push((element, item)),
                    // An item without its keys, or twice: such a list has one owner.
                    _ => return Parts::Leaf,
                }
            }
            Parts::Items(divided)
        }
        _ => Parts::Leaf,
    }
}

/// The path element of a key.
pub(super) fn field_element(key: &str) -> String {
    format!("f:{key}")
}

fn item_element(item: &Value, list: &ListType, node: Option<&Node>) -> Option<String> {
    match list {
        ListType::Set if item.is_array() || item.is_object() => None,
        ListType::Set => Some(format!("v:{item}")),
        ListType::Map(keys) => {
            let map = item.as_object()?;
            let mut key = Map::new();
            for name in keys {
                let default = || node.and_then(|n| n.properties.get(name)).and_then(|n| n.default.as_ref());
                let value = map.get(name).or_else(default)?;
                if value.is_array() || value.is_object() {
                    return None;
                }
                key.insert(name.clone(), value.clone());
            }
            (!key.is_empty()).then(|| format!("k:{}", Value::Object(key)))
        }
        ListType::Atomic => None,
    }
}

/// The element as this module would write it, so that sets of other writers compare equal.
fn canonical_element(element: &str) -> Option<String> {
    let (kind, rest) = element.split_once(':')?;
    match kind {
        "f" => Some(element.to_owned()),
        "k" => {
            let key: Value = serde_json::from_str(rest).ok()?;
            key.is_object().then(|| format!("k:{key}"))
        }
        "v" => serde_json::from_str::<Value>(rest).ok().map(|value| format!("v:{value}")),
        "i" => rest.parse::<u64>().ok().map(|index| format!("i:{index}")),
        _ => None,
    }
}

fn element_text(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", key)) => {
            let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
            let pairs: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", pairs.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        Some((_, index)) => format!("[{index}]"),
        None => element.to_owned(),
    }
}
