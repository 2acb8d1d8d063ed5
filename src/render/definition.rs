//! What a definition says, part by part, and what differs between two of them, in the author's own text.

use std::collections::BTreeMap;

use gcluster_types::sexpr::print::print;
use gcluster_types::sexpr::program::{Body, parse_definition};
use similar::{ChangeTag, TextDiff};

/// Texts of more lines are shown as replaced: comparing them would take too long.
const LONGEST: usize = 5_000;

/// The parts of a definition by what people call them: the agent itself, its methods, its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts(BTreeMap<String, String>);

/// One part that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Such as `method "build"`.
    pub part: String,
    /// Its text before; none when it is new.
    pub before: Option<String>,
    /// Its text now; none when it is gone.
    pub after: Option<String>,
}

impl Parts {
    /// Of an agent or a revision.
    pub fn of(
        definition: &str,
        methods: &BTreeMap<String, String>,
        arguments: &BTreeMap<String, String>,
    ) -> Self {
        let own = (agent_part(), text(definition));
        let methods = methods.iter().map(|(name, form)| (method_part(name), text(form)));
        let arguments = arguments.iter().map(|(name, value)| (argument_part(name), value.clone()));
        Self(std::iter::once(own).chain(methods).chain(arguments).collect())
    }

    /// What differs in `new`, the agent itself first.
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let names = self.0.keys().chain(new.0.keys().filter(|name| !self.0.contains_key(*name)));
        let mut changes: Vec<Change> = names
            .map(|name| (name, self.0.get(name), new.0.get(name)))
            .filter(|(_, before, after)| before != after)
            .map(|(name, before, after)| Change {
                part: name.clone(),
                before: before.cloned(),
                after: after.cloned(),
            })
            .collect();
        changes.sort_by_key(|change| (change.part != agent_part(), change.part.clone()));
        changes
    }
}

/// What the agent's own form is called.
pub fn agent_part() -> String {
    "the agent itself".to_owned()
}

/// What a method is called.
pub fn method_part(name: &str) -> String {
    format!("method {name:?}")
}

/// What an argument is called.
pub fn argument_part(name: &str) -> String {
    format!("argument {name:?}")
}

/// A form as its author wrote it: a prompt, or a pipeline on one line.
pub fn text(form: &str) -> String {
    match parse_definition(form).map(|definition| definition.body) {
        Ok(Body::Prompt(text)) => text,
        Ok(Body::Pipeline(pipeline)) => {
            gcluster_lang::pipeline_source(&pipeline).unwrap_or_else(|| print(&pipeline.form()))
        }
        Err(_) => form.to_owned(),
    }
}

impl Change {
    /// `method "build": +2 -1`, or that it is new or gone.
    pub fn summary(&self) -> String {
        match (&self.before, &self.after) {
            (None, _) => format!("{} is new", self.part),
            (_, None) => format!("{} is gone", self.part),
            _ => {
                let lines = self.lines(0);
                let count = |mark: &str| lines.iter().filter(|line| line.starts_with(mark)).count();
                format!("{}: +{} -{}", self.part, count("+"), count("-"))
            }
        }
    }

    /// Lines that went (`-`) and came (`+`), with some lines of context (` `) around them.
    pub fn lines(&self, context: usize) -> Vec<String> {
        let (before, after) =
            (self.before.as_deref().unwrap_or_default(), self.after.as_deref().unwrap_or_default());
        let marked = |mark: char, text: &str| -> Vec<String> {
            text.lines().map(|line| format!("{mark}{line}")).collect()
        };
        if before.lines().count().max(after.lines().count()) > LONGEST {
            return [marked('-', before), marked('+', after)].concat();
        }
        let (before, after) = (format!("{before}\n"), format!("{after}\n"));
        let diff = TextDiff::from_lines(&before, &after);
        let mut lines = Vec::new();
        for (n, group) in diff.grouped_ops(context).iter().enumerate() {
            if n > 0 && context > 0 {
                lines.push("…".to_owned());
            }
            for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                let mark = match change.tag() {
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                    ChangeTag::Equal => ' ',
                };
                lines.push(format!("{mark}{}", change.value().trim_end_matches('\n')).trim_end().to_owned());
            }
        }
        // An absent text is not one empty line.
        lines.retain(|line| !(line == "-" && self.before.is_none() || line == "+" && self.after.is_none()));
        lines
    }

    /// The same, at most so many lines; says how many there are more.
    pub fn short(&self, context: usize, most: usize) -> Vec<String> {
        let mut lines = self.lines(context);
        if lines.len() > most {
            let more = lines.len() - most;
            lines.truncate(most);
            lines.push(format!("… {more} more lines"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(prompt: &str, arguments: &[(&str, &str)]) -> Parts {
        let methods = [("build".to_owned(), format!("(defmethod build ()\n  \"{prompt}\")"))].into();
        let arguments = arguments.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Parts::of("(defagent \"a\"\n  (pipeline\n    (step \"build\" (loop build))))", &methods, &arguments)
    }

    #[test]
    fn changes_are_told_in_the_authors_text() {
        let (old, new) = (parts("One.\\nTwo.\\nThree.", &[]), parts("One.\\n2.\\nThree.", &[("k", "v")]));
        let changes = old.changes(&new);
        let told: Vec<String> = changes.iter().map(Change::summary).collect();
        assert_eq!(told, ["argument \"k\" is new", "method \"build\": +1 -1"]);
        assert_eq!(changes[1].lines(1), [" One.", "-Two.", "+2.", " Three."]);
        assert_eq!(changes[1].short(0, 1), ["-Two.", "… 1 more lines"]);
        assert_eq!(changes[0].lines(1), ["+v"]);
        assert_eq!(old.changes(&old), []);
        assert_eq!(text("(defagent \"a\"\n  (pipeline\n    (step \"build\" (loop build))))"), "loop(build)");
    }
}
