//! Which iterations exist → what comes next. Pure: the executor calls it again after every change.
//!
//! Only succeeded iterations of the present execution count as done, so a restart, a failure and the first start
//! are the same case: whatever is missing is started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gcluster_types::Iteration;
use gcluster_types::kinds::agent::LoopContext;
use gcluster_types::kinds::iteration::{Phase, StepKind};
use kube::ResourceExt;

use super::items::split;
use super::program::{Inner, Leaf, Node, Program};
use super::prompt;

/// What the flow is derived from.
pub struct Scene<'a> {
    /// What runs.
    pub program: &'a Program,
    /// Iterations of the present execution.
    pub history: &'a [Arc<Iteration>],
    /// True for one that was recorded and never started: it is started under its number.
    pub unstarted: &'a dyn Fn(&Iteration) -> bool,
    /// Output of a succeeded iteration by its name, where it is at hand.
    pub outputs: &'a dyn Fn(&str) -> Option<Arc<str>>,
    /// The number that the next iteration of a step gets.
    pub next_number: &'a dyn Fn(&str) -> i64,
    /// `spec.loopContext`.
    pub loop_context: LoopContext,
    /// Items of one map that run at once.
    pub concurrent_items: usize,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Flow {
    /// Start these; none means that something is under way.
    Going {
        /// In order of importance.
        starts: Vec<Start>,
        /// Maps that are under way: their step and number. They are counted when all their items ended.
        open: BTreeSet<(String, i64)>,
    },
    /// Everything is done.
    Done,
    /// The output of this iteration is needed to tell.
    Needs(String),
}

/// One iteration to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Path of its step.
    pub step: String,
    /// How the step runs.
    pub kind: StepKind,
    /// Its number.
    pub number: i64,
    /// Item of a map.
    pub item: Option<i64>,
    /// Round of an enclosing loop over a pipeline.
    pub round: Option<i64>,
    /// Its whole prompt.
    pub prompt: String,
}

impl Start {
    /// Name of its object.
    pub fn name(&self, agent: &str) -> String {
        let item = self.item.map(|item| format!(".{item}")).unwrap_or_default();
        format!("{agent}.{}.{}{item}", self.step, self.number)
    }
}

/// Derives what comes next.
pub fn flow(scene: &Scene<'_>) -> Flow {
    let mut walk = Walk { scene, starts: Vec::new(), open: BTreeSet::new() };
    let given = |value: &String| Text::Given(value.as_str().into());
    let context = scene.program.arguments.iter().map(|(name, value)| (name.clone(), given(value))).collect();
    let place = Place { before: None, context, round: None };
    match walk.nodes(&scene.program.nodes, place) {
        Ok(Some(_)) => Flow::Done,
        Ok(None) => Flow::Going { starts: walk.starts, open: walk.open },
        Err(Needs(name)) => Flow::Needs(name),
    }
}

/// A text that may have to be read from a transcript first.
#[derive(Debug, Clone)]
enum Text {
    Given(Arc<str>),
    Output(String),
    Joined(Vec<Text>),
}

/// The output of this iteration is not at hand.
struct Needs(String);

/// Where the walk is: what came before, what is bound, which round of a loop it is.
#[derive(Clone)]
struct Place {
    before: Option<Text>,
    context: BTreeMap<String, Text>,
    round: Option<i64>,
}

/// The place behind a step that is done, or nothing when it is under way.
type Step = Result<Option<Place>, Needs>;

struct Walk<'a> {
    scene: &'a Scene<'a>,
    starts: Vec<Start>,
    open: BTreeSet<(String, i64)>,
}

