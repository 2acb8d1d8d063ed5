//! A revision's texts as a tree of steps with names of their own.
//!
//! ```text
//! notes -> plan -> chapters(map(plan, write)) -> loop(polish)
//! Call plan · Map chapters · Loop polish                      paths: plan, chapters, polish
//! ```
//!
//! A path names a step in objects: the labels on the way to it, as a DNS label, joined by `-`, told apart from
//! equal ones by a number. A method that is a pipeline becomes a node with nodes of its own.

use std::collections::{BTreeMap, BTreeSet};

use gcluster_types::AgentRevisionSpec;
use gcluster_types::names::{MAX_LABEL, object_name};
use gcluster_types::sexpr::digest::stable_id;
use gcluster_types::sexpr::program::{
    Body, Definition, Pipeline, ProgramError, StepCall, check_agent, parse_definition,
};

/// Path of the one step of an agent whose definition is plain text.
pub const PROMPT: &str = "prompt";

/// What an agent runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// Steps in order.
    pub nodes: Vec<Node>,
    /// Values bound to the agent's parameters.
    pub arguments: BTreeMap<String, String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A prompt that runs once.
    Call(Leaf),
    /// A prompt that runs once per item.
    Map(Leaf),
    /// A prompt that runs again and again.
    Loop(Leaf),
    /// A pipeline that runs once, in its place.
    Nested(Inner),
    /// A pipeline that runs once per item; see [`Inner::for_item`].
    MapEach(Inner),
    /// A pipeline that runs again and again.
    LoopOver(Inner),
}

/// A prompt and where its result goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// Name in objects.
    pub path: String,
    /// Context entry that the result becomes.
    pub label: String,
    /// The prompt with its slots.
    pub body: String,
    /// For a map: the context entry that is split when there is no previous output.
    pub reference: Option<String>,
}

/// A pipeline inside another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Inner {
    /// Beginning of the paths of its steps.
    pub path: String,
    /// Context entry that the result becomes.
    pub label: String,
    /// Name under which it expects what it is given.
    pub input: Option<String>,
    /// For a map: the context entry that is split when there is no previous output.
    pub reference: Option<String>,
    /// Its steps.
    pub nodes: Vec<Node>,
}

impl Program {
    /// The program of a revision.
    pub fn of(revision: &AgentRevisionSpec) -> Result<Self, ProgramError> {
        // Recursion and missing methods are refused here, so that the building below comes to an end.
        let agent = check_agent(&revision.definition, &revision.methods)?;
        let mut builder = Builder { methods: BTreeMap::new(), used: BTreeSet::new() };
        for (name, text) in &revision.methods {
            builder.methods.insert(name.clone(), parse_definition(text)?);
        }
        let nodes = match &agent.body {
            Body::Prompt(text) => vec![Node::Call(Leaf {
                path: PROMPT.to_owned(),
                label: PROMPT.to_owned(),
                body: text.clone(),
                reference: None,
            })],
            Body::Pipeline(pipeline) => builder.nodes("", pipeline),
        };
        Ok(Self { nodes, arguments: revision.arguments.clone() })
    }

    /// Everything that is done before the loop, as a text to compare. Two programs with the same text differ in
    /// their loop alone, so that an execution of one can go on with the other.
    pub fn before_loop(&self) -> String {
        let mut steps = Vec::new();
        before_loop(&self.nodes, &mut steps);
        let alone = matches!(&steps[..], [one] if one == LOOP);
        let arguments = if alone { String::new() } else { format!("{:?}", self.arguments) };
        format!("{arguments}\n{}", steps.join("\n"))
    }
}

const LOOP: &str = "loop";

fn before_loop(nodes: &[Node], steps: &mut Vec<String>) {
    for node in nodes {
        match node {
            Node::Loop(_) | Node::LoopOver(_) => steps.push(LOOP.to_owned()),
            Node::Nested(inner) => {
                steps.push(format!("nested {:?} {:?}", inner.label, inner.input));
                before_loop(&inner.nodes, steps);
            }
            Node::Call(_) | Node::Map(_) | Node::MapEach(_) => steps.push(format!("{node:?}")),
        }
    }
}

