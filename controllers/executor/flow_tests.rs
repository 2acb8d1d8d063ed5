//! Tables of histories → what comes next, and whole executions played through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gcluster_types::Iteration;
use gcluster_types::kinds::agent::LoopContext;
use gcluster_types::kinds::iteration::StepKind;
use kube::ResourceExt;
use serde_json::json;

use super::flow::{Flow, Scene, Start, flow};
use super::program::Program;
use super::program::tests::revision;

/// Plays an execution: starts what is to be started, ends it as asked.
struct Play {
    program: Program,
    history: Vec<Arc<Iteration>>,
    outputs: BTreeMap<String, Arc<str>>,
    loop_context: LoopContext,
    concurrent_items: usize,
}

impl Play {
    fn new(steps: &str, methods: &[(&str, &str)]) -> Self {
        let definition = format!("(defagent \"n\"\n  (pipeline x\n    {steps}))");
        let mut program = Program::of(&revision(&definition, methods)).unwrap();
        program.arguments.insert("x".into(), "X".into());
        Self {
            program,
            history: Vec::new(),
            outputs: BTreeMap::new(),
            loop_context: LoopContext::Previous,
            concurrent_items: 2,
        }
    }

    fn look(&self) -> Flow {
        let next = |step: &str| {
            let own = self.history.iter().filter(|i| i.spec.step == step);
            own.map(|i| i.spec.number + 1).max().unwrap_or(0)
        };
        flow(&Scene {
            program: &self.program,
            history: &self.history,
            unstarted: &|_| false,
            outputs: &|name| self.outputs.get(name).cloned(),
            next_number: &next,
            loop_context: self.loop_context,
            concurrent_items: self.concurrent_items,
        })
    }

    fn starts(&self) -> Vec<Start> {
        match self.look() {
            Flow::Going { starts, .. } => starts,
            other => panic!("{other:?}"),
        }
    }

    fn names(&self) -> Vec<String> {
        self.starts().iter().map(|start| start.name("n")).collect()
    }

    fn set(&mut self, start: &Start, phase: &str) -> String {
        let name = start.name("n");
        self.history.retain(|iteration| iteration.name_any() != name);
        let kind = match start.kind {
            StepKind::Call => "Call",
            StepKind::Map => "Map",
            StepKind::Loop => "Loop",
        };
        let iteration = json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration", "metadata": {"name": name},
            "spec": {"agent": "n", "revision": "r", "step": start.step, "kind": kind, "number": start.number,
                "item": start.item, "round": start.round},
            "status": {"phase": phase},
        });
        self.history.push(Arc::new(serde_json::from_value(iteration).unwrap()));
        name
    }

    /// Lets everything that is to be started succeed with its own name as output; answers prompts by name.
    fn step(&mut self) -> Vec<(String, String)> {
        let starts = self.starts();
        let mut done = Vec::new();
        for start in starts {
            let name = self.set(&start, "Succeeded");
            self.outputs.insert(name.clone(), name.as_str().into());
            done.push((name, start.prompt.replace('\n', "|")));
        }
        done
    }
}

const LIST: (&str, &str) = ("list", "(defmethod list (x)\n  \"List [x].\")");
const DO: (&str, &str) = ("do", "(defmethod do (list)\n  \"Do.\")");
const LAST: (&str, &str) = ("last", "(defmethod last (list nothing)\n  \"Last [list] [nothing].\")");
const INNER: (&str, &str) = (
    "inner",
    "(defpipeline inner (y)\n  (pipeline y\n    (step \"list\" (call list))\n    (step \"last\" (call last))))",
);

fn pairs(done: &[(String, String)]) -> Vec<(&str, &str)> {
    done.iter().map(|(name, prompt)| (name.as_str(), prompt.as_str())).collect()
}

#[test]
fn steps_run_in_order_and_a_failed_one_runs_again_under_the_next_number() {
    let mut play = Play::new("(step \"list\" (call list))\n    (step \"last\" (call last))", &[LIST, LAST]);
    let start = play.starts().remove(0);
    assert_eq!((start.name("n").as_str(), start.prompt.as_str()), ("n.list.0", "List X."));
    play.set(&start, "Running");
    assert!(play.starts().is_empty(), "one at a time");
    play.set(&start, "Failed");
    assert_eq!(pairs(&play.step()), [("n.list.1", "List X.")]);
    assert_eq!(pairs(&play.step()), [("n.last.0", "n.list.1||Last n.list.1 [nothing].")]);
    assert_eq!(play.look(), Flow::Done);
}

