//! Errors and warnings with their place, and how people see them.
//!
//! ```text
//! team.p:4:10: error: no method is named `plam`
//!         task -> plam -> loop(build)
//!                 ^
//!   help: did you mean `plan`?
//! ```

use std::fmt;
use std::path::PathBuf;

use unicode_width::UnicodeWidthChar as _;

use crate::source::Source;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The program is read all the same.
    Warning,
    /// Nothing of the program may be sent or run.
    Error,
}

/// What it is about; the text of the message says it in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// Bytes that are no UTF-8.
    Encoding,
    /// A line that is indented, but not with tabs or not below a header.
    Indentation,
    /// A header without a body, or a line that looks like a header and is none.
    Header,
    /// `@` with an unclosed parenthesis.
    Invocation,
    /// An import that cannot be read, or that leads back to itself.
    Import,
    /// A body that begins like a pipeline and is none.
    Pipeline,
    /// A step names a method that does not exist. `eval` prints the form all the same and warns.
    UndefinedMethod,
    /// A pipeline that reaches itself.
    Recursion,
    /// An agent's name of which no object name can be made, or which another agent has taken.
    AgentName,
    /// Arguments that do not fit an agent's parameters.
    Arguments,
    /// A parameter listed twice, or left without an argument.
    Parameter,
    /// An execution line, which means nothing to whoever applies agents.
    ExecutionLine,
    /// A body that is nearly a pipeline and is read as prose.
    Prose,
    /// More problems than are listed.
    More,
}

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What it is about.
    pub code: Code,
    /// The file, as the user or the import named it.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// The line itself; of a very long one the part around the column.
    pub source_line: String,
    /// Characters of `source_line` before the caret.
    pub caret: usize,
    /// What to do.
    pub help: Option<String>,
}

/// Characters shown on each side of the caret when a line is too long to be shown whole.
const AROUND: usize = 80;

impl Diagnostic {
    /// A problem at a byte offset of a source.
    pub(crate) fn at(source: &Source<'_>, offset: usize, code: Code, message: impl Into<String>) -> Self {
        let (line, start, text) = source.line_at(offset);
        let before = text.get(..offset.saturating_sub(start).min(text.len())).unwrap_or_default();
        let column = before.chars().count() + 1;
        let (source_line, caret) = window(text, before);
        Self {
            severity: Severity::Error,
            code,
            file: source.path.clone(),
            line,
            column,
            message: message.into(),
            source_line,
            caret,
            help: None,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The same problem as a warning, for commands that go on in spite of it.
    pub fn into_warning(self) -> Self {
        self.warning()
    }
}

/// The part of a line around the end of `before`, and how many characters of it stand before the caret.
fn window(text: &str, before: &str) -> (String, usize) {
    let after = &text[before.len()..];
    let from = before.char_indices().rev().nth(AROUND).map(|(n, c)| n + c.len_utf8());
    let to = after.char_indices().nth(AROUND).map(|(n, _)| n);
    let mut shown = String::new();
    if from.is_some() {
        shown.push('…');
    }
    let lead = &before[from.unwrap_or(0)..];
    let caret = usize::from(from.is_some()) + lead.chars().count();
    shown.push_str(lead);
    shown.push_str(&after[..to.unwrap_or(after.len())]);
    if to.is_some() {
        shown.push('…');
    }
    (shown, caret)
}

impl fmt::Display for Diagnostic {
    /// Several lines without a newline at the end: place and message, the line, the caret, the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{}:{}: {severity}: {}", self.file.display(), self.line, self.column, self.message)?;
        if !self.source_line.is_empty() {
            write!(f, "\n    ")?;
            self.source_line.chars().map(visible).try_for_each(|c| write!(f, "{c}"))?;
            write!(f, "\n    ")?;
            for c in self.source_line.chars().take(self.caret).map(visible) {
                // A tab stays a tab, so that the caret stands right whatever the tab's width.
                match c {
                    '\t' => write!(f, "\t")?,
                    c => write!(f, "{}", " ".repeat(c.width().unwrap_or(0)))?,
                }
            }
            write!(f, "^")?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Control characters would play with the reader's terminal.
fn visible(c: char) -> char {
    if c != '\t' && c.is_control() { '\u{fffd}' } else { c }
}

/// Collects the problems of one file; beyond a limit it only counts.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    listed: Vec<Diagnostic>,
    dropped: usize,
}

/// Problems listed for one file. A file of another kind would give one for each line.
const LIMIT: usize = 500;

impl Sink {
    /// `make` is called only when the problem will be listed.
    pub(crate) fn push(&mut self, make: impl FnOnce() -> Diagnostic) {
        if self.listed.len() < LIMIT {
            self.listed.push(make());
        } else {
            self.dropped += 1;
        }
    }

    /// The problems in order of their place.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.listed.sort_by_key(|d| (d.line, d.column));
        if let (Some(last), 1..) = (self.listed.last(), self.dropped) {
            let more = Diagnostic {
                code: Code::More,
                message: format!("{} more problems in this file are not listed", self.dropped),
                source_line: String::new(),
                caret: 0,
                help: None,
                ..last.clone()
            };
            self.listed.push(more);
        }
        self.listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, offset: usize) -> String {
        let source = Source::new("a.p".into(), text.into());
        Diagnostic::at(&source, offset, Code::Header, "wrong").help("do this").to_string()
    }

    #[test]
    fn the_caret_stands_under_its_character() {
        assert_eq!(rendered("ab cd", 3), "a.p:1:4: error: wrong\n    ab cd\n       ^\n  help: do this");
        assert_eq!(rendered("\tx\ty", 3), "a.p:1:4: error: wrong\n    \tx\ty\n    \t \t^\n  help: do this");
        let combined = "漢e\u{301}x";
        assert_eq!(
            rendered(combined, 6),
            format!("a.p:1:4: error: wrong\n    {combined}\n       ^\n  help: do this")
        );
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert!(!rendered("a\u{1b}[31mb", 0).contains('\u{1b}'));
    }

    #[test]
    fn a_long_line_is_shown_around_the_caret() {
        let source = Source::new("a.p".into(), format!("{}X{}", "a".repeat(1000), "b".repeat(1000)).into());
        let diagnostic = Diagnostic::at(&source, 1000, Code::Header, "wrong");
        assert_eq!(diagnostic.column, 1001);
        assert_eq!(diagnostic.source_line.chars().count(), 2 * AROUND + 2);
        assert_eq!(diagnostic.source_line.chars().nth(diagnostic.caret), Some('X'));
    }

    #[test]
    fn beyond_the_limit_problems_are_counted() {
        let source = Source::new("a.p".into(), "x".into());
        let mut sink = Sink::default();
        for _ in 0..LIMIT + 3 {
            sink.push(|| Diagnostic::at(&source, 0, Code::Header, "wrong"));
        }
        let all = sink.finish();
        assert_eq!(all.len(), LIMIT + 1);
        assert_eq!(
            all.last().map(|d| d.message.as_str()),
            Some("3 more problems in this file are not listed")
        );
    }
}
