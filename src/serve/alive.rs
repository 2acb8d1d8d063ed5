//! Whether a master does its work, for a service manager that starts one again which does not.
//!
//! Alive is: a write goes the whole way through API, store and disk and is answered in time, and no loop is stuck.
//! A refusal is an answer: a full disk is not mended by another start.

use std::time::Duration;

use gcluster_controllers::pulse::Pulse;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

/// The Lease that is renewed to see whether writes come through.
const LEASE: &str = "gcluster-master";
const MANAGER: &str = "gcluster-master";

/// Looks whether a master is alive.
#[derive(Clone)]
pub struct Alive {
    pub(super) client: Client,
    pub(super) pulse: Pulse,
}

impl std::fmt::Debug for Alive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alive").field("pulse", &self.pulse).finish_non_exhaustive()
    }
}

impl Alive {
    /// Looks once, for `limit` at most.
    ///
    /// # Errors
    /// What does not get on.
    pub async fn look(&self, limit: Duration) -> Result<(), String> {
        if let Some(stuck) = self.pulse.stuck() {
            return Err(stuck.to_string());
        }
        let leases = Api::<Lease>::namespaced(self.client.clone(), "default");
        let now = k8s_openapi::jiff::Timestamp::now();
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "spec": {"holderIdentity": format!("process {}", std::process::id()), "renewTime": format!("{now:.6}")},
        });
        let params = PatchParams::apply(MANAGER).force();
        match tokio::time::timeout(limit, leases.patch(LEASE, &params, &Patch::Apply(lease))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the master's lease was not renewed");
                Ok(())
            }
            Err(_) => Err(format!("a write was not answered within {} s", limit.as_secs())),
        }
    }
}