impl Walk<'_> {
    fn nodes(&mut self, nodes: &[Node], mut place: Place) -> Step {
        for node in nodes {
            match self.node(node, place)? {
                Some(next) => place = next,
                None => return Ok(None),
            }
        }
        Ok(Some(place))
    }

    fn node(&mut self, node: &Node, place: Place) -> Step {
        match node {
            Node::Call(leaf) => self.call(leaf, place),
            Node::Map(leaf) => self.map(leaf, place),
            Node::Loop(leaf) => self.again(leaf, place).map(|()| None),
            Node::Nested(inner) => self.nested(&inner.nodes, inner, place),
            Node::MapEach(inner) => self.map_each(inner, place),
            Node::LoopOver(inner) => self.loop_over(inner, place).map(|()| None),
        }
    }

    fn call(&mut self, leaf: &Leaf, place: Place) -> Step {
        let history = self.of(&leaf.path, place.round);
        if let Some(done) = newest_success(&history) {
            return Ok(Some(place.after(&leaf.label, Text::Output(done))));
        }
        self.one(leaf, StepKind::Call, &history, &place, place.before.as_ref())?;
        Ok(None)
    }

    fn again(&mut self, leaf: &Leaf, place: Place) -> Result<(), Needs> {
        let history = self.of(&leaf.path, place.round);
        let before = match self.scene.loop_context {
            LoopContext::None => None,
            LoopContext::Previous => newest_success(&history).map(Text::Output).or(place.before.clone()),
        };
        self.one(leaf, StepKind::Loop, &history, &place, before.as_ref())
    }

    /// One iteration of a step, unless one is under way.
    fn one(
        &mut self,
        leaf: &Leaf,
        kind: StepKind,
        history: &[Arc<Iteration>],
        place: &Place,
        before: Option<&Text>,
    ) -> Result<(), Needs> {
        let number = match history.iter().rev().find(|iteration| !ended(iteration)) {
            Some(there) if !(self.scene.unstarted)(there) => return Ok(()),
            Some(there) => there.spec.number,
            None => (self.scene.next_number)(&leaf.path),
        };
        let before = before.map(|text| self.text(text)).transpose()?;
        let prompt = self.prompt(leaf, place, before.as_deref())?;
        let step = leaf.path.clone();
        self.starts.push(Start { step, kind, number, item: None, round: place.round, prompt });
        Ok(())
    }

    /// A map. All items share a number; those that did not succeed run again under the next one.
    fn map(&mut self, leaf: &Leaf, place: Place) -> Step {
        let items = self.items(leaf.reference.as_deref(), &place)?;
        let history = self.of(&leaf.path, place.round);
        let item_of = |iteration: &Iteration| iteration.spec.item.and_then(|item| usize::try_from(item).ok());
        let mut results: Vec<Option<String>> = vec![None; items.len()];
        let current = history.iter().map(|iteration| iteration.spec.number).max();
        for iteration in history.iter().filter(|iteration| phase(iteration) == Phase::Succeeded) {
            if let Some(result) = item_of(iteration).and_then(|item| results.get_mut(item)) {
                *result = Some(iteration.name_any());
            }
        }
        if results.iter().all(Option::is_some) {
            let texts = results.into_iter().flatten().map(Text::Output).collect();
            return Ok(Some(place.after(&leaf.label, Text::Joined(texts))));
        }
        let there =
            |item: usize| history.iter().find(|i| Some(i.spec.number) == current && item_of(i) == Some(item));
        let missing: Vec<usize> = (0..items.len()).filter(|item| results[*item].is_none()).collect();
        let round_over = missing.iter().all(|item| there(*item).is_some_and(|iteration| ended(iteration)));
        let number = match current {
            Some(current) if !round_over => {
                self.open.insert((leaf.path.clone(), current));
                current
            }
            _ => (self.scene.next_number)(&leaf.path),
        };
        let mut room = self.scene.concurrent_items;
        for item in missing {
            let known = if round_over { None } else { there(item) };
            let busy = known.is_some_and(|iteration| !ended(iteration));
            if known.is_some_and(|iteration| ended(iteration)) {
                continue;
            }
            if room == 0 {
                break;
            }
            room -= 1;
            if busy && !known.is_some_and(|iteration| (self.scene.unstarted)(iteration)) {
                continue;
            }
            let prompt = self.prompt(leaf, &place, Some(&items[item]))?;
            let item = i64::try_from(item).ok();
            let step = leaf.path.clone();
            self.starts.push(Start { step, kind: StepKind::Map, number, item, round: place.round, prompt });
        }
        Ok(None)
    }

    fn nested(&mut self, nodes: &[Node], inner: &Inner, mut place: Place) -> Step {
        if let (Some(input), Some(before)) = (&inner.input, &place.before)
            && !place.context.contains_key(input)
        {
            place.context.insert(input.clone(), before.clone());
        }
        let Some(place) = self.nodes(nodes, place)? else { return Ok(None) };
        let result = place.before.clone().unwrap_or(Text::Given("".into()));
        Ok(Some(place.after(&inner.label, result)))
    }

    fn map_each(&mut self, inner: &Inner, place: Place) -> Step {
        let items = self.items(inner.reference.as_deref(), &place)?;
        let mut results = Vec::with_capacity(items.len());
        let mut room = self.scene.concurrent_items;
        let count = items.len();
        for (number, item) in items.into_iter().enumerate() {
            if room == 0 {
                break;
            }
            let given = Text::Given(item.as_str().into());
            let mut own = Place { before: Some(given.clone()), ..place.clone() };
            if let Some(input) = &inner.input {
                own.context.insert(input.clone(), given);
            }
            match self.nested(&inner.for_item(number), inner, own)? {
                Some(done) => results.extend(done.before),
                None => room -= 1,
            }
        }
        let done = results.len() == count;
        Ok(done.then(|| place.after(&inner.label, Text::Joined(results))))
    }

    /// A pipeline again and again: the newest round that began goes on; when it is done, the next one begins.
    fn loop_over(&mut self, inner: &Inner, mut place: Place) -> Result<(), Needs> {
        let paths = inner.paths();
        let own = |iteration: &&Arc<Iteration>| paths.contains(&iteration.spec.step);
        let newest = self.scene.history.iter().filter(own).filter_map(|iteration| iteration.spec.round).max();
        let newest = newest.unwrap_or(0);
        let first = place.before.clone();
        let (starts, open) = (self.starts.len(), self.open.clone());
        for round in newest.saturating_sub(1).max(0)..=newest.saturating_add(1) {
            place.round = Some(round);
            match self.nested(&inner.nodes, inner, place.clone()) {
                Ok(Some(done)) => {
                    place = done;
                    if self.scene.loop_context == LoopContext::None {
                        place.before = None;
                    }
                }
                // Of the round before the newest only the results are wanted; retention may have taken some.
                Ok(None) if round < newest => {
                    self.starts.truncate(starts);
                    self.open.clone_from(&open);
                    place.before = first.clone();
                }
                Ok(None) => return Ok(()),
                Err(needs) => return Err(needs),
            }
        }
        Ok(())
    }

    /// The items of what came before; without it, of the context entry that the map names.
    fn items(&self, reference: Option<&str>, place: &Place) -> Result<Vec<String>, Needs> {
        let bound = reference.and_then(|name| place.context.get(name));
        let text = place.before.as_ref().or(bound).map(|text| self.text(text)).transpose()?;
        Ok(split(text.as_deref().unwrap_or_default()))
    }

    fn prompt(&self, leaf: &Leaf, place: &Place, before: Option<&str>) -> Result<String, Needs> {
        let mut context = BTreeMap::new();
        for (name, text) in &place.context {
            if leaf.body.contains(&format!("[{name}]")) {
                context.insert(name.clone(), self.text(text)?.to_string());
            }
        }
        Ok(prompt::preceded(before, &prompt::fill(&leaf.body, &context)))
    }

    fn text(&self, text: &Text) -> Result<Arc<str>, Needs> {
        match text {
            Text::Given(text) => Ok(text.clone()),
            Text::Output(name) => (self.scene.outputs)(name).ok_or_else(|| Needs(name.clone())),
            Text::Joined(parts) => {
                let parts = parts.iter().map(|part| self.text(part)).collect::<Result<Vec<_>, _>>()?;
                Ok(prompt::join(parts.iter().map(|part| &**part)).into())
            }
        }
    }

    /// Iterations of a step in a round, oldest first.
    fn of(&self, path: &str, round: Option<i64>) -> Vec<Arc<Iteration>> {
        let own = |i: &&Arc<Iteration>| i.spec.step == path && i.spec.round == round;
        let mut found: Vec<_> = self.scene.history.iter().filter(own).cloned().collect();
        found.sort_by_key(|iteration| (iteration.spec.number, iteration.spec.item));
        found
    }
}

impl Place {
    fn after(mut self, label: &str, result: Text) -> Place {
        self.context.insert(label.to_owned(), result.clone());
        self.before = Some(result);
        self
    }
}

/// Where an iteration stands.
pub fn phase(iteration: &Iteration) -> Phase {
    iteration.status.as_ref().map_or(Phase::Pending, |status| status.phase)
}

fn ended(iteration: &Iteration) -> bool {
    phase(iteration).is_terminal()
}

fn newest_success(history: &[Arc<Iteration>]) -> Option<String> {
    history
        .iter()
        .rev()
        .find(|iteration| phase(iteration) == Phase::Succeeded)
        .map(|iteration| iteration.name_any())
}
