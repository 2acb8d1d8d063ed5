//! Field managers in words: who has changed an agent, as far as the API knows it.

use gcluster_types::labels::{
    MANAGER_APPLY, MANAGER_EDIT, MANAGER_LINE, MANAGER_ROLLOUT, MANAGER_RUN, MANAGER_STEER,
};

/// How something was changed, to stand behind `changed`: `in steer by ada`, `with gcluster apply`, `by kubectl-edit`.
///
/// A manager of gcluster's own may carry the user's name behind a colon.
pub fn changed(manager: &str) -> String {
    let (tool, user) = manager.split_once(':').unwrap_or((manager, ""));
    let how = match tool {
        MANAGER_APPLY => "with gcluster apply",
        MANAGER_EDIT => "with gcluster edit",
        MANAGER_LINE => "over the line protocol",
        MANAGER_ROLLOUT => "with gcluster rollout",
        MANAGER_RUN => "with gcluster",
        MANAGER_STEER => "in steer",
        _ => return format!("by {manager}"),
    };
    if user.is_empty() { how.to_owned() } else { format!("{how} by {user}") }
}

/// The field manager of one of gcluster's tools with the name of who uses it.
pub fn with_user(tool: &str, user: Option<&str>) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    let user: String = user.unwrap_or_default().chars().filter(allowed).take(64).collect();
    if user.is_empty() { tool.to_owned() } else { format!("{tool}:{user}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_are_told_as_people_know_them() {
        let table = [
            ("gcluster", "with gcluster apply"),
            ("gcluster-steer:ada", "in steer by ada"),
            ("gcluster-edit", "with gcluster edit"),
            ("kubectl-edit", "by kubectl-edit"),
            ("other:x", "by other:x"),
        ];
        for (manager, words) in table {
            assert_eq!(changed(manager), words);
        }
        assert_eq!(with_user("gcluster-steer", Some("ada lovelace\n\"é")), "gcluster-steer:adalovelace");
        assert_eq!(with_user("gcluster-steer", None), "gcluster-steer");
    }
}
