//! What changed between two revisions, told in the prompts' own text rather than in canonical forms.

use std::collections::BTreeMap;

use gcluster_types::AgentRevision;
use gcluster_types::kinds::revision::AgentRevisionSpec;
use gcluster_types::sexpr::program::{Body, StepCall, parse_definition};
use ratatui::text::{Line, Span};
use similar::{ChangeTag, TextDiff};

use crate::tui::text::{flow, one_line, sanitize, truncate};
use crate::tui::theme::Theme;

/// Lines of context around a change.
const CONTEXT: usize = 3;
/// Texts of more lines are shown as replaced: comparing them takes longer than a frame.
const LONGEST: usize = 2_000;

/// The differences of every part that differs, the agent itself first. Without an older revision, the whole text.
pub fn revision_diff(
    old: Option<&AgentRevision>,
    new: &AgentRevision,
    columns: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let before = old.map(|old| parts(&old.spec)).unwrap_or_default();
    let after = parts(&new.spec);
    let mut names: Vec<&String> =
        after.keys().chain(before.keys().filter(|name| !after.contains_key(*name))).collect();
    names.sort();
    let mut lines = Vec::new();
    for name in names {
        let (was, is) = (before.get(name), after.get(name));
        if was == is {
            continue;
        }
        let note = match (was, is, old) {
            (_, _, None) => "",
            (None, _, _) => " (new)",
            (_, None, _) => " (removed)",
            _ => "",
        };
        let title = format!("{}{note}", name.trim_start_matches(char::from(0)));
        let title = truncate(&one_line(&title), columns, theme.glyphs.ellipsis).into_owned();
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.push(Line::from(Span::styled(title, theme.strong)));
        match (was, is, old) {
            (_, Some(text), None) => lines.extend(plain(text, columns, theme)),
            (was, is, _) => lines.extend(changes(
                was.map_or("", String::as_str),
                is.map_or("", String::as_str),
                columns,
                theme,
            )),
        }
    }
    if lines.is_empty() {
        lines.push(Line::from(Span::styled("nothing that is executed", theme.dim)));
    }
    lines
}

/// The text of a canonical form: a prompt's own words, a pipeline's steps one a line; any other form as it is.
pub fn form_text(form: &str) -> String {
    match parse_definition(form).map(|definition| definition.body) {
        Ok(Body::Prompt(text)) => text,
        Ok(Body::Pipeline(pipeline)) => {
            let mut lines: Vec<String> =
                pipeline.input.iter().map(|input| format!("begins with [{input}]")).collect();
            lines.extend(pipeline.steps.iter().map(|step| {
                let does = match &step.kind {
                    StepCall::Call { method } => method.clone(),
                    StepCall::Map { reference, method } => format!("map({reference}, {method})"),
                    StepCall::Loop { method } => format!("loop({method})"),
                };
                if step.label == does { does } else { format!("{}: {does}", step.label) }
            }));
            lines.join("\n")
        }
        Err(_) => form.to_owned(),
    }
}

/// The texts of a revision by the names under which they are shown.
fn parts(spec: &AgentRevisionSpec) -> BTreeMap<String, String> {
    let mut parts: BTreeMap<String, String> =
        spec.methods.iter().map(|(name, form)| (name.clone(), form_text(form))).collect();
    // The agent comes before its methods whatever these are called.
    parts.insert("\0the agent".to_owned(), form_text(&spec.definition));
    if !spec.arguments.is_empty() {
        let lines: Vec<String> =
            spec.arguments.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        parts.insert("\0the arguments".to_owned(), lines.join("\n"));
    }
    parts
}

fn plain(text: &str, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let indent = [(theme.text, "  ".to_owned())];
    flow(&[(theme.text, sanitize(text).into_owned())], columns, &indent, &indent)
}

fn changes(old: &str, new: &str, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let (old, new) = (sanitize(old), sanitize(new));
    let row = |sign: &str, text: &str| {
        let style = match sign {
            "+" => theme.good,
            "-" => theme.bad,
            _ => theme.dim,
        };
        let (first, rest) = ([(style, format!("{sign} "))], [(style, "  ".to_owned())]);
        flow(&[(style, text.trim_end_matches('\n').to_owned())], columns, &first, &rest)
    };
    if old.lines().count().max(new.lines().count()) > LONGEST {
        let mut lines: Vec<Line<'static>> = old.lines().flat_map(|line| row("-", line)).collect();
        lines.extend(new.lines().flat_map(|line| row("+", line)));
        return lines;
    }
    let lines_of = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines_of(&old), lines_of(&new));
    let (old, new): (Vec<&str>, Vec<&str>) =
        (old.iter().map(String::as_str).collect(), new.iter().map(String::as_str).collect());
    let diff = TextDiff::from_slices(&old, &new);
    let mut out = Vec::new();
    for (number, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if number > 0 {
            out.push(Line::from(Span::styled(theme.glyphs.ellipsis, theme.border)));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Insert => "+",
                ChangeTag::Delete => "-",
                ChangeTag::Equal => " ",
            };
            out.extend(row(sign, change.value()));
        }
    }
    out
}
