//! Skipping a test loudly when a program that it drives is not there.

use std::path::PathBuf;
use std::process::Command;

use super::cli::ran;

/// The path of a program, or `None` after saying on standard error which test is skipped and why.
pub(crate) fn program_or_skip(program: &str, test: &str) -> Option<PathBuf> {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
    });
    if found.is_none() {
        say_skipped(test, &format!("`{program}` is not installed"));
    }
    found
}

/// Says that a test is skipped, past the test harness's capture of output.
pub(crate) fn say_skipped(test: &str, why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED {test}: {why}");
}

/// The path of a kubectl that is new enough to read OpenAPI v3, or `None` after saying why not.
/// `GCLUSTER_TEST_KUBECTL` names another than the one on the path.
pub(crate) fn kubectl_or_skip(test: &str) -> Option<PathBuf> {
    let kubectl = match std::env::var_os("GCLUSTER_TEST_KUBECTL") {
        Some(named) => PathBuf::from(named),
        None => program_or_skip("kubectl", test)?,
    };
    let version = ran(Command::new(&kubectl).args(["version", "--client", "-o", "json"])).stdout;
    let version: serde_json::Value = serde_json::from_str(&version).unwrap_or_default();
    let minor =
        version["clientVersion"]["minor"].as_str().and_then(|m| m.trim_end_matches('+').parse::<u32>().ok());
    if minor.is_some_and(|minor| minor >= 27) {
        return Some(kubectl);
    }
    say_skipped(test, "kubectl is older than 1.27");
    None
}
