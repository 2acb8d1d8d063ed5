//! What the controllers count and how they get on, on the pages of the server: neither knows the other.

use gcluster_controllers::Context;
use gcluster_server::Api;
use gcluster_server::more::More;

/// Shows what the controllers of this context count, and which of them is stuck.
pub(super) fn show(api: &Api, context: &Context) {
    let metrics = context.ticket_metrics.clone();
    let path = metrics.path().to_owned();
    let pulse = context.pulse.clone();
    let stuck = move || pulse.stuck().map(|stuck| stuck.to_string());
    api.show(More::new(move || metrics.render(), path).with_stuck(stuck));
}
