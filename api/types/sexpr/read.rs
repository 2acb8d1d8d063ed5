//! The reader: the exact inverse of the printer.
//!
//! ```
//! use gcluster_types::sexpr::{Form, read::{read, read_all}};
//! assert_eq!(read("(text \"a\")").unwrap(), Form::List(vec![Form::symbol("text"), Form::str("a")]));
//! assert_eq!(read_all("; a comment\n(a) (b)").unwrap().len(), 2);
//! assert_eq!(read("(text \"a)").unwrap_err().to_string(), "1:7: the string is not closed");
//! ```
//!
//! White space and `;` comments between forms mean nothing, so text laid out by hand reads too; whoever needs
//! the canonical layout compares with what the printer makes of it.

use thiserror::Error;

use super::Form;

/// Deepest nesting of lists. Programs need six levels; the rest guards the stack.
pub const MAX_DEPTH: usize = 64;

/// Why a text is no S-expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{line}:{column}: {problem}")]
pub struct ReadError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// The text holds no form.
    #[error("a form is expected, but the text ends")]
    Empty,
    /// There is more text after the one form.
    #[error("one form is expected, but more text follows it")]
    Trailing,
    /// A list has no closing parenthesis.
    #[error("the parenthesis is not closed")]
    OpenList,
    /// A closing parenthesis that belongs to no list.
    #[error("the closing parenthesis has no opening one")]
    StrayClose,
    /// A string has no closing quote on its line.
    #[error("the string is not closed")]
    OpenString,
    /// A backslash sequence that no string holds.
    #[error("the escape sequence is unknown or incomplete")]
    Escape,
    /// An escape that is no Unicode character.
    #[error("the escape sequence names no Unicode character")]
    NoCharacter,
    /// A colon without a word.
    #[error("a keyword needs a word after the colon")]
    EmptyKeyword,
    /// Lists nest too deep.
    #[error("lists nest deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Reads exactly one form.
pub fn read(text: &str) -> Result<Form, ReadError> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_blank();
    if reader.rest().is_empty() {
        return Err(reader.error(reader.at, Problem::Empty));
    }
    let form = reader.form(0)?;
    reader.skip_blank();
    if reader.rest().is_empty() { Ok(form) } else { Err(reader.error(reader.at, Problem::Trailing)) }
}

/// Reads all forms of a text, possibly none.
pub fn read_all(text: &str) -> Result<Vec<Form>, ReadError> {
    let mut reader = Reader { text, at: 0 };
    let mut forms = Vec::new();
    loop {
        reader.skip_blank();
        if reader.rest().is_empty() {
            return Ok(forms);
        }
        forms.push(reader.form(0)?);
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, at: usize, problem: Problem) -> ReadError {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        ReadError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            problem,
        }
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            self.at += blank;
            if !self.rest().starts_with(';') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    /// The form at the cursor, which stands on something that is neither blank nor the end.
    fn form(&mut self, depth: usize) -> Result<Form, ReadError> {
        match self.rest().as_bytes().first() {
            Some(b'(') => self.list(depth),
            Some(b')') => Err(self.error(self.at, Problem::StrayClose)),
            Some(b'"') => self.string(),
            Some(b':') => {
                let at = self.at;
                self.at += 1;
                match self.word() {
                    "" => Err(self.error(at, Problem::EmptyKeyword)),
                    word => Ok(Form::Keyword(word.to_owned())),
                }
            }
            _ => Ok(Form::Symbol(self.word().to_owned())),
        }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | ';'))
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn list(&mut self, depth: usize) -> Result<Form, ReadError> {
        let open = self.at;
        if depth == MAX_DEPTH {
            return Err(self.error(open, Problem::TooDeep));
        }
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_blank();
            match self.rest().as_bytes().first() {
                None => return Err(self.error(open, Problem::OpenList)),
                Some(b')') => {
                    self.at += 1;
                    return Ok(Form::List(items));
                }
                Some(_) => items.push(self.form(depth + 1)?),
            }
        }
    }

    fn string(&mut self) -> Result<Form, ReadError> {
        let open = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let Some(stop) = rest.find(['"', '\\', '\n']) else {
                return Err(self.error(open, Problem::OpenString));
            };
            out.push_str(&rest[..stop]);
            self.at += stop;
            match rest.as_bytes()[stop] {
                b'"' => {
                    self.at += 1;
                    return Ok(Form::Str(out));
                }
                b'\\' => out.push(self.escape()?),
                _ => return Err(self.error(open, Problem::OpenString)),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ReadError> {
        let start = self.at;
        let unknown = |reader: &Self| reader.error(start, Problem::Escape);
        let Some(letter) = self.rest()[1..].chars().next() else { return Err(unknown(self)) };
        self.at += 1 + letter.len_utf8();
        let digits = match letter {
            '"' | '\\' => return Ok(letter),
            'a' => return Ok('\x07'),
            'b' => return Ok('\x08'),
            'f' => return Ok('\x0c'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\x0b'),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return Err(unknown(self)),
        };
        let hex = self.rest().get(..digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()).ok_or_else(|| unknown(self))?;
        self.at += digits;
        // `\x` stands for a byte, and a byte from 0x80 on is no character in UTF-8.
        char::from_u32(code)
            .filter(|_| digits > 2 || code < 0x80)
            .ok_or_else(|| self.error(start, Problem::NoCharacter))
    }
}
