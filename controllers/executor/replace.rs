//! `spec.replacedAt`: iterations of older revisions are ended instead of finishing.
//!
//! A new value holds for the revision that the text beside it becomes. `status.observedReplacement` says that it was
//! carried out, so it is neither forgotten by a master that dies nor done twice.

use std::sync::Arc;

use gcluster_types::Iteration;
use kube::ResourceExt;

use super::plan::{Observed, Plan, Standing, StopReason};

/// Ends what runs on another revision than the current one, as long as that was asked for and is not done.
pub(super) fn replace(seen: &Observed<'_>, standing: &Standing, current: &str, plan: &mut Plan) {
    let asked = &seen.agent.spec.replaced_at;
    if asked.is_none() || *asked == plan.status.observed_replacement {
        return;
    }
    // The text beside it may not be a revision yet; when it is, the status changes and this is looked at again.
    if plan.status.observed_generation < seen.agent.metadata.generation {
        return;
    }
    let older = |iteration: &&Arc<Iteration>| iteration.spec.revision != current;
    let stops = standing
        .live
        .iter()
        .filter(older)
        .filter_map(|iteration| Some((iteration.uid()?, StopReason::Replaced)));
    let before = plan.stops.len();
    plan.stops.extend(stops);
    let left = standing.leftovers.iter().any(|iteration| older(&iteration));
    if plan.stops.len() == before && !left {
        plan.status.observed_replacement.clone_from(asked);
    }
}
