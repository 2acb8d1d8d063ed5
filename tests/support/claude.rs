//! The real `claude` CLI, and the loopback model server that it talks to.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};

use super::cli::ran;
use super::http::request;
use super::skip::{program_or_skip, say_skipped};

/// The version whose behaviour `specs/backends.md` describes.
const PACKAGE: &str = "@anthropic-ai/claude-code@2.1.329";

/// The CLI: named by the environment, or installed once below the build folder. None, and said so, where it cannot be.
pub(crate) fn claude_or_skip(test: &str) -> Option<PathBuf> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    if let Some(path) = std::env::var_os("GCLUSTER_TEST_CLAUDE") {
        return Some(path.into());
    }
    let npm = program_or_skip("npm", test)?;
    let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("claude-cli");
    let claude = prefix.join("node_modules/.bin/claude");
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !claude.exists() {
        let installed = ran(Command::new(npm)
            .args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
            .arg(&prefix)
            .arg("--cache")
            .arg(prefix.join("cache"))
            .arg(PACKAGE));
        if installed.code != 0 || !claude.exists() {
            say_skipped(test, &format!("npm could not install {PACKAGE}: {}", installed.stderr));
            return None;
        }
    }
    Some(claude)
}

/// Puts the CLI into the reach of a master. As root it runs without asking only where it is told that this is a sandbox.
pub(crate) fn within_reach(claude: &Path) -> impl Fn(&mut Command) + use<> {
    let bin = claude.parent().expect("a directory").to_owned();
    move |command| {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", bin.display())).env("IS_SANDBOX", "1");
    }
}

/// Set in the namespace of [`alone`].
const INSIDE: &str = "GCLUSTER_TEST_IN_NAMESPACE";

/// Runs this program again, with these arguments, in a network namespace with nothing but loopback: whether that ended
/// well. `None` inside of it, and where that is not possible.
pub(crate) fn alone<S: AsRef<OsStr>>(arguments: &[S]) -> Option<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let flags = ["-n", "-rn"].into_iter().find(|flags| {
        ran(Command::new("sh")
            .args(["-c", &format!("unshare {flags} sh -c 'ip link set lo up' 2>/dev/null")]))
        .code
            == 0
    })?;
    let status = Command::new("unshare")
        .args([flags, "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().expect("this program"))
        .args(arguments)
        .env(INSIDE, "1")
        .status()
        .ok()?;
    Some(status.success())
}

/// The scripted model server in `tests/fake_messages_api`.
pub(crate) struct ModelServer {
    child: Child,
    pub(crate) url: String,
}

impl ModelServer {
    /// One scenario per name; an agent chooses its own by its name.
    pub(crate) fn start(python: &Path, scenarios: &Value) -> ModelServer {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_messages_api/fake_messages_api.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(["--port", "0", "--scenario", &json!({"scenarios": scenarios}).to_string()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the model server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        let url = line.trim().strip_prefix("LISTENING ").expect("its address").to_owned();
        ModelServer { child, url }
    }

    /// Every model request that it was sent, in order, as its log has them.
    pub(crate) fn requests(&self) -> Vec<Value> {
        serde_json::from_value(self.ask("requests")).expect("a list")
    }

    /// How many model requests it was sent.
    pub(crate) fn counted(&self) -> u64 {
        let counts = self.ask("counts");
        counts.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
    }

    fn ask(&self, what: &str) -> Value {
        let address = self.url.strip_prefix("http://").expect("an address");
        let answer = request(address, "GET", &format!("/__fake__/{what}"), &[], b"").expect("an answer");
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// An agent of one prompt whose model is the scenario of its name.
    pub(crate) fn agent(&self, name: &str, work: &Path) -> Value {
        let env = json!([
            {"name": "ANTHROPIC_BASE_URL", "value": format!("{}/{name}", self.url)},
            {"name": "ANTHROPIC_API_KEY", "value": "dummy"},
        ]);
        json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": name},
            "spec": {
                "definition": format!("(defagent \"{name}\"\n  \"Say hello.\")"),
                "workingDirectory": work,
                "backend": {"name": "claude", "model": "claude-sonnet-4-5", "env": env},
            },
        })
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
