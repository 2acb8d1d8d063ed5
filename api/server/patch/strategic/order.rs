//! The order of a merged list: as the patch says, and what only the server has keeps its place among it.

use serde_json::Value;

use super::{DIRECTIVE, StrategicError, Strategy};

/// What an item is told apart by.
fn identity(strategy: Strategy, item: &Value) -> Option<&Value> {
    match strategy {
        Strategy::Key(key) => item.get(key),
        Strategy::Values | Strategy::Replace => Some(item),
    }
}

fn position(strategy: Strategy, list: &[Value], item: &Value) -> Option<usize> {
    let wanted = identity(strategy, item)?;
    list.iter().position(|other| identity(strategy, other) == Some(wanted))
}

/// What a patch sets must be in its list of the order, and in that order.
pub(super) fn validate(
    strategy: Strategy,
    field: &str,
    items: &[Value],
    order: &[Value],
) -> Result<(), StrategicError> {
    let mut from = 0;
    for item in items.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        match position(strategy, order.get(from..).unwrap_or_default(), item) {
            Some(at) => from += at + 1,
            None => {
                let why =
                    format!("the order in the patch list {field} does not match $setElementOrder/{field}");
                return Err(StrategicError::Malformed(why));
            }
        }
    }
    Ok(())
}

/// Brings the items that `order` names into that order; the others are put before the first named item that they
/// preceded in `live`.
pub(super) fn ordered(strategy: Strategy, merged: Vec<Value>, order: &[Value], live: &[Value]) -> Vec<Value> {
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| position(strategy, order, item).is_some());
    named.sort_by_key(|item| position(strategy, order, item));
    others.sort_by_key(|item| position(strategy, live, item).unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(name), Some(other)) = (named.peek(), others.peek()) {
        let before = match (position(strategy, live, other), position(strategy, live, name)) {
            (Some(other), Some(name)) => other < name,
            _ => false,
        };
        out.extend(if before { others.next() } else { named.next() });
    }
    out.extend(named);
    out.extend(others);
    out
}
