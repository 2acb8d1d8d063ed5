//! What is said of a repository: a pure function of what was observed.

use gcluster_types::Repository;
use gcluster_types::conditions::{self, Observed as Said, READY};
use gcluster_types::kinds::repository::RepositoryStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::disk::{MIB, human};
use super::look::{Places, Problem, Seen};
use super::upstream::Pushed;
use gcluster_git::hub::Tips;

/// Below this much free space, in MiB, no new workspace is made where nothing else is said.
pub(super) const MIN_FREE_MIB: i64 = 2_048;
/// The condition that says whether there is room for new workspaces.
pub(super) const DISK_SPACE: &str = "DiskSpace";
/// The condition that says whether the base is where `spec.upstream` wants it.
pub(super) const UPSTREAM_PUSHED: &str = "UpstreamPushed";

/// What was observed.
pub(super) struct Observed<'a> {
    pub(super) repository: &'a Repository,
    pub(super) places: &'a Places,
    pub(super) seen: &'a Result<Seen, Problem>,
    /// What the hub has, also where not all is as it should be.
    pub(super) tips: Option<&'a Tips>,
    /// Bytes that are left on the disk.
    pub(super) free: Option<i64>,
    /// Bytes of the hub; none while it is not measured.
    pub(super) hub_bytes: Option<i64>,
    /// Bytes of its workspaces.
    pub(super) workspace_bytes: i64,
    pub(super) pushed: Pushed,
    pub(super) now: Timestamp,
}

/// The new status.
pub(super) fn plan(observed: &Observed<'_>) -> RepositoryStatus {
    let repository = observed.repository;
    let old = repository.status.clone().unwrap_or_default();
    let mut new = old.clone();
    let now = Time(observed.now);
    let generation = repository.metadata.generation;
    new.observed_generation = generation;
    new.hub = Some(observed.places.hub.display().to_string());
    new.ci_status = Some(observed.places.ci_status.display().to_string());
    if let Some(tips) = observed.tips {
        new.base_commit.clone_from(&tips.base);
        new.host_commit.clone_from(&tips.host);
    }
    let (is_ready, reason, message) = match observed.seen {
        Ok(seen) => {
            let (ahead, behind) = seen.apart.unwrap_or_default();
            (new.ahead, new.behind) = (Some(ahead), Some(behind));
            (true, "Ready", standing(&repository.spec.base, ahead, behind))
        }
        Err(problem) => (false, problem.reason, problem.message.clone()),
    };
    let mut say = |kind, status, reason: &str, message: String| {
        let said = Said { kind, status: Some(status), reason, message, generation };
        conditions::set(&mut new.conditions, said, &now);
    };
    say(READY, is_ready, reason, message);
    let (has_space, reason, message) = space(observed);
    say(DISK_SPACE, has_space, reason, message);
    match upstream(observed) {
        Some((is_pushed, reason, message)) => say(UPSTREAM_PUSHED, is_pushed, reason, message),
        None => new.conditions.retain(|condition| condition.type_ != UPSTREAM_PUSHED),
    }
    if let Some(hub) = observed.hub_bytes {
        let bytes = hub + observed.workspace_bytes;
        // What grows by a little at every look is not worth a write.
        if old.bytes.is_none_or(|old| (old - bytes).abs() >= MIB.min(bytes / 50)) {
            (new.bytes, new.size) = (Some(bytes), Some(human(bytes)));
        }
    }
    new
}

/// How the hub and the user's repository stand to each other, and what brings them together.
fn standing(base: &str, ahead: i64, behind: i64) -> String {
    let commits = |n: i64| if n == 1 { "1 commit".to_owned() } else { format!("{n} commits") };
    match (ahead, behind) {
        (0, 0) => format!("the hub and the checkout have the same {base}"),
        (ahead, 0) => {
            format!(
                "{base} of the hub has {} that the checkout lacks; `gcluster sync push` brings them",
                commits(ahead)
            )
        }
        (0, behind) => {
            format!(
                "{base} of the hub lacks {} of the checkout; `gcluster sync pull` brings them",
                commits(behind)
            )
        }
        (ahead, behind) => format!(
            "{base} has gone two ways, with {} in the hub and {} in the checkout; `gcluster sync status` says what to do",
            commits(ahead),
            commits(behind)
        ),
    }
}

fn space(observed: &Observed<'_>) -> (bool, &'static str, String) {
    let spec = &observed.repository.spec;
    let status = observed.repository.status.as_ref();
    let was_low = status.is_some_and(|status| {
        status
            .conditions
            .iter()
            .any(|c| c.type_ == DISK_SPACE && c.status == "False" && c.reason == "DiskFull")
    });
    let wanted = spec.min_free_mib.unwrap_or(MIN_FREE_MIB).saturating_mul(MIB);
    // A disk around the mark is not reported twice a minute.
    let mark = if was_low { wanted.saturating_add(wanted / 20) } else { wanted };
    let used = observed.workspace_bytes;
    match (observed.free, spec.max_workspaces_mib.map(|mib| mib.saturating_mul(MIB))) {
        (Some(free), _) if free < mark => (
            false,
            "DiskFull",
            format!(
                "{} MiB are left on the disk of {}, and spec.minFreeMiB wants {}: no new workspace is made until \
                 something is deleted (`gcluster get workspaces,salvages`)",
                free / MIB,
                observed.places.hub.display(),
                wanted / MIB
            ),
        ),
        (_, Some(most)) if used > most => (
            false,
            "WorkspacesTooLarge",
            format!(
                "its workspaces take {}, and spec.maxWorkspacesMiB allows {}: no new one is made until one is gone \
                 (`gcluster get workspaces` says why each is kept)",
                human(used),
                human(most)
            ),
        ),
        // The figure itself would change at every look.
        _ => (true, "Enough", "there is room for new workspaces".to_owned()),
    }
}

fn upstream(observed: &Observed<'_>) -> Option<(bool, &'static str, String)> {
    let to = observed.repository.spec.upstream.as_deref()?;
    let base = &observed.repository.spec.base;
    Some(match &observed.pushed {
        Pushed::Unknown => return None,
        Pushed::Done(_) => (true, "Pushed", format!("{to} has {base} as the hub has it")),
        Pushed::Running => (false, "Pushing", format!("{base} is being pushed to {to}")),
        Pushed::Failed { attempts, why } => {
            let times = if *attempts == 1 { String::new() } else { format!(" ({attempts} times)") };
            (
                false,
                "PushFailed",
                format!("{base} could not be pushed to {to}{times}, it is tried again: {why}"),
            )
        }
    })
}
