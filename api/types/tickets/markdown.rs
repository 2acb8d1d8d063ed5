//! Tickets as Markdown: fields in front matter between two lines `---`, the text below is the description.
//!
//! ```text
//! ---
//! id: T-12
//! priority: high
//! ---
//! # Add avatars          ──▶ title, unless the front matter has one
//! Round ones, please.    ──▶ description
//! ```

use saphyr::{MarkedYaml, YamlData, YamlLoader};
use saphyr_parser::Parser;
use serde_json::json;

use super::{Problem, plain};
use crate::kinds::ticket::Ticket;

/// Reads the ticket of a Markdown file.
///
/// # Errors
/// All problems, with lines of the file.
pub(super) fn read(text: &str) -> Result<Vec<Ticket>, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (front, body, first) = split(text);
    let fields = fields(&front);
    let has = |name: &str| fields.iter().any(|field| field == name);
    let (heading, rest) = heading(body);
    let (title, description) = match (has("title"), heading) {
        (true, _) => (None, body),
        (false, Some(heading)) => (Some(heading), rest),
        (false, None) => {
            let message = "is missing: a line `# …` or `title: …` between two lines `---` at the top";
            return Err(vec![Problem {
                line: first,
                column: 1,
                field: "title".into(),
                message: message.into(),
            }]);
        }
    };
    let description = description.trim();
    if has("description") && !description.is_empty() {
        let message = "is told twice, above and in the text below: take one away";
        return Err(vec![Problem {
            line: first,
            column: 1,
            field: "description".into(),
            message: message.into(),
        }]);
    }
    // Behind what was written, so that its lines stay what they are.
    let mut whole = front;
    if let Some(title) = title {
        whole += &format!("title: {}\n", json!(title));
    }
    if !description.is_empty() {
        whole += &format!("description: {}\n", json!(description));
    }
    plain::read(&whole)
}

/// The front matter with its first `---`, the text below, and the line that this begins on.
fn split(text: &str) -> (String, &str, usize) {
    let is_fence = |line: &str| line.trim_end() == "---";
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| is_fence(line)) else { return (String::new(), text, 1) };
    let mut end = first.len();
    for (number, line) in lines.enumerate() {
        if is_fence(line) {
            let front = text.get(..end).unwrap_or_default().to_owned();
            return (front, text.get(end + line.len()..).unwrap_or_default(), number + 3);
        }
        end += line.len();
    }
    // A fence that is not closed: all of it is front matter, and what is wrong with it is told.
    (format!("{}\n", text.trim_end()), "", 1)
}

/// The text of the first line, when it is a heading, and what follows it.
fn heading(body: &str) -> (Option<&str>, &str) {
    let body = body.trim_start();
    let (line, rest) = body.split_once('\n').unwrap_or((body, ""));
    match line.strip_prefix('#').map(|rest| rest.trim_start_matches('#')) {
        Some(words) if words.starts_with([' ', '\t']) && !words.trim().is_empty() => {
            (Some(words.trim()), rest)
        }
        _ => (None, body),
    }
}

/// Names of the fields of the front matter; none when it cannot be read, which is told by who reads it.
fn fields(front: &str) -> Vec<String> {
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    loader.early_parse(false);
    if Parser::new_from_str(front).load(&mut loader, true).is_err() {
        return vec!["title".into()];
    }
    let documents = loader.into_documents();
    match documents.first().map(|document| &document.data) {
        Some(YamlData::Mapping(fields)) => fields
            .keys()
            .filter_map(|key| match &key.data {
                YamlData::Representation(text, _, _) => Some(text.to_string()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}
