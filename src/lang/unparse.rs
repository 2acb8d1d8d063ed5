//! P source back from complete agents, so that what was edited elsewhere comes home into a file.
//!
//! ```
//! use std::collections::BTreeMap;
//! use gcluster_lang::{Parts, unparse};
//! let methods = BTreeMap::from([("fix".to_owned(), "(defmethod fix ()\n  \"Fix a bug.\")".to_owned())]);
//! let definition = "(defagent \"fixer\"\n  (pipeline\n    (step \"fix\" (loop fix))))";
//! let printed = unparse(&[Parts { definition, methods: &methods, arguments: &BTreeMap::new() }]);
//! assert_eq!(printed.text, "agent-fixer:\n\tloop(fix)\n\nfix:\n\tFix a bug.\n");
//! ```
//!
//! What is printed was compiled again and gave the same agents. Canonical forms can say more than P can: an agent
//! that P cannot say is left out, with a comment that tells why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gcluster_types::names::object_name;
use gcluster_types::sexpr::program::{
    AGENT_PREFIX, Body, Definition, Pipeline, StepCall, check_agent, parse_definition,
};
use gcluster_types::sexpr::unicode::is_identifier;

use crate::pipeline::{Reading, must_be_pipeline, read};
use crate::{MapLoader, compile};

/// A complete agent, as its object or a revision of it holds it.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Its `defagent` form in canonical text.
    pub definition: &'a str,
    /// Canonical text of every method that it reaches, by name.
    pub methods: &'a BTreeMap<String, String>,
    /// Values bound to its parameters, by name.
    pub arguments: &'a BTreeMap<String, String>,
}

/// P source, and what could not be said in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// A program. Empty without agents.
    pub text: String,
    /// Agents that are no part of it: their place among those that were given, and why. The text says so, too.
    pub left_out: Vec<(usize, String)>,
}

