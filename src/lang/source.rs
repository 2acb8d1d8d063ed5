//! Source texts: how they are loaded, and where in them something is.
//!
//! ```
//! use gcluster_lang::{Loader, FsLoader};
//! assert!(FsLoader.load(std::path::Path::new("does/not/exist.p")).is_err());
//! ```

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Where imported files come from.
pub trait Loader {
    /// The bytes of a file.
    ///
    /// # Errors
    /// Whatever the place answers when the file cannot be read; it is shown at the importing line.
    fn load(&self, path: &Path) -> Result<Vec<u8>, io::Error>;

    /// One path for each file, however it is spelled; two imports of one file are known by it.
    fn canonical(&self, path: &Path) -> PathBuf;
}

/// Loads from the file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct FsLoader;

impl Loader for FsLoader {
    fn load(&self, path: &Path) -> Result<Vec<u8>, io::Error> {
        std::fs::read(path)
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        std::fs::canonicalize(path).unwrap_or_else(|_| lexical(path))
    }
}

/// Loads from memory: paths to texts.
#[derive(Debug, Clone, Default)]
pub struct MapLoader(pub BTreeMap<PathBuf, Vec<u8>>);

impl Loader for MapLoader {
    fn load(&self, path: &Path) -> Result<Vec<u8>, io::Error> {
        self.0.get(&lexical(path)).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        lexical(path)
    }
}

/// The path without `.` and with `..` taken back where that is possible.
fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// Bytes of a source text, from `start` up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }
}

/// One file's text.
#[derive(Debug)]
pub(crate) struct Source<'t> {
    /// As the user or the import named it.
    pub(crate) path: PathBuf,
    pub(crate) text: Cow<'t, str>,
    /// Where each line starts; made when the first place is asked for.
    line_starts: OnceCell<Vec<usize>>,
}

impl<'t> Source<'t> {
    pub(crate) fn new(path: PathBuf, text: Cow<'t, str>) -> Self {
        Self { path, text, line_starts: OnceCell::new() }
    }

    pub(crate) fn get(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Line from 1, and the line's text with the byte offset of its start.
    pub(crate) fn line_at(&self, offset: usize) -> (usize, usize, &str) {
        let starts = self.line_starts.get_or_init(|| {
            std::iter::once(0)
                .chain(memchr::memchr_iter(b'\n', self.text.as_bytes()).map(|n| n + 1))
                .collect()
        });
        let line = starts.partition_point(|&start| start <= offset).max(1);
        let start = starts.get(line - 1).copied().unwrap_or(0);
        let end = starts.get(line).map_or(self.text.len(), |next| next - 1);
        let text = self.text.get(start..end).unwrap_or_default();
        (line, start, text.strip_suffix('\r').unwrap_or(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_offset() {
        let source = Source::new("a.p".into(), "one\r\n\ntwo".into());
        assert_eq!(source.line_at(0), (1, 0, "one"));
        assert_eq!(source.line_at(4), (1, 0, "one"));
        assert_eq!(source.line_at(5), (2, 5, ""));
        assert_eq!(source.line_at(9), (3, 6, "two"));
        assert_eq!(source.line_at(99), (3, 6, "two"));
    }

    #[test]
    fn a_path_has_one_spelling() {
        assert_eq!(lexical(Path::new("./a/../b/./c.p")), Path::new("b/c.p"));
        assert_eq!(lexical(Path::new("../x.p")), Path::new("../x.p"));
        assert_eq!(lexical(Path::new("../../x.p")), Path::new("../../x.p"));
    }
}
