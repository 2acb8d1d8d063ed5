//! Programs that are given their whole prompt at once and end by themselves: found, named when missing, started.
//!
//! ```text
//! prompt ──▶ stdin (a file) ──▶ PROGRAM ARGS… ──▶ stdout
//! ```
//!
//! Such a program does not notice that its master was killed, and its exit status waits for the next one with its keeper.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::process::{Input, Program, find_program};
use super::{Launch, Unavailable};

/// A program that people install.
#[derive(Debug)]
pub(crate) struct Installed {
    /// Its name in `PATH`.
    pub(crate) name: &'static str,
    /// The variable that names it where it is not in `PATH`.
    pub(crate) variable: &'static str,
    /// The command that installs it.
    pub(crate) install: &'static str,
    /// What is said in one word when it is missing.
    pub(crate) missing: &'static str,
}

impl Installed {
    /// Where it is: as given, as its variable says, else in `PATH`.
    pub(crate) fn find(&self, given: Option<&Path>) -> Result<PathBuf, Unavailable> {
        let named = given.map(OsString::from).or_else(|| std::env::var_os(self.variable));
        let name = named.clone().unwrap_or_else(|| self.name.into());
        find_program(&name, None).ok_or_else(|| Unavailable {
            reason: self.missing,
            message: match named {
                Some(path) => format!("there is no program {}", path.display()),
                None => format!("the program `{}` is not in PATH", self.name),
            },
            hint: format!(
                "install it with `{}`, name it in {}, or choose another backend",
                self.install, self.variable
            ),
        })
    }
}

/// What to start so that the program reads the prompt of the launch.
pub(crate) fn with_prompt(launch: &Launch, program: PathBuf, args: Vec<OsString>) -> Program {
    Program { path: program, args, env: Vec::new(), input: Input::Text(launch.prompt.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_said_with_the_command_that_installs_it() {
        let thing = Installed {
            name: "no-such-program-here",
            variable: "GCLUSTER_NO_SUCH_VARIABLE",
            install: "npm install -g thing",
            missing: "ThingNotFound",
        };
        let missing = thing.find(None).unwrap_err();
        assert_eq!(missing.reason, "ThingNotFound");
        let text = missing.to_string();
        assert!(
            text.contains("`no-such-program-here` is not in PATH; install it with `npm install -g thing`"),
            "{text}"
        );
        let missing = thing.find(Some(Path::new("/no/thing"))).unwrap_err();
        assert!(missing.to_string().starts_with("there is no program /no/thing; "), "{missing}");
    }
}
