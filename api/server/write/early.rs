//! Work before the lock: a change is prepared against the newest durable version, and prepared again within the
//! transaction only when the object has changed since.
//!
//! ```text
//! durable version ─▶ prepare ─▶ [ lock: the same version still the newest? ── yes ─▶ store ]
//!                                                                          └─ no ──▶ prepare, store
//! ```
//! What is stored is always made of the newest proposed version, so no write is lost and every conflict is seen.

use gcluster_store::{Entry, Transaction};
use serde_json::Value;

use super::{Live, Write, Written, check_namespace, live};
use crate::Api;
use crate::status::ApiResult;

/// A new object with its warnings, or why there is none.
pub(super) type Made = ApiResult<(Value, Vec<String>)>;

/// A change that was prepared against one version of the object, or against its absence.
pub(super) struct Early {
    /// Revision of that version.
    revision: Option<u64>,
    live: ApiResult<Option<Live>>,
    made: Option<Made>,
}

impl Early {
    /// Prepares a change against the newest durable version.
    pub(super) fn prepare(api: &Api, write: &Write, work: impl FnOnce(Option<&Live>) -> Made) -> Self {
        Self::of(write, api.store().get(&write.key()).as_deref(), work)
    }

    fn of(write: &Write, entry: Option<&Entry>, work: impl FnOnce(Option<&Live>) -> Made) -> Self {
        let live = entry.map(|entry| live(&write.kind, entry)).transpose();
        let made = live.as_ref().ok().map(|live| work(live.as_ref()));
        Self { revision: entry.map(|entry| entry.revision), live, made }
    }

    /// Stores the change; `work` is asked again when the object is another one by now.
    pub(super) fn settle(
        self,
        tx: &mut Transaction<'_>,
        write: &Write,
        work: impl FnOnce(Option<&Live>) -> Made,
    ) -> ApiResult<Written> {
        let entry = tx.get(&write.key());
        let current = entry.as_ref().map(|entry| entry.revision);
        let ready = if current == self.revision { self } else { Self::of(write, entry.as_deref(), work) };
        let live = ready.live?;
        let Some(made) = ready.made else { return Err(write.not_found()) };
        let (object, warnings) = made?;
        if live.is_none() {
            check_namespace(tx, &write.kind, &write.namespace, &write.name)?;
        }
        write.store(tx, live.as_ref(), object, warnings)
    }
}
