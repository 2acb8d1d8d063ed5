//! A text box of several lines: typing, moving, selecting, undoing, with soft wrapping.
//!
//! | keys | what they do |
//! |---|---|
//! | arrows, Ctrl-B F P N, Home End, Ctrl-A E, PgUp PgDn, Ctrl-Home End | move |
//! | Ctrl or Alt with left and right, Alt-B F | by words |
//! | Shift with a move | selects; typing replaces |
//! | Backspace, Ctrl-H, Delete, Ctrl-D | delete a character |
//! | Ctrl-W, Alt-Backspace, Alt-D, Ctrl-Delete | delete a word |
//! | Ctrl-K, Ctrl-U | delete to the end, to the beginning of the line |
//! | Ctrl-Y, Alt-W | insert what was deleted last, keep what is selected for it |
//! | Ctrl-_ (Ctrl-/), Alt-Z; Alt-Shift-Z | undo; redo |
//! | Enter, Alt-Enter, Shift-Enter, Ctrl-J | new line, unless Enter submits |

mod moves;
mod rows;
#[cfg(test)]
mod tests;
mod undo;

use std::cell::Cell;
use std::ops::Range;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use undo::{History, Way};

/// Which key hands the text in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Submit {
    /// None: whoever owns the editor looks at the keys first.
    #[default]
    None,
    /// Enter; with Alt or Shift it is a new line.
    Enter,
    /// Ctrl-S. Escape asks once more when something was changed.
    CtrlS,
}

/// What a key has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditorEvent {
    /// Nothing: the key means nothing here.
    Ignored,
    /// The cursor or the selection is another.
    Moved,
    /// The text is another.
    Changed,
    /// The text is to be used.
    Submit,
    /// Escape was pressed while there are changes: once more cancels.
    Confirm,
    /// The text is to be left as it was.
    Cancel,
}

/// Text that is edited.
#[derive(Clone, Debug)]
pub struct Editor {
    text: String,
    /// Offset of the character that the cursor stands on.
    cursor: usize,
    /// The other end of the selection.
    mark: Option<usize>,
    /// Column that moving up and down keeps to.
    goal: Option<usize>,
    history: History,
    /// What was deleted last.
    killed: String,
    /// The text that counts as unchanged.
    original: String,
    submit: Submit,
    asked: bool,
    placeholder: String,
    /// Columns, rows and first row of what was drawn last: moving by pages and keeping the view need them.
    view: Cell<(usize, usize, usize)>,
}

impl Default for Editor {
    fn default() -> Self {
        Self::new("")
    }
}

impl Editor {
    /// An editor with a text, the cursor after it.
    pub fn new(text: &str) -> Self {
        let text = normalized(text);
        Self {
            cursor: text.len(),
            original: text.clone(),
            text,
            mark: None,
            goal: None,
            history: History::default(),
            killed: String::new(),
            submit: Submit::None,
            asked: false,
            placeholder: String::new(),
            view: Cell::new((80, 24, 0)),
        }
    }

    /// The same with a key that submits.
    #[must_use]
    pub fn submitting(self, submit: Submit) -> Self {
        Self { submit, ..self }
    }

    /// Shown while there is no text.
    #[must_use]
    pub fn with_placeholder(self, text: &str) -> Self {
        Self { placeholder: text.to_owned(), ..self }
    }

    /// The text.
    pub fn text(&self) -> String {
        self.text.clone()
    }

    /// True without any text.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Another text, which counts as unchanged; nothing can be undone.
    pub fn set_text(&mut self, text: &str) {
        let view = self.view.get();
        *self = Self {
            submit: self.submit,
            placeholder: std::mem::take(&mut self.placeholder),
            killed: std::mem::take(&mut self.killed),
            ..Self::new(text)
        };
        self.view.set((view.0, view.1, 0));
    }

    /// Whether the text differs from the one that it began with.
    pub fn is_dirty(&self) -> bool {
        self.text != self.original
    }

