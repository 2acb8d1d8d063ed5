//! What the search line means: `text`, `!text`, `-l key=value`.

use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use super::fleet::AgentRow;
use super::tickets::TicketRow;

/// Which agents are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    text: String,
    words: Vec<(bool, String)>,
    labels: Vec<(String, Test)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Test {
    Exists,
    Is(String),
    IsNot(String),
}

impl Filter {
    /// Reads a search line. Every word must hold; a word with `!` must not. Nothing is a syntax error: what is
    /// half typed means what it can.
    pub fn parse(text: &str) -> Self {
        let mut filter = Self { text: text.to_owned(), ..Self::default() };
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            if let Some(attached) = word.strip_prefix("-l") {
                let selector = if attached.is_empty() { words.next().unwrap_or_default() } else { attached };
                filter.labels.extend(selector.split(',').filter(|one| !one.is_empty()).map(test));
                continue;
            }
            let (inverse, word) = match word.strip_prefix('!') {
                Some(word) => (true, word),
                None => (false, word),
            };
            if !word.is_empty() {
                filter.words.push((inverse, word.to_lowercase()));
            }
        }
        filter
    }

    /// As it was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True when it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.labels.is_empty()
    }

    /// True when an agent is shown: its name, its state and the methods of its steps are searched.
    pub fn matches(&self, row: &AgentRow) -> bool {
        let name = row.key.name();
        let holds = |word: &str| {
            name.contains(word)
                || row.standing.word.contains(word)
                || row.steps.iter().any(|step| step.shown.to_lowercase().contains(word))
        };
        self.holds(holds, &row.labels)
    }

    /// True when a ticket is shown: its id, name, title, state, reason, pool, branch and tags are searched.
    pub fn matches_ticket(&self, row: &TicketRow) -> bool {
        if self.is_empty() {
            return true;
        }
        let phase = format!("{:?}", row.phase);
        let texts = [row.key.name(), &row.id, &row.title, &phase, &row.reason, &row.pool, &row.branch];
        let texts: Vec<String> =
            texts.into_iter().chain(row.tags.iter().map(String::as_str)).map(str::to_lowercase).collect();
        self.holds(|word| texts.iter().any(|text| text.contains(word)), &row.labels)
    }

    fn holds(&self, holds: impl Fn(&str) -> bool, labels: &BTreeMap<String, String>) -> bool {
        self.words.iter().all(|(inverse, word)| holds(word) != *inverse)
            && self.labels.iter().all(|(key, test)| {
                let value = labels.get(key);
                match test {
                    Test::Exists => value.is_some(),
                    Test::Is(wanted) => value == Some(wanted),
                    Test::IsNot(unwanted) => value != Some(unwanted),
                }
            })
    }
}

fn test(selector: &str) -> (String, Test) {
    if let Some((key, value)) = selector.split_once("!=") {
        return (key.to_owned(), Test::IsNot(value.to_owned()));
    }
    match selector.split_once('=') {
        Some((key, value)) => (key.to_owned(), Test::Is(value.trim_start_matches('=').to_owned())),
        None => (selector.to_owned(), Test::Exists),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fleet::{Key, StepRow};
    use super::*;

    fn row() -> AgentRow {
        let mut row = AgentRow { key: Key::new("default", "builder"), ..AgentRow::default() };
        row.standing.word = "working".into();
        row.labels.insert("team".into(), "core".into());
        row.steps.push(StepRow { shown: "loop(Compile)".into(), ..StepRow::default() });
        row
    }

    #[test]
    fn words_labels_and_their_inverse_select() {
        for (text, shown) in [
            ("", true),
            ("BUILD", true),
            ("compile", true),
            ("work", true),
            ("build !done", true),
            ("!build", false),
            ("nothing", false),
            ("-l team=core", true),
            ("-lteam=core build", true),
            ("-l team!=core", false),
            ("-l team", true),
            ("-l other", false),
            ("-l", true),
            ("!", true),
        ] {
            assert_eq!(Filter::parse(text).matches(&row()), shown, "{text}");
        }
        assert!(Filter::parse(" ! -l ").is_empty());
    }
}
