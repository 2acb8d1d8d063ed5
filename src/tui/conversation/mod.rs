//! The conversation of one iteration, the way Claude Code shows one, of any length.
//!
//! ```text
//! push(record) ─▶ parts ─▶ layout(width, height): only what is in view becomes rows ─▶ draw
//! ```
//!
//! The view is anchored to a row of a record, not to a row of the whole: what is appended, folded or laid out
//! elsewhere moves nothing that is being read. Positions in the whole are measured in bytes, which are known
//! without laying anything out. While the view follows, it is anchored to the end instead.

mod draw;
mod item;
mod rows;
mod search;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{HashMap, VecDeque};

use gcluster_types::transcript::{Entry, Record};
use k8s_openapi::jiff::Timestamp;

use super::theme::Theme;
use crate::render::transcript as words;
use item::{Item, Kind};
pub use item::{PendingMessage, PendingState};
use rows::Options;
pub use search::Hits;
use search::Search;
use view::Place;
pub use view::Scroll;

/// Bytes of source text whose rows are kept.
const KEPT_BYTES: usize = 4 << 20;
/// Parts whose rows are kept.
const KEPT_PARTS: usize = 1024;

/// Everything that one iteration said and did, and which part of it is looked at.
#[derive(Debug)]
pub struct Conversation {
    items: Vec<Item>,
    /// Bytes of all parts before each part, and of all.
    bytes: Vec<u64>,
    pending: Vec<PendingMessage>,
    /// The pending messages that the transcript does not hold, as items after the others.
    tail: Vec<Item>,
    /// Index of each message that the transcript holds, by the name of its object.
    messages: HashMap<String, usize>,
    /// Index and time of each call, by its id.
    calls: HashMap<String, usize>,
    counts: words::Conversation,
    last_text: String,
    records: usize,
    /// Number of the newest record.
    newest: Option<u64>,
    tokens_since: usize,
    ended: bool,
    options: Options,
    /// Changes with everything that changes rows.
    generation: u64,
    height: usize,
    /// First row in view; none while the view follows the end.
    anchor: Option<Place>,
    /// Index of the first part of the record that has the focus.
    focus: Option<usize>,
    /// Index after the last part in view.
    bottom: usize,
    /// Columns that are skipped at the left while lines are not wrapped.
    shift: usize,
    kept: VecDeque<usize>,
    kept_bytes: usize,
    search: Option<Search>,
}

impl Default for Conversation {
    fn default() -> Self {
        Self::new()
    }
}

impl Conversation {
    /// A conversation of which nothing has been seen.
    pub fn new() -> Self {
        Self {
            items: Vec::new(),
            bytes: vec![0],
            pending: Vec::new(),
            tail: Vec::new(),
            messages: HashMap::new(),
            calls: HashMap::new(),
            counts: words::Conversation::new(),
            last_text: String::new(),
            records: 0,
            newest: None,
            tokens_since: 0,
            ended: false,
            options: Options {
                width: 80,
                theme: Theme::default(),
                thinking: true,
                times: true,
                wrap: true,
                fold_key: "o",
                started: None,
            },
            generation: 1,
            height: 24,
            anchor: None,
            focus: None,
            bottom: 0,
            shift: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            search: None,
        }
    }

    /// Appends the record of a number. What is in view moves only while the view follows. A record that is there
    /// already, as after a reconnect, is not appended again.
    pub fn push(&mut self, number: u64, record: &Record) {
        if self.newest.is_some_and(|newest| number <= newest) {
            return;
        }
        self.newest = Some(number);
        let at = record.at.0;
        self.records += 1;
        if self.options.started.is_none() {
            self.options.started = Some(at);
            self.tally(at, Entry::Unknown);
        }
        match &record.entry {
            Entry::Prompt { text } => self.append(Kind::Prompt, at, text, true),
            Entry::Text { text } => {
                self.last_text = text.trim().to_owned();
                self.append(Kind::Text, at, text, true);
            }
            Entry::Thinking { text } => self.append(Kind::Thinking, at, text, true),
            Entry::ToolUse { id, name, detail } => {
                self.tally(at, record.entry.clone());
                self.append(Kind::Tool { name: name.clone(), failed: None }, at, detail, true);
                self.calls.insert(id.clone(), self.items.len() - 1);
            }
            Entry::ToolResult { id, text, is_error } => self.answer(at, id, text, *is_error),
            Entry::Message { from, text, name } => {
                let state = PendingState::Delivered;
                let kind = Kind::Message { from: from.clone(), state, delivery: None };
                let index = self.items.len();
                self.append(kind, at, text, true);
                if let Some(name) = name {
                    self.messages.insert(name.clone(), index);
                    self.settle();
                }
            }
            Entry::Notice { text } => self.append(Kind::Notice, at, text, true),
            Entry::Usage { tokens, .. } => {
                self.tally(at, record.entry.clone());
                self.attribute(tokens.total);
            }
            // Most backends end with the text that they have just said.
            Entry::Output { text } if text.trim() == self.last_text => {}
            Entry::Output { text } => self.append(Kind::Text, at, text, true),
            Entry::End { .. } => {
                self.ended = true;
                let mut lines = self.counts.lines(record);
                // Between the last record and the end stands an empty row already.
                lines.retain(|line| !line.0.is_empty());
                let text: Vec<String> = lines.iter().map(crate::render::Line::text).collect();
                self.append(Kind::End { lines }, at, &text.join("\n"), true);
            }
            Entry::Unknown => {}
        }
    }

