//! What of a checkout its workers would not see, or could not use.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gcluster_git::Git;

use super::{IGNORE, MANIFEST, SCRIPT};

/// Most files that are named.
const NAMED: usize = 3;

/// What git says of the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Of the files that gcluster needs, those that are not committed as they are.
    pub(super) ours: Vec<&'static str>,
    /// The other ones.
    others: Vec<String>,
}

/// Looks at a checkout. What git cannot say is left out: this only gives advice.
pub(super) async fn look(top: &Path) -> State {
    let status = ["-c", "core.fsmonitor=false", "status", "--porcelain=v1", "-z", "-unormal", "--no-renames"];
    let text = Git::new(top).text(status).await.unwrap_or_default();
    let paths: Vec<&str> = text.split('\0').filter_map(|line| line.get(3..)).collect();
    let (ours, others): (Vec<&str>, Vec<&str>) =
        paths.into_iter().partition(|path| [MANIFEST, SCRIPT, IGNORE].contains(path));
    State {
        ours: [MANIFEST, SCRIPT, IGNORE].into_iter().filter(|file| ours.contains(file)).collect(),
        others: others.into_iter().map(str::to_owned).collect(),
    }
}

impl State {
    /// What is to be said of the checkout, one line each.
    pub(super) fn notes(&self, top: &Path, has_commit: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if !has_commit {
            notes.push("there is no commit yet; workers begin from one".to_owned());
        }
        let mut named = self.others.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        if let more @ 1.. = self.others.len().saturating_sub(NAMED) {
            named += &format!(" and {more} more");
        }
        match self.others.len() {
            0 => {}
            1 => notes.push(format!("{named} is not committed as it is now; workers see what is committed")),
            _ => notes
                .push(format!("{named} are not committed as they are now; workers see what is committed")),
        }
        let is_executable =
            |path: &Path| path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0);
        let script = top.join(SCRIPT);
        if script.is_file() && !is_executable(&script) {
            notes.push(format!("{SCRIPT} cannot be run: `chmod +x {SCRIPT}` makes it a program"));
        }
        let names = |text: &str| text.lines().any(|line| line.trim_end() == "kind: Repository");
        if std::fs::read_to_string(top.join(MANIFEST)).is_ok_and(|text| !names(&text)) {
            notes.push(format!(
                "{MANIFEST} has no Repository: add one, or move the file away and run this again to have one written"
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_committed_and_what_cannot_be_used_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let (top, git) = (dir.path(), Git::new(dir.path()));
        git.text(["init", "--quiet", "-b", "main"]).await.unwrap();
        let write = |name: &str, text: &str| std::fs::write(top.join(name), text).unwrap();
        assert_eq!(look(top).await.notes(top, false), ["there is no commit yet; workers begin from one"]);
        write(SCRIPT, "#!/bin/sh\n");
        write(MANIFEST, "kind: Deployment\n");
        write("a b", "1");
        let state = look(top).await;
        assert_eq!(state.ours, [MANIFEST, SCRIPT]);
        let notes = state.notes(top, true).join("\n");
        assert!(notes.starts_with("a b is not committed as it is now;"), "{notes}");
        assert!(notes.contains("`chmod +x ci.sh`") && notes.contains("has no Repository"), "{notes}");

        write(MANIFEST, "kind: Repository\n");
        std::fs::set_permissions(top.join(SCRIPT), std::fs::Permissions::from_mode(0o755)).unwrap();
        git.text(["add", "--all"]).await.unwrap();
        let who = ["-c", "user.name=U", "-c", "user.email=u@localhost", "commit", "--quiet", "-m", "Begin"];
        git.text(who).await.unwrap();
        assert_eq!(look(top).await, State::default());
        for name in ["v", "w", "x", "y", "z"] {
            write(name, "");
        }
        let notes = look(top).await.notes(top, true);
        let told = "v, w, x and 2 more are not committed as they are now; workers see what is committed";
        assert_eq!(notes, [told]);
    }
}
