//! Bytes as a row of choices, and JSON documents made of them.

use serde_json::{Map, Value, json};

/// The bytes that are left. When none is left every choice is the first.
pub(crate) struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    /// Choices out of these bytes.
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// True when every further choice would be the first.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % limit.max(1)
    }

    /// One of these.
    pub(crate) fn pick<'b, T>(&mut self, from: &'b [T]) -> &'b T {
        &from[self.below(from.len())]
    }

    /// A piece of text up to the next zero byte.
    pub(crate) fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// The bytes that are left, as text.
    pub(crate) fn rest(&mut self) -> String {
        String::from_utf8_lossy(std::mem::take(&mut self.0)).into_owned()
    }

    /// A document whose fields have a few names only, so that two of them meet.
    pub(crate) fn json(&mut self, depth: usize) -> Value {
        let kinds = if depth == 0 { 5 } else { 8 };
        match self.below(kinds) {
            0 => json!("x"),
            1 => Value::Null,
            2 => json!(self.below(3)),
            3 => json!(self.below(2) == 0),
            4 => json!(self.pick(&["", "a", "b", "~", "/", "-"])),
            5 => Value::Array((0..self.below(4)).map(|_| self.json(depth - 1)).collect()),
            _ => Value::Object(self.object(depth)),
        }
    }

    /// An object of [`Self::json`].
    pub(crate) fn object(&mut self, depth: usize) -> Map<String, Value> {
        const NAMES: [&str; 8] = ["a", "b", "name", "", "~1", "a/b", "-", "0"];
        (0..self.below(4))
            .map(|_| ((*self.pick(&NAMES)).to_owned(), self.json(depth.saturating_sub(1))))
            .collect()
    }
}
