//! What the line protocol is given: the compiler of `gcluster apply`, and its socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gcluster_server::line::{Compiled, LineOptions, Problem, Socket, Source};

use crate::cli::compile;

/// How problems name a program that came without a path.
const UNNAMED: &str = "source";

/// The line protocol of a master. A socket that cannot be made is a warning: the port offers the same.
pub(super) fn options(data_dir: &Path, insecure: bool) -> LineOptions {
    let socket = match Socket::bind(data_dir) {
        Ok(socket) => Some(Arc::new(socket)),
        Err(error) => {
            tracing::warn!(%error, "there is no Unix socket for the line protocol");
            None
        }
    };
    LineOptions { compile: Some(Arc::new(compiled)), insecure, socket }
}

/// Compiles as `gcluster apply` does: the same objects from the same text.
fn compiled(source: &Source) -> Result<Compiled, Vec<Problem>> {
    let directory = source.working_directory.as_deref();
    let text = source.text.as_bytes();
    let compiled = match (&source.path, directory) {
        (Some(path), _) => compile::compile(path, text),
        (None, Some(directory)) => compile::compile(&directory.join(UNNAMED), text),
        (None, None) => compile::compile_alone(Path::new(UNNAMED), text),
    };
    if !compiled.errors.is_empty() {
        return Err(compiled
            .errors
            .iter()
            .map(|error| Problem {
                place: format!("{}:{}:{}", error.file.display(), error.line, error.column),
                text: error.to_string(),
            })
            .collect());
    }
    let own: Option<PathBuf> = source.path.as_ref().and_then(|path| path.parent()).map(Path::to_path_buf);
    let directory = directory.or(own.as_deref());
    let agents = compile::agents(&compiled, directory, source.path.clone());
    Ok(Compiled {
        objects: agents.into_iter().map(|(_, object)| object).collect(),
        warnings: compiled.warnings.iter().map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { text: text.into(), path: None, working_directory: None }
    }

    #[test]
    fn a_program_without_a_file_compiles_and_reads_none() {
        let done = compiled(&source("agent-a:\n\tloop(work)\n\nwork:\n\tWork.\n")).unwrap();
        assert_eq!(done.objects[0]["metadata"]["name"], "a");
        assert_eq!(done.objects[0]["spec"].get("workingDirectory"), None);
        let problems = compiled(&source("agent-a:\n\tloop(plam)\n")).unwrap_err();
        assert_eq!(problems[0].place, "source:2:7");
        // An import is read from where the program says it is, or not at all.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("other.p"), "work:\n\tWork.\n").unwrap();
        let program = format!("@{}/other.p\n\nagent-a:\n\tloop(work)\n", dir.path().display());
        assert!(compiled(&source(&program)).is_err());
        let directory = Some(dir.path().to_path_buf());
        let near = Source { working_directory: directory, ..source("@other.p\n\nagent-a:\n\tloop(work)\n") };
        let done = compiled(&near).unwrap();
        assert!(done.objects[0]["spec"]["methods"]["work"].is_string());
    }

    #[test]
    fn a_path_gives_directory_and_source_and_a_directory_of_its_own_wins() {
        let text = "agent-a:\n\tloop(work)\n\nwork:\n\tWork.\n";
        let path = Some(PathBuf::from("/project/team.p"));
        let done = compiled(&Source { path: path.clone(), ..source(text) }).unwrap();
        assert_eq!(done.objects[0]["spec"]["workingDirectory"], "/project");
        assert_eq!(done.objects[0]["metadata"]["annotations"]["gcluster.dev/source"], "/project/team.p");
        let other = Some(PathBuf::from("/other"));
        let done = compiled(&Source { path, working_directory: other, text: text.into() }).unwrap();
        assert_eq!(done.objects[0]["spec"]["workingDirectory"], "/other");
    }
}
