//! Forms of output: tables, YAML, JSON, names, JSONPath templates and columns of the user's choice.

pub(crate) mod columns;
pub(crate) mod jsonpath;
pub(crate) mod psource;
pub(crate) mod structured;
pub(crate) mod table;

use std::io::{IsTerminal as _, Write};

use crate::exit::{Failure, Result};
use crate::render::Line;

/// The form that `-o` asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Format {
    /// The server's columns.
    #[default]
    Table,
    /// The server's columns, those of lower priority too.
    Wide,
    /// Whole objects as YAML.
    Yaml,
    /// Whole objects as JSON.
    Json,
    /// `agent.gcluster.dev/builder`.
    Name,
    /// P source.
    P,
    /// A template over the answer.
    JsonPath(jsonpath::Template),
    /// A table of the user's making.
    Columns(columns::Columns),
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (form, rest) = text.split_once('=').unwrap_or((text, ""));
        match (form, rest) {
            ("wide", "") => Ok(Format::Wide),
            ("yaml", "") => Ok(Format::Yaml),
            ("json", "") => Ok(Format::Json),
            ("name", "") => Ok(Format::Name),
            ("p", "") => Ok(Format::P),
            ("jsonpath", template) => jsonpath::Template::parse(template).map(Format::JsonPath),
            ("custom-columns", list) => columns::Columns::parse(list).map(Format::Columns),
            _ => {
                Err("use yaml, json, wide, name, p, jsonpath=TEMPLATE or custom-columns=HEADER:PATH,…".into())
            }
        }
    }
}

/// Writes to standard output. A reader that went away ends the command as success.
pub(crate) fn print(text: &str) -> Result {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a line of its own to standard error. Nothing can be done when that fails.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", crate::render::visible(text));
}

/// Whether standard output shows colours: a terminal, and `NO_COLOR` unset or empty.
pub(crate) fn color() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    std::io::stdout().is_terminal() && !refused && !dumb
}

/// Writes rendered lines, each after `prefix`.
pub(crate) fn print_lines(lines: &[Line], prefix: &str, color: bool) -> Result {
    let mut text = String::new();
    for line in lines {
        let shown = if color { line.colored() } else { line.text() };
        text.push_str(format!("{prefix}{shown}").trim_end());
        text.push('\n');
    }
    print(&text)
}

/// The error for a form that a verb does not have.
pub(crate) fn unsupported(verb: &str, forms: &str) -> Failure {
    Failure::usage(format!("`{verb}` has no such output form: use {forms}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_forms_are_read_and_others_refused() {
        assert_eq!("yaml".parse::<Format>(), Ok(Format::Yaml));
        assert_eq!("p".parse::<Format>(), Ok(Format::P));
        assert!(matches!("jsonpath={.a}".parse::<Format>(), Ok(Format::JsonPath(_))));
        assert!(matches!("custom-columns=A:.a".parse::<Format>(), Ok(Format::Columns(_))));
        for bad in ["xml", "yaml=x", "jsonpath={.a", "custom-columns="] {
            assert!(bad.parse::<Format>().is_err(), "{bad}");
        }
    }
}
