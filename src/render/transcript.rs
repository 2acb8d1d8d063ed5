//! A transcript as a conversation, the way Claude Code shows one.
//!
//! ```text
//! > Work on the first open task.
//!
//! ● I will look at the backlog.
//!
//! ● Bash(ls backlog)
//!   ⎿  001-login.md
//!      002-search.md
//!      … +14 lines
//!
//! ✓ Succeeded · 1 tool use · 12.3k tokens · 41s
//! ```

use gcluster_types::kinds::agent::TokenTotals;
use gcluster_types::kinds::iteration::Phase;
use gcluster_types::transcript::{Entry, Record};
use k8s_openapi::jiff::Timestamp;

use super::{Line, Tone, age};

/// Lines of a prompt that are shown.
const PROMPT_LINES: usize = 6;
/// Lines of a tool's answer that are shown.
const RESULT_LINES: usize = 4;

/// Turns records into lines, in order. One per transcript: the closing line sums up what came before.
#[derive(Debug, Default)]
pub struct Conversation {
    started: Option<Timestamp>,
    last_text: String,
    tools: u64,
    tokens: TokenTotals,
    cost: f64,
    priced: bool,
    open: bool,
}

impl Conversation {
    /// A conversation of which nothing has been seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// The lines of the next record; none for records that only count.
    pub fn lines(&mut self, record: &Record) -> Vec<Line> {
        self.started.get_or_insert(record.at.0);
        let body = match &record.entry {
            Entry::Prompt { text } => quoted("> ", text, PROMPT_LINES),
            Entry::Text { text } => {
                self.last_text.clone_from(text);
                bullet(text)
            }
            Entry::Thinking { text } => block(Tone::Dim, "✻ ", text, usize::MAX),
            Entry::ToolUse { name, detail, .. } => {
                self.tools += 1;
                let line = Line::new(Tone::Strong, format!("● {name}"));
                vec![if detail.is_empty() { line } else { line.with(Tone::Plain, format!("({detail})")) }]
            }
            Entry::ToolResult { text, is_error, .. } => {
                let tone = if *is_error { Tone::Bad } else { Tone::Dim };
                let text = if text.trim().is_empty() { "(no output)" } else { text };
                // The answer belongs to the call above it: no empty line between them.
                self.open = false;
                block(tone, "  ⎿  ", text, RESULT_LINES)
            }
            Entry::Message { from, text, .. } => {
                block(Tone::Strong, "» ", &format!("{from}: {text}"), usize::MAX)
            }
            Entry::Notice { text } => block(Tone::Dim, "· ", text, usize::MAX),
            Entry::Usage { tokens, cost_usd } => {
                self.tokens.add(tokens);
                self.priced |= cost_usd.is_some();
                self.cost += cost_usd.unwrap_or(0.0);
                Vec::new()
            }
            // Most backends end with the text that they have just said.
            Entry::Output { text } if text.trim() == self.last_text.trim() => Vec::new(),
            Entry::Output { text } => bullet(text),
            Entry::End { phase, reason, error } => self.end(*phase, reason, error.as_deref(), record.at.0),
            Entry::Unknown => Vec::new(),
        };
        let mut lines = Vec::new();
        if !body.is_empty() {
            if self.open {
                lines.push(Line::default());
            }
            self.open = true;
        }
        lines.extend(body);
        lines
    }

    fn end(&self, phase: Phase, reason: &str, error: Option<&str>, at: Timestamp) -> Vec<Line> {
        let (mark, tone) = match phase {
            Phase::Succeeded => ("✓ Succeeded", Tone::Good),
            Phase::Failed => ("✗ Failed", Tone::Bad),
            Phase::Interrupted => ("■ Interrupted", Tone::Bad),
            Phase::Pending | Phase::Running => ("· Ended", Tone::Dim),
        };
        let mut head = mark.to_owned();
        if phase != Phase::Succeeded && !reason.is_empty() {
            head.push_str(&format!(" ({reason})"));
        }
        let mut facts = Vec::new();
        if self.tools > 0 {
            facts.push(format!("{} tool use{}", self.tools, if self.tools == 1 { "" } else { "s" }));
        }
        if self.tokens.total > 0 {
            facts.push(format!("{} tokens", age::count(self.tokens.total)));
        }
        if self.priced {
            facts.push(age::cost(self.cost));
        }
        if let Some(started) = self.started {
            facts.push(age::seconds(at.duration_since(started).as_secs_f64()));
        }
        let mut lines = vec![Line::new(tone, head).with(Tone::Dim, format!(" · {}", facts.join(" · ")))];
        if let Some(error) = error {
            lines.extend(block(Tone::Bad, "  ", error, usize::MAX));
        }
        lines
    }
}