/// Prints agents as one program that compiles to exactly them: the same texts, stable ids and digests.
///
/// Methods that several agents share are printed once. An agent that needs another method under a name that an
/// earlier one uses is left out: one program has one method of a name.
pub fn unparse(agents: &[Parts<'_>]) -> Printed {
    let mut refused: BTreeMap<usize, String> = BTreeMap::new();
    loop {
        let mut program = Program::default();
        for (index, parts) in agents.iter().enumerate() {
            if !refused.contains_key(&index)
                && let Err(why) = program.add(index, parts)
            {
                refused.insert(index, why);
            }
        }
        let source = program.print();
        let wrong = wrong(&source, agents, &program);
        if wrong.is_empty() {
            return finish(source, agents, refused);
        }
        // Never seen; but what does not compile to the same must not be shown as if it did.
        let why = "its P source would not compile to the same definition";
        refused.extend(wrong.into_iter().map(|index| (index, why.to_owned())));
    }
}

/// A pipeline as its author writes it, on one line; nothing when P cannot say it.
pub fn pipeline_source(pipeline: &Pipeline) -> Option<String> {
    pipeline_text(pipeline).ok()
}

/// The agents of the program that its text does not compile to. All of them when it has errors.
fn wrong(source: &str, agents: &[Parts<'_>], program: &Program) -> Vec<usize> {
    let compiled = compile(Path::new("printed.p"), source.as_bytes(), &MapLoader::default());
    let found: BTreeMap<&str, _> =
        compiled.agents.iter().map(|agent| (agent.definition.as_str(), agent)).collect();
    let same = |parts: &Parts<'_>| {
        found
            .get(parts.definition)
            .is_some_and(|agent| agent.methods == *parts.methods && agent.arguments == *parts.arguments)
    };
    let of_program = program.agents.values().map(|agent| agent.index);
    of_program.filter(|index| !compiled.errors.is_empty() || !agents.get(*index).is_some_and(same)).collect()
}

fn finish(mut source: String, agents: &[Parts<'_>], refused: BTreeMap<usize, String>) -> Printed {
    for (index, why) in &refused {
        if !source.is_empty() {
            source.push('\n');
        }
        let name = agents.get(*index).and_then(|parts| parse_definition(parts.definition).ok());
        let name = name.and_then(|definition| definition.agent_name);
        let name = name.map_or_else(|| "an agent".to_owned(), |name| format!("the agent {name:?}"));
        let line = format!("; {name} is left out: {why}");
        source.extend(line.chars().map(|c| if c.is_control() { ' ' } else { c }));
        source.push('\n');
    }
    Printed { text: source, left_out: refused.into_iter().collect() }
}

/// What is to be printed: of each name one definition.
#[derive(Default)]
struct Program {
    /// Agents by name.
    agents: BTreeMap<String, Agent>,
    /// Methods by name, with their text and the agent that brought them.
    methods: BTreeMap<String, (Definition, String, String)>,
    /// Names of definitions in the order of printing; an agent is `agent-NAME`.
    order: Vec<String>,
}

struct Agent {
    index: usize,
    definition: Definition,
    arguments: BTreeMap<String, String>,
}

impl Program {
    /// Takes an agent in with all its methods, or says why P cannot say it beside what is there.
    fn add(&mut self, index: usize, parts: &Parts<'_>) -> Result<(), String> {
        let definition = check_agent(parts.definition, parts.methods).map_err(|error| error.to_string())?;
        let Some(name) = definition.agent_name.clone() else { return Err("it is no agent".into()) };
        if !is_identifier(&name) {
            return Err("P allows letters, digits, `-` and `_` in a name".into());
        }
        self.object_names(&name, parts)?;
        if self.agents.contains_key(&name) {
            return Err("a program has one agent of a name, and this name is printed above".into());
        }
        sayable(&definition)?;
        let mut new: BTreeMap<String, (Definition, String, String)> = BTreeMap::new();
        for (key, text) in parts.methods {
            let method = parse_definition(text).map_err(|error| error.to_string())?;
            if let Some((_, other, agent)) = self.methods.get(key) {
                if other != text {
                    return Err(format!("its method {key:?} is another one than that of {agent:?}"));
                }
                continue;
            }
            sayable(&method)?;
            new.insert(key.clone(), (method, text.clone(), name.clone()));
        }
        let agent = Agent { index, definition, arguments: parts.arguments.clone() };
        let method = |key: &str| new.get(key).or_else(|| self.methods.get(key)).map(|(method, ..)| method);
        fits(&agent, method(&agent.definition.name))?;
        for (other, there) in &self.agents {
            fits(there, method(&format!("{AGENT_PREFIX}{other}")))
                .map_err(|why| format!("a step of it runs the agent {other:?}, but {why}"))?;
        }
        let start = agent.definition.name.clone();
        self.methods.extend(new);
        self.agents.insert(name, agent);
        self.put_in_order(&start);
        Ok(())
    }

    /// Every agent of a program, those that steps run too, has an object name of its own.
    fn object_names(&self, name: &str, parts: &Parts<'_>) -> Result<(), String> {
        let prefixed = |key: &'_ String| key.strip_prefix(AGENT_PREFIX).map(str::to_owned);
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        let there = self.agents.keys().cloned().chain(self.methods.keys().filter_map(prefixed));
        for name in there.chain(parts.methods.keys().filter_map(prefixed)).chain([name.to_owned()]) {
            let object = object_name(&name).map_err(|error| error.to_string())?;
            if let Some(other) = taken.insert(object.clone(), name.clone()).filter(|other| *other != name) {
                return Err(format!("the agents {other:?} and {name:?} would both be the object {object:?}"));
            }
        }
        Ok(())
    }

    /// A definition, then what it runs, as a reader meets it.
    fn put_in_order(&mut self, start: &str) {
        let known: BTreeSet<String> = self.order.iter().cloned().collect();
        let mut seen = BTreeSet::new();
        let mut open = vec![start.to_owned()];
        while let Some(name) = open.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let called: Vec<String> =
                self.definition(&name).into_iter().flat_map(Definition::called).map(str::to_owned).collect();
            if !known.contains(&name) {
                self.order.push(name);
            }
            open.extend(called.into_iter().rev());
        }
    }

    fn agent(&self, name: &str) -> Option<&Agent> {
        self.agents.get(name.strip_prefix(AGENT_PREFIX)?)
    }

    /// What stands under a name: a method, else the agent that is no method of another one.
    fn definition(&self, name: &str) -> Option<&Definition> {
        let method = self.methods.get(name).map(|(method, ..)| method);
        method.or_else(|| self.agent(name).map(|agent| &agent.definition))
    }

    fn print(&self) -> String {
        let mut out = String::new();
        for name in &self.order {
            let Some(definition) = self.definition(name) else { continue };
            if !out.is_empty() {
                out.push('\n');
            }
            let agent = self.agent(name);
            if agent.is_none() && name.starts_with(AGENT_PREFIX) {
                out.push_str(&format!("; {name} is here because a step runs it; to P it is an agent, too\n"));
            }
            let params = match agent {
                Some(agent) if !self.methods.contains_key(name) => params_of(agent),
                _ => definition.params.clone(),
            };
            out.push_str(name);
            if !params.is_empty() {
                out.push_str(&format!("({})", params.join(", ")));
            }
            out.push_str(":\n");
            match &definition.body {
                Body::Prompt(text) => push_lines(&mut out, text),
                Body::Pipeline(pipeline) => {
                    // It was found to be sayable when it was taken in.
                    out.push_str(&format!("\t{}\n", pipeline_text(pipeline).unwrap_or_default()));
                }
            }
            if let Some(agent) = agent.filter(|agent| !agent.arguments.is_empty()) {
                out.push_str(&format!("\n@{name}({})\n", arguments_text(&params, &agent.arguments)));
            }
        }
        out
    }
}

/// Whether an agent is the same thing as the method under its name, where steps of other agents run that.
fn fits(agent: &Agent, method: Option<&Definition>) -> Result<(), String> {
    for (name, value) in &agent.arguments {
        if !is_identifier(name) {
            return Err(format!("P allows no parameter {name:?}"));
        }
        argument(value).map_err(|why| format!("the argument {name:?} {why}"))?;
    }
    let Some(method) = method else { return Ok(()) };
    if method.body != agent.definition.body {
        return Err(format!("the text of the agent and of the method {:?} are not the same", method.name));
    }
    match agent.arguments.keys().find(|name| !method.params.contains(name)) {
        Some(name) => Err(format!("the method {:?} has no parameter {name:?}", method.name)),
        None => Ok(()),
    }
}

/// Parameters of an agent. Its form holds none, so these are the bound ones, the input first.
fn params_of(agent: &Agent) -> Vec<String> {
    let input = match &agent.definition.body {
        Body::Pipeline(pipeline) => pipeline.input.as_ref(),
        Body::Prompt(_) => None,
    };
    let input = input.filter(|input| agent.arguments.contains_key(*input));
    let others = agent.arguments.keys().filter(|name| Some(*name) != input);
    input.into_iter().chain(others).cloned().collect()
}

fn arguments_text(params: &[String], arguments: &BTreeMap<String, String>) -> String {
    if let ([_], Some(value)) = (params, arguments.values().next())
        && !value.is_empty()
        && !value.contains('=')
    {
        return value.clone();
    }
    let bound = params.iter().filter_map(|name| Some(format!("{name}={}", arguments.get(name)?)));
    bound.collect::<Vec<_>>().join(", ")
}

/// Whether a value stays what it is between the parentheses of an invocation.
fn argument(value: &str) -> Result<(), &'static str> {
    if value.contains('\n') {
        return Err("has several lines");
    }
    if value.trim() != value {
        return Err("begins or ends with a blank");
    }
    let mut depth = 0usize;
    for c in value.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or("closes a parenthesis that it did not open")?,
            ',' if depth == 0 => return Err("holds a comma outside parentheses"),
            _ => {}
        }
    }
    if depth == 0 { Ok(()) } else { Err("does not close a parenthesis") }
}

