//! Locks of tickets, and the Leases that stand for them.

use crate::names::{MAX_LABEL, object_name};
use crate::sexpr::digest::stable_id;

/// Digits of the digest in the name of a lock that no name can be made of.
const DIGITS: usize = 16;

/// Name of the Lease of a lock. Locks whose names differ only in case, or in punctuation, are the same one.
pub fn lease_name(lock: &str) -> String {
    match object_name(&lock.replace(['.', ' ', '/', ':', '#'], "-")) {
        Ok(name) if name.len() + "lock-".len() <= MAX_LABEL => format!("lock-{name}"),
        _ => format!("lock-{}", stable_id(lock).get(..DIGITS).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::is_dns_label;
    use proptest::prelude::*;

    #[test]
    fn names_are_what_people_expect() {
        assert_eq!(lease_name("UI state"), "lock-ui-state");
        assert_ne!(lease_name("größe"), lease_name("große"));
    }

    proptest! {
        #[test]
        fn a_lease_can_be_made_of_any_lock(lock in any::<String>()) {
            prop_assert!(is_dns_label(&lease_name(&lock)), "{}", lease_name(&lock));
        }
    }
}