    /// How many records were pushed.
    pub fn len(&self) -> usize {
        self.records
    }

    /// True before the first record.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// True after the last record.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// When the first record was received.
    pub fn started(&self) -> Option<Timestamp> {
        self.options.started
    }

    /// The messages to this iteration, in order. Those that the transcript holds show their state there; the others
    /// stand after the last record.
    pub fn set_pending(&mut self, messages: Vec<PendingMessage>) {
        if messages != self.pending {
            self.pending = messages;
            self.settle();
        }
    }

    /// The key that folds and unfolds, as notes at folds name it.
    pub fn set_fold_key(&mut self, key: &'static str) {
        self.change(|options| options.fold_key = key);
    }

    /// Folds what is open, or opens what is folded: the record that has the focus, else the last one in view that can
    /// be folded. False when there is none.
    pub fn toggle_fold(&mut self) -> bool {
        let candidate = self.focus.or_else(|| {
            let top = self.top().item;
            (top..self.bottom.min(self.items.len()))
                .rev()
                .map(|at| self.items[at].first)
                .find(|at| self.folds_at(*at))
        });
        candidate.is_some_and(|at| self.fold(at))
    }

    /// The same for the record that is drawn at a row of the view, as a click names it.
    pub fn toggle_fold_at(&mut self, row: u16) -> bool {
        match self.at_row(usize::from(row)) {
            Some(at) if at < self.items.len() => self.fold(self.items[at].first),
            _ => false,
        }
    }

    /// Opens every fold of prompts and answers, or closes all when all are open.
    pub fn toggle_fold_all(&mut self) {
        let concerned = |item: &Item| item.kind.folds() && !matches!(item.kind, Kind::Thinking);
        let any_folded = (0..self.items.len())
            .any(|at| concerned(&self.items[at]) && rows::foldable(&self.items[at]) && self.is_folded(at));
        self.hold();
        for item in self.items.iter_mut().filter(|item| concerned(item)) {
            item.open = Some(any_folded);
        }
        self.invalidate();
    }

    /// Shows thinking in full, or the first line of it.
    pub fn toggle_thinking(&mut self) {
        for item in self.items.iter_mut().filter(|item| matches!(item.kind, Kind::Thinking)) {
            item.open = None;
        }
        self.change(|options| options.thinking = !options.thinking);
    }

    /// Shows or hides times and tokens at the right edge of wide views.
    pub fn toggle_times(&mut self) {
        self.change(|options| options.times = !options.times);
    }

    /// Wraps long lines of tools, or leaves them to scrolling by columns.
    pub fn toggle_wrap(&mut self) {
        self.shift = 0;
        self.change(|options| options.wrap = !options.wrap);
    }

    /// Whether long lines of tools are wrapped.
    pub fn wraps(&self) -> bool {
        self.options.wrap
    }

    /// Text for the clipboard: of the record that has the focus, else of the last one in view.
    pub fn selected_text(&self) -> String {
        let last = self.bottom.min(self.items.len()).checked_sub(1);
        match self.focus.or_else(|| last.map(|at| self.items[at].first)) {
            Some(first) => self.text_of(first),
            None => String::new(),
        }
    }

    /// Text for the clipboard: of everything.
    pub fn whole_text(&self) -> String {
        let firsts = (0..self.items.len()).filter(|at| self.items[*at].first == *at);
        firsts.map(|at| self.text_of(at)).collect::<Vec<_>>().join("\n\n")
    }

    fn text_of(&self, first: usize) -> String {
        let parts = self.items[first..].iter().take_while(|item| item.first == first);
        let text: String = parts.map(|item| super::text::sanitize(&item.text)).collect::<Vec<_>>().join("\n");
        match &self.items[first].kind {
            Kind::Tool { name, .. } => format!("{name}({text})"),
            Kind::Message { from, .. } => format!("{from}: {text}"),
            _ => text,
        }
    }

    /// Lets the counter of the closing line see a record.
    fn tally(&mut self, at: Timestamp, entry: Entry) {
        use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
        let _ = self.counts.lines(&Record { at: MicroTime(at), entry });
    }

