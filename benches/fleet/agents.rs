//! Agents that do something at a known rate.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::Failure;
use super::client::{Connection, Target};

const AGENTS: &str = "/apis/gcluster.dev/v1alpha1/namespaces/default/agents";
const ITERATIONS: &str = "/apis/gcluster.dev/v1alpha1/namespaces/default/iterations";
/// Longest time that all agents may take to start or to end.
const LIMIT: Duration = Duration::from_secs(180);
/// How often an iteration of `stream` plays the recording: half a minute of it.
const TURNS: usize = 25;
/// How often the iterations are looked at while they start and end.
const LOOK: Duration = Duration::from_millis(250);

/// What an agent does in one iteration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// A recording of `claude`, 20 lines a second, half a minute long.
    Stream,
    /// 20 records a second, half a minute long.
    Busy,
    /// A record every five seconds, half a minute long.
    Calm,
    /// What the rehearsal makes up: eight records in two to four seconds.
    Short,
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Profile::Stream => "stream",
            Profile::Busy => "busy",
            Profile::Calm => "calm",
            Profile::Short => "short",
        }
    }

    /// Records of an iteration, and the pause before each.
    fn rate(self) -> (usize, &'static str) {
        match self {
            Profile::Busy => (600, "0.05"),
            Profile::Stream | Profile::Calm | Profile::Short => (6, "5"),
        }
    }
}

/// How long after the request agents were at work, in milliseconds.
pub(crate) struct Starts {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// From the first request to the last start.
    pub(crate) all: f64,
}

/// The agents of one master.
pub(crate) struct Fleet {
    target: Target,
    agents: usize,
}

impl Fleet {
    /// Makes agents that do not run yet.
    pub(crate) async fn create(
        target: &Target,
        dir: &Path,
        agents: usize,
        backend: &str,
        profile: Profile,
    ) -> Result<Fleet, Failure> {
        let args = script(dir, backend, profile)?;
        let mut connection = Connection::open(target, "bench").await?;
        for n in 0..agents {
            let agent = agent(n, dir, backend, &args).to_string();
            expect(201, connection.call("POST", AGENTS, &agent).await?.0)?;
        }
        let fleet = Fleet { target: target.clone(), agents };
        fleet.wait("revisions of all agents", AGENTS, |agent| agent["status"]["digest"].is_string()).await?;
        Ok(fleet)
    }

    /// Asks all to run and waits until they do.
    pub(crate) async fn run(&self) -> Result<Starts, Failure> {
        let asked = self.ask("Running").await?;
        let begun = |iteration: &Value| iteration["status"]["startedAt"].is_string();
        let iterations = self.wait("all agents to run", ITERATIONS, begun).await?;
        let mut all = 0.0_f64;
        let mut waits = Vec::new();
        for iteration in &iterations {
            let name = iteration["spec"]["agent"].as_str().unwrap_or_default();
            let number: usize = name.trim_start_matches("agent-").parse()?;
            let first = iteration["spec"]["number"] == 0;
            if let (true, Some(asked_at)) = (first, asked.get(number)) {
                let started: Timestamp =
                    iteration["status"]["startedAt"].as_str().unwrap_or_default().parse()?;
                let after = |from: &Timestamp| started.duration_since(*from).as_secs_f64() * 1e3;
                waits.push(after(asked_at));
                all = all.max(asked.first().map_or(0.0, after));
            }
        }
        waits.sort_by(f64::total_cmp);
        let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).copied().unwrap_or_default();
        Ok(Starts { p50: at(0.5), p99: at(0.99), all })
    }

    /// Asks all to stop and waits until nothing runs.
    pub(crate) async fn stop(&self) -> Result<(), Failure> {
        self.ask("Stopped").await?;
        let rests = |agent: &Value| agent["status"]["runState"] == "stopped";
        self.wait("all agents to rest", AGENTS, rests).await.map(drop)
    }

    /// Iterations that ended so far.
    pub(crate) async fn ended(&self) -> Result<i64, Failure> {
        let agents = self.list(AGENTS).await?;
        Ok(agents.iter().filter_map(|agent| agent["status"]["iterations"]["total"].as_i64()).sum())
    }

    /// Writes `spec.run` of all; answers when each was asked.
    async fn ask(&self, run: &str) -> Result<Vec<Timestamp>, Failure> {
        let mut connection = Connection::open(&self.target, "bench").await?;
        let body = json!({"spec": {"run": run}}).to_string();
        let mut asked = Vec::new();
        for n in 0..self.agents {
            asked.push(Timestamp::now());
            expect(200, connection.call("PATCH", &format!("{AGENTS}/{}", name(n)), &body).await?.0)?;
        }
        Ok(asked)
    }

    /// Waits until as many objects as there are agents are as they should be.
    async fn wait(
        &self,
        what: &str,
        path: &str,
        done: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Value>, Failure> {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            let found: Vec<Value> = self.list(path).await?.into_iter().filter(&done).collect();
            if found.len() >= self.agents {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(format!("waited {} s in vain for {what}", LIMIT.as_secs()).into())
    }

    async fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let mut connection = Connection::open(&self.target, "bench").await?;
        let mut list: Value = serde_json::from_slice(&connection.get(path).await?)?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Err(format!("no list at {path}").into()),
        }
    }
}

