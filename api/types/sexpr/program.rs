//! Definitions as types: what the executor runs and admission checks.
//!
//! ```
//! use gcluster_types::sexpr::program::{Body, StepCall, parse_definition};
//! let agent = parse_definition("(defagent \"builder\"\n  (pipeline\n    (step \"build\" (loop build))))").unwrap();
//! assert_eq!((agent.agent_name.as_deref(), agent.name.as_str()), (Some("builder"), "agent-builder"));
//! let Body::Pipeline(pipeline) = agent.body else { unreachable!() };
//! assert_eq!(pipeline.steps[0].kind, StepCall::Loop { method: "build".into() });
//! ```

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::Form;
use super::print::print;
use super::read::{ReadError, read};
use super::unicode::is_identifier;

/// What a method's name begins with when it defines an agent.
pub const AGENT_PREFIX: &str = "agent-";

/// One method or agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The agent's name, for a `defagent` form.
    pub agent_name: Option<String>,
    /// The method's name; `agent-NAME` for an agent.
    pub name: String,
    /// Parameters in order. A `defagent` form holds none.
    pub params: Vec<String>,
    /// What runs.
    pub body: Body,
}

/// What a definition runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// One prompt, with `[param]` slots.
    Prompt(String),
    /// Steps, one after the other.
    Pipeline(Pipeline),
}

/// Steps and the parameter that seeds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Name of the parameter whose argument is the first context entry.
    pub input: Option<String>,
    /// At least one step; only the last one may be a loop.
    pub steps: Vec<Step>,
}

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Context entry that the step's result becomes, and its name in status.
    pub label: String,
    /// How it runs.
    pub kind: StepCall,
}

/// How a step runs its method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepCall {
    /// Once.
    Call {
        /// The method.
        method: String,
    },
    /// Once for each item of the previous output, in parallel.
    Map {
        /// What the items are called.
        reference: String,
        /// The method.
        method: String,
    },
    /// Again and again.
    Loop {
        /// The method.
        method: String,
    },
}

impl StepCall {
    /// The method that the step runs.
    pub fn method(&self) -> &str {
        match self {
            Self::Call { method } | Self::Map { method, .. } | Self::Loop { method } => method,
        }
    }
}

impl Definition {
    /// Methods that the definition names itself, in order of its steps.
    pub fn called(&self) -> impl Iterator<Item = &str> {
        let steps = match &self.body {
            Body::Prompt(_) => &[][..],
            Body::Pipeline(pipeline) => &pipeline.steps,
        };
        steps.iter().map(|step| step.kind.method())
    }

    /// The form of the definition; an agent's form carries no parameters.
    pub fn form(&self) -> Form {
        let body = match &self.body {
            Body::Prompt(text) => Form::str(text),
            Body::Pipeline(pipeline) => pipeline.form(),
        };
        if let Some(agent) = &self.agent_name {
            return Form::List(vec![Form::symbol("defagent"), Form::str(agent), body]);
        }
        let kind = if matches!(self.body, Body::Prompt(_)) { "defmethod" } else { "defpipeline" };
        let params = self.params.iter().map(Form::symbol).collect();
        Form::List(vec![Form::symbol(kind), Form::symbol(&self.name), Form::List(params), body])
    }
}

impl Pipeline {
    /// `(pipeline input (step …) …)`.
    pub fn form(&self) -> Form {
        let mut items = vec![Form::symbol("pipeline")];
        items.extend(self.input.iter().map(Form::symbol));
        items.extend(self.steps.iter().map(|step| {
            let call: &[&str] = match &step.kind {
                StepCall::Call { method } => &["call", method],
                StepCall::Map { reference, method } => &["map", reference, method],
                StepCall::Loop { method } => &["loop", method],
            };
            let call = call.iter().map(|word| Form::symbol(*word)).collect();
            Form::List(vec![Form::symbol("step"), Form::str(&step.label), Form::List(call)])
        }));
        Form::List(items)
    }
}

