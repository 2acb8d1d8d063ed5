//! Canonical S-expressions: one text to hash, to store and to show.
//!
//! ```
//! use gcluster_types::sexpr::{Form, print::print, read::read};
//! let form = read("(defmethod plan (task)\n  \"Plan [task].\")").unwrap();
//! assert_eq!(print(&form), "(defmethod plan (task)\n  \"Plan [task].\")");
//! assert_eq!(form.head(), Some("defmethod"));
//! ```
//!
//! ```text
//! .p text ──compile──▶ canonical text ──read──▶ Form ──▶ program::Definition ──▶ executor
//!                           └──sha256──▶ stable id, digest
//! ```

pub mod digest;
pub mod edit;
pub mod print;
pub mod program;
pub mod read;
pub mod unicode;
mod unicode_tables;

#[cfg(test)]
mod tests;

/// One S-expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Form {
    /// A bare word, as `defmethod` or a method's name. Holds no white space, parenthesis, quote or
    /// semicolon, does not start with a colon and is not empty.
    Symbol(String),
    /// A word after a colon, as `:key`; the text is kept without the colon.
    Keyword(String),
    /// Text between quotes.
    Str(String),
    /// Forms in parentheses.
    List(Vec<Form>),
}

impl Form {
    /// A symbol.
    pub fn symbol(text: impl Into<String>) -> Self {
        Self::Symbol(text.into())
    }

    /// A keyword; `text` comes without the colon.
    pub fn keyword(text: impl Into<String>) -> Self {
        Self::Keyword(text.into())
    }

    /// A string.
    pub fn str(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    /// The first symbol of a list: what kind of form it is.
    pub fn head(&self) -> Option<&str> {
        match self {
            Self::List(items) => match items.first() {
                Some(Self::Symbol(head)) => Some(head),
                _ => None,
            },
            _ => None,
        }
    }
}
