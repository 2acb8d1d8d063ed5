//! Skipping a test loudly when a program that it drives is not there.

use std::path::PathBuf;

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