/// Whether P has words for a definition.
fn sayable(definition: &Definition) -> Result<(), String> {
    let said = match &definition.body {
        Body::Prompt(text) => prompt(text),
        Body::Pipeline(pipeline) => pipeline_text(pipeline).map(drop),
    };
    said.map_err(|why| format!("of {:?} {why}", definition.name))
}

/// Whether the lines of a prompt stay what they are in an indented body.
fn prompt(text: &str) -> Result<(), String> {
    for (n, line) in (1..).zip(text.split('\n')) {
        if line.trim().is_empty() && !line.is_empty() {
            return Err(format!("line {n} holds nothing but blanks, which P drops"));
        }
        if line.trim_start().starts_with(';') {
            return Err(format!("line {n} begins with `;`, which makes it a comment in P"));
        }
    }
    let mut content = text.split('\n').map(str::trim).filter(|line| !line.is_empty());
    let Some(first) = content.next() else {
        return Err("the prompt is empty, and P has no empty body".into());
    };
    if text.ends_with('\n') {
        return Err("the prompt ends with an empty line, which P drops".into());
    }
    let one_line = content.next().is_none();
    if must_be_pipeline(first) || one_line && matches!(read(first, 0), Reading::Pipeline(_)) {
        return Err("the prompt would be read as a pipeline".into());
    }
    Ok(())
}

fn push_lines(out: &mut String, text: &str) {
    for line in text.split('\n') {
        if !line.is_empty() {
            out.push('\t');
            out.push_str(line);
            // Of CR LF the reader takes both away.
            if line.ends_with('\r') {
                out.push('\r');
            }
        }
        out.push('\n');
    }
}

/// The pipeline on one line.
fn pipeline_text(pipeline: &Pipeline) -> Result<String, String> {
    let mut parts: Vec<String> = pipeline.input.iter().cloned().collect();
    if parts.is_empty() {
        match &pipeline.steps[..] {
            [step] if !matches!(step.kind, StepCall::Call { .. }) => {}
            _ => return Err("the pipeline has no input, without which P allows one loop or map only".into()),
        }
    }
    for step in &pipeline.steps {
        let (own_label, text) = match &step.kind {
            StepCall::Call { method } => (method, method.clone()),
            StepCall::Map { reference, method } => (reference, format!("map({reference}, {method})")),
            StepCall::Loop { method } => (method, format!("loop({method})")),
        };
        if !is_identifier(&step.label) {
            return Err(format!("the step {:?} has a label that is no name", step.label));
        }
        parts.push(if *own_label == step.label { text } else { format!("{} ({text})", step.label) });
    }
    Ok(parts.join(" -> "))
}

#[cfg(test)]
#[path = "unparse_tests.rs"]
mod tests;
