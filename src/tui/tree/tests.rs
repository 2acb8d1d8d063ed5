//! The walk over the rows, against a list of all of them.

use std::collections::HashMap;

use gcluster_types::kinds::iteration::Phase;
use proptest::prelude::*;

use super::*;
use crate::tui::fleet::Sort;

fn fleet(agents: usize) -> (Fleet, HashMap<Key, Runs>) {
    let (mut fleet, mut runs) = (Fleet::default(), HashMap::new());
    for n in 0..agents {
        let key = Key::new("d", &format!("a{n}"));
        let mut row = AgentRow { key: key.clone(), ..AgentRow::default() };
        row.standing.need = Need::ALL[n % 6];
        row.steps.push(StepRow {
            label: "s".into(),
            shown: "loop(s)".into(),
            looped: true,
            ..StepRow::default()
        });
        fleet.put(row);
        let known: &mut Runs = runs.entry(key.clone()).or_default();
        for number in 0..(n as i64 % 8) {
            known.put(IterationRow {
                name: format!("a{n}.s.{number}"),
                agent: key.clone(),
                step: "s".into(),
                number,
                phase: Phase::Succeeded,
                ..IterationRow::default()
            });
        }
    }
    (fleet, runs)
}

#[test]
fn four_iterations_are_shown_newest_first_and_more_when_asked() {
    let (fleet, runs) = fleet(8);
    let source = Source { fleet: &fleet, runs: &runs };
    let mut tree = Tree::default();
    tree.begin(source);
    let labels = |tree: &Tree| -> Vec<String> {
        let rows = tree.window(source, 0, 100);
        let of = |row: &Row<'_>| match row {
            Row::Iteration(agent, row) if agent.key.name() == "a7" => Some(row.label()),
            Row::More(agent, _, hidden) if agent.key.name() == "a7" => Some(format!("{hidden} more")),
            _ => None,
        };
        rows.iter().filter_map(of).collect()
    };
    assert_eq!(labels(&tree), ["#6", "#5", "#4", "#3", "3 more"]);
    tree.select(source, RowId::More(Key::new("d", "a7"), "s".into()), 20);
    tree.open(source, true, 20);
    assert_eq!(labels(&tree), ["#6", "#5", "#4", "#3", "#2", "#1", "#0"]);
}

#[test]
fn a_large_fleet_begins_closed_and_a_small_one_open() {
    for (agents, open) in [(12, true), (13, false)] {
        let (fleet, runs) = fleet(agents);
        let source = Source { fleet: &fleet, runs: &runs };
        let mut tree = Tree::default();
        tree.begin(source);
        assert_eq!(tree.window(source, 0, 100).iter().any(|row| matches!(row, Row::Step(..))), open);
        assert_eq!(tree.opened().count() > 0, open);
    }
}

proptest! {
    /// Whatever keys are pressed: a selectable row is selected, it is in view, and the window is a part of the list.
    #[test]
    fn the_selection_is_always_there_and_in_view(
        agents in 0..30usize, height in 1..12usize, sort in 0..5usize,
        moves in proptest::collection::vec((0..8u8, -15..15isize), 0..40),
    ) {
        let (mut fleet, runs) = fleet(agents);
        fleet.sort_by(Sort::ALL[sort], false);
        let source = Source { fleet: &fleet, runs: &runs };
        let mut tree = Tree::default();
        tree.begin(source);
        for (what, delta) in moves {
            match what {
                0 => tree.go(source, Move::First, height),
                1 => tree.go(source, Move::Last, height),
                2 => tree.open(source, true, height),
                3 => tree.open(source, false, height),
                4 => tree.open_all(source, delta > 0, height),
                _ => tree.go(source, Move::By(delta), height),
            }
            let all = tree.window(source, 0, usize::MAX);
            prop_assert_eq!(all.len(), tree.count(source));
            if agents == 0 {
                prop_assert!(tree.selected().is_none());
                continue;
            }
            let id = tree.selected().cloned().expect("something is selected");
            let at = all.iter().position(|row| row.id().as_ref() == Some(&id)).expect("it exists");
            let offset = tree.offset();
            prop_assert!(offset <= at && at < offset + height, "{at} is not in {offset}..+{height}");
            let window = tree.window(source, offset, height);
            prop_assert_eq!(window.len(), (all.len() - offset).min(height), "no gap below");
        }
    }
}