impl Inner {
    /// The steps for one item of a map. Their paths hold the item's number.
    pub fn for_item(&self, item: usize) -> Vec<Node> {
        let (old, new) = (format!("{}-", self.path), fitting(format!("{}-{item}", self.path)));
        let mut nodes = self.nodes.clone();
        rename(&mut nodes, &|path: &mut String| {
            *path = fitting(format!("{new}-{}", path.strip_prefix(&old).unwrap_or(path)));
        });
        nodes
    }

    /// Paths of all steps that are executed in it, those of a loop that it ends with left out.
    pub fn paths(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        paths(&self.nodes, &mut all);
        all
    }
}

fn paths(nodes: &[Node], all: &mut BTreeSet<String>) {
    for node in nodes {
        match node {
            Node::Call(leaf) | Node::Map(leaf) => {
                all.insert(leaf.path.clone());
            }
            Node::Nested(inner) => paths(&inner.nodes, all),
            Node::Loop(_) | Node::LoopOver(_) | Node::MapEach(_) => {}
        }
    }
}

fn rename(nodes: &mut [Node], change: &dyn Fn(&mut String)) {
    for node in nodes {
        match node {
            Node::Call(leaf) | Node::Map(leaf) | Node::Loop(leaf) => change(&mut leaf.path),
            Node::Nested(inner) | Node::MapEach(inner) | Node::LoopOver(inner) => {
                change(&mut inner.path);
                rename(&mut inner.nodes, change);
            }
        }
    }
}

struct Builder {
    methods: BTreeMap<String, Definition>,
    used: BTreeSet<String>,
}

impl Builder {
    fn nodes(&mut self, prefix: &str, pipeline: &Pipeline) -> Vec<Node> {
        pipeline.steps.iter().filter_map(|step| self.node(prefix, &step.label, &step.kind)).collect()
    }

    /// `None` cannot happen: the methods were checked to be there.
    fn node(&mut self, prefix: &str, label: &str, kind: &StepCall) -> Option<Node> {
        let method = self.methods.get(kind.method())?.clone();
        let path = self.path(prefix, label);
        let reference = match kind {
            StepCall::Map { reference, .. } => Some(reference.clone()),
            StepCall::Call { .. } | StepCall::Loop { .. } => None,
        };
        let label = label.to_owned();
        Some(match method.body {
            Body::Prompt(body) => {
                let leaf = Leaf { path, label, body, reference };
                match kind {
                    StepCall::Call { .. } => Node::Call(leaf),
                    StepCall::Map { .. } => Node::Map(leaf),
                    StepCall::Loop { .. } => Node::Loop(leaf),
                }
            }
            Body::Pipeline(pipeline) => {
                let nodes = self.nodes(&path, &pipeline);
                let inner = Inner { path, label, input: pipeline.input, reference, nodes };
                match kind {
                    StepCall::Call { .. } => Node::Nested(inner),
                    StepCall::Map { .. } => Node::MapEach(inner),
                    StepCall::Loop { .. } => Node::LoopOver(inner),
                }
            }
        })
    }

    fn path(&mut self, prefix: &str, label: &str) -> String {
        let own = object_name(label).unwrap_or_else(|_| stable_id(label)[..10].to_owned());
        let base = if prefix.is_empty() { own } else { format!("{prefix}-{own}") };
        let mut path = fitting(base.clone());
        let mut number = 2;
        while !self.used.insert(path.clone()) {
            path = fitting(format!("{base}-{number}"));
            number += 1;
        }
        path
    }
}

