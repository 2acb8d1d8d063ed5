//! Tickets that wait for each other.

use std::collections::{BTreeMap, BTreeSet};

/// Names of tickets, each of which waits for the next and the last for the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<String>);

impl std::fmt::Display for Cycle {
    /// `a → b → a`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for name in &self.0 {
            write!(f, "{name} → ")?;
        }
        f.write_str(self.0.first().map_or("", String::as_str))
    }
}

/// A cycle among tickets, if there is one: the same one for the same tickets. `tickets` has for each name what it
/// waits for; names that are not there wait for nothing.
pub fn cycle(tickets: &BTreeMap<String, Vec<String>>) -> Option<Cycle> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in tickets.keys() {
        // The way from the start, each with how many of its dependencies were looked at, and where it is on the way.
        let mut way: Vec<(&str, usize)> = vec![(start, 0)];
        let mut places: BTreeMap<&str, usize> = BTreeMap::from([(start.as_str(), 0)]);
        while let Some((name, next)) = way.last_mut() {
            let name = *name;
            let waits_for = tickets.get(name).and_then(|names| names.get(*next));
            *next += 1;
            match waits_for {
                Some(other) if !done.contains(name) => match places.get(other.as_str()) {
                    Some(from) => {
                        let names = way.iter().skip(*from).map(|(name, _)| (*name).to_owned());
                        return Some(Cycle(names.collect()));
                    }
                    None => {
                        places.insert(other, way.len());
                        way.push((other, 0));
                    }
                },
                _ => {
                    done.insert(name);
                    places.remove(name);
                    way.pop();
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tickets(lines: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let own = |name: &&str| (*name).to_owned();
        lines.iter().map(|(name, waits)| (own(name), waits.iter().map(own).collect())).collect()
    }

    #[test]
    fn a_cycle_is_named_in_its_order() {
        let found = |lines| cycle(&tickets(lines)).map(|cycle| cycle.to_string());
        assert_eq!(found(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]).unwrap(), "b → c → b");
        assert_eq!(found(&[("a", &["a"])]).unwrap(), "a → a");
        assert_eq!(found(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &["gone"])]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let mut all: BTreeMap<String, Vec<String>> =
            (0..100_000).map(|n| (format!("{n:06}"), vec![format!("{:06}", n + 1)])).collect();
        assert_eq!(cycle(&all), None);
        all.insert("100000".into(), vec!["000000".into()]);
        assert_eq!(cycle(&all).unwrap().0.len(), 100_001);
    }

    proptest! {
        #[test]
        fn a_cycle_is_found_exactly_when_no_order_exists(
            edges in proptest::collection::vec((0_u8..7, 0_u8..7), 0..14),
        ) {
            let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (from, to) in &edges {
                all.entry(from.to_string()).or_default().push(to.to_string());
            }
            // Taking away whatever waits for nothing, again and again, leaves nothing unless there is a cycle.
            let mut left = all.clone();
            while let Some(free) = left
                .iter()
                .find(|(_, waits)| waits.iter().all(|name| !left.contains_key(name)))
                .map(|(name, _)| name.clone())
            {
                left.remove(&free);
            }
            match cycle(&all) {
                None => prop_assert!(left.is_empty()),
                Some(Cycle(names)) => {
                    prop_assert!(!left.is_empty());
                    for (place, name) in names.iter().enumerate() {
                        let next = &names[(place + 1) % names.len()];
                        prop_assert!(all[name].contains(next), "{name} does not wait for {next}");
                    }
                }
            }
        }
    }
}
