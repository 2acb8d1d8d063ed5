//! What differs between two states of an object, as sets of paths.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::fieldset::{Branch, FieldSet, Parts, field_element, parts};
use crate::schema::node::Node;

/// The difference between two states of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Paths that are new or have another value.
    pub(super) set: FieldSet,
    /// Paths that are gone.
    pub(super) removed: FieldSet,
}

/// Compares two states; none stands for an object that does not exist.
pub(super) fn compare(old: Option<&Value>, new: Option<&Value>, node: &Node) -> Difference {
    let mut set = Branch::default();
    let mut removed = Branch::default();
    walk(old, new, Some(node), &mut set, &mut removed, 0);
    Difference { set: set.below, removed: removed.below }
}

fn walk(
    old: Option<&Value>,
    new: Option<&Value>,
    node: Option<&Node>,
    set: &mut Branch,
    removed: &mut Branch,
    depth: usize,
) {
    if old == new || same_number(old, new) {
        return;
    }
    let old_parts = old.map(|value| parts(value, node, depth));
    let new_parts = new.map(|value| parts(value, node, depth));
    let leaf = |parts: &Option<Parts<'_>>| matches!(parts, Some(Parts::Leaf));
    match (old, new) {
        (None, Some(_)) => set.member = true,
        (Some(_), None) => removed.member = true,
        _ if leaf(&old_parts) || leaf(&new_parts) => set.member = true,
        _ => {}
    }
    let old = children(old_parts, node);
    let new = children(new_parts, node);
    let elements: HashSet<&String> = old.keys().chain(new.keys()).collect();
    for element in elements {
        let (before, after) = (old.get(element), new.get(element));
        let node = after.or(before).and_then(|child| child.1);
        let (mut set_below, mut removed_below) = (Branch::default(), Branch::default());
        walk(before.map(|c| c.0), after.map(|c| c.0), node, &mut set_below, &mut removed_below, depth + 1);
        set.below.graft(element.clone(), set_below);
        removed.below.graft(element.clone(), removed_below);
    }
}

/// True for `5` and `5.0`, which clients write for one another.
fn same_number(old: Option<&Value>, new: Option<&Value>) -> bool {
    match (old, new) {
        (Some(Value::Number(old)), Some(Value::Number(new))) => {
            (old.is_f64() != new.is_f64()) && old.as_f64() == new.as_f64()
        }
        _ => false,
    }
}

type Child<'a> = (&'a Value, Option<&'a Node>);

fn children<'a>(parts: Option<Parts<'a>>, node: Option<&'a Node>) -> BTreeMap<String, Child<'a>> {
    match parts {
        Some(Parts::Fields(map)) => map
            .iter()
            .map(|(key, value)| (field_element(key), (value, node.and_then(|n| n.field(key)))))
            .collect(),
        Some(Parts::Items(items)) => {
            let node = node.and_then(|n| n.items.as_deref());
            items.into_iter().map(|(element, value)| (element, (value, node))).collect()
        }
        Some(Parts::Leaf) | None => BTreeMap::new(),
    }
}
