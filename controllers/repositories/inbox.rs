//! The inbox of a hub: what was pushed becomes a Check of each commit, exactly once.
//!
//! A note stays until its Checks are there. Their names come from the commit, so a note that is read twice, because the
//! master was killed in between, finds them and makes nothing.

use std::path::{Path, PathBuf};

use gcluster_types::kinds::check::{Check, CheckSpec};
use gcluster_types::{Repository, labels};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

use crate::error::{Error, Result, api_code};

/// One line of a note: a ref that a push has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Push {
    pub(super) commit: String,
    pub(super) reference: String,
}

/// Makes the Checks of all notes, oldest first, and removes the notes. Answers the pushes for which one was made.
pub(super) async fn see_to(client: &Client, repository: &Repository, inbox: &Path) -> Result<Vec<Push>> {
    let mut made = Vec::new();
    let checks: Api<Check> = Api::namespaced(client.clone(), &repository.namespace().unwrap_or_default());
    for note in notes(inbox) {
        let Ok(text) = std::fs::read_to_string(&note) else { continue };
        for push in pushes(&text) {
            let name = Check::name_of(&repository.name_any(), &push.commit, false);
            let spec = CheckSpec {
                repository: repository.name_any(),
                commit: push.commit.clone(),
                reference: push.reference.clone(),
                quick: false,
                requested_by: "push".to_owned(),
            };
            let params = PostParams {
                field_manager: Some(labels::MANAGER_REPOSITORIES.into()),
                ..PostParams::default()
            };
            match checks.create(&params, &Check::new(&name, spec)).await {
                Ok(_) => made.push(push),
                Err(error) if api_code(&error) == Some(409) => {}
                Err(error) => return Err(Error::api(format!("create the Check {name}"))(error)),
            }
        }
        if let Err(error) = std::fs::remove_file(&note) {
            tracing::warn!(note = %note.display(), %error, "a note of a push cannot be removed");
        }
    }
    Ok(made)
}

/// The notes, oldest first; half-written ones are hidden.
fn notes(inbox: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(inbox) else { return Vec::new() };
    let mut notes: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    notes.sort();
    notes
}

/// The branches that a note says were moved, and not deleted.
pub(super) fn pushes(note: &str) -> Vec<Push> {
    let push = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (commit, reference) = (words.next()?, words.next()?);
        let is_commit = matches!(commit.len(), 40 | 64)
            && commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && commit.bytes().any(|byte| byte != b'0');
        let is_branch = reference.starts_with("refs/heads/");
        (is_commit && is_branch).then(|| Push { commit: commit.to_owned(), reference: reference.to_owned() })
    };
    note.lines().filter_map(push).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_the_branches_that_have_something_new() {
        let (zero, one, two) = ("0".repeat(40), "1".repeat(40), "2".repeat(40));
        let note = format!(
            "{zero} {one} refs/heads/a\n{one} {zero} refs/heads/gone\n{zero} {two} refs/tags/v1\n\
             {one} {two} refs/heads/b/c\ntorn {one}\n\n{one} ../../etc refs/heads/x\n"
        );
        let push =
            |commit: &str, reference: &str| Push { commit: commit.into(), reference: reference.into() };
        assert_eq!(pushes(&note), [push(&one, "refs/heads/a"), push(&two, "refs/heads/b/c")]);
    }
}
