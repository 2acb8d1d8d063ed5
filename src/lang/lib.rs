//! The compiler of the P language: from prompt files to canonical S-expressions and complete agents.
//!
//! ```
//! use std::path::Path;
//! use gcluster_lang::{FsLoader, compile, eval_program};
//!
//! let compiled = compile(Path::new("team.p"), b"agent-builder:\n\tloop(build)\n\nbuild:\n\tBuild it.\n", &FsLoader);
//! assert!(compiled.errors.is_empty());
//! assert_eq!(compiled.agents[0].definition, "(defagent \"builder\"\n  (pipeline\n    (step \"build\" (loop build))))");
//! assert_eq!(compiled.agents[0].methods["build"], "(defmethod build ()\n  \"Build it.\")");
//! assert!(eval_program(&compiled).starts_with("(program\n  ; id="));
//! ```
//!
//! ```text
//! bytes ──lines, parse──▶ File ──imports──▶ Program ──resolve──▶ Scope ──lower──▶ Compiled
//! ```
//!
//! Pure: files come through a [`Loader`], problems go out as values. Time grows with the length of the text
//! and of what is printed.

mod arguments;
mod ast;
mod diagnostic;
mod eval;
mod execution;
mod imports;
mod lines;
mod lower;
mod parse;
mod pipeline;
mod resolve;
mod source;
mod unparse;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod property_tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use diagnostic::{Code, Diagnostic, Severity};
pub use eval::{eval_one, eval_program};
pub use source::{FsLoader, Loader, MapLoader};
pub use unparse::{Parts, Printed, pipeline_source, unparse};

/// Compiles a program. `path` is how problems name it and where its imports count from.
pub fn compile(path: &Path, source: &[u8], loader: &dyn Loader) -> Compiled {
    let mut program = imports::load(path, source, loader);
    let mut sinks = std::mem::take(&mut program.sinks);
    let scope = resolve::Scope::new(&program);
    scope.report_undefined(&program, &mut sinks);
    scope.report_recursions(&program, &mut sinks);
    let lowered = lower::lower(&program, &scope, &mut sinks);
    let all = sinks.into_iter().flat_map(diagnostic::Sink::finish);
    let (errors, warnings) = all.partition(|problem| problem.severity == Severity::Error);
    let files = program.files.iter().skip(imports::MAIN).map(|file| file.source.path.clone()).collect();
    let program = Program { forms: lowered.forms, methods: lowered.methods, files };
    Compiled { agents: lowered.agents, warnings, errors, program }
}

/// What a program compiles to. With errors in it the rest is incomplete.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The agents in the order of their definitions; those of an imported file stand where it is imported.
    pub agents: Vec<CompiledAgent>,
    /// What a user should know.
    pub warnings: Vec<Diagnostic>,
    /// Why nothing of the program may be sent or run; by file, then by place.
    pub errors: Vec<Diagnostic>,
    /// The program itself, for `eval` and `run`.
    pub program: Program,
}

impl Compiled {
    /// Errors and warnings for who only wants to see the forms: a method that does not exist is a warning, and
    /// nothing is said of execution lines and unbound parameters.
    pub fn problems_for_eval(&self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let (undefined, errors): (Vec<_>, Vec<_>) =
            self.errors.iter().cloned().partition(|problem| problem.code == Code::UndefinedMethod);
        let applied_only = |problem: &&Diagnostic| matches!(problem.code, Code::ExecutionLine);
        let mut warnings: Vec<_> = self.warnings.iter().filter(|p| !applied_only(p)).cloned().collect();
        warnings.extend(undefined.into_iter().map(Diagnostic::into_warning));
        (errors, warnings)
    }
}

/// One agent, complete: it runs from these texts alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledAgent {
    /// The name as written, without `agent-`.
    pub name: String,
    /// Name of its object: a DNS label.
    pub object_name: String,
    /// Its `defagent` form in canonical text.
    pub definition: String,
    /// Canonical text of every method that it reaches, by name.
    pub methods: BTreeMap<String, String>,
    /// Values bound to its parameters, by name.
    pub arguments: BTreeMap<String, String>,
    /// SHA-256 of the definition, 64 hex digits.
    pub stable_id: String,
    /// SHA-256 of definition, methods and arguments, 64 hex digits.
    pub digest: String,
    /// The file of its header.
    pub file: PathBuf,
    /// The line of its header, from 1.
    pub line: usize,
}

/// A program as a list of forms.
#[derive(Debug, Clone)]
pub struct Program {
    /// The forms of the program's own file in order; replaced definitions are left out.
    pub forms: Vec<ProgramForm>,
    /// Canonical text of every method in force that defines no agent, by name: of the file itself, of its
    /// imports and of the standard library. An agent that a step runs is listed as a method under `agent-NAME`.
    pub methods: BTreeMap<String, String>,
    /// The program's file and all files that it imports, in the order in which they were read.
    pub files: Vec<PathBuf>,
}

/// One form of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramForm {
    /// An agent, as its place in [`Compiled::agents`].
    Agent(usize),
    /// A method, as its name in [`Program::methods`].
    Method(String),
    /// An import, as its path was written.
    Import(String),
    /// `@name(…)` or `@name rest`.
    Invoke {
        /// The method.
        name: String,
        /// Arguments in the order written.
        arguments: Vec<Argument>,
        /// Text behind the name.
        trailing: Option<String>,
    },
    /// Plain text, trimmed, not empty.
    Text(String),
}

/// One argument of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The parameter, for `key=value`.
    pub key: Option<String>,
    /// The value, trimmed.
    pub value: String,
}
