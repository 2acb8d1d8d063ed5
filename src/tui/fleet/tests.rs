//! The order of the list, and what counts as one.

use gcluster_types::kinds::iteration::Phase;

use super::*;
use proptest::prelude::*;

fn row(name: &str, need: Need, cost: f64) -> AgentRow {
    let mut row = AgentRow { key: Key::new("d", name), cost, active: 1, tokens: 10, ..AgentRow::default() };
    row.standing.need = need;
    row
}

fn names(fleet: &Fleet) -> Vec<&str> {
    fleet.in_order().map(|row| row.key.name()).collect()
}

#[test]
fn needs_come_first_then_names_as_people_count() {
    let mut fleet = Fleet::default();
    for (name, need) in
        [("b10", Need::Idle), ("b9", Need::Idle), ("z", Need::You), ("a", Need::Done), ("m", Need::Working)]
    {
        fleet.put(row(name, need, 0.0));
    }
    assert_eq!(names(&fleet), ["z", "m", "b9", "b10", "a"]);
    assert_eq!(fleet.put(row("b9", Need::You, 0.0)), Some(Need::Idle));
    assert_eq!(names(&fleet), ["b9", "z", "m", "b10", "a"]);
    fleet.sort_by(Sort::Name, false);
    assert_eq!(names(&fleet), ["a", "b9", "b10", "m", "z"]);
    fleet.sort_by(Sort::Name, true);
    assert_eq!(names(&fleet), ["z", "m", "b10", "b9", "a"]);
}

#[test]
fn the_most_expensive_are_first_when_that_is_asked_for() {
    let mut fleet = Fleet::default();
    fleet.sort_by(Sort::Cost, false);
    for (name, cost) in [("a", 0.5), ("b", 12.0), ("c", 0.0)] {
        fleet.put(row(name, Need::Idle, cost));
    }
    assert_eq!(names(&fleet), ["b", "a", "c"]);
    fleet.put(row("c", Need::Idle, 20.0));
    assert_eq!(names(&fleet), ["c", "b", "a"]);
    fleet.sort_by(Sort::Cost, true);
    assert_eq!(names(&fleet), ["a", "b", "c"]);
}

#[test]
fn an_older_state_of_an_iteration_does_not_replace_a_newer_one() {
    let at = |version, phase| IterationRow {
        name: "a.s.1".into(),
        step: "s".into(),
        number: 1,
        version,
        phase,
        ..Default::default()
    };
    let mut runs = Runs::default();
    runs.put(at(7, Phase::Succeeded));
    runs.put(at(5, Phase::Running));
    assert_eq!(runs.get("s", "a.s.1").map(|row| row.phase), Some(Phase::Succeeded));
    runs.remove("a.s.1");
    assert_eq!(runs.count("s"), 0);
}

proptest! {
    /// Whatever happens in whatever order, the list is what a sort of everything would give, and sums are sums.
    #[test]
    fn changes_keep_the_list_as_a_sort_would_make_it(
        changes in proptest::collection::vec((0..12u8, 0..6usize, 0..100u32, any::<bool>()), 0..60),
        sort in 0..5usize, reverse: bool, filter in "[a-c]{0,1}",
    ) {
        let mut fleet = Fleet::default();
        fleet.filter_by(Filter::parse(&filter));
        fleet.sort_by(Sort::ALL[sort], reverse);
        let mut plain: HashMap<Key, AgentRow> = HashMap::new();
        for (name, need, cost, gone) in changes {
            let row = row(&format!("{}{name}", ["a", "b", "c"][usize::from(name) % 3]), Need::ALL[need], f64::from(cost));
            if gone {
                fleet.remove(&row.key);
                plain.remove(&row.key);
            } else {
                plain.insert(row.key.clone(), row.clone());
                fleet.put(row);
            }
        }
        let mut wanted: Vec<&AgentRow> = plain.values().filter(|row| fleet.filter().matches(row)).collect();
        wanted.sort_by_cached_key(|row| fleet.rank(row));
        let wanted: Vec<&str> = wanted.iter().map(|row| row.key.name()).collect();
        prop_assert_eq!(names(&fleet), wanted);
        prop_assert_eq!(fleet.totals().0, plain.len());
        prop_assert!((fleet.totals().1 - plain.values().map(|row| row.cost).sum::<f64>()).abs() < 1e-6);
        for need in Need::ALL {
            prop_assert_eq!(fleet.count(need), plain.values().filter(|row| row.standing.need == need).count());
        }
    }
}
