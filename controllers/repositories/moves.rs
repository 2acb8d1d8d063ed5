//! Who moved the base branch: merges and `gcluster sync` say so in its reflog. Anybody else is told of.

use gcluster_git::Hub;

/// What everybody who may move the base writes before their reason.
const KNOWN: &str = "gcluster: ";
/// How far back it is looked.
const MOST: &str = "100";

/// The moves of the base since it was at `before` that nobody of gcluster made, as `COMMIT (REASON)`, newest first.
pub(super) async fn strange(hub: &Hub, base: &str, before: &str) -> Vec<String> {
    let reference = format!("refs/heads/{base}");
    // A base that has no reflog has not been moved since it was made.
    let log = hub.git().text(["log", "-g", "-n", MOST, "--format=%H %gs", &reference, "--"]).await;
    since(&log.unwrap_or_default(), before)
}

fn since(log: &str, before: &str) -> Vec<String> {
    let moves = log.lines().filter_map(|line| line.split_once(' '));
    moves
        .take_while(|(commit, _)| *commit != before)
        .filter(|(_, why)| !why.starts_with(KNOWN))
        .map(|(commit, why)| {
            let why = if why.is_empty() { "without a word" } else { why };
            format!("{} ({why})", commit.get(..12).unwrap_or(commit))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_moves_of_strangers_since_the_last_look_are_told() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let log = format!("{c} gcluster: merge t-1\n{b} \n{a} commit: by hand\n{b} push\n");
        assert_eq!(since(&log, &a), ["bbbbbbbbbbbb (without a word)"]);
        assert_eq!(since(&log, &c), Vec::<String>::new());
        assert_eq!(since(&log, "gone").len(), 3);
    }
}
