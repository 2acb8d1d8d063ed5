//! The branch of a ticket: made of the pool's pattern, such that git takes it and no other ticket has it.

use std::collections::BTreeSet;

use gcluster_types::kinds::worker_pool::BRANCH_PATTERN;
use gcluster_types::{Ticket, WorkerPoolSpec};
use kube::ResourceExt;

/// Longest branch name made here.
const LONGEST: usize = 200;

/// A branch for a ticket that no name in `taken` stands in the way of.
pub(super) fn branch(
    pool: (&str, &WorkerPoolSpec),
    worker: i32,
    ticket: &Ticket,
    taken: &BTreeSet<String>,
) -> String {
    let name = ticket.name_any();
    let id = ticket.spec.ticket_id.as_deref().unwrap_or(&name);
    let pattern = pool.1.branch.as_deref().unwrap_or(BRANCH_PATTERN);
    // One pass: what is put in is not looked at again.
    let mut filled = String::new();
    let mut rest = pattern;
    while let Some(open) = rest.find('{') {
        let (before, tail) = rest.split_at(open);
        filled.push_str(before);
        let (value, length) = match tail {
            _ if tail.starts_with("{worker}") => (worker.to_string(), 8),
            _ if tail.starts_with("{id}") => (clean_part(id), 4),
            _ if tail.starts_with("{ticket}") => (clean_part(&name), 8),
            _ if tail.starts_with("{pool}") => (clean_part(pool.0), 6),
            _ => ("-".to_owned(), 1),
        };
        filled.push_str(&value);
        rest = tail.get(length..).unwrap_or_default();
    }
    filled.push_str(rest);
    let mut base = clean(&filled);
    if base.is_empty() {
        base = clean(&format!("ticket/{name}"));
    }
    let mut candidate = base.clone();
    let mut number = 2;
    while taken.iter().any(|other| stands_in_the_way(other, &candidate)) {
        candidate = format!("{base}-{number}");
        number += 1;
    }
    candidate
}

/// Two branches cannot be there together: the same, or one is a folder of the other; file systems may not tell cases
/// apart.
fn stands_in_the_way(one: &str, two: &str) -> bool {
    let (one, two) = (one.to_lowercase(), two.to_lowercase());
    let holds =
        |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
    one == two || holds(&one, &two) || holds(&two, &one)
}

fn clean_part(text: &str) -> String {
    clean(text).replace('/', "-")
}

/// What git takes as the name of a branch: `git check-ref-format`, and nothing that a shell reads.
fn clean(text: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    let text: String = text.chars().take(LONGEST).map(|c| if safe(c) { c } else { '-' }).collect();
    let parts = text.split('/').map(|part| {
        let mut part = part.trim_matches(['.', '-']).to_owned();
        while part.contains("..") {
            part = part.replace("..", ".");
        }
        while let Some(stem) = part.strip_suffix(".lock") {
            part = stem.trim_end_matches(['.', '-']).to_owned();
        }
        part
    });
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gcluster_types::TicketSpec;
    use proptest::prelude::*;

    fn of(pattern: Option<&str>, id: &str, taken: &[&str]) -> String {
        let spec = WorkerPoolSpec { branch: pattern.map(str::to_owned), ..WorkerPoolSpec::default() };
        let ticket = Ticket::new("t-7", TicketSpec { ticket_id: Some(id.into()), ..TicketSpec::default() });
        let taken = taken.iter().map(|name| (*name).to_owned()).collect();
        branch(("team", &spec), 2, &ticket, &taken)
    }

    #[test]
    fn patterns_are_filled_and_made_fit() {
        assert_eq!(of(None, "T-7", &[]), "agent-2/feat-T-7");
        assert_eq!(of(Some("{pool}/{worker}/{ticket}"), "x", &[]), "team/2/t-7");
        assert_eq!(of(Some("a b/{x}/..lock/{id}.lock"), "{worker}", &[]), "a-b/x/lock/worker");
        assert_eq!(of(Some("/"), "x", &[]), "ticket/t-7");
        assert_eq!(of(None, "a/b~1", &[]), "agent-2/feat-a-b-1");
    }

    #[test]
    fn no_branch_stands_in_the_way_of_another() {
        assert_eq!(of(None, "T-7", &["agent-2/feat-T-7"]), "agent-2/feat-T-7-2");
        assert_eq!(of(None, "T-7", &["agent-2/feat-t-7/deeper"]), "agent-2/feat-T-7-2");
        assert_eq!(of(Some("main/{id}"), "T-7", &["agent-2"]), "main/T-7");
    }

    proptest! {
        #[test]
        fn git_takes_whatever_comes_out(pattern in any::<String>(), id in any::<String>()) {
            let name = of(Some(&pattern), &id, &[]);
            let bad = ["..", "//", "@{", "~", "^", ":", "?", "*", "[", "\\", " ", ".lock/", "/."];
            prop_assert!(bad.iter().all(|bad| !name.contains(bad)), "{name:?}");
            prop_assert!(!name.is_empty() && !name.starts_with(['-', '/', '.']), "{name:?}");
            prop_assert!(!name.ends_with(['/', '.']) && !name.ends_with(".lock"), "{name:?}");
            prop_assert!(name.chars().all(|c| !c.is_control()), "{name:?}");
        }
    }
}
