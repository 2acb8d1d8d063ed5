//! The gcluster program: parses the command line, runs one verb, maps its end to an exit code.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(refused) = gcluster::serve::become_keeper(std::env::args_os()) {
        // Nobody but the program's standard error can be told.
        let _ = writeln!(std::io::stderr(), "{refused}");
        return ExitCode::FAILURE;
    }
    let Err(failure) = gcluster::cli::main(std::env::args_os()) else { return ExitCode::SUCCESS };
    // Nothing can be done about an error while reporting an error.
    let _ = std::io::stderr().write_all(failure.render().as_bytes());
    ExitCode::from(failure.kind.code())
}
