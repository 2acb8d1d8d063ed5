//! What every controller is given: the client, the backends, the clock and the settings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;

use crate::backend::{Backend, Presence};
use crate::metrics::TicketMetrics;
use crate::pulse::Pulse;

/// Makes the variables with which the programs of an agent reach the master, from its namespace, name and uid: who it
/// is decides what they may do.
pub type Access = Arc<dyn Fn(&str, &str, &str) -> Vec<(String, String)> + Send + Sync>;

/// Everything that comes from outside. Clones share it.
#[derive(Clone)]
pub struct Context {
    /// The API, and the only way to it.
    pub client: Client,
    /// Backends by name.
    pub backends: Arc<BTreeMap<String, Arc<dyn Backend>>>,
    /// Settings.
    pub config: Arc<Config>,
    /// Reconciles that are under way.
    pub pulse: Pulse,
    /// What is known of tickets that came to their end.
    pub ticket_metrics: TicketMetrics,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    access: Option<Access>,
    /// The sign for the keepers of programs that this master lives.
    pub(crate) presence: Option<Presence>,
}

impl Context {
    /// A context on the machine's clock.
    pub fn new(client: Client, backends: impl IntoIterator<Item = Arc<dyn Backend>>, config: Config) -> Self {
        let backends = backends.into_iter().map(|backend| (backend.name().to_owned(), backend)).collect();
        let ticket_metrics = TicketMetrics::new(config.data_dir.join("metrics").join("tickets.csv"));
        Self {
            client,
            ticket_metrics,
            backends: Arc::new(backends),
            config: Arc::new(config),
            pulse: Pulse::default(),
            clock: Arc::new(Timestamp::now),
            access: None,
            presence: None,
        }
    }

    /// The same, with programs that can reach the master.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    /// The same, with programs that do not wait for ever for a master that does not come back.
    #[must_use]
    pub fn with_presence(mut self, presence: Presence) -> Self {
        self.presence = Some(presence);
        self
    }

    /// With what the programs of an agent reach the master; nothing where they cannot.
    pub fn access(&self, namespace: &str, name: &str, uid: &str) -> Vec<(String, String)> {
        self.access.as_ref().map(|access| access(namespace, name, uid)).unwrap_or_default()
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

/// Settings of the controllers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Backend of agents that name none.
    pub default_backend: String,
    /// Directory below which each run has one of its own.
    pub runs_dir: PathBuf,
    /// Directory with the hubs of repositories, workspaces, results of checks and metrics.
    pub data_dir: PathBuf,
    /// Where agents without `spec.workingDirectory` run.
    pub default_directory: PathBuf,
    /// Iterations that run at once, of all agents.
    pub max_running: usize,
    /// Reconciles that run at once, per controller.
    pub concurrency: u16,
    /// Time that a program has to end when it is asked to, before it is killed.
    pub stop_grace: Duration,
    /// Time that all programs have when the master ends.
    pub shutdown_grace: Duration,
    /// Time that a turn has to end when it is interrupted because it stalled, before its program is ended.
    pub stall_grace: Duration,
    /// First pause after a failure; it doubles with each further one in a row, up to five minutes.
    pub failure_backoff: Duration,
    /// First pause after an iteration of a loop that ended at once without using a tool; doubles likewise.
    pub idle_backoff: Duration,
    /// What "at once" is, of backends that do not tell which tools they use.
    pub idle_below: Duration,
    /// What it is of the others, by name: a model's answer alone takes some seconds.
    pub idle_below_of: BTreeMap<String, Duration>,
    /// First pause of a credential when the provider does not say when its limit is lifted; it doubles with each
    /// further one in a row, up to an hour.
    pub throttle_default: Duration,
    /// First pause of a credential after an outage of the provider; doubles likewise, up to five minutes.
    pub outage_backoff: Duration,
    /// How often a credential that was refused is tried again.
    pub credential_recheck: Duration,
    /// Random bytes that the names of credentials are made with. Whoever has them could try to guess a short secret,
    /// so they stay on this machine; other ones give other names.
    pub salt: Vec<u8>,
    /// How often a missing program is looked for again.
    pub recheck_backend: Duration,
    /// Least time between the starts of two programs of one backend, by its name; others: two milliseconds.
    pub start_spacing: BTreeMap<String, Duration>,
    /// How often a collector looks for what it may have missed.
    pub resync: Duration,
}

impl Config {
    /// What "at once" is, of a backend.
    pub fn idle_below(&self, backend: &str) -> Duration {
        self.idle_below_of.get(backend).copied().unwrap_or(self.idle_below)
    }

    /// The defaults, with the files of runs below `runs_dir`.
    pub fn new(default_backend: impl Into<String>, runs_dir: impl Into<PathBuf>) -> Self {
        let runs_dir = runs_dir.into();
        let data_dir = runs_dir.parent().map(PathBuf::from).unwrap_or_else(|| runs_dir.clone());
        Self {
            data_dir,
            default_backend: default_backend.into(),
            default_directory: PathBuf::from("/"),
            runs_dir,
            max_running: 1_000,
            concurrency: 16,
            // Nothing of an iteration lives five seconds after it was asked to end.
            stop_grace: Duration::from_secs(4),
            shutdown_grace: Duration::from_secs(4),
            stall_grace: Duration::from_secs(30),
            failure_backoff: Duration::from_secs(1),
            idle_backoff: Duration::from_millis(500),
            idle_below: Duration::from_secs(3),
            idle_below_of: ["claude", "codex", "amp", "acp"]
                .map(|name| (name.to_owned(), Duration::from_secs(15)))
                .into(),
            throttle_default: Duration::from_secs(300),
            outage_backoff: Duration::from_secs(10),
            credential_recheck: Duration::from_secs(300),
            salt: new_salt(),
            recheck_backend: Duration::from_secs(30),
            start_spacing: BTreeMap::from([("claude".to_owned(), Duration::from_millis(150))]),
            resync: Duration::from_secs(300),
        }
    }
}

/// A salt of 32 random bytes.
pub fn new_salt() -> Vec<u8> {
    [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].iter().flat_map(|part| *part.as_bytes()).collect()
}
