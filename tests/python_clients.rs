//! The Python clients from PyPI, `kubernetes` and `kopf`, in a virtual environment of their own below the target
//! directory. The scripts in `tests/python` do the checks and say which one failed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::cli::{Sandbox, ran};
use crate::support::master::Master;
use crate::support::skip::{program_or_skip, say_skipped};

/// What is installed, as pip takes it.
const PACKAGES: [&str; 2] = ["kubernetes>=37,<38", "kopf>=1.45,<2"];

/// The interpreter of the environment, made once; why not, when it cannot be made.
fn python(test: &str) -> Option<PathBuf> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let system = program_or_skip("python3", test)?;
    match MADE.get_or_init(|| environment(&system)) {
        Ok(python) => Some(python.clone()),
        Err(why) => {
            say_skipped(test, why);
            None
        }
    }
}

fn environment(system: &Path) -> Result<PathBuf, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = dir.join("bin/python");
    let there = "import kubernetes, kopf; assert int(kubernetes.__version__.split('.')[0]) == 37";
    let usable = |python: &Path| {
        Command::new(python).args(["-c", there]).output().is_ok_and(|output| output.status.success())
    };
    if usable(&python) {
        return Ok(python);
    }
    let step = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    step(Command::new(system).args(["-m", "venv", "--clear"]).arg(&dir))
        .map_err(|why| format!("python3 makes no virtual environment: {why}"))?;
    step(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout", "20"])
            .args(PACKAGES),
    )
    .map_err(|why| format!("pip installs no {}: {why}", PACKAGES.join(" ")))?;
    usable(&python).then_some(python).ok_or_else(|| "the installed packages cannot be imported".into())
}

/// Runs a script against a master of its own; it must say at the end that all is well.
fn passes(test: &str, script: &str) {
    let Some(python) = python(test) else { return };
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let mut command = Command::new(python);
    sandbox.seal(&mut command);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script))
        .env("KUBECONFIG", sandbox.data().join("kubeconfig"))
        // No caches beside the sources.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(sandbox.work());
    let done = ran(&mut command);
    let passed = done.code == 0 && done.stdout.contains("all checks passed");
    let (ended, log) = (master.ended(), master.log());
    assert!(passed, "{}\n{}\nmaster: {ended:?}\n{log}", done.stdout, done.stderr);
}

#[test]
fn the_official_client_works() {
    passes("the_official_client_works", "client.py");
}

#[test]
fn an_operator_in_kopf_works() {
    passes("an_operator_in_kopf_works", "operator_check.py");
}
