//! The loop: after any change of a merge, a check or a repository, all merges are looked at together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use gcluster_types::kinds::merge::MergePhase;
use gcluster_types::{Check, Merge, MergeStatus, Repository, labels};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::plan::{Act, Seen, is_kept, is_untouched, plan, status};
use super::steps::{Stuck, Work};
use crate::Context;
use crate::control_loop::jittered;
use crate::due::Due;
use crate::error::{Error, Result};
use crate::mirror::Mirror;
use crate::report::{Events, write_status};

/// The status fields that are written here.
const FIELDS: &[&str] =
    &["phase", "reason", "message", "repositories", "brief", "retries", "startedAt", "finishedAt"];
/// Changes that come in one breath are looked at once.
const SETTLE: Duration = Duration::from_millis(10);
/// How soon what failed is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(30));

/// Longer than any step of a merge may take: git's commands have limits of their own.
const STEP: Duration = Duration::from_secs(3_600);

/// What a task answers: the uid of its merge, the object as it was written last, and whether it came to an end.
type Done = (String, Option<Merge>, std::result::Result<(), Stuck>);

/// Runs until it is dropped.
pub async fn run(ctx: Context) {
    let (mut merges, mut watched_merges) = Mirror::<Merge>::new(ctx.client.clone());
    let (mut checks, mut watched_checks) = Mirror::<Check>::new(ctx.client.clone());
    let (mut repositories, mut watched_repositories) = Mirror::<Repository>::new(ctx.client.clone());
    let events = Events::new(ctx.client.clone(), labels::MANAGER_MERGES);
    let (done, mut dones) = mpsc::unbounded_channel::<Done>();
    let mut live: BTreeSet<String> = BTreeSet::new();
    let mut failures: HashMap<String, (u32, Instant)> = HashMap::new();
    let mut tasks = tokio::task::JoinSet::new();
    let mut due = Due::default();
    loop {
        tokio::select! {
            event = watched_merges.next() => {
                merges.take(event);
            }
            event = watched_checks.next() => {
                checks.take(event);
            }
            event = watched_repositories.next() => {
                repositories.take(event);
            }
            Some((uid, written, ended)) = dones.recv() => {
                if let Some(merge) = written {
                    merges.observe(merge);
                }
                live.remove(&uid);
                match ended {
                    Ok(()) => drop(failures.remove(&uid)),
                    Err(_) => {
                        let (count, _) = failures.get(&uid).copied().unwrap_or((0, Instant::now()));
                        let pause = (RETRY.0 * 2_u32.saturating_pow(count.min(10))).min(RETRY.1);
                        failures.insert(uid, (count + 1, Instant::now() + jittered(pause)));
                    }
                }
            }
            () = due.come() => {
                let _beat = ctx.pulse.begin("merges");
                if !(merges.is_ready() && checks.is_ready() && repositories.is_ready()) {
                    continue;
                }
                let now = Instant::now();
                let rest = failures.iter().filter(|(_, (_, until))| *until > now);
                let resting: BTreeSet<String> = rest.clone().map(|(uid, _)| uid.clone()).collect();
                rest.for_each(|(_, (_, until))| due.not_after(*until));
                let seen = Seen {
                    resting: &resting,
                    merges: merges.objects().values().map(|merge| &**merge).collect(),
                    repositories: repositories.objects().iter().map(|(key, one)| (key.clone(), &**one)).collect(),
                    checks: checks.objects().iter().map(|(key, one)| (key.clone(), &**one)).collect(),
                    live: &live,
                };
                let acts = plan(&seen);
                let mut written = Vec::new();
                for (key, act) in acts {
                    let Some(merge) = merges.get(&key).cloned() else { continue };
                    let uid = merge.uid().unwrap_or_default();
                    if resting.contains(&uid) {
                        continue;
                    }
                    match act {
                        Act::Wait { .. } | Act::Back { .. } | Act::Release => {
                            match put(&ctx, &merge, act).await {
                                Ok(merge) => written.extend(merge),
                                Err(error) if error.is_race() => {}
                                Err(error) => {
                                    tracing::warn!(merge = key.1, %error, "a merge cannot be written");
                                    due.within(jittered(RETRY.0));
                                }
                            }
                        }
                        Act::Go => {
                            let repositories = repositories
                                .objects()
                                .iter()
                                .filter(|(other, _)| other.0 == key.0)
                                .map(|(key, one)| (key.1.clone(), (**one).clone()))
                                .collect::<BTreeMap<String, Repository>>();
                            let is_merged = |other: &&Arc<Merge>| {
                                other.namespace() == merge.namespace() && status(other).phase == MergePhase::Merged
                            };
                            let merged =
                                merges.objects().values().filter(is_merged).map(|one| (**one).clone()).collect();
                            let Some(work) = Work::new(ctx.clone(), &merge, &repositories, merged) else { continue };
                            live.insert(uid.clone());
                            let (events, done) = (events.clone(), done.clone());
                            tasks.spawn(async move {
                                let (merge, ended) = go(work, &events).await;
                                // Nobody listens any more when the master ends.
                                let _ = done.send((uid, merge, ended));
                            });
                        }
                    }
                }
                written.into_iter().for_each(|merge| merges.observe(merge));
                while tasks.try_join_next().is_some() {}
                continue;
            }
        }
        due.within(SETTLE);
    }
}

