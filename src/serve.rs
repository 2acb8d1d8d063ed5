//! A master: the only place where store, API server and controllers meet.
//!
//! ```text
//! lock and load the state ▶ bind ▶ certificate, token, kubeconfig ▶ persistence ▶ serve ▶ controllers
//! controllers (agents end with grace) ▶ server and watches ▶ persistence (all on disk) ▶ done
//! ```
//! Starting goes the first way, stopping the second. Tests embed a master with [`start`].

mod access;
mod alive;
mod line;
mod pages;
mod salt;

use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use alive::Alive;
pub use gcluster_controllers::backend::keeper::become_keeper;
use gcluster_controllers::backend::{Backends, Presence, keeper, sweep};
use gcluster_controllers::{Context, persistence};
use gcluster_server::audit::{Audit, Rotation};
use gcluster_server::security::Security;
pub use gcluster_server::security::TlsOptions;
use gcluster_server::{Api, ApiOptions, listen};
use gcluster_store::engine::disk::{self, Damaged};
use gcluster_store::{ListAt, OpenError, Store, StoreConfig, Transcripts};
use gcluster_types::kinds::iteration::Phase;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longest time that the controllers have to end agents and write their last status.
const CONTROLLERS_END: Duration = Duration::from_secs(12);
/// Longest time that the server has to end its streams.
const SERVER_END: Duration = Duration::from_secs(3);
/// Longest time that the last writes may take.
const DISK_END: Duration = Duration::from_secs(10);

/// Files of runs, below the data directory.
const RUNS: &str = "runs";

/// What this master holds open as long as it lives, in the data directory.
const PRESENCE: &str = "present";

/// How long a program that is talked to waits for the next master: longer than an upgrade or a reboot of the service.
const PATIENCE: Duration = Duration::from_secs(600);

/// Lets this program be started as a keeper of runs. For a program that calls [`become_keeper`] before anything else.
pub fn offer_keeper() {
    // Not its path: the file may be replaced or removed while it runs.
    keeper::set_helper("/proc/self/exe".into());
}

/// What a master is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 takes any free port.
    pub addr: SocketAddr,
    /// Directory of state, transcripts, secrets and kubeconfig. Made with mode 0700.
    pub data_dir: PathBuf,
    /// Backend of agents that name none.
    pub backend: String,
    /// Iterations that run at once, over all agents; the controllers' default when absent.
    pub max_running: Option<usize>,
    /// The line protocol needs no token on a loopback address.
    pub insecure_line_protocol: bool,
    /// Certificates beyond the own one.
    pub tls: TlsOptions,
    /// Where writes are recorded; nowhere when absent.
    pub audit_log: Option<PathBuf>,
    /// Writes of the master's own controllers are recorded, too.
    pub audit_controllers: bool,
    /// Version that the API reports.
    pub version: String,
}

/// Why a master did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something listens on the address already.
    #[error("cannot listen on {addr}: the port is taken")]
    PortTaken {
        /// The address.
        addr: SocketAddr,
    },
    /// Another process serves the data directory.
    #[error("the data directory {} is in use by another master", .path.display())]
    DataDirInUse {
        /// The directory.
        path: PathBuf,
    },
    /// The address cannot be listened on for another reason.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The data directory cannot be made or made private.
    #[error("cannot use {} as data directory: {source}", .path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The state in the directory cannot be used as it is.
    #[error(transparent)]
    State(OpenError),
    /// Transcripts, secrets or the kubeconfig cannot be read or written.
    #[error("cannot prepare the {what} in {}: {reason}", .path.display())]
    Prepare {
        /// Which.
        what: &'static str,
        /// The data directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A running master.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    kubeconfig: PathBuf,
    runs_dir: PathBuf,
    alive: Alive,
    store: Store,
    controllers: Part,
    server: Part,
    persistence: Part,
}

/// One task with the switch that ends it.
#[derive(Debug)]
struct Part {
    name: &'static str,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Part {
    fn start<F>(name: &'static str, run: impl FnOnce(Ending) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (end, ending) = watch::channel(false);
        Self { name, end, task: tokio::spawn(run(Ending(ending))) }
    }

    async fn stop(self, limit: Duration) {
        let _ = self.end.send(true);
        if self.task.is_finished() {
            return;
        }
        let abort = self.task.abort_handle();
        match tokio::time::timeout(limit, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(part = self.name, %error, "ended badly"),
            Err(_) => {
                tracing::warn!(part = self.name, "did not end within {}s, left behind", limit.as_secs());
                abort.abort();
            }
        }
    }
}

