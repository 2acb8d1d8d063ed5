//! The `amp` backend: the CLI of Amp, one prompt per run.
//!
//! ```text
//! amp … -x --stream-json-thinking   the prompt on its standard input, one JSON object per line on its standard output
//! ```
//!
//! Flags: `amp --help` of `@ampcode/cli` 0.0.1790142911 and <https://ampcode.com/news/streaming-json>. What its lines mean
//! is in `amp_stream`. Everything of Amp goes through its service, so nothing here was tested with more than stand-ins.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::amp_stream::{AmpStream, is_answer};
use super::drive::{drive, take_over};
use super::evidence::{Evidence, of_json_lines};
use super::one_shot::{Installed, with_prompt};
use super::process::spawn;
use super::recorded::Recorded;
use super::{Adoption, Authentication, Backend, Capabilities, Launch, Running, StartError, Unavailable};

/// What the CLI authenticates with; its own login is a file below the home directory.
const AUTHENTICATION: Authentication = Authentication {
    keys: &["AMP_API_KEY"],
    endpoints: &["AMP_URL"],
    logins: &["HOME"],
    remedy: "`amp login`",
};

const AMP: Installed = Installed {
    name: "amp",
    variable: "GCLUSTER_AMP",
    install: "npm install -g @ampcode/cli",
    missing: "AmpNotFound",
};

/// Runs `amp -x`.
#[derive(Debug, Default)]
pub struct AmpBackend {
    program: Option<PathBuf>,
}

impl AmpBackend {
    /// With a program other than what `GCLUSTER_AMP` names or `amp` in `PATH`.
    pub fn with_program(program: PathBuf) -> AmpBackend {
        AmpBackend { program: Some(program) }
    }
}

impl Backend for AmpBackend {
    fn name(&self) -> &'static str {
        "amp"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { live_steering: false, resume: true, cost: false, tools: true, process: true }
    }

    fn authentication(&self) -> Authentication {
        AUTHENTICATION
    }

    fn check(&self) -> Result<(), Unavailable> {
        AMP.find(self.program.as_deref()).map(drop)
    }

    fn evidence(&self, run_dir: &Path) -> Option<Evidence> {
        of_json_lines(run_dir, is_answer)
    }

    fn adopt(&self, adoption: Adoption) -> Option<Result<Running, StartError>> {
        let recorded = Recorded::new(adoption.recorded.clone());
        Some(take_over(&adoption, Box::new(AmpStream::default()), recorded))
    }

    fn start(&self, launch: Launch) -> BoxFuture<'static, Result<Running, StartError>> {
        let found = AMP.find(self.program.as_deref());
        async move {
            let program = with_prompt(&launch, found?, arguments(&launch)?);
            let process = spawn(&launch, program).await?;
            drive(&launch, process, Box::new(AmpStream::default()))
        }
        .boxed()
    }
}

/// The user's own arguments come first: they may begin with a command such as `threads continue ID`.
fn arguments(launch: &Launch) -> Result<Vec<OsString>, StartError> {
    let mut args: Vec<&str> = launch.args.iter().map(String::as_str).collect();
    args.extend(["-x", "--stream-json-thinking"]);
    match launch.permission_mode.as_deref() {
        None | Some("bypassPermissions") => args.push("--dangerously-allow-all"),
        Some("default") => {}
        Some(other) => {
            return Err(StartError::Invalid(format!(
                "the backend `amp` has no permission mode {other:?}; set spec.backend.permissionMode to \
                 bypassPermissions or, for the rules of amp's own settings, to default"
            )));
        }
    }
    if let Some(mode) = &launch.model {
        args.extend(["--mode", mode]);
    }
    Ok(args.into_iter().map(OsString::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(launch: &Launch) -> String {
        let args = arguments(launch).unwrap();
        args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_command_line_says_permissions_mode_and_the_users_own_arguments_and_never_the_prompt() {
        let usual = line(&Launch { prompt: "--help".into(), ..Launch::default() });
        assert_eq!(usual, "-x --stream-json-thinking --dangerously-allow-all");
        let own = line(&Launch {
            model: Some("high".into()),
            permission_mode: Some("default".into()),
            args: vec!["threads".into(), "continue".into(), "T-1".into()],
            ..Launch::default()
        });
        assert_eq!(own, "threads continue T-1 -x --stream-json-thinking --mode high");
        let wrong = arguments(&Launch { permission_mode: Some("plan".into()), ..Launch::default() });
        assert!(wrong.unwrap_err().to_string().contains("\"plan\""));
    }

    #[test]
    fn a_missing_cli_is_said_with_the_command_that_installs_it() {
        let missing = AmpBackend::with_program("/no/such/amp".into()).check().unwrap_err();
        assert_eq!(missing.reason, "AmpNotFound");
        assert!(missing.to_string().contains("npm install -g @ampcode/cli"), "{missing}");
    }
}
