//! The gcluster program: parses the command line, runs one verb, maps its end to an exit code.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Err(failure) = gcluster::cli::main(std::env::args_os()) else { return ExitCode::SUCCESS };
    // Nothing can be done about an error while reporting an error.
    let _ = std::io::stderr().write_all(failure.render().as_bytes());
    ExitCode::from(failure.kind.code())
}