/// The line between two iterations.
pub fn heading(iteration: &str, detail: &str) -> Line {
    let line = Line::new(Tone::Dim, "── ").with(Tone::Strong, iteration);
    if detail.is_empty() {
        line.with(Tone::Dim, " ──")
    } else {
        line.with(Tone::Dim, format!(" · {detail} ──"))
    }
}

/// Text after a bullet, its further lines indented under it.
fn bullet(text: &str) -> Vec<Line> {
    block(Tone::Plain, "● ", text, usize::MAX)
}

fn quoted(mark: &str, text: &str, limit: usize) -> Vec<Line> {
    let mut lines = block(Tone::Dim, mark, text, limit);
    lines.iter_mut().for_each(|line| line.0.retain(|(_, text)| !text.is_empty()));
    lines
}

/// `mark` before the first line, as much blank before the others; what exceeds `limit` lines is counted.
fn block(tone: Tone, mark: &str, text: &str, limit: usize) -> Vec<Line> {
    let indent = " ".repeat(mark.chars().count());
    let shown = super::visible(text);
    let all: Vec<&str> = shown.trim_matches('\n').split('\n').collect();
    // One line more is shown rather than counted: the count would take its place.
    let take = if all.len() > limit.saturating_add(1) { limit } else { all.len() };
    let mut lines: Vec<Line> = all[..take]
        .iter()
        .enumerate()
        .map(|(number, line)| {
            let head = if number == 0 { mark } else { indent.as_str() };
            Line::new(tone, format!("{head}{line}").trim_end())
        })
        .collect();
    if take < all.len() {
        lines.push(Line::new(Tone::Dim, format!("{indent}… +{} lines", all.len() - take)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(records: &[&str]) -> String {
        let mut conversation = Conversation::new();
        let mut out = String::new();
        for (second, record) in records.iter().enumerate() {
            let line = format!(r#"{{"at":"2026-01-02T03:04:{second:02}.000000Z",{record}}}"#);
            for line in conversation.lines(&serde_json::from_str(&line).unwrap()) {
                out.push_str(&line.text());
                out.push('\n');
            }
        }
        out
    }

    #[test]
    fn a_whole_iteration_reads_as_a_conversation() {
        let long = "1\\n2\\n3\\n4\\n5\\n6\\n7\\n8\\n9";
        let text = conversation(&[
            &format!(r#""type":"prompt","text":"Build it.\n{long}""#),
            r#""type":"thinking","text":"Where to begin?""#,
            r#""type":"text","text":"I will look at the backlog.\nThen I build.""#,
            r#""type":"toolUse","id":"t1","name":"Bash","detail":"ls backlog""#,
            &format!(r#""type":"toolResult","id":"t1","text":"{long}""#),
            r#""type":"toolUse","id":"t2","name":"Read","detail":"""#,
            r#""type":"toolResult","id":"t2","text":"no such file","isError":true"#,
            r#""type":"message","from":"owner","text":"tests first""#,
            r#""type":"notice","text":"retrying after a lost connection""#,
            r#""type":"hologram","x":1"#,
            r#""type":"usage","tokens":{"input":12000,"output":345},"costUSD":0.05"#,
            r#""type":"text","text":"Done.""#,
            r#""type":"output","text":"Done.""#,
            r#""type":"end","phase":"Succeeded","reason":"Completed""#,
        ]);
        crate::testing::snapshot("logs-conversation", &text);
    }

    #[test]
    fn a_failed_iteration_ends_with_reason_and_error() {
        let text = conversation(&[
            r#""type":"prompt","text":"Go.""#,
            r#""type":"end","phase":"Failed","reason":"BackendExited","error":"exit status 1\nno credit""#,
        ]);
        assert_eq!(text, "> Go.\n\n✗ Failed (BackendExited) · 1.0s\n  exit status 1\n  no credit\n");
    }

    #[test]
    fn an_output_that_was_not_said_before_is_shown() {
        let text = conversation(&[r#""type":"text","text":"a""#, r#""type":"output","text":"b""#]);
        assert_eq!(text, "● a\n\n● b\n");
    }

    #[test]
    fn output_of_an_agent_cannot_steer_the_terminal() {
        let text = conversation(&[r#""type":"text","text":"\u001b[2Jwiped""#]);
        assert_eq!(text, "● ␛[2Jwiped\n");
    }
}
