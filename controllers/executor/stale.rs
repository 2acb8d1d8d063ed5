//! What is left of runs that nobody goes on with: those of iterations that are over or that are gone.
//!
//! A master that was killed between the end of an iteration and the removal of its files left them behind. What could
//! still run in them is ended first. Runs of iterations that are not over are the business of the reconcile.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use gcluster_types::Iteration;
use kube::ResourceExt;

use super::flow::phase;
use crate::backend::sweep;
use crate::informer::Index;

/// Clears what was there when this was first polled. Nothing of what this process begins is touched: it is begun
/// only once the iterations are known, which is waited for in here.
pub(super) async fn clear(runs_dir: PathBuf, iterations: Index<Iteration>) {
    let listed = tokio::task::spawn_blocking(move || runs(&runs_dir)).await.unwrap_or_default();
    if listed.is_empty() {
        return;
    }
    iterations.ready().await;
    let open = |iteration: &Iteration| !phase(iteration).is_terminal();
    let going: HashSet<String> =
        iterations.all().iter().filter(|iteration| open(iteration)).filter_map(|i| i.uid()).collect();
    for (uid, run_dir) in listed.into_iter().filter(|(uid, _)| !going.contains(uid)) {
        let cleared = tokio::task::spawn_blocking(move || end(&uid, &run_dir)).await;
        if let Err(error) = cleared {
            tracing::warn!(%error, "the files of an old run could not be cleared");
        }
    }
}

/// The directories of runs, by uid.
fn runs(runs_dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(runs_dir).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    // Whatever else somebody put there is left alone.
    named.filter(|(uid, path)| uuid::Uuid::parse_str(uid).is_ok() && path.join("stdout").exists()).collect()
}

fn end(uid: &str, run_dir: &Path) {
    let left = sweep::sweep_run(uid, run_dir);
    if !left.is_empty() {
        tracing::warn!(uid, ?left, "processes of an iteration that is over cannot be ended");
        return;
    }
    match std::fs::remove_dir_all(run_dir) {
        Ok(()) => tracing::info!(uid, "cleared what was left of an iteration that is over"),
        Err(error) => tracing::debug!(%error, uid, "the files of an old run cannot be removed"),
    }
}
