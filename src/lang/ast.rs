//! The syntax tree of one file. It holds places, not copies, of the text.

use crate::source::{Source, Span};

/// One file and what stands in it, in order.
#[derive(Debug)]
pub(crate) struct File<'t> {
    pub(crate) source: Source<'t>,
    pub(crate) items: Vec<Item>,
}

/// What a top-level line, or a header with its body, is.
#[derive(Debug)]
pub(crate) enum Item {
    Method(Method),
    /// The path as written.
    Import(Span),
    Invoke(Invoke),
    Text(Span),
}

/// A header and its body.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: Span,
    pub(crate) params: Vec<Span>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    /// Lines without their tab; an empty span is an empty line.
    Prompt(Vec<Span>),
    Pipeline(Pipeline),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pipeline {
    pub(crate) input: Option<Span>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) label: Span,
    pub(crate) kind: StepKind,
    pub(crate) method: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepKind {
    Call,
    /// Holds what the items are called.
    Map(Span),
    Loop,
}

/// `@name(…)` or `@name rest`.
#[derive(Debug)]
pub(crate) struct Invoke {
    pub(crate) name: Span,
    pub(crate) args: Vec<Arg>,
    pub(crate) trailing: Option<Span>,
}

#[derive(Debug)]
pub(crate) struct Arg {
    pub(crate) key: Option<Span>,
    pub(crate) value: Span,
}