    /// The text as it is counts as unchanged from now on.
    pub fn set_clean(&mut self) {
        self.original.clone_from(&self.text);
    }

    /// The cursor to the beginning of the text.
    pub fn home(&mut self) {
        self.go(0, false);
    }

    /// What is selected.
    pub fn selected(&self) -> Option<&str> {
        self.selection().and_then(|range| self.text.get(range))
    }

    /// Inserts a text at the cursor, in place of what is selected: typing and pasting. Line ends become `\n`.
    pub fn insert(&mut self, text: &str) {
        let text = normalized(text);
        let range = self.selection().unwrap_or(self.cursor..self.cursor);
        let way = if text.chars().count() == 1 && text != "\n" { Way::Typed } else { Way::Whole };
        self.replace(range, &text, way);
    }

    /// Does what a key means.
    pub fn handle(&mut self, key: KeyEvent) -> EditorEvent {
        if key.kind == KeyEventKind::Release {
            return EditorEvent::Ignored;
        }
        let asked = std::mem::take(&mut self.asked);
        let modifiers = key.modifiers;
        let ctrl = modifiers.contains(KeyModifiers::CONTROL);
        let alt = modifiers.contains(KeyModifiers::ALT);
        let shift = modifiers.contains(KeyModifiers::SHIFT);
        let before = (self.cursor, self.mark);
        match key.code {
            KeyCode::Esc if self.submit == Submit::CtrlS && self.is_dirty() && !asked => {
                self.asked = true;
                return EditorEvent::Confirm;
            }
            KeyCode::Esc => return EditorEvent::Cancel,
            KeyCode::Enter if self.submit == Submit::Enter && !alt && !shift => return EditorEvent::Submit,
            KeyCode::Char('s') if ctrl && self.submit == Submit::CtrlS => return EditorEvent::Submit,
            KeyCode::Enter => return self.typed("\n"),
            KeyCode::Char('j') if ctrl => return self.typed("\n"),
            KeyCode::Tab if !ctrl && !alt => return self.typed("\t"),

            KeyCode::Left if ctrl || alt => self.go(self.word_before(self.cursor), shift),
            KeyCode::Right if ctrl || alt => self.go(self.word_after(self.cursor), shift),
            KeyCode::Char('b') if alt => self.go(self.word_before(self.cursor), shift),
            KeyCode::Char('f') if alt => self.go(self.word_after(self.cursor), shift),
            KeyCode::Left => self.sideways(false, shift),
            KeyCode::Right => self.sideways(true, shift),
            KeyCode::Char('b') if ctrl => self.sideways(false, shift),
            KeyCode::Char('f') if ctrl => self.sideways(true, shift),
            KeyCode::Up => self.vertical(-1, shift),
            KeyCode::Down => self.vertical(1, shift),
            KeyCode::Char('p') if ctrl => self.vertical(-1, shift),
            KeyCode::Char('n') if ctrl => self.vertical(1, shift),
            KeyCode::PageUp => self.vertical(-self.page(), shift),
            KeyCode::PageDown => self.vertical(self.page(), shift),
            KeyCode::Home if ctrl => self.go(0, shift),
            KeyCode::End if ctrl => self.go(self.text.len(), shift),
            KeyCode::Home => self.go(self.line_start(), shift),
            KeyCode::End => self.go(self.line_end(), shift),
            KeyCode::Char('a') if ctrl => self.go(self.line_start(), shift),
            KeyCode::Char('e') if ctrl => self.go(self.line_end(), shift),
            KeyCode::Char('a') if alt => {
                self.mark = Some(0);
                self.cursor = self.text.len();
            }

            KeyCode::Backspace if ctrl || alt => {
                return self.delete(self.word_before(self.cursor)..self.cursor, true);
            }
            KeyCode::Char('w') if ctrl => {
                return self.delete(self.word_before(self.cursor)..self.cursor, true);
            }
            KeyCode::Delete if ctrl || alt => {
                return self.delete(self.cursor..self.word_after(self.cursor), true);
            }
            KeyCode::Char('d') if alt => return self.delete(self.cursor..self.word_after(self.cursor), true),
            KeyCode::Backspace => return self.delete(self.before(self.cursor)..self.cursor, false),
            KeyCode::Char('h') if ctrl => return self.delete(self.before(self.cursor)..self.cursor, false),
            KeyCode::Delete => return self.delete(self.cursor..self.after(self.cursor), false),
            KeyCode::Char('d') if ctrl => return self.delete(self.cursor..self.after(self.cursor), false),
            KeyCode::Char('u') if ctrl => return self.delete(self.line_start()..self.cursor, true),
            KeyCode::Char('k') if ctrl => {
                // At the end of a line it takes the line end.
                let end = self.line_end();
                let end = if end == self.cursor { self.after(end) } else { end };
                return self.delete(self.cursor..end, true);
            }
            KeyCode::Char('w') if alt => {
                if let Some(text) = self.selected().map(str::to_owned) {
                    self.killed = text;
                    self.mark = None;
                }
            }
            KeyCode::Char('y') if ctrl && !self.killed.is_empty() => {
                let text = self.killed.clone();
                self.insert(&text);
                return EditorEvent::Changed;
            }

            KeyCode::Char('_' | '/' | '7') if ctrl => return self.undo(),
            KeyCode::Char('Z') if alt => return self.redo(),
            KeyCode::Char('z') if alt => return if shift { self.redo() } else { self.undo() },
            // Alt Gr comes as both of them.
            KeyCode::Char(c) if ctrl == alt => return self.typed(c.encode_utf8(&mut [0; 4])),
            _ => return EditorEvent::Ignored,
        }
        if before == (self.cursor, self.mark) { EditorEvent::Ignored } else { EditorEvent::Moved }
    }

