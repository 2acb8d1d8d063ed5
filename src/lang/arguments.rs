//! Arguments of agents: what the invocations in the program's own file bind.

use std::collections::{BTreeMap, HashMap, HashSet};

use gcluster_types::sexpr::program::AGENT_PREFIX;

use crate::ast::{Invoke, Item};
use crate::diagnostic::{Code, Diagnostic, Sink};
use crate::imports::{MAIN, Program};
use crate::resolve::{Nearest, Scope};

/// What one invocation binds.
pub(crate) struct Bound {
    pub(crate) values: BTreeMap<String, String>,
    line: usize,
}

/// Binds the invocations of agents; every other execution line gets a warning.
pub(crate) fn bind(program: &Program<'_>, scope: &Scope<'_>, sinks: &mut [Sink]) -> HashMap<usize, Bound> {
    let mut bound: HashMap<usize, Bound> = HashMap::new();
    let mut nearest = Nearest::default();
    for item in &program.files[MAIN].items {
        match item {
            Item::Method(_) | Item::Import(_) => {}
            Item::Text(span) => warn(program, sinks, span.start, || {
                let message = "this text belongs to no method and means nothing when agents are applied";
                (message.into(), "indent it with a tab below a header, or make it a comment with `;`".into())
            }),
            Item::Invoke(invoke) => {
                let name = program.text(MAIN, invoke.name);
                match scope.find(name) {
                    Some(agent) if name.starts_with(AGENT_PREFIX) => {
                        bind_one(program, scope, agent, invoke, &mut bound, sinks);
                    }
                    Some(_) => warn(program, sinks, invoke.name.start, || {
                        let message =
                            format!("`@{name}` invokes no agent and means nothing when agents are applied");
                        (message, "only invocations of agents are applied, as `@agent-name(argument)`".into())
                    }),
                    None => warn(program, sinks, invoke.name.start, || {
                        let help = match nearest.find(scope, name) {
                            Some(nearest) => format!("did you mean `@{nearest}`?"),
                            None => {
                                "only invocations of agents are applied, as `@agent-name(argument)`".into()
                            }
                        };
                        (format!("`@{name}` invokes a method that does not exist"), help)
                    }),
                }
            }
        }
    }
    warn_of_unbound(program, scope, &bound, sinks);
    bound
}

/// A warning about an execution line of the program's own file.
fn warn(program: &Program<'_>, sinks: &mut [Sink], offset: usize, text: impl FnOnce() -> (String, String)) {
    sinks[MAIN].push(|| {
        let (message, help) = text();
        Diagnostic::at(&program.files[MAIN].source, offset, Code::ExecutionLine, message).help(help).warning()
    });
}

fn bind_one(
    program: &Program<'_>,
    scope: &Scope<'_>,
    agent: usize,
    invoke: &Invoke,
    bound: &mut HashMap<usize, Bound>,
    sinks: &mut [Sink],
) {
    let name = scope.methods[agent].name;
    if let Some(trailing) = invoke.trailing {
        warn(program, sinks, trailing.start, || {
            let message =
                format!("text behind `@{name}` binds no parameter and means nothing when agents are applied");
            (message, format!("write arguments in parentheses: `@{name}(argument)`"))
        });
    }
    let values = values(program, scope, agent, invoke, sinks);
    let line = program.files[MAIN].source.line_at(invoke.name.start).0;
    if let Some(earlier) = bound.insert(agent, Bound { values, line }) {
        warn(program, sinks, invoke.name.start, || {
            let message = format!("`@{name}` replaces the arguments of line {}", earlier.line);
            (message, "keep one invocation of each agent".into())
        });
    }
}

fn warn_of_unbound(
    program: &Program<'_>,
    scope: &Scope<'_>,
    bound: &HashMap<usize, Bound>,
    sinks: &mut [Sink],
) {
    for (n, entry) in scope.methods.iter().enumerate().filter(|(_, e)| e.name.starts_with(AGENT_PREFIX)) {
        let values = bound.get(&n).map(|bound| &bound.values);
        let is_bound = |param: &str| values.is_some_and(|values| values.contains_key(param));
        for param in &entry.method.params {
            let text = program.text(entry.file, *param);
            if is_bound(text) {
                continue;
            }
            sinks[entry.file].push(|| {
                let message = format!("nothing is bound to the parameter `{text}` of `{}`", entry.name);
                let help = format!(
                    "bind it with a line `@{}({text}=…)`; else `[{text}]` stays as it is",
                    entry.name
                );
                let source = &program.files[entry.file].source;
                Diagnostic::at(source, param.start, Code::Parameter, message).help(help).warning()
            });
        }
    }
}

fn values(
    program: &Program<'_>,
    scope: &Scope<'_>,
    agent: usize,
    invoke: &Invoke,
    sinks: &mut [Sink],
) -> BTreeMap<String, String> {
    let entry = &scope.methods[agent];
    let params: Vec<&str> =
        entry.method.params.iter().map(|param| program.text(entry.file, *param)).collect();
    let known: HashSet<&str> = params.iter().copied().collect();
    let mut values = BTreeMap::new();
    let mut error = |offset: usize, message: String| {
        let listed = params.iter().take(10).copied().chain((params.len() > 10).then_some("…"));
        let signature = format!("`{}({})`", entry.name, listed.collect::<Vec<_>>().join(", "));
        let help = match params.len() {
            0 => format!("{signature} has no parameters; add them to its header or drop the arguments"),
            _ => format!("it is {signature}; commas outside parentheses separate arguments"),
        };
        let source = &program.files[MAIN].source;
        sinks[MAIN].push(|| Diagnostic::at(source, offset, Code::Arguments, message).help(help));
    };
    let mut position = 0;
    for arg in &invoke.args {
        let value = program.text(MAIN, arg.value);
        let (name, place) = match arg.key {
            Some(key) => {
                let name = program.text(MAIN, key);
                if !known.contains(name) {
                    error(key.start, format!("`{}` has no parameter `{name}`", entry.name));
                    continue;
                }
                (name, key.start)
            }
            None => {
                position += 1;
                match params.get(position - 1) {
                    Some(name) => (*name, arg.value.start),
                    None => {
                        let count = match params.len() {
                            0 => "no parameters".to_owned(),
                            1 => "one parameter".to_owned(),
                            n => format!("{n} parameters"),
                        };
                        error(arg.value.start, format!("too many arguments: `{}` has {count}", entry.name));
                        break;
                    }
                }
            }
        };
        if values.insert(name.to_owned(), value.to_owned()).is_some() {
            error(place, format!("the parameter `{name}` is bound twice"));
        }
    }
    values
}
