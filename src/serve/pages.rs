//! What the controllers count, on the pages of the server: neither knows the other.

use gcluster_controllers::Context;
use gcluster_server::Api;
use gcluster_server::more::More;

/// Shows what the controllers of this context count.
pub(super) fn show(api: &Api, context: &Context) {
    let metrics = context.ticket_metrics.clone();
    let path = metrics.path().to_owned();
    api.show(More::new(move || metrics.render(), path));
}