/// Why a text is no definition, or why definitions do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProgramError {
    /// The text is no S-expression.
    #[error("the definition is no S-expression: {0}")]
    Read(#[from] ReadError),
    /// The form is none of the three.
    #[error(
        "a definition is `(defagent \"NAME\" BODY)`, `(defmethod NAME (PARAMS) \"BODY\")` or `(defpipeline NAME (PARAMS) PIPELINE)`; found {0}"
    )]
    Shape(String),
    /// A word that should be a name is none.
    #[error("{0:?} is no name: letters, digits, `-` and `_` are allowed")]
    Name(String),
    /// A pipeline without steps, or a part of one that is malformed.
    #[error(
        "a pipeline is `(pipeline [INPUT] (step \"LABEL\" (call M | map R M | loop M)) …)` with at least one step; found {0}"
    )]
    Pipeline(String),
    /// Steps follow a loop.
    #[error("the step {0:?} is a loop and must be the last of its pipeline: nothing after it would ever run")]
    StepAfterLoop(String),
    /// The text says the same in another layout, so its id would differ.
    #[error("the definition of {0:?} is not in canonical form; write it as `gcluster eval` prints it")]
    NotCanonical(String),
    /// An agent where a method is expected, or the other way round.
    #[error("{name:?} must be {expected}")]
    Kind {
        /// Name of the definition.
        name: String,
        /// What belongs in its place.
        expected: &'static str,
    },
    /// A method text under another method's name.
    #[error("the method {key:?} holds the definition of {name:?}")]
    Key {
        /// The name it is listed under.
        key: String,
        /// The name in the text.
        name: String,
    },
    /// A step names a method that is not there.
    #[error("{caller:?} runs the method {method:?}, which is not defined")]
    Undefined {
        /// Who names it.
        caller: String,
        /// What is missing.
        method: String,
    },
    /// Methods that no step reaches.
    #[error("the method {0:?} is reached by no step; leave it out")]
    Unreached(String),
    /// A pipeline that reaches itself.
    #[error("the pipeline reaches itself: {}", .0.join(" -> "))]
    Recursion(Vec<String>),
}

/// The definition that a `defagent`, `defmethod` or `defpipeline` text holds.
pub fn parse_definition(canonical_text: &str) -> Result<Definition, ProgramError> {
    let form = read(canonical_text)?;
    let shape = || ProgramError::Shape(excerpt(&form));
    let Form::List(items) = &form else { return Err(shape()) };
    match (form.head(), &items[..]) {
        (Some("defagent"), [_, Form::Str(agent), body]) => {
            let body = match body {
                Form::Str(text) => Body::Prompt(text.clone()),
                other => Body::Pipeline(pipeline(other)?),
            };
            let name = format!("{AGENT_PREFIX}{agent}");
            Ok(Definition { agent_name: Some(agent.clone()), name, params: Vec::new(), body })
        }
        (Some("defmethod"), [_, method, Form::List(params), Form::Str(text)]) => Ok(Definition {
            agent_name: None,
            name: name(method)?,
            params: params.iter().map(name).collect::<Result<_, _>>()?,
            body: Body::Prompt(text.clone()),
        }),
        (Some("defpipeline"), [_, method, Form::List(params), body]) => Ok(Definition {
            agent_name: None,
            name: name(method)?,
            params: params.iter().map(name).collect::<Result<_, _>>()?,
            body: Body::Pipeline(pipeline(body)?),
        }),
        _ => Err(shape()),
    }
}

/// Names of all methods that a definition reaches through its steps, and through the steps of those.
///
/// A name that `methods` lacks is part of the answer, so that the caller can tell what is missing.
pub fn reachable(
    definition: &Definition,
    methods: &BTreeMap<String, String>,
) -> Result<BTreeSet<String>, ProgramError> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<String> = definition.called().map(str::to_owned).collect();
    while let Some(name) = open.pop() {
        if let Some(text) = methods.get(&name)
            && !reached.contains(&name)
        {
            open.extend(parse_definition(text)?.called().map(str::to_owned));
        }
        reached.insert(name);
    }
    Ok(reached)
}

/// Checks an agent as a whole: every text canonical, every method there and none too many, no recursion.
///
/// What passes can be run from its texts alone. Answers the agent's definition.
pub fn check_agent(definition: &str, methods: &BTreeMap<String, String>) -> Result<Definition, ProgramError> {
    let agent = canonical_definition(definition)?;
    if agent.agent_name.is_none() {
        return Err(ProgramError::Kind { name: agent.name, expected: "a `defagent` form" });
    }
    let mut calls: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (key, text) in methods {
        let method = canonical_definition(text)?;
        if method.agent_name.is_some() {
            return Err(ProgramError::Kind {
                name: key.clone(),
                expected: "a `defmethod` or `defpipeline` form",
            });
        }
        if method.name != *key {
            return Err(ProgramError::Key { key: key.clone(), name: method.name });
        }
        calls.insert(key, method.called().map(str::to_owned).collect());
    }
    let own: Vec<String> = agent.called().map(str::to_owned).collect();
    let reached = walk(&agent.name, &own, &calls)?;
    if let Some(extra) = methods.keys().find(|key| !reached.contains(key.as_str())) {
        return Err(ProgramError::Unreached(extra.clone()));
    }
    Ok(agent)
}

