//! From syntax trees to canonical text, and from methods to agents that are complete in themselves.

use std::collections::{BTreeMap, HashMap};

use gcluster_types::names::object_name;
use gcluster_types::sexpr::Form;
use gcluster_types::sexpr::digest::ids;
use gcluster_types::sexpr::print::{escape_into, print};
use gcluster_types::sexpr::program::{AGENT_PREFIX, Pipeline, Step, StepCall};

use crate::arguments;
use crate::ast::{Body, Invoke, Item, StepKind};
use crate::diagnostic::{Code, Diagnostic, Sink};
use crate::imports::{MAIN, Program};
use crate::resolve::{Entry, Scope};
use crate::{Argument, CompiledAgent, ProgramForm};

/// What lowering yields.
pub(crate) struct Lowered {
    pub(crate) agents: Vec<CompiledAgent>,
    pub(crate) forms: Vec<ProgramForm>,
    pub(crate) methods: BTreeMap<String, String>,
}

/// Prints every definition in force once and puts the agents together.
pub(crate) fn lower(program: &Program<'_>, scope: &Scope<'_>, sinks: &mut [Sink]) -> Lowered {
    let mut bound = arguments::bind(program, scope, sinks);
    let mut texts: Vec<Option<String>> = scope.methods.iter().map(|_| None).collect();
    let mut agents = Vec::new();
    let mut agent_of = HashMap::new();
    let mut taken: HashMap<String, usize> = HashMap::new();
    let mut closure = Closure { seen: vec![usize::MAX; scope.methods.len()] };
    for (n, entry) in scope.methods.iter().enumerate() {
        let Some(agent) = entry.name.strip_prefix(AGENT_PREFIX) else { continue };
        let object = match object_name(agent) {
            Ok(object) => object,
            Err(error) => {
                sinks[entry.file].push(|| {
                    let message = format!("the agent cannot be stored: {error}");
                    let source = &program.files[entry.file].source;
                    Diagnostic::at(source, entry.method.name.start, Code::AgentName, message)
                        .help("name it with ASCII letters, digits, `-` and `_`, at most 63 of them")
                });
                continue;
            }
        };
        if let Some(other) = taken.insert(object.clone(), n) {
            sinks[entry.file].push(|| same_object(program, entry, &scope.methods[other], &object));
        }
        let definition = agent_text(program, entry, agent);
        let mut methods = BTreeMap::new();
        for reached in closure.of(scope, n) {
            let text = texts[reached].get_or_insert_with(|| method_text(program, &scope.methods[reached]));
            methods.insert(scope.methods[reached].name.to_owned(), text.clone());
        }
        let arguments = bound.remove(&n).map(|bound| bound.values).unwrap_or_default();
        let (stable_id, digest) = ids(&definition, &methods, &arguments);
        agent_of.insert((entry.file, entry.item), agents.len());
        agents.push(CompiledAgent {
            name: agent.to_owned(),
            object_name: object,
            definition,
            methods,
            arguments,
            stable_id,
            digest,
            file: program.files[entry.file].source.path.clone(),
            line: program.files[entry.file].source.line_at(entry.method.name.start).0,
        });
    }
    let mut methods = BTreeMap::new();
    for (entry, text) in scope.methods.iter().zip(texts) {
        let is_agent = agent_of.contains_key(&(entry.file, entry.item));
        if let Some(text) = text.or_else(|| (!is_agent).then(|| method_text(program, entry))) {
            methods.insert(entry.name.to_owned(), text);
        }
    }
    Lowered { agents, forms: forms(program, scope, &agent_of), methods }
}

fn same_object(program: &Program<'_>, entry: &Entry<'_>, other: &Entry<'_>, object: &str) -> Diagnostic {
    let place = |entry: &Entry<'_>| {
        let source = &program.files[entry.file].source;
        (source.path.display().to_string(), source.line_at(entry.method.name.start).0)
    };
    let ((file, line), (here, own)) = (place(other), place(entry));
    let place = if file == here { format!("line {line}") } else { format!("{file}:{line}") };
    let message = format!(
        "`{}` (line {own}) and `{}` ({place}) would both be the object `{object}`",
        entry.name, other.name
    );
    Diagnostic::at(&program.files[entry.file].source, entry.method.name.start, Code::AgentName, message)
        .help("rename one of them: object names are lower case and have `-` for `_`")
}

/// The methods that an entry reaches, without itself.
struct Closure {
    /// The last entry whose closure each method was seen in.
    seen: Vec<usize>,
}

impl Closure {
    fn of(&mut self, scope: &Scope<'_>, start: usize) -> Vec<usize> {
        let mut reached = Vec::new();
        self.seen[start] = start;
        let mut open = vec![start];
        while let Some(at) = open.pop() {
            for &called in &scope.methods[at].calls {
                if self.seen[called] != start {
                    self.seen[called] = start;
                    reached.push(called);
                    open.push(called);
                }
            }
        }
        reached
    }
}

