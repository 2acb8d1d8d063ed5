//! What one client may take of the server, so that no client hurts another.
//!
//! ```text
//! connection ─ Gate (total, per client, those that have not said who they are) ─▶ request
//! request ─ size of the head ─ Fair (seats and short queues, in turn by client) ─▶ routes
//! watch ─ Counts (total, per client)
//! ```
//! A client is an identity, the address of its peer, and the program in its `User-Agent`. The master's own
//! controllers do not come this way and wait for nobody.

mod connections;
mod counts;
mod fair;
mod lane;

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::time::Duration;

pub(crate) use connections::{Gate, Seat};
pub(crate) use counts::Counts;
pub(crate) use fair::{Class, Fair};

use crate::identity::Identity;

/// The limits of a listener. [`Limits::of_this_process`] fits them to the descriptors that the process has.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that are open at once.
    pub connections: usize,
    /// Connections that are open at once of one client.
    pub connections_per_client: usize,
    /// Connections that have not shown a token yet; the oldest is closed for a new one.
    pub unproved: usize,
    /// Watches that are open at once.
    pub watches: usize,
    /// Watches that are open at once of one client.
    pub watches_per_client: usize,
    /// Bytes of the head of a request: target and headers.
    pub head_bytes: usize,
    /// Longest time for the first byte, for the TLS handshake, and for the head of a request.
    pub head_time: Duration,
    /// Longest time that a connection stays open without a request.
    pub idle_time: Duration,
    /// Longest time that a client may take no byte of what it is sent.
    pub stall_time: Duration,
    /// Reads of single objects at work at once.
    pub reads: usize,
    /// Lists and large documents at work at once.
    pub lists: usize,
    /// Writes at work at once.
    pub writes: usize,
    /// Requests of one client that wait at once, per lane.
    pub queue_per_client: usize,
    /// Requests that wait at once, per lane.
    pub queues: usize,
    /// Longest time that a request waits for its turn.
    pub queue_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            connections_per_client: 4096,
            unproved: 1024,
            watches: 4096,
            watches_per_client: 2048,
            head_bytes: 64 << 10,
            head_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(180),
            stall_time: Duration::from_secs(60),
            reads: 32,
            // A list holds its core until it is made: one core always remains for everything else.
            lists: std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1)),
            writes: 64,
            queue_per_client: 1024,
            queues: 8192,
            queue_time: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// The defaults, with connections for at most half of the files that this process may have open: the
    /// other half is for agents.
    pub fn of_this_process() -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        Self::default().with_files(files)
    }

    fn with_files(self, files: usize) -> Self {
        let connections = self.connections.min((files / 2).max(16));
        Self {
            connections,
            connections_per_client: self.connections_per_client.min((connections / 2).max(8)),
            unproved: self.unproved.min((connections / 4).max(4)),
            ..self
        }
    }
}

/// Who asks, as far as limits and the audit log tell clients apart.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    key: u64,
    name: String,
}

impl Caller {
    pub(crate) fn new(identity: &Identity, peer: Option<IpAddr>, user_agent: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        // All programs of an agent are one client: it has no more of the server by calling itself many names.
        let told_apart = if matches!(identity, Identity::Agent(_)) { "" } else { user_agent };
        (identity.user(), peer, told_apart).hash(&mut hasher);
        let program = user_agent.split('/').next().unwrap_or_default().trim();
        let program: String = program.chars().filter(|c| c.is_ascii_graphic()).take(32).collect();
        let program = if program.is_empty() { "unknown" } else { &program };
        // Zero is the place of those for whom there is none of their own.
        Self { key: hasher.finish().max(1), name: format!("{}/{program}", identity.user()) }
    }

    /// Tells clients apart.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// Those of its connections that are mostly quiet, as a person's or a controller's are: a client of
    /// their own, because a flood of the same program is not their fault.
    pub(crate) fn of_quiet(&self) -> Self {
        let mut hasher = DefaultHasher::new();
        (self.key, "quiet").hash(&mut hasher);
        Self { key: hasher.finish().max(1), name: self.name.clone() }
    }

    /// For people: identity and program.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Lines in Prometheus' text form.
#[derive(Debug, Default)]
pub(crate) struct Lines(pub(crate) String);

impl Lines {
    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    pub(crate) fn value(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        let _ = match labels.is_empty() {
            true => writeln!(self.0, "{name} {value}"),
            false => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_agents() {
        let few = Limits::default().with_files(1024);
        assert_eq!((few.connections, few.connections_per_client, few.unproved), (512, 256, 128));
        let many = Limits::default().with_files(1 << 20);
        assert_eq!(many.connections, 8192);
        assert!(Limits::default().with_files(0).connections >= 16);
    }

    #[test]
    fn clients_are_told_apart_by_identity_peer_and_program_and_named_safely() {
        let one = Some("127.0.0.1".parse().unwrap());
        let kubectl = Caller::new(&Identity::Admin, one, "kubectl/v1.32.4 (linux/amd64)");
        assert_eq!(kubectl.name(), "gcluster-admin/kubectl");
        assert_eq!(kubectl.key(), Caller::new(&Identity::Admin, one, "kubectl/v1.32.4 (linux/amd64)").key());
        for other in [
            Caller::new(&Identity::Viewer, one, "kubectl/v1.32.4 (linux/amd64)"),
            Caller::new(&Identity::Admin, None, "kubectl/v1.32.4 (linux/amd64)"),
            Caller::new(&Identity::Admin, one, "k9s"),
        ] {
            assert_ne!(kubectl.key(), other.key());
        }
        let odd = Caller::new(&Identity::Admin, one, "a\"b\n\u{1b}c");
        let mut lines = Lines::default();
        lines.value("x", &[("client", odd.name())], 1);
        assert_eq!(lines.0, "x{client=\"gcluster-admin/a\\\"bc\"} 1\n");
    }
}