    fn typed(&mut self, text: &str) -> EditorEvent {
        self.insert(text);
        EditorEvent::Changed
    }

    /// Deletes the selection, or else a range; keeps it for being inserted again where that was asked for.
    fn delete(&mut self, range: Range<usize>, keep: bool) -> EditorEvent {
        let range = self.selection().unwrap_or(range);
        if range.is_empty() {
            return EditorEvent::Ignored;
        }
        if keep {
            self.killed = self.text.get(range.clone()).unwrap_or_default().to_owned();
        }
        self.replace(range, "", Way::Deleted);
        EditorEvent::Changed
    }

    fn replace(&mut self, range: Range<usize>, text: &str, way: Way) {
        self.mark = None;
        self.goal = None;
        if range.is_empty() && text.is_empty() {
            return;
        }
        let removed = self.text.get(range.clone()).unwrap_or_default().to_owned();
        self.history.record(range.start, removed, text, self.cursor, way);
        self.text.replace_range(range.clone(), text);
        self.cursor = self.settle(range.start + text.len());
    }

    fn undo(&mut self) -> EditorEvent {
        match self.history.undo(&mut self.text) {
            Some(cursor) => self.restored(cursor),
            None => EditorEvent::Ignored,
        }
    }

    fn redo(&mut self) -> EditorEvent {
        match self.history.redo(&mut self.text) {
            Some(cursor) => self.restored(cursor),
            None => EditorEvent::Ignored,
        }
    }

    fn restored(&mut self, cursor: usize) -> EditorEvent {
        self.mark = None;
        self.goal = None;
        self.cursor = self.settle(cursor);
        EditorEvent::Changed
    }

    fn selection(&self) -> Option<Range<usize>> {
        let mark = self.mark.filter(|mark| *mark != self.cursor)?;
        Some(mark.min(self.cursor)..mark.max(self.cursor))
    }
}

/// Line ends of any convention as `\n`.
fn normalized(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