fn agent_text(program: &Program<'_>, entry: &Entry<'_>, agent: &str) -> String {
    let mut out = String::from("(defagent \"");
    escape_into(&mut out, agent);
    out.push_str("\"\n  ");
    body_into(&mut out, program, entry);
    out.push(')');
    out
}

fn method_text(program: &Program<'_>, entry: &Entry<'_>) -> String {
    let kind = if matches!(entry.method.body, Body::Prompt(_)) { "(defmethod " } else { "(defpipeline " };
    let mut out = String::from(kind);
    out.push_str(entry.name);
    out.push_str(" (");
    for (n, param) in entry.method.params.iter().enumerate() {
        if n > 0 {
            out.push(' ');
        }
        out.push_str(program.text(entry.file, *param));
    }
    out.push_str(")\n  ");
    body_into(&mut out, program, entry);
    out.push(')');
    out
}

/// Appends the body at one level of indentation. Prompts go line by line from the source into the text.
fn body_into(out: &mut String, program: &Program<'_>, entry: &Entry<'_>) {
    match &entry.method.body {
        Body::Prompt(lines) => {
            let length: usize = lines.iter().map(|span| span.end - span.start + 2).sum();
            out.reserve(length + length / 64 + 4);
            out.push('"');
            for (n, span) in lines.iter().enumerate() {
                if n > 0 {
                    out.push_str("\\n");
                }
                escape_into(out, program.text(entry.file, *span));
            }
            out.push('"');
        }
        Body::Pipeline(pipeline) => {
            let text = |span| program.text(entry.file, span).to_owned();
            let steps = pipeline.steps.iter().map(|step| {
                let method = text(step.method);
                let kind = match step.kind {
                    StepKind::Call => StepCall::Call { method },
                    StepKind::Map(reference) => StepCall::Map { reference: text(reference), method },
                    StepKind::Loop => StepCall::Loop { method },
                };
                Step { label: text(step.label), kind }
            });
            let form = Pipeline { input: pipeline.input.map(text), steps: steps.collect() }.form();
            out.push_str(&print(&form).replace('\n', "\n  "));
        }
    }
}

/// The forms of the program's own file in order, without definitions that a later one replaces.
fn forms(
    program: &Program<'_>,
    scope: &Scope<'_>,
    agent_of: &HashMap<(usize, usize), usize>,
) -> Vec<ProgramForm> {
    let mut forms = Vec::new();
    let text = |span| program.text(MAIN, span).to_owned();
    for (n, item) in program.files[MAIN].items.iter().enumerate() {
        match item {
            Item::Method(method) => {
                let name = program.text(MAIN, method.name);
                let in_force = scope.find(name).map(|found| &scope.methods[found]);
                if in_force.is_some_and(|entry| (entry.file, entry.item) == (MAIN, n)) {
                    forms.push(match agent_of.get(&(MAIN, n)) {
                        Some(agent) => ProgramForm::Agent(*agent),
                        None => ProgramForm::Method(name.to_owned()),
                    });
                }
            }
            Item::Import(path) => forms.push(ProgramForm::Import(text(*path))),
            Item::Text(span) => forms.push(ProgramForm::Text(text(*span))),
            Item::Invoke(invoke) => forms.push(invocation(program, invoke)),
        }
    }
    forms
}

fn invocation(program: &Program<'_>, invoke: &Invoke) -> ProgramForm {
    let text = |span| program.text(MAIN, span).to_owned();
    ProgramForm::Invoke {
        name: text(invoke.name),
        arguments: invoke
            .args
            .iter()
            .map(|arg| Argument { key: arg.key.map(text), value: text(arg.value) })
            .collect(),
        trailing: invoke.trailing.map(text),
    }
}

/// The form of an import, an invocation or a text.
pub(crate) fn execution_form(form: &ProgramForm) -> Option<Form> {
    let mut items = Vec::new();
    match form {
        ProgramForm::Import(path) => items.extend([Form::symbol("import"), Form::str(path)]),
        ProgramForm::Text(text) => items.extend([Form::symbol("text"), Form::str(text)]),
        ProgramForm::Invoke { name, arguments, trailing } => {
            items.extend([Form::symbol("invoke"), Form::symbol(name)]);
            for argument in arguments {
                items.extend(argument.key.iter().map(Form::keyword));
                items.push(Form::str(&argument.value));
            }
            if let Some(trailing) = trailing {
                items.extend([Form::keyword("trailing"), Form::str(trailing)]);
            }
        }
        ProgramForm::Agent(_) | ProgramForm::Method(_) => return None,
    }
    Some(Form::List(items))
}