fn name(n: usize) -> String {
    format!("agent-{n:04}")
}

fn agent(n: usize, dir: &Path, backend: &str, args: &[String]) -> Value {
    let name = name(n);
    let definition = format!("(defagent \"{name}\"\n  (pipeline\n    (step \"work\" (loop work))))");
    let method = "(defmethod work ()\n  \"Look at the backlog, choose the most important task, and do it.\")";
    json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": name},
        "spec": {
            "definition": definition, "methods": {"work": method}, "run": "Stopped",
            "workingDirectory": dir, "backend": {"name": backend, "args": args},
        },
    })
}

/// Writes what the agents do into a file. Answers the arguments of the backend.
fn script(dir: &Path, backend: &str, profile: Profile) -> Result<Vec<String>, Failure> {
    if profile == Profile::Stream {
        return Ok(Vec::new());
    }
    let (records, pause) = profile.rate();
    let path = dir.join("work");
    if backend == "rehearsal" {
        if profile == Profile::Short {
            return Ok(Vec::new());
        }
        let kinds =
            ["think I look.", "say I look at it more closely.", "tool Bash cargo test", "result 12 passed"];
        let lines = kinds.iter().cycle().take(records).map(|kind| format!("wait {pause}s\n{kind}\n"));
        std::fs::write(&path, lines.collect::<String>() + "output done\n")?;
        return Ok(vec!["--script=work".to_owned()]);
    }
    let text = format!(
        "#!/bin/sh\nn=0\nwhile [ $n -lt {records} ]; do n=$((n + 1)); sleep {pause}; echo \"line $n of the work\"; done\n"
    );
    std::fs::write(&path, text)?;
    Ok(vec!["/bin/sh".to_owned(), path.to_string_lossy().into_owned()])
}

/// Writes the stand-in for `claude`. Answers where programs are looked for, its folder first.
pub(crate) fn programs(dir: &Path) -> Result<OsString, Failure> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/backend/claude");
    let recording = data.join("tool_bash_partial.ndjson");
    let text = format!(
        "#!/bin/sh\ncase \"$1\" in --version) echo '2.1.329 (Claude Code)'; exit 0 ;; esac\n\
         IFS= read -r prompt\nhead -n 1 '{0}'\nn=0\n\
         while [ $n -lt {1} ]; do\n  n=$((n + 1))\n  \
         sed '1d;$d' '{0}' | while IFS= read -r line; do sleep 0.05; printf '%s\\n' \"$line\"; done\ndone\n\
         tail -n 1 '{0}'\ncat > /dev/null\n",
        recording.display(),
        TURNS,
    );
    let folder = dir.join("programs");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("claude");
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    let mut all = vec![folder];
    all.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    Ok(std::env::join_paths(all)?)
}

fn expect(status: u16, found: u16) -> Result<(), Failure> {
    if found == status { Ok(()) } else { Err(format!("{found} instead of {status}").into()) }
}