/// A path that fits into a label of Kubernetes: a long one ends in a digest of itself.
fn fitting(path: String) -> String {
    if path.len() <= MAX_LABEL {
        return path;
    }
    let digest = stable_id(&path);
    format!("{}-{}", path[..MAX_LABEL - 11].trim_end_matches('-'), &digest[..10])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn revision(definition: &str, methods: &[(&str, &str)]) -> AgentRevisionSpec {
        AgentRevisionSpec {
            definition: definition.to_owned(),
            methods: methods.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            ..AgentRevisionSpec::default()
        }
    }

    fn names(nodes: &[Node]) -> String {
        let show = |node: &Node| match node {
            Node::Call(leaf) => format!("call {}", leaf.path),
            Node::Map(leaf) => format!("map {}", leaf.path),
            Node::Loop(leaf) => format!("loop {}", leaf.path),
            Node::Nested(inner) => format!("{}({})", inner.path, names(&inner.nodes)),
            Node::MapEach(inner) => format!("map {}({})", inner.path, names(&inner.for_item(3))),
            Node::LoopOver(inner) => format!("loop {}({})", inner.path, names(&inner.nodes)),
        };
        nodes.iter().map(show).collect::<Vec<_>>().join(", ")
    }

    const METHODS: &[(&str, &str)] = &[
        ("a", "(defmethod a (x)\n  \"A [x].\")"),
        ("B_b", "(defmethod B_b ()\n  \"B.\")"),
        (
            "inner",
            "(defpipeline inner (x)\n  (pipeline x\n    (step \"a\" (call a))\n    (step \"B_b\" (call B_b))))",
        ),
    ];

    fn program(steps: &str) -> Program {
        let definition = format!("(defagent \"n\"\n  (pipeline x\n    {steps}))");
        let used: Vec<_> = METHODS
            .iter()
            .filter(|(name, _)| steps.contains(&format!(" {name})")) || steps.contains(" inner)"))
            .copied()
            .collect();
        Program::of(&revision(&definition, &used)).unwrap()
    }

    #[test]
    fn every_step_has_a_path_of_its_own() {
        assert_eq!(
            names(&program("(step \"a\" (call a))\n    (step \"a\" (loop a))").nodes),
            "call a, loop a-2"
        );
        let nested = "(step \"One\" (call inner))\n    (step \"two\" (map One inner))\n    (step \"größe\" (loop inner))";
        let got = names(&program(nested).nodes);
        let digest = &stable_id("größe")[..10];
        let want = format!(
            "one(call one-a, call one-b-b), map two(call two-3-a, call two-3-b-b), \
             loop {digest}(call {digest}-a, call {digest}-b-b)"
        );
        assert_eq!(got, want);
        let plain = Program::of(&revision("(defagent \"n\"\n  \"Work.\")", &[])).unwrap();
        assert_eq!(names(&plain.nodes), "call prompt");
    }

    #[test]
    fn only_what_comes_before_the_loop_decides_whether_an_execution_can_go_on() {
        let base = program("(step \"a\" (call a))\n    (step \"B_b\" (loop B_b))").before_loop();
        let same = program("(step \"a\" (call a))\n    (step \"again\" (loop inner))").before_loop();
        assert_eq!(base, same);
        for other in [
            "(step \"a\" (call a))",
            "(step \"z\" (call a))\n    (step \"B_b\" (loop B_b))",
            "(step \"a\" (loop a))",
        ] {
            assert_ne!(base, program(other).before_loop(), "{other}");
        }
        let mut lone = program("(step \"a\" (loop a))");
        let before = lone.before_loop();
        lone.arguments.insert("x".into(), "1".into());
        assert_eq!(before, lone.before_loop(), "a lone loop takes new arguments at its next iteration");
    }

    #[test]
    fn long_paths_fit_and_stay_apart() {
        let (one, two) = (fitting(format!("{}1", "a".repeat(80))), fitting(format!("{}2", "a".repeat(80))));
        assert!(one.len() <= MAX_LABEL && two.len() <= MAX_LABEL && one != two);
    }
}
