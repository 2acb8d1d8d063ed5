//! HTTP semantics of the Kubernetes API over the store.
//!
//! ```text
//! socket ─ listen (TLS or plain) ─ security (token, Host, Origin) ─┐
//! in-process kube::Client ─────────────────────────────────────────┴▶ routes ─▶ read │ write ─▶ store
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod audit;
pub mod discovery;
pub mod events_view;
pub mod kinds;
pub mod line;
pub mod listen;
pub mod more;
pub mod openapi;
pub mod patch;
pub mod schema;
pub mod security;
pub mod table;

mod admission;
mod crd;
mod identity;
mod info;
mod limits;
mod metrics;
mod negotiate;
mod path;
mod protobuf;
mod query;
mod read;
mod routes;
mod scale;
mod selector;
mod status;
mod transcript;
mod write;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use gcluster_store::{Key, ListAt, Store, Transcripts};
use serde_json::{Value, json};
use tokio::sync::watch;

use kinds::Registry;
use metrics::Metrics;
use query::Query;
use write::Write;

/// What an API serves.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// The objects.
    pub store: Store,
    /// The transcripts of iterations.
    pub transcripts: Transcripts,
    /// Version of gcluster, such as `0.1.0`.
    pub version: String,
}

/// The API server without its socket. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Api {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    transcripts: Transcripts,
    version: String,
    /// The kinds that come with the server.
    base: Registry,
    /// All kinds that are served now; a request keeps the one that it began with.
    registry: ArcSwap<Registry>,
    /// Held while definitions become kinds, one at a time: the revisions of those that did, by name.
    settling: tokio::sync::Mutex<HashMap<String, u64>>,
    metrics: Metrics,
    closing: watch::Sender<bool>,
}

/// Why the first objects could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write the first objects: {0}")]
pub struct BootstrapError(String);

impl Api {
    /// An API over a store, with every kind that gcluster has.
    pub fn new(options: ApiOptions) -> Self {
        let ApiOptions { store, transcripts, version } = options;
        let base = Registry::new(gcluster_types::kinds::crds());
        let inner = Inner {
            store,
            transcripts,
            version,
            registry: ArcSwap::from_pointee(base.clone()),
            base,
            settling: tokio::sync::Mutex::default(),
            metrics: Metrics::default(),
            closing: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Creates the namespace `default` when it is absent, writes gcluster's own definitions, serves the kinds of
    /// those that users made, and removes transcripts whose iteration is gone. To be called once, when the journal is followed, and before anybody writes.
    ///
    /// # Errors
    /// When something cannot be written.
    pub async fn bootstrap(&self) -> Result<(), BootstrapError> {
        if self.store().get(&Key::new("/namespaces", "", "default")).is_none() {
            let failed = |error: status::ApiError| BootstrapError(error.to_string());
            let kind = self.registry().by_resource("", "v1", "namespaces").cloned();
            let kind = kind.ok_or_else(|| BootstrapError("it is no known kind".into()))?;
            let query = Query::parse("fieldManager=gcluster");
            let write = Write::new(&kind, "", "", None, &query, &http::HeaderMap::new()).map_err(failed)?;
            let object = json!({"metadata": {"name": "default"}});
            write::create(self, write, object).await.map_err(failed)?;
        }
        crd::install(self).await.map_err(BootstrapError)?;
        crd::settle(self).await.map_err(|error| BootstrapError(error.to_string()))?;
        crd::follow(self);
        self.remove_strays().await;
        Ok(())
    }

    /// A master that was killed between the deletion of an iteration and that of its transcript left it.
    async fn remove_strays(&self) {
        let ids = match self.transcripts().ids().await {
            Ok(ids) if !ids.is_empty() => ids,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "transcripts cannot be listed");
                return;
            }
        };
        let listing = self.store().list("gcluster.dev/iterations", None, &ListAt::default());
        let Ok(listing) = listing else { return };
        let known: HashSet<String> = listing
            .entries
            .iter()
            .filter_map(|entry| serde_json::from_slice::<Value>(&entry.value).ok())
            .filter_map(|object| object["metadata"]["uid"].as_str().map(str::to_owned))
            .collect();
        for id in ids.iter().filter(|id| !known.contains(*id)) {
            if let Err(error) = self.transcripts().remove(id).await {
                tracing::warn!(transcript = id, %error, "a stray transcript could not be removed");
            }
        }
    }

    /// The API as a service without authentication, for clients in this process:
    /// `kube::Client::new(api.router(), "default")`.
    pub fn router(&self) -> axum::Router {
        routes::router(self.clone())
    }

    /// Shows what others count beside its own. To be called once.
    pub fn show(&self, more: more::More) {
        self.metrics().show(more);
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn transcripts(&self) -> &Transcripts {
        &self.inner.transcripts
    }

    /// The kinds that are served now. Whoever holds the answer goes on with these kinds.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.inner.registry.load_full()
    }

    pub(crate) fn base_registry(&self) -> &Registry {
        &self.inner.base
    }

    pub(crate) fn replace_registry(&self, next: Arc<Registry>) {
        self.inner.registry.store(next);
    }

    pub(crate) fn settling(&self) -> &tokio::sync::Mutex<HashMap<String, u64>> {
        &self.inner.settling
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub(crate) fn version(&self) -> &str {
        &self.inner.version
    }

    /// To be told when the listener stops: streams that nothing else ends do so then.
    pub(crate) fn closing(&self) -> Closing {
        Closing(self.inner.closing.subscribe())
    }

    pub(crate) fn close_streams(&self) {
        self.inner.closing.send_replace(true);
    }
}

/// Tells a stream that the listener stops.
#[derive(Clone, Debug)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Completes when the listener stops.
    pub(crate) async fn wait(&mut self) {
        let _ = self.0.wait_for(|closing| *closing).await.map(drop);
    }
}
