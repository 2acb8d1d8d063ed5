//! Counters, and `/metrics` in Prometheus' text form.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gcluster_store::{ListAt, Store};

use crate::audit::Audit;
use crate::kinds::Registry;
use crate::limits::{Counts, Fair, Gate, Lines};

/// What the server counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    /// By verb, resource and code.
    requests: Mutex<BTreeMap<(&'static str, String, u16), u64>>,
    watchers: AtomicI64,
    listener: OnceLock<(Fair, Counts, Gate, Option<Audit>)>,
    more: OnceLock<crate::more::More>,
}

/// Counts as one open watch for as long as it lives.
#[derive(Debug)]
pub(crate) struct Watching(Metrics);

impl Watching {
    /// Watches that are open, this one included.
    pub(crate) fn open(&self) -> i64 {
        self.0.0.watchers.load(Ordering::Relaxed)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// `resource` must be one of a bounded set: names of kinds or of fixed paths.
    pub(crate) fn request(&self, verb: &'static str, resource: &str, code: u16) {
        let mut requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((verb, resource.to_owned(), code)).or_default() += 1;
    }

    /// Shows what a listener counts from now on, too.
    pub(crate) fn observe(&self, fair: Fair, watches: Counts, gate: Gate, audit: Option<Audit>) {
        let _ = self.0.listener.set((fair, watches, gate, audit));
    }

    /// Shows what others count from now on, too.
    pub(crate) fn show(&self, more: crate::more::More) {
        let _ = self.0.more.set(more);
    }

    /// What others count.
    pub(crate) fn more(&self) -> Option<&crate::more::More> {
        self.0.more.get()
    }

    pub(crate) fn watching(&self) -> Watching {
        self.0.watchers.fetch_add(1, Ordering::Relaxed);
        Watching(self.clone())
    }

    pub(crate) fn render(&self, store: &Store, registry: &Registry, version: &str) -> String {
        let mut out = String::new();
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        };
        head(&mut out, "gcluster_build_info", "gauge", "The version that runs.");
        let _ = writeln!(out, "gcluster_build_info{{version={version:?}}} 1");
        head(
            &mut out,
            "gcluster_api_requests_total",
            "counter",
            "Requests by verb, resource and status code.",
        );
        for ((verb, resource, code), count) in
            self.0.requests.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let _ = writeln!(
                out,
                "gcluster_api_requests_total{{verb={verb:?},resource={resource:?},code=\"{code}\"}} {count}"
            );
        }
        head(&mut out, "gcluster_api_watchers", "gauge", "Open watches.");
        let _ = writeln!(out, "gcluster_api_watchers {}", self.0.watchers.load(Ordering::Relaxed));
        head(&mut out, "gcluster_store_objects", "gauge", "Stored objects by resource.");
        let mut resources: Vec<&str> = registry
            .iter()
            .filter(|kind| kind.allows("list"))
            .map(|kind| kind.store_resource.as_str())
            .collect();
        resources.sort_unstable();
        resources.dedup();
        for resource in resources {
            let one = ListAt { limit: Some(1), ..ListAt::default() };
            let count =
                store.list(resource, None, &one).map_or(0, |list| list.entries.len() + list.remaining);
            let _ = writeln!(out, "gcluster_store_objects{{resource={resource:?}}} {count}");
        }
        head(&mut out, "gcluster_store_revision", "gauge", "Newest durable resourceVersion.");
        let _ = writeln!(out, "gcluster_store_revision {}", store.revision());
        head(&mut out, "gcluster_store_healthy", "gauge", "1 when the disk takes writes.");
        let _ = writeln!(out, "gcluster_store_healthy {}", u8::from(store.healthy().is_ok()));
        let mut lines = Lines(out);
        if let Some((fair, watches, gate, audit)) = self.0.listener.get() {
            fair.render(&mut lines);
            let (written, lost) = audit.as_ref().map_or((0, 0), Audit::counts);
            let (open, refused, evicted) = gate.counts();
            for (name, kind, help, value) in [
                ("gcluster_api_connections", "gauge", "Open connections.", open as u64),
                ("gcluster_api_connections_refused_total", "counter", "Connections above a limit.", refused),
                (
                    "gcluster_api_connections_evicted_total",
                    "counter",
                    "Connections without a token that made room for newer ones.",
                    evicted,
                ),
                (
                    "gcluster_api_watches_refused_total",
                    "counter",
                    "Watches above a limit.",
                    watches.refused(),
                ),
                ("gcluster_audit_lines_total", "counter", "Lines written to the audit log.", written),
                ("gcluster_audit_lines_lost_total", "counter", "Lines that the audit log misses.", lost),
            ] {
                lines.head(name, kind, help);
                lines.value(name, &[], value);
            }
        }
        lines.0 + &self.more().map(crate::more::More::metrics).unwrap_or_default()
    }
}