#[test]
fn a_map_runs_so_many_items_at_once_and_repeats_those_that_failed() {
    let mut play = Play::new(
        "(step \"list\" (call list))\n    (step \"do\" (map list do))\n    (step \"last\" (call last))",
        &[LIST, DO, LAST],
    );
    play.step();
    play.outputs.insert("n.list.0".into(), "- a\n- b\n- c".into());
    let starts = play.starts();
    assert_eq!(play.names(), ["n.do.0.0", "n.do.0.1"]);
    assert_eq!(starts[1].prompt, "b\n\nDo.");
    play.set(&starts[0], "Running");
    play.set(&starts[1], "Failed");
    assert_eq!(play.names(), ["n.do.0.2"], "a failed item waits for the next round");
    let third = play.starts().remove(0);
    play.set(&third, "Succeeded");
    play.outputs.insert("n.do.0.2".into(), "C".into());
    assert!(play.starts().is_empty());
    let Flow::Going { open, .. } = play.look() else { panic!() };
    assert_eq!(open, BTreeSet::from([("do".to_owned(), 0)]));
    play.set(&starts[0], "Succeeded");
    play.outputs.insert("n.do.0.0".into(), "A".into());
    assert_eq!(pairs(&play.step()), [("n.do.1.1", "b||Do.")]);
    assert_eq!(pairs(&play.step())[0].1, "A||---||n.do.1.1||---||C||Last - a|- b|- c [nothing].");
}

#[test]
fn a_loop_is_given_the_output_before_it_or_nothing_as_asked() {
    let steps = "(step \"list\" (call list))\n    (step \"do\" (loop do))";
    let mut play = Play::new(steps, &[LIST, DO]);
    play.step();
    assert_eq!(pairs(&play.step()), [("n.do.0", "n.list.0||Do.")]);
    assert_eq!(pairs(&play.step()), [("n.do.1", "n.do.0||Do.")]);
    let failed = play.starts().remove(0);
    play.set(&failed, "Interrupted");
    assert_eq!(pairs(&play.step()), [("n.do.3", "n.do.1||Do.")]);
    play.loop_context = LoopContext::None;
    assert_eq!(pairs(&play.step()), [("n.do.4", "Do.")]);
}

#[test]
fn a_nested_pipeline_runs_in_its_place() {
    let mut play = Play::new("(step \"a\" (call inner))\n    (step \"b\" (call last))", &[LIST, LAST, INNER]);
    assert_eq!(pairs(&play.step()), [("n.a-list.0", "List X.")]);
    assert_eq!(pairs(&play.step()), [("n.a-last.0", "n.a-list.0||Last n.a-list.0 [nothing].")]);
    assert_eq!(pairs(&play.step()), [("n.b.0", "n.a-last.0||Last n.a-list.0 [nothing].")]);
    assert_eq!(play.look(), Flow::Done);
}

#[test]
fn a_pipeline_per_item_runs_the_items_side_by_side() {
    let steps = "(step \"list\" (call list))\n    (step \"each\" (map list inner))";
    let mut play = Play::new(steps, &[LIST, LAST, INNER]);
    play.step();
    play.outputs.insert("n.list.0".into(), "- a\n- b\n- c".into());
    assert_eq!(play.names(), ["n.each-0-list.0", "n.each-1-list.0"]);
    let done = play.step();
    assert_eq!(done[1].1, "b||List X.");
    assert_eq!(play.names(), ["n.each-0-last.0", "n.each-1-last.0"]);
    play.step();
    assert_eq!(play.names(), ["n.each-2-list.0"]);
    play.step();
    play.step();
    assert_eq!(play.look(), Flow::Done);
}

#[test]
fn a_loop_over_a_pipeline_goes_round_by_round_also_when_old_rounds_are_gone() {
    let mut play = Play::new("(step \"again\" (loop inner))", &[LIST, LAST, INNER]);
    assert_eq!(pairs(&play.step()), [("n.again-list.0", "List X.")]);
    assert_eq!(play.step()[0].0, "n.again-last.0");
    assert_eq!(pairs(&play.step()), [("n.again-list.1", "n.again-last.0||List X.")]);
    assert_eq!(play.step()[0].0, "n.again-last.1");
    let failed = play.starts().remove(0);
    assert_eq!((failed.name("n"), failed.round), ("n.again-list.2".to_owned(), Some(2)));
    play.set(&failed, "Failed");
    play.history.retain(|iteration| iteration.spec.round != Some(0));
    assert_eq!(pairs(&play.step()), [("n.again-list.3", "n.again-last.1||List X.")]);
    assert_eq!(play.step()[0].0, "n.again-last.2");
    assert_eq!(play.step()[0].0, "n.again-list.4");
}

#[test]
fn an_output_that_is_not_at_hand_is_asked_for() {
    let mut play = Play::new("(step \"list\" (call list))\n    (step \"last\" (call last))", &[LIST, LAST]);
    play.step();
    play.outputs.clear();
    assert_eq!(play.look(), Flow::Needs("n.list.0".into()));
}
