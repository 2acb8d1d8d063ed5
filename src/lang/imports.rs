//! Loads a program: its file, the standard library before it, and every file that it imports.
//!
//! A file is read once, at its first import; its methods are registered there. Nothing recurses, so a chain
//! of imports may be as long as it likes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::ast::{File, Item, Method};
use crate::diagnostic::{Code, Diagnostic, Sink};
use crate::parse::parse;
use crate::source::{Loader, Span};

/// Text of the standard library.
pub(crate) const STANDARD_LIBRARY: &str = include_str!("stdlib.p");

/// Where the standard library stands in `Program::files`.
const LIBRARY: usize = 0;
/// Where the program's own file stands in `Program::files`.
pub(crate) const MAIN: usize = 1;

/// All files of a program.
pub(crate) struct Program<'t> {
    pub(crate) files: Vec<File<'t>>,
    /// Problems of each file.
    pub(crate) sinks: Vec<Sink>,
    /// Every definition as file and item, in the order in which later ones replace earlier ones.
    pub(crate) definitions: Vec<(usize, usize)>,
}

impl Program<'_> {
    pub(crate) fn method(&self, (file, item): (usize, usize)) -> Option<&Method> {
        match self.files.get(file)?.items.get(item)? {
            Item::Method(method) => Some(method),
            _ => None,
        }
    }

    pub(crate) fn text(&self, file: usize, span: Span) -> &str {
        self.files.get(file).map_or("", |file| file.source.get(span))
    }
}

/// Reads everything that `source` needs.
pub(crate) fn load<'t>(path: &Path, source: &'t [u8], loader: &dyn Loader) -> Program<'t> {
    let mut program = Program { files: Vec::new(), sinks: Vec::new(), definitions: Vec::new() };
    program.add(PathBuf::from("<standard library>"), Cow::Borrowed(STANDARD_LIBRARY.as_bytes()));
    program.add(path.to_owned(), Cow::Borrowed(source));
    let mut known = HashMap::from([(loader.canonical(path), MAIN)]);
    program.register(LIBRARY, &mut known, loader);
    program.register(MAIN, &mut known, loader);
    program
}

impl<'t> Program<'t> {
    fn add(&mut self, path: PathBuf, bytes: Cow<'t, [u8]>) -> usize {
        let mut sink = Sink::default();
        self.files.push(parse(path, bytes, &mut sink));
        self.sinks.push(sink);
        self.files.len() - 1
    }

    /// Walks the items of a file and, at each import, those of the imported file.
    fn register(&mut self, root: usize, known: &mut HashMap<PathBuf, usize>, loader: &dyn Loader) {
        let mut stack = vec![(root, 0)];
        while let Some((file, item)) = stack.last_mut() {
            let (file, at) = (*file, *item);
            *item += 1;
            match self.files[file].items.get(at) {
                None => {
                    stack.pop();
                }
                Some(Item::Method(_)) => self.definitions.push((file, at)),
                Some(Item::Import(span)) => {
                    let span = *span;
                    if let Some(next) = self.import(file, span, &stack, known, loader) {
                        stack.push((next, 0));
                    }
                }
                Some(Item::Invoke(_) | Item::Text(_)) => {}
            }
        }
    }

    /// The file that an import names, when it is to be walked now.
    fn import(
        &mut self,
        file: usize,
        span: Span,
        stack: &[(usize, usize)],
        known: &mut HashMap<PathBuf, usize>,
        loader: &dyn Loader,
    ) -> Option<usize> {
        let source = &self.files[file].source;
        let written = source.get(span);
        let path = source.path.parent().unwrap_or(Path::new("")).join(written);
        let canonical = loader.canonical(&path);
        if let Some(next) = known.get(&canonical).copied() {
            let from = stack.iter().position(|(on, _)| *on == next)?;
            let mut chain: Vec<String> = stack[from..]
                .iter()
                .map(|(on, _)| self.files[*on].source.path.display().to_string())
                .collect();
            chain.push(self.files[next].source.path.display().to_string());
            let message = format!("this import leads back to its own file: {}", chain.join(" -> "));
            self.sinks[file].push(|| {
                Diagnostic::at(source, span.start, Code::Import, message)
                    .help("move what both files need into a third one that imports neither")
            });
            return None;
        }
        match loader.load(&path) {
            Ok(bytes) => {
                let next = self.add(path, Cow::Owned(bytes));
                known.insert(canonical, next);
                Some(next)
            }
            Err(error) => {
                let message = format!("cannot read the import `{}`: {error}", path.display());
                self.sinks[file].push(|| {
                    Diagnostic::at(source, span.start, Code::Import, message)
                        .help("the path of an import counts from the directory of the file that it stands in")
                });
                None
            }
        }
    }
}