/// Completes when its part is to end.
struct Ending(watch::Receiver<bool>);

impl Ending {
    async fn wait(mut self) {
        // An error means that the handle was dropped, which ends the part as well.
        let _ = self.0.wait_for(|end| *end).await;
    }
}

/// Starts a master. When this returns the kubeconfig is written and the port answers.
pub async fn start(config: Config) -> Result<Handle, StartError> {
    let data_dir = config.data_dir.clone();
    private_directory(&data_dir).map_err(|source| StartError::DataDir { path: data_dir.clone(), source })?;
    let opened = open_state(&data_dir).await?;
    if let Some(damaged) = &opened.damaged {
        tracing::warn!(
            preserved = %damaged.preserved.display(),
            "the state could not be read and the master starts fresh; the old files are kept in {}: {}",
            damaged.preserved.display(),
            damaged.reason
        );
    }
    let prepare = |what, reason: String| StartError::Prepare { what, path: data_dir.clone(), reason };
    let transcripts = Transcripts::open(&data_dir.join("transcripts"))
        .map_err(|error| prepare("transcripts", error.to_string()))?;
    let listener = TcpListener::bind(config.addr).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => StartError::PortTaken { addr: config.addr },
        _ => StartError::Listen { addr: config.addr, source },
    })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { addr: config.addr, source })?;
    let security = Security::open_with(&data_dir, config.tls)
        .map_err(|error| prepare("certificate and token", error.to_string()))?;
    let kubeconfig = security
        .write_kubeconfig(&data_dir, address)
        .map_err(|error| prepare("kubeconfig", error.to_string()))?;

    let audit = config.audit_log.as_deref().map(|path| {
        let opened = Audit::open(path, Rotation::default());
        opened.map_err(|error| prepare("audit log", format!("{}: {error}", path.display())))
    });
    let audit = audit.transpose()?;
    let (store, journal) = Store::open(StoreConfig::default(), opened.loaded);
    let engine = Box::new(opened.engine);
    let persistence = Part::start("persistence", |ending| persistence::run(journal, engine, ending.wait()));
    let api = Api::new(ApiOptions { store: store.clone(), transcripts, version: config.version });
    api.bootstrap().await.map_err(|error| prepare("first objects", error.to_string()))?;
    let router = match &audit {
        Some(audit) if config.audit_controllers => audit.of_controllers(&api),
        _ => api.router(),
    };
    let client = kube::Client::new(router, "default");
    let options = listen::Options {
        line: line::options(&data_dir, config.insecure_line_protocol),
        audit,
        ..listen::Options::default()
    };
    let access = access::access(security.clone(), address, &data_dir);
    let shown = api.clone();
    let server = Part::start("server", |ending| async move {
        if let Err(error) = listen::serve(listener, api, security, options, ending.wait()).await {
            tracing::error!(%error, "the server ended");
        }
    });
    if let Some(damaged) = &opened.damaged {
        report_damage(&client, damaged).await;
    }
    let runs_dir = data_dir.join(RUNS);
    let salt = salt::load(&data_dir)
        .map_err(|error| prepare("salt of the names of credentials", error.to_string()))?;
    let mut context =
        context(client, &data_dir, &config.backend, config.max_running, salt).with_access(access);
    match Presence::hold(&data_dir.join(PRESENCE), PATIENCE) {
        Ok(presence) => context = context.with_presence(presence),
        Err(error) => {
            tracing::warn!(%error, "programs will wait for ever for a master that does not come back")
        }
    }
    let alive = Alive { client: context.client.clone(), pulse: context.pulse.clone() };
    pages::show(&shown, &context);
    let controllers = Part::start("controllers", |ending| gcluster_controllers::run(context, ending.wait()));
    Ok(Handle { address, kubeconfig, runs_dir, alive, store, controllers, server, persistence })
}

impl Handle {
    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The kubeconfig that it has written.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Looks whether this master does its work.
    pub fn alive(&self) -> Alive {
        self.alive.clone()
    }

    /// Completes with the name of a part that ended by itself, which none does while all is well.
    pub async fn broken(&mut self) -> &'static str {
        let ended = tokio::select! {
            ended = &mut self.controllers.task => (self.controllers.name, ended),
            ended = &mut self.server.task => (self.server.name, ended),
            ended = &mut self.persistence.task => (self.persistence.name, ended),
        };
        if let (part, Err(error)) = &ended {
            tracing::error!(part, %error, "ended badly");
        }
        ended.0
    }

    /// Something to end all agents with at once while [`Handle::stop`] is under way.
    pub fn killer(&self) -> Killer {
        Killer { store: self.store.clone(), runs_dir: self.runs_dir.clone() }
    }

    /// Stops everything in order: agents end with grace, streams end, all state is on disk.
    pub async fn stop(self) {
        self.controllers.stop(CONTROLLERS_END).await;
        // Watches end by themselves once the store is closed; then the server has nothing left to wait for.
        self.store.close();
        self.server.stop(SERVER_END).await;
        self.persistence.stop(DISK_END).await;
    }
}

