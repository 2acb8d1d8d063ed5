//! Names of what belongs to a ticket.

use gcluster_types::names::MAX_LABEL;
use gcluster_types::sexpr::digest::stable_id;

/// Room that is left for what others append, such as the number of a reviewer.
const ROOM: usize = 8;
/// Digits of the digest that tells shortened names apart.
const DIGITS: usize = 8;

/// `TICKET-SUFFIX` as a DNS label with room for a short suffix of others. A long name ends in a digest of itself.
pub(super) fn child(ticket: &str, suffix: &str) -> String {
    let most = MAX_LABEL - ROOM - suffix.len().min(MAX_LABEL / 2) - 1;
    let plain = ticket.replace('.', "-");
    if plain.len() <= most && plain == ticket {
        return format!("{plain}-{suffix}");
    }
    let head: String = plain.chars().take(most - DIGITS - 1).collect();
    let digest = stable_id(ticket);
    format!("{}-{}-{suffix}", head.trim_end_matches('-'), digest.get(..DIGITS).unwrap_or_default())
}

/// Name of the agent of a round.
pub(super) fn worker(ticket: &str, round: i32) -> String {
    child(ticket, &format!("work-{round}"))
}

/// Name of a reading.
pub(super) fn review(ticket: &str, reading: i32) -> String {
    child(ticket, &format!("review-{reading}"))
}

/// Name of a merge.
pub(super) fn merge(ticket: &str, attempt: i32) -> String {
    child(ticket, &format!("merge-{attempt}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gcluster_types::names::is_dns_label;
    use proptest::prelude::*;

    #[test]
    fn names_are_what_people_expect() {
        assert_eq!(worker("t-7", 2), "t-7-work-2");
        assert_eq!(review("t-7", 1), "t-7-review-1");
        assert_eq!(merge("t-7", 3), "t-7-merge-3");
    }

    proptest! {
        #[test]
        fn every_name_is_a_label_and_different_tickets_have_different_ones(
            one in "[a-z]([a-z0-9.-]{0,70}[a-z0-9])?", two in "[a-z]([a-z0-9.-]{0,70}[a-z0-9])?",
            round in 1_i32..100_000,
        ) {
            prop_assert!(is_dns_label(&worker(&one, round)) || one.contains(".-") || one.contains("-."));
            prop_assert!(worker(&one, round).len() + 6 <= MAX_LABEL);
            prop_assert_eq!(worker(&one, round) == worker(&two, round), one == two);
        }
    }
}
