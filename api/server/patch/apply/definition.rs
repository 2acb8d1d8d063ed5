//! The definition of an agent is one thing for `gcluster apply`: its form, the methods that it reaches, its arguments.
//!
//! Kubernetes' apply treats each method as a field of its own. So a method that somebody else added would stay behind
//! when the file no longer has it, and a text that was taken over into the file would be in conflict for ever with
//! whoever wrote it first. For the manager of `gcluster apply`, and for no other:
//!
//! - methods and arguments that the file does not have go; who added them since is in conflict;
//! - a text that the file had last is the file's to change, whoever else owns the same text.

use gcluster_types::labels::MANAGER_APPLY;
use serde_json::Value;

use crate::patch::fieldset::FieldSet;

/// Parts of `spec` that hold one text under each key.
const MAPS: [&str; 2] = ["methods", "arguments"];

/// True when this apply is about a whole definition.
pub(super) fn is_whole(applied: &Value, manager: &str) -> bool {
    let text = |path: &str| applied.pointer(path).and_then(Value::as_str).unwrap_or_default();
    manager == MANAGER_APPLY
        && text("/kind") == "Agent"
        && text("/apiVersion").starts_with("gcluster.dev/")
        && applied.pointer("/spec/definition").is_some()
}

/// Takes out of the merged object what the applied definition does not have.
pub(super) fn drop_foreign(merged: &mut Value, applied: &Value) {
    for map in MAPS {
        let Some(Value::Object(all)) = merged.pointer_mut(&format!("/spec/{map}")) else { continue };
        let own = applied.pointer(&format!("/spec/{map}"));
        all.retain(|key, _| own.is_some_and(|own| own.get(key).is_some()));
        if all.is_empty()
            && own.is_none()
            && let Some(Value::Object(spec)) = merged.get_mut("spec")
        {
            spec.remove(map);
        }
    }
}

/// The texts among an applier's own fields: it set them last, for an edit takes a field away from others.
pub(super) fn had_last(own: &FieldSet) -> FieldSet {
    let mut texts = FieldSet::default();
    let Some(spec) = own.get("f:spec") else { return texts };
    for part in MAPS.iter().copied().chain(["definition"]) {
        let element = format!("f:{part}");
        if let Some(branch) = spec.below.get(&element) {
            texts.branch("f:spec").below.graft(element, branch.clone());
        }
    }
    texts
}

/// The part of a set that holds methods and arguments.
pub(super) fn texts_of(set: &FieldSet) -> FieldSet {
    let mut texts = had_last(set);
    texts.branch("f:spec").below.remove("f:definition");
    texts.tidy();
    texts
}
