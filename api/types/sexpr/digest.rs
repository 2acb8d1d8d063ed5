//! Identity: the ids of canonical text.
//!
//! - The **stable id** of a text is its SHA-256. Same text, same id.
//! - The **digest** of an agent is the SHA-256 of its closure: its own form, then the forms of all methods that
//!   it reaches sorted by name, then its bound arguments if there are any, with one empty line between them.
//!
//! ```text
//! (defagent "builder"
//!   (pipeline task
//!     (step "plan" (call plan))))
//!
//! (defmethod plan (task)
//!   "Plan [task].")
//!
//! (arguments :task "a todo list")
//! ```

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::Form;
use super::print::print;

/// SHA-256 of a canonical text, 64 lower-case hex digits.
pub fn stable_id(canonical_text: &str) -> String {
    hex(&Sha256::digest(canonical_text.as_bytes()))
}

/// SHA-256 over the closure of an agent, 64 lower-case hex digits.
///
/// `methods` holds the canonical form of every method that the definition reaches, `arguments` the values
/// bound to its parameters.
pub fn digest(
    definition: &str,
    methods: &BTreeMap<String, String>,
    arguments: &BTreeMap<String, String>,
) -> String {
    ids(definition, methods, arguments).1
}

/// Stable id and digest in one pass over the definition.
pub fn ids(
    definition: &str,
    methods: &BTreeMap<String, String>,
    arguments: &BTreeMap<String, String>,
) -> (String, String) {
    let mut closure = Sha256::new_with_prefix(definition.as_bytes());
    let own = closure.clone();
    for text in methods.values() {
        closure.update(b"\n\n");
        closure.update(text.as_bytes());
    }
    if let Some(text) = arguments_form(arguments) {
        closure.update(b"\n\n");
        closure.update(text.as_bytes());
    }
    (hex(&own.finalize()), hex(&closure.finalize()))
}

/// `(arguments :name "value" …)`, sorted by name; nothing without arguments.
pub fn arguments_form(arguments: &BTreeMap<String, String>) -> Option<String> {
    if arguments.is_empty() {
        return None;
    }
    let mut items = vec![Form::symbol("arguments")];
    for (name, value) in arguments {
        items.push(Form::keyword(name));
        items.push(Form::str(value));
    }
    Some(print(&Form::List(items)))
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    out
}