/// What is only written, not done.
async fn put(ctx: &Context, merge: &Merge, act: Act) -> Result<Option<Merge>> {
    match act {
        Act::Wait { reason, message } => wait(ctx, merge, reason, message).await,
        Act::Back { message } => {
            let (reason, message) = (Some("NotReady".to_owned()), Some(message));
            let next =
                MergeStatus { reason, message, retries: status(merge).retries, ..MergeStatus::default() };
            write(ctx, merge, &next).await
        }
        Act::Release => {
            let released = keep(ctx, merge, false).await?;
            // One that was deleted is gone with it.
            Ok(released.metadata.deletion_timestamp.is_none().then_some(released))
        }
        Act::Go => Ok(None),
    }
}

/// Keeps a merge from going before it has come to its end, or lets it go.
async fn keep(ctx: &Context, merge: &Merge, keep: bool) -> Result<Merge> {
    let mut finalizers = merge.finalizers().to_vec();
    finalizers.retain(|name| name != labels::MERGE_FINALIZER);
    finalizers.extend(keep.then(|| labels::MERGE_FINALIZER.to_owned()));
    let meta = json!({"resourceVersion": merge.resource_version(), "finalizers": finalizers});
    let params =
        PatchParams { field_manager: Some(labels::MANAGER_MERGES.to_owned()), ..PatchParams::default() };
    let api = Api::<Merge>::namespaced(ctx.client.clone(), &merge.namespace().unwrap_or_default());
    let name = merge.name_any();
    let written = api.patch(&name, &params, &Patch::Merge(json!({ "metadata": meta }))).await;
    written.map_err(Error::api(format!("write the finalizers of Merge {name}")))
}

async fn wait(ctx: &Context, merge: &Merge, reason: &str, message: String) -> Result<Option<Merge>> {
    let mut next = status(merge);
    (next.reason, next.message) = (Some(reason.to_owned()), Some(message));
    write(ctx, merge, &next).await
}

async fn write(ctx: &Context, merge: &Merge, next: &MergeStatus) -> Result<Option<Merge>> {
    let api = Api::<Merge>::namespaced(ctx.client.clone(), &merge.namespace().unwrap_or_default());
    let value = |status: &MergeStatus| serde_json::to_value(status).unwrap_or_default();
    let old = merge.status.as_ref().map(value).unwrap_or_else(|| serde_json::json!({}));
    write_status(&api, merge, labels::MANAGER_MERGES, FIELDS, &old, &value(next)).await
}

/// Does one step after the other, each written down before the next begins, until there is something to wait for.
async fn go(work: Work, events: &Events) -> (Option<Merge>, std::result::Result<(), Stuck>) {
    let mut merge = work.merge.clone();
    loop {
        let now = status(&merge);
        let _beat = work.ctx.pulse.begin_within("merges", STEP);
        let next = match work.advance(&now).await {
            Ok(Some(next)) => next,
            Ok(None) => return (Some(merge), Ok(())),
            Err(Stuck::Api(error)) if error.is_race() => return (Some(merge), Ok(())),
            Err(stuck) => {
                let note = format!("{stuck}; it is tried again");
                events.warning(&merge, "Stuck", "Merge", note.clone()).await;
                let told = match is_untouched(&now) {
                    // Others go before it until then.
                    true => put(&work.ctx, &merge, Act::Back { message: note }).await,
                    // The reason tells whether it is landing or being taken back.
                    false => wait(&work.ctx, &merge, now.reason.as_deref().unwrap_or("Landing"), note).await,
                };
                return (told.ok().flatten().or(Some(merge)), Err(stuck));
            }
        };
        // From here on a part of it may have landed when the master is killed, and somebody has to finish it.
        if next.phase == MergePhase::Landing && next.repositories.len() > 1 && !is_kept(&merge) {
            match keep(&work.ctx, &merge, true).await {
                Ok(kept) => merge = kept,
                Err(error) if error.is_race() => return (None, Ok(())),
                Err(error) => return (Some(merge), Err(error.into())),
            }
        }
        match write(&work.ctx, &merge, &next).await {
            Ok(Some(written)) => merge = written,
            Ok(None) => return (Some(merge), Ok(())),
            // It is gone, or somebody wrote it: it is looked at again as it is then.
            Err(error) if error.is_race() => return (None, Ok(())),
            Err(error) => return (Some(merge), Err(error.into())),
        }
        tell(events, &merge, &now, &next).await;
        if next.phase.is_terminal() {
            return (Some(merge), Ok(()));
        }
    }
}

/// Events for what a user may ask about.
async fn tell(events: &Events, merge: &Merge, before: &MergeStatus, now: &MergeStatus) {
    let (reason, message) = (now.reason.clone().unwrap_or_default(), now.message.clone().unwrap_or_default());
    match now.phase {
        MergePhase::Rejected => events.warning(merge, &reason, "Merge", message).await,
        MergePhase::Merged => events.normal(merge, &reason, "Merge", message).await,
        MergePhase::Rebasing if now.retries > before.retries => {
            events.normal(merge, &reason, "Rebase", message).await;
        }
        _ => {}
    }
}
