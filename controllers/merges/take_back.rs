//! Taking back what landed in one repository when the rest of a merge cannot land: by a commit on top, so that no base
//! ever moves backwards under somebody who has it already.

use gcluster_git::Git;

use super::steps::{Place, Stuck, short, together};

/// Puts a commit on top of the base that takes `onto..rebased` back. Does nothing where that has been done. False when
/// others changed the same lines since.
pub(crate) async fn take_back(
    place: &Place,
    onto: &str,
    rebased: &str,
    now: &str,
    merge: &str,
) -> Result<bool, Stuck> {
    let git = &place.git;
    let tree = |commit: &str| {
        let name = format!("{commit}^{{tree}}");
        async move { git.text(["rev-parse", "--verify", &name]).await }
    };
    // What was there before, as a change of what landed: merging it into the base undoes just that.
    let undone = commit(git, &tree(onto).await?, rebased, "undo").await?;
    let Some(wanted) = together(git, now, &undone).await? else { return Ok(false) };
    if wanted == tree(now).await? {
        return Ok(true);
    }
    let message = format!(
        "Take back {merge}\n\nThe merge could not land in all of its repositories, so it is in none: this takes back\n\
         {} to {}.\n",
        short(onto),
        short(rebased)
    );
    let back = commit(git, &wanted, now, &message).await?;
    match place.hub.swap(&place.base(), &back, Some(now), &format!("gcluster: take back {merge}")).await? {
        true => Ok(true),
        false => Err(Stuck::NotReady(format!("{} moved while a merge was taken back", place.wanted.base))),
    }
}

async fn commit(git: &Git, tree: &str, parent: &str, message: &str) -> Result<String, Stuck> {
    let name = |who: &str| (format!("GIT_{who}_NAME"), format!("GIT_{who}_EMAIL"));
    let mut git = git.clone();
    for who in ["AUTHOR", "COMMITTER"] {
        let (name, email) = name(who);
        git = git.env(&name, "gcluster").env(&email, "gcluster@localhost");
    }
    Ok(git.fed(["commit-tree", tree, "-p", parent], message.as_bytes()).await?)
}
