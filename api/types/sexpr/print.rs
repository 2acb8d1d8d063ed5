//! The canonical printer: two blanks a level, LF, no newline at the end.
//!
//! ```
//! use gcluster_types::sexpr::print::quote;
//! assert_eq!(quote("a\t\"é\"\u{a0}"), r#""a\t\"é\"\u00a0""#);
//! ```
//!
//! A definition, a pipeline and a program take one line for each part; every other list takes one line.

use std::fmt::Write as _;

use super::Form;
use super::digest::stable_id;
use super::unicode::is_printable;

/// Hex digits of an id that `; id=` shows.
pub const SHORT_ID: usize = 8;

/// The canonical text of a form, without a newline at the end.
pub fn print(form: &Form) -> String {
    let mut out = String::new();
    write(&mut out, form, 0);
    out
}

/// `(program …)` around the canonical texts of top-level forms, each under a comment with its short id.
pub fn print_program<'a>(forms: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::from("(program");
    for (n, text) in forms.into_iter().enumerate() {
        out.push_str(if n == 0 { "\n" } else { "\n\n" });
        out.push_str("  ");
        out.push_str(&id_comment(text));
        for line in text.split('\n') {
            out.push_str("\n  ");
            out.push_str(line);
        }
    }
    out.push(')');
    out
}

/// `; id=` and the first hex digits of the id of a canonical text.
pub fn id_comment(text: &str) -> String {
    let mut id = stable_id(text);
    id.truncate(SHORT_ID);
    format!("; id={id}")
}

/// A string between quotes, escaped.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quote_into(&mut out, text);
    out
}

/// Appends a string between quotes, escaped.
pub fn quote_into(out: &mut String, text: &str) {
    out.push('"');
    escape_into(out, text);
    out.push('"');
}

/// Appends the inside of a quoted string: printable characters as they are, the others as `\n`, `\t`,
/// `\x1f`, `\u00a0` or `\U000e0001`.
pub fn escape_into(out: &mut String, text: &str) {
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if PLAIN[byte as usize] {
            at += 1;
            continue;
        }
        let Some(c) = text[at..].chars().next() else { break };
        let next = at + c.len_utf8();
        if byte < 0x80 || !is_printable(c) {
            out.push_str(&text[plain_from..at]);
            escape_char(out, c);
            plain_from = next;
        }
        at = next;
    }
    out.push_str(&text[plain_from..]);
}

/// ASCII that a string shows as it is.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        plain[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    plain
};

fn escape_char(out: &mut String, c: char) {
    let short = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\x0c' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\x0b' => "\\v",
        _ => "",
    };
    let code = u32::from(c);
    // Writing to a String cannot fail.
    let _ = match code {
        _ if !short.is_empty() => out.write_str(short),
        0..0x80 => write!(out, "\\x{code:02x}"),
        0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

fn write(out: &mut String, form: &Form, level: usize) {
    let Form::List(items) = form else { return write_inline(out, form) };
    if form.head() == Some("program") {
        return write_program(out, items, level);
    }
    let on_first_line = match form.head() {
        Some("defmethod" | "defpipeline") => 3,
        Some("defagent") => 2,
        Some("pipeline") => items.iter().take_while(|item| !matches!(item, Form::List(_))).count(),
        _ => return write_inline(out, form),
    };
    out.push('(');
    for (n, item) in items.iter().enumerate() {
        if n >= on_first_line {
            new_line(out, level + 1);
            write(out, item, level + 1);
        } else {
            if n > 0 {
                out.push(' ');
            }
            write_inline(out, item);
        }
    }
    out.push(')');
}

fn write_inline(out: &mut String, form: &Form) {
    match form {
        Form::Symbol(text) => out.push_str(text),
        Form::Keyword(text) => {
            out.push(':');
            out.push_str(text);
        }
        Form::Str(text) => quote_into(out, text),
        Form::List(items) => {
            out.push('(');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(' ');
                }
                write_inline(out, item);
            }
            out.push(')');
        }
    }
}

fn write_program(out: &mut String, items: &[Form], level: usize) {
    out.push_str("(program");
    for (n, item) in items.iter().enumerate().skip(1) {
        if n > 1 {
            out.push('\n');
        }
        new_line(out, level + 1);
        out.push_str(&id_comment(&print(item)));
        new_line(out, level + 1);
        write(out, item, level + 1);
    }
    out.push(')');
}

fn new_line(out: &mut String, level: usize) {
    out.push('\n');
    for _ in 0..level {
        out.push_str("  ");
    }
}