/// Depth first from the agent, with the way back to it at hand for the message about a recursion.
fn walk<'a>(
    agent: &'a str,
    own: &'a [String],
    calls: &'a BTreeMap<&str, Vec<String>>,
) -> Result<BTreeSet<&'a str>, ProgramError> {
    let mut finished = BTreeSet::new();
    let mut path: Vec<(&str, std::slice::Iter<'a, String>)> = vec![(agent, own.iter())];
    let mut on_path = BTreeSet::from([agent]);
    while let Some((caller, rest)) = path.last_mut() {
        let caller = *caller;
        let Some(name) = rest.next() else {
            on_path.remove(caller);
            finished.insert(caller);
            path.pop();
            continue;
        };
        if on_path.contains(name.as_str()) {
            let from = path.iter().position(|(on, _)| on == name).unwrap_or(0);
            let mut chain: Vec<String> = path[from..].iter().map(|(on, _)| (*on).to_owned()).collect();
            chain.push(name.clone());
            return Err(ProgramError::Recursion(chain));
        }
        if finished.contains(name.as_str()) {
            continue;
        }
        let Some(next) = calls.get(name.as_str()) else {
            return Err(ProgramError::Undefined { caller: caller.to_owned(), method: name.clone() });
        };
        on_path.insert(name);
        path.push((name, next.iter()));
    }
    Ok(finished)
}

fn canonical_definition(text: &str) -> Result<Definition, ProgramError> {
    let definition = parse_definition(text)?;
    if print(&definition.form()) == text {
        Ok(definition)
    } else {
        Err(ProgramError::NotCanonical(definition.name))
    }
}

fn pipeline(form: &Form) -> Result<Pipeline, ProgramError> {
    let malformed = |part: &Form| ProgramError::Pipeline(excerpt(part));
    let (Some("pipeline"), Form::List(items)) = (form.head(), form) else { return Err(malformed(form)) };
    let (input, steps) = match &items[1..] {
        [Form::Symbol(input), steps @ ..] => (Some(checked(input)?), steps),
        steps => (None, steps),
    };
    let steps: Vec<Step> = steps.iter().map(step).collect::<Result<_, _>>()?;
    match steps.split_last() {
        None => Err(malformed(form)),
        Some((_, before)) => match before.iter().find(|s| matches!(s.kind, StepCall::Loop { .. })) {
            Some(step) => Err(ProgramError::StepAfterLoop(step.label.clone())),
            None => Ok(Pipeline { input, steps }),
        },
    }
}

fn step(form: &Form) -> Result<Step, ProgramError> {
    let malformed = || ProgramError::Pipeline(excerpt(form));
    let Form::List(items) = form else { return Err(malformed()) };
    let [Form::Symbol(head), Form::Str(label), Form::List(call)] = &items[..] else {
        return Err(malformed());
    };
    if head != "step" {
        return Err(malformed());
    }
    let words: Vec<String> = call.iter().map(name).collect::<Result<_, _>>()?;
    let kind = match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["call", method] => StepCall::Call { method: (*method).to_owned() },
        ["loop", method] => StepCall::Loop { method: (*method).to_owned() },
        ["map", reference, method] => {
            StepCall::Map { reference: (*reference).to_owned(), method: (*method).to_owned() }
        }
        _ => return Err(malformed()),
    };
    Ok(Step { label: label.clone(), kind })
}

fn name(form: &Form) -> Result<String, ProgramError> {
    match form {
        Form::Symbol(text) => checked(text),
        other => Err(ProgramError::Name(excerpt(other))),
    }
}

fn checked(name: &str) -> Result<String, ProgramError> {
    if is_identifier(name) { Ok(name.to_owned()) } else { Err(ProgramError::Name(name.to_owned())) }
}

/// The beginning of a form's text, for a message.
fn excerpt(form: &Form) -> String {
    let text = print(form);
    let first = text.lines().next().unwrap_or_default();
    match first.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &first[..end]),
        None => first.to_owned(),
    }
}
