//! What a conversation is made of: records, the long ones in parts.
//!
//! A part is what is laid out at once. It is small enough that laying it out takes well under a millisecond, whatever
//! the record's length; all parts of a record share one fold.

use gcluster_types::kinds::message::Delivery;
use k8s_openapi::jiff::Timestamp;
use ratatui::text::Line;

use crate::render;

/// Bytes of a text that are laid out at once; a part ends at the next good place after them.
pub(super) const PART: usize = 8 * 1024;

/// A message to the agent that is not part of its transcript yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingMessage {
    /// Name of the Message object.
    pub id: String,
    /// Who sent it.
    pub from: String,
    /// The text.
    pub text: String,
    /// How it is to reach the agent.
    pub delivery: Delivery,
    /// Where it stands.
    pub state: PendingState,
}

/// Where a message stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingState {
    /// On its way to the master.
    Sending,
    /// The master has it.
    Pending,
    /// The agent's program has it.
    Delivered,
    /// The agent's program confirmed that the model was given it.
    Acknowledged,
    /// It was refused, and why.
    Failed(String),
    /// Its iteration ended before it was delivered.
    Expired,
}

/// What a record is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Prompt,
    Text,
    Thinking,
    /// A call, and whether it failed once it has an answer.
    Tool {
        name: String,
        failed: Option<bool>,
    },
    /// An answer; `of` names the call where that does not stand right above, `took` is in seconds.
    Answer {
        of: Option<String>,
        failed: bool,
        took: Option<f64>,
        diff: bool,
    },
    Message {
        from: String,
        state: PendingState,
        delivery: Option<Delivery>,
    },
    Notice,
    End {
        lines: Vec<render::Line>,
    },
}

impl Kind {
    /// Whether a long one is folded before anybody asks.
    pub(super) fn folds(&self) -> bool {
        matches!(self, Kind::Prompt | Kind::Thinking | Kind::Answer { .. })
    }
}

/// One part of a record.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) at: Timestamp,
    pub(super) text: String,
    /// Index of the record's first part; that one holds the fold.
    pub(super) first: usize,
    /// No further part of the record follows.
    pub(super) last: bool,
    /// An empty row stands before it.
    pub(super) gap: bool,
    /// The line that opened the fenced code in the middle of which the part begins.
    pub(super) fence: Option<String>,
    /// Source lines of the whole record.
    pub(super) source_lines: usize,
    /// Open or folded, once somebody has asked for it.
    pub(super) open: Option<bool>,
    /// Tokens that were counted after it and before any other record.
    pub(super) tokens: i64,
    /// Records before it.
    pub(super) ordinal: usize,
    /// Rows, and the options under which it has so many.
    pub(super) height: Option<(u64, usize)>,
    /// The rows themselves, under the same options.
    pub(super) rows: Option<Vec<Line<'static>>>,
}

impl Item {
    /// The parts of a record; at least one.
    pub(super) fn parts(kind: Kind, at: Timestamp, text: &str, gap: bool, first: usize) -> Vec<Item> {
        let source_lines = text.trim_matches('\n').bytes().filter(|byte| *byte == b'\n').count() + 1;
        let parts = split(text.trim_matches('\n'), PART);
        let count = parts.len();
        parts
            .into_iter()
            .enumerate()
            .map(|(at_part, (text, fence))| Item {
                kind: kind.clone(),
                at,
                text: text.to_owned(),
                first,
                last: at_part + 1 == count,
                gap: gap && at_part == 0,
                fence,
                source_lines,
                open: None,
                tokens: 0,
                ordinal: 0,
                height: None,
                rows: None,
            })
            .collect()
    }
}

/// Cuts a long text at empty lines, else at line ends, else between words, each part with the line that opened the
/// fence it begins in. Linear.
pub(super) fn split(text: &str, size: usize) -> Vec<(&str, Option<String>)> {
    if text.len() <= 2 * size {
        return vec![(text, None)];
    }
    let mut parts = Vec::new();
    let mut fence: Option<&str> = None;
    let mut begun_in: Option<&str> = None;
    let mut start = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        let mark = line.trim_start();
        if mark.starts_with("```") || mark.starts_with("~~~") {
            fence = if fence.is_some() { None } else { Some(line.trim_end()) };
        }
        // One line that is longer than a part.
        while end - start > 2 * size {
            let cut = word_end(text, start + size, (start + size + size / 2).min(end));
            parts.push((&text[start..cut], begun_in.map(str::to_owned)));
            start = cut;
            begun_in = fence;
        }
        let long = end - start;
        if (long >= size && line.trim().is_empty() && fence.is_none()) || long >= size + size / 2 {
            parts.push((text[start..end].trim_end_matches('\n'), begun_in.map(str::to_owned)));
            start = end;
            begun_in = fence;
        }
        at = end;
    }
    if start < text.len() || parts.is_empty() {
        parts.push((&text[start..], begun_in.map(str::to_owned)));
    }
    parts
}

/// The end of a word between two offsets, else the next character's beginning.
fn word_end(text: &str, from: usize, to: usize) -> usize {
    let bytes = text.as_bytes();
    let limit = to.min(text.len());
    if let Some(blank) = (from..limit).find(|at| bytes[*at] == b' ' || bytes[*at] == b'\n') {
        return blank + 1;
    }
    (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_part_knows_the_fence_it_begins_in() {
        let text = format!("intro\n\n```rust\n{}```\nafter\n", "let x = 1;\n".repeat(60));
        let parts = split(&text, 100);
        assert!(parts.len() > 3);
        assert_eq!(parts[1].1.as_deref(), Some("```rust"));
    }

    proptest! {
        #[test]
        fn parts_hold_the_whole_text_and_are_small(text in "([a-z日]{0,30}|\n|\n\n| |```\n){0,80}", size in 8_usize..40) {
            let parts = split(&text, size);
            let solid = |text: &str| text.chars().filter(|c| *c != '\n').collect::<String>();
            prop_assert_eq!(solid(&parts.iter().map(|(text, _)| *text).collect::<String>()), solid(&text));
            for (part, _) in &parts {
                prop_assert!(part.len() <= 2 * size + 4, "{}", part.len());
            }
        }
    }
}
