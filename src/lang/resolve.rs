//! Names: which definition each one means, what is missing, and who reaches whom.

use std::collections::HashMap;

use crate::ast::{Body, Method};
use crate::diagnostic::{Code, Diagnostic, Sink};
use crate::imports::Program;

/// The definitions in force: of each name the last one.
pub(crate) struct Scope<'p> {
    pub(crate) methods: Vec<Entry<'p>>,
    by_name: HashMap<&'p str, usize>,
}

/// One definition in force.
pub(crate) struct Entry<'p> {
    pub(crate) name: &'p str,
    pub(crate) file: usize,
    pub(crate) item: usize,
    pub(crate) method: &'p Method,
    /// Methods that its steps name and that exist, in order.
    pub(crate) calls: Vec<usize>,
}

impl<'p> Scope<'p> {
    /// Finds the definitions in force and resolves the steps of their pipelines.
    pub(crate) fn new(program: &'p Program<'_>) -> Self {
        let mut last: HashMap<&str, usize> = HashMap::with_capacity(program.definitions.len());
        let named = |n: usize| {
            let (file, item) = program.definitions[n];
            program.method((file, item)).map(|method| (program.text(file, method.name), file, item, method))
        };
        for n in 0..program.definitions.len() {
            if let Some((name, ..)) = named(n) {
                last.insert(name, n);
            }
        }
        let mut scope =
            Self { methods: Vec::with_capacity(last.len()), by_name: HashMap::with_capacity(last.len()) };
        for n in 0..program.definitions.len() {
            if let Some((name, file, item, method)) = named(n)
                && last.get(name) == Some(&n)
            {
                scope.by_name.insert(name, scope.methods.len());
                scope.methods.push(Entry { name, file, item, method, calls: Vec::new() });
            }
        }
        for n in 0..scope.methods.len() {
            let entry = &scope.methods[n];
            if let Body::Pipeline(pipeline) = &entry.method.body {
                let resolve = |step: &crate::ast::Step| scope.find(program.text(entry.file, step.method));
                scope.methods[n].calls = pipeline.steps.iter().filter_map(resolve).collect();
            }
        }
        scope
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Reports every step that names a method that does not exist.
    pub(crate) fn report_undefined(&self, program: &Program<'_>, sinks: &mut [Sink]) {
        let mut nearest = Nearest::default();
        for entry in &self.methods {
            let Body::Pipeline(pipeline) = &entry.method.body else { continue };
            for step in pipeline.steps.iter().filter(|_| entry.calls.len() < pipeline.steps.len()) {
                let word = program.text(entry.file, step.method);
                if self.find(word).is_some() {
                    continue;
                }
                sinks[entry.file].push(|| {
                    let message = format!("no method is named `{word}`");
                    let help = match nearest.find(self, word) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => {
                            format!("define it with a line `{word}:` and an indented body, or import the file that does")
                        }
                    };
                    let source = &program.files[entry.file].source;
                    Diagnostic::at(source, step.method.start, Code::UndefinedMethod, message).help(help)
                });
            }
        }
    }

    /// Reports every step that leads a pipeline back to itself.
    pub(crate) fn report_recursions(&self, program: &Program<'_>, sinks: &mut [Sink]) {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            OnPath,
            Done,
        }
        let mut marks = vec![Mark::New; self.methods.len()];
        for start in 0..self.methods.len() {
            let mut path = if marks[start] == Mark::New { vec![(start, 0)] } else { continue };
            marks[start] = Mark::OnPath;
            while let Some((at, next)) = path.last_mut() {
                let at = *at;
                let Some(&called) = self.methods[at].calls.get(*next) else {
                    marks[at] = Mark::Done;
                    path.pop();
                    continue;
                };
                *next += 1;
                match marks[called] {
                    Mark::Done => {}
                    Mark::New => {
                        marks[called] = Mark::OnPath;
                        path.push((called, 0));
                    }
                    Mark::OnPath => {
                        sinks[self.methods[at].file].push(|| {
                            let from = path.iter().position(|(on, _)| *on == called).unwrap_or(0);
                            let ring = path[from..].iter().map(|(on, _)| *on).chain([called]);
                            self.recursion(program, at, &ring.collect::<Vec<_>>())
                        });
                    }
                }
            }
        }
    }

    fn recursion(&self, program: &Program<'_>, at: usize, ring: &[usize]) -> Diagnostic {
        let entry = &self.methods[at];
        let back = ring.last().map_or("", |last| self.methods[*last].name);
        let step = match &entry.method.body {
            Body::Pipeline(pipeline) => {
                pipeline.steps.iter().find(|step| program.text(entry.file, step.method) == back)
            }
            Body::Prompt(_) => None,
        };
        let mut names: Vec<&str> = ring.iter().map(|n| self.methods[*n].name).collect();
        if names.len() > 12 {
            names.splice(6..names.len() - 5, ["…"]);
        }
        let message = format!("the pipeline reaches itself: {}", names.join(" -> "));
        let offset = step.map_or(entry.method.name.start, |step| step.method.start);
        Diagnostic::at(&program.files[entry.file].source, offset, Code::Recursion, message)
            .help("a pipeline runs other methods; to repeat work, end it with `loop(method)`")
    }
}

/// Finds similar names within a budget, so that a program full of errors is still answered at once.
pub(crate) struct Nearest {
    comparisons_left: usize,
}

impl Default for Nearest {
    fn default() -> Self {
        Self { comparisons_left: 500_000 }
    }
}

impl Nearest {
    pub(crate) fn find<'p>(&mut self, scope: &Scope<'p>, word: &str) -> Option<&'p str> {
        let limit = (word.chars().count() / 3).clamp(1, 3);
        let mut best: Option<(usize, &str)> = None;
        // A name may be as long as a file: comparing takes the product of the lengths.
        let comparable = |name: &str| name.len().abs_diff(word.len()) <= limit * 4 && name.len() <= 100;
        for entry in scope.methods.iter().filter(|entry| comparable(entry.name)) {
            self.comparisons_left = self.comparisons_left.checked_sub(1)?;
            let distance = strsim::osa_distance(word, entry.name);
            if distance <= limit && best.is_none_or(|(least, name)| (distance, entry.name) < (least, name)) {
                best = Some((distance, entry.name));
            }
        }
        best.map(|(_, name)| name)
    }
}