/// Ends all agents at once.
#[derive(Clone, Debug)]
pub struct Killer {
    store: Store,
    runs_dir: PathBuf,
}

impl Killer {
    /// Kills every process of every iteration that has not ended. Blocks until they are gone, some seconds at most.
    pub fn kill(&self) {
        let Ok(listing) = self.store.list("gcluster.dev/iterations", None, &ListAt::default()) else {
            return;
        };
        for entry in listing.entries {
            let Ok(iteration) = serde_json::from_slice::<gcluster_types::Iteration>(&entry.value) else {
                continue;
            };
            let running = iteration.status.is_some_and(|status| status.phase == Phase::Running);
            if let (true, Some(uid)) = (running, iteration.metadata.uid) {
                sweep::sweep_run(&uid, &self.runs_dir.join(&uid));
            }
        }
    }
}

/// Makes the directory if needed, for its owner alone. A shared directory with other things in it, such as
/// `/tmp`, is refused: closing it would lock others out.
fn private_directory(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let open = path.metadata()?.permissions().mode() & 0o077 != 0;
    if open && !path.join("state").exists() && std::fs::read_dir(path)?.next().is_some() {
        return Err(std::io::Error::other(
            "it holds other things and is open to others; name a new directory",
        ));
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

/// Reading a large state takes a while and blocks.
async fn open_state(data_dir: &Path) -> Result<disk::Opened, StartError> {
    let path = data_dir.to_path_buf();
    let opened = tokio::task::spawn_blocking(move || disk::open(&path)).await;
    match opened {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(OpenError::Locked { .. })) => Err(StartError::DataDirInUse { path: data_dir.to_path_buf() }),
        Ok(Err(error)) => Err(StartError::State(error)),
        Err(error) => Err(StartError::Prepare {
            what: "state",
            path: data_dir.to_path_buf(),
            reason: error.to_string(),
        }),
    }
}

fn context(
    client: kube::Client,
    data_dir: &Path,
    backend: &str,
    max_running: Option<usize>,
    salt: Vec<u8>,
) -> Context {
    let mut config = gcluster_controllers::Config::new(backend, data_dir.join(RUNS));
    config.salt = salt;
    if let Some(max_running) = max_running {
        config.max_running = max_running;
    }
    if let Ok(directory) = std::env::current_dir() {
        config.default_directory = directory;
    }
    let backends = Backends::standard();
    let all: Vec<_> = backends.names().into_iter().filter_map(|name| backends.get(name)).collect();
    Context::new(client, all, config)
}

/// Writes an Event about state that was put aside, so that it is seen where people look.
async fn report_damage(client: &kube::Client, damaged: &Damaged) {
    let now = k8s_openapi::jiff::Timestamp::now();
    let event = serde_json::json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": "state-damaged-", "namespace": "default"},
        "eventTime": format!("{now:.6}"),
        "type": "Warning",
        "reason": "StateDamaged",
        "action": "StartedFresh",
        "note": format!("the old state could not be read ({}) and is kept in {}", damaged.reason, damaged.preserved.display()),
        "regarding": {"apiVersion": "v1", "kind": "Namespace", "name": "default", "namespace": "default"},
        "reportingController": "gcluster-master",
        "reportingInstance": "gcluster-master",
    });
    let request = http::Request::post("/apis/events.k8s.io/v1/namespaces/default/events")
        .header("content-type", "application/json")
        .body(event.to_string().into_bytes());
    let Ok(request) = request else { return };
    if let Err(error) = client.request_text(request).await {
        tracing::warn!(%error, "the damage could not be recorded as an Event");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_is_private_and_a_shared_one_with_other_things_is_refused() {
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let new = dir.path().join("a/b");
        private_directory(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        assert!(private_directory(dir.path()).is_err());
        assert_eq!(mode(dir.path()), 0o755);
        std::fs::create_dir(dir.path().join("state")).unwrap();
        private_directory(dir.path()).unwrap();
        assert_eq!(mode(dir.path()), 0o700);
    }
}