    fn append(&mut self, kind: Kind, at: Timestamp, text: &str, gap: bool) {
        let first = self.items.len();
        let ordinal = self.items.last().map_or(0, |item| item.ordinal + 1);
        for mut item in Item::parts(kind, at, text, gap && first > 0, first) {
            item.ordinal = ordinal;
            let so_far = self.bytes.last().copied().unwrap_or(0);
            // A record without text takes a row as well.
            self.bytes.push(so_far + item.text.len() as u64 + 16);
            self.items.push(item);
        }
        self.shifted(first, self.items.len() - first);
    }

    fn answer(&mut self, at: Timestamp, id: &str, text: &str, failed: bool) {
        let call = self.calls.remove(id);
        let adjacent = call.is_some_and(|call| call + 1 == self.items.len());
        let mut of = None;
        let mut took = None;
        if let Some(item) = call.and_then(|call| self.items.get_mut(call)) {
            if let Kind::Tool { name, failed: outcome } = &mut item.kind {
                *outcome = Some(failed);
                let detail = super::text::one_line(&item.text);
                of = (!adjacent).then(|| match detail.is_empty() {
                    true => name.clone(),
                    false => format!(
                        "{name}({})",
                        super::text::truncate(&detail, 40, self.options.theme.glyphs.ellipsis)
                    ),
                });
            }
            took = Some(at.duration_since(item.at).as_secs_f64());
            item.rows = None;
        }
        let diff = is_diff(text);
        // The answer belongs to the call above it: no empty row between them.
        self.append(Kind::Answer { of, failed, took, diff }, at, text, !adjacent);
    }

    /// Gives tokens to the last record that the agent made since tokens were counted before.
    fn attribute(&mut self, tokens: i64) {
        let from = self.tokens_since.min(self.items.len());
        let said = |item: &&mut Item| matches!(item.kind, Kind::Text | Kind::Thinking | Kind::Tool { .. });
        if let Some(item) = self.items[from..].iter_mut().rev().find(said) {
            let first = item.first;
            self.items[first].tokens += tokens;
            self.items[first].rows = None;
        }
        self.tokens_since = self.items.len();
    }

    /// Puts the state of each message where it is shown.
    fn settle(&mut self) {
        self.tail.clear();
        for message in &self.pending {
            let state = message.state.clone();
            match self.messages.get(&message.id) {
                Some(&at) => {
                    if let Kind::Message { state: shown, .. } = &mut self.items[at].kind {
                        // Whatever the object says, the transcript shows that it was delivered.
                        *shown = match state {
                            PendingState::Acknowledged => state,
                            _ => PendingState::Delivered,
                        };
                        self.items[at].rows = None;
                    }
                }
                None => {
                    let kind =
                        Kind::Message { from: message.from.clone(), state, delivery: Some(message.delivery) };
                    let at = self.items.last().map_or(Timestamp::UNIX_EPOCH, |item| item.at);
                    let mut parts = Item::parts(kind, at, &message.text, true, 0);
                    let first = self.items.len() + self.tail.len();
                    parts.iter_mut().for_each(|item| item.first = first);
                    self.tail.extend(parts);
                }
            }
        }
    }

    /// The index of every pending part has changed by what was appended before them.
    fn shifted(&mut self, from: usize, by: usize) {
        self.tail.iter_mut().for_each(|item| item.first += by);
        if let Some(place) = self.anchor.as_mut().filter(|place| place.item >= from) {
            place.item += by;
        }
    }

    fn fold(&mut self, first: usize) -> bool {
        if !self.folds_at(first) {
            return false;
        }
        self.hold();
        let open = self.is_folded(first);
        self.items[first].open = Some(open);
        for item in self.items[first..].iter_mut().take_while(|item| item.first == first) {
            item.height = None;
            item.rows = None;
        }
        self.settle_view();
        true
    }

    fn folds_at(&self, first: usize) -> bool {
        self.items.get(first).is_some_and(|item| item.kind.folds() && rows::foldable(item))
    }

    /// Whether the record that a part belongs to is folded.
    fn is_folded(&self, at: usize) -> bool {
        let Some(item) = self.items.get(self.item(at).map_or(at, |item| item.first)) else { return false };
        item.kind.folds()
            && match item.open {
                Some(open) => !open,
                None => !matches!(item.kind, Kind::Thinking) || !self.options.thinking,
            }
    }

    fn item(&self, at: usize) -> Option<&Item> {
        self.items.get(at).or_else(|| self.tail.get(at.checked_sub(self.items.len())?))
    }

    fn change(&mut self, change: impl FnOnce(&mut Options)) {
        change(&mut self.options);
        self.invalidate();
    }

    /// No row is as it was.
    fn invalidate(&mut self) {
        self.generation += 1;
        self.kept.clear();
        self.kept_bytes = 0;
        for item in self.items.iter_mut().chain(&mut self.tail) {
            item.rows = None;
        }
        self.settle_view();
    }
}

/// Whether a tool's answer is a unified diff.
fn is_diff(text: &str) -> bool {
    let mut lines = text.lines().take(60);
    let heads = |line: &str| line.starts_with("@@ -") || line.starts_with("diff --git ");
    lines.any(heads)
}
