//! What the wiring gives the line protocol: a compiler, of which the server knows nothing else.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

/// A program to be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its text.
    pub text: String,
    /// The absolute path of the file that it stands for; imports count from there.
    pub path: Option<PathBuf>,
    /// The absolute directory in which its agents work; default: the directory of `path`.
    pub working_directory: Option<PathBuf>,
}

/// What a program says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compiled {
    /// Objects to be applied.
    pub objects: Vec<Value>,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// An error in a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `file:line:column`, both counted from 1.
    pub place: String,
    /// What is wrong, with the line itself and what to do.
    pub text: String,
}

/// Compiles a program, or says everything that is wrong with it. May block: it reads imported files.
pub type Compile = Arc<dyn Fn(&Source) -> Result<Compiled, Vec<Problem>> + Send + Sync>;
