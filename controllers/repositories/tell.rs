//! Events: what a person may ask "why" about.

use gcluster_git::Hub;
use gcluster_types::conditions::READY;
use gcluster_types::kinds::repository::RepositoryStatus;
use gcluster_types::{Repository, labels};

use super::look::{Places, Seen};
use super::moves;
use super::plan::{DISK_SPACE, UPSTREAM_PUSHED};
use super::reconcile::Shared;

/// Says that a hub was made or mended.
pub(super) async fn tell_hub(shared: &Shared, repository: &Repository, places: &Places, seen: &Seen) {
    let hub = places.hub.display();
    let before = repository.status.as_ref().and_then(|status| status.base_commit.as_ref());
    if seen.is_new {
        match before {
            Some(before) if seen.tips.base.as_ref() != Some(before) => {
                let note = format!(
                    "the hub {hub} was gone and is made again from the checkout; its {} was at {before}: what was only in \
                     the hub is lost with it, unless it is put back",
                    repository.spec.base
                );
                shared.events.warning(repository, "HubLost", "HubMade", note).await;
            }
            _ => {
                let note = format!("the hub {hub} is made from {}", repository.spec.path);
                shared.events.normal(repository, "HubMade", "HubMade", note).await;
            }
        }
    } else if !seen.mended.is_empty() {
        let note = format!("somebody had changed the hub {hub}; mended: {}", seen.mended.join(", "));
        shared.events.warning(repository, "HubMended", "HubMended", note).await;
    }
}

/// Says that somebody moved the base who may not.
pub(super) async fn tell_moves(shared: &Shared, repository: &Repository, places: &Places, seen: &Seen) {
    let Some(before) = repository.status.as_ref().and_then(|status| status.base_commit.as_ref()) else {
        return;
    };
    if seen.is_new || seen.tips.base.as_ref() == Some(before) {
        return;
    }
    let (hub, base) = (Hub::new(&places.hub, labels::MANAGER_REPOSITORIES), &repository.spec.base);
    for one in moves::strange(&hub, base, before).await {
        let note = format!(
            "{base} of the hub was moved to {one} by something else than a merge or `gcluster sync pull`; nothing tested \
             it. It was at {before} before (`git -C {} reflog {base}`)",
            places.hub.display()
        );
        shared.events.warning(repository, "BaseMoved", &format!("BaseMoved {one}"), note).await;
    }
}

/// An Event for each condition that turned.
pub(super) async fn tell_conditions(
    shared: &Shared,
    repository: &Repository,
    old: &RepositoryStatus,
    new: &RepositoryStatus,
) {
    for condition in &new.conditions {
        let before = old.conditions.iter().find(|other| other.type_ == condition.type_);
        let turned = before
            .is_none_or(|before| (&before.status, &before.reason) != (&condition.status, &condition.reason));
        // That all is well from the beginning, or that something is under way, is no news.
        let is_news =
            turned && condition.reason != "Pushing" && (before.is_some() || condition.status == "False");
        if !is_news || ![READY, DISK_SPACE, UPSTREAM_PUSHED].contains(&condition.type_.as_str()) {
            continue;
        }
        let (reason, action) = (condition.reason.as_str(), condition.type_.as_str());
        match condition.status == "True" {
            true => shared.events.normal(repository, reason, action, condition.message.clone()).await,
            false => shared.events.warning(repository, reason, action, condition.message.clone()).await,
        }
    }
}
