//! The `codex` backend: the CLI of OpenAI Codex, one turn per run.
//!
//! ```text
//! codex exec --json …   the prompt on its standard input, one JSON object per line on its standard output
//! ```
//!
//! Flags: `codex exec --help` of 0.169.0 and <https://developers.openai.com/codex/noninteractive>. What its lines
//! mean is in `codex_stream`, how runs end in `codex_ending`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::codex_stream::{CodexStream, is_answer};
use super::drive::{drive, take_over};
use super::evidence::{Evidence, of_json_lines};
use super::local_time::local_zone;
use super::one_shot::{Installed, with_prompt};
use super::process::spawn;
use super::recorded::Recorded;
use super::{Adoption, Authentication, Backend, Capabilities, Launch, Running, StartError, Unavailable};

const CODEX: Installed = Installed {
    name: "codex",
    variable: "GCLUSTER_CODEX",
    install: "npm install -g @openai/codex",
    missing: "CodexNotFound",
};

/// What the CLI authenticates with; its own login is a file below one of the last two.
const AUTHENTICATION: Authentication = Authentication {
    keys: &["CODEX_API_KEY", "OPENAI_API_KEY"],
    endpoints: &["OPENAI_BASE_URL"],
    logins: &["CODEX_HOME", "HOME"],
    remedy: "`codex login`",
};

/// Runs `codex exec`.
#[derive(Debug, Default)]
pub struct CodexBackend {
    program: Option<PathBuf>,
}

impl CodexBackend {
    /// With a program other than what `GCLUSTER_CODEX` names or `codex` in `PATH`.
    pub fn with_program(program: PathBuf) -> CodexBackend {
        CodexBackend { program: Some(program) }
    }
}

impl Backend for CodexBackend {
    fn name(&self) -> &'static str {
        "codex"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { live_steering: false, resume: true, cost: false, tools: true, process: true }
    }

    fn authentication(&self) -> Authentication {
        AUTHENTICATION
    }

    fn check(&self) -> Result<(), Unavailable> {
        CODEX.find(self.program.as_deref()).map(drop)
    }

    fn evidence(&self, run_dir: &Path) -> Option<Evidence> {
        of_json_lines(run_dir, is_answer)
    }

    fn adopt(&self, adoption: Adoption) -> Option<Result<Running, StartError>> {
        let stream = CodexStream::begin(None, goes_on(&adoption.args), local_zone());
        let recorded = Recorded::new(adoption.recorded.clone());
        Some(take_over(&adoption, Box::new(stream), recorded))
    }

    fn start(&self, launch: Launch) -> BoxFuture<'static, Result<Running, StartError>> {
        let found = CODEX.find(self.program.as_deref());
        async move {
            let program = with_prompt(&launch, found?, arguments(&launch)?);
            let process = spawn(&launch, program).await?;
            let stream = CodexStream::begin(launch.model.clone(), goes_on(&launch.args), local_zone());
            drive(&launch, process, Box::new(stream))
        }
        .boxed()
    }
}

/// Options come before the user's own arguments, which may begin with a subcommand such as `resume ID`.
fn arguments(launch: &Launch) -> Result<Vec<OsString>, StartError> {
    let mut args = vec!["exec", "--json", "--skip-git-repo-check"];
    match launch.permission_mode.as_deref() {
        None | Some("bypassPermissions") => args.push("--dangerously-bypass-approvals-and-sandbox"),
        Some(mode @ ("read-only" | "workspace-write" | "danger-full-access")) => {
            args.extend(["--sandbox", mode])
        }
        Some(other) => {
            return Err(StartError::Invalid(format!(
                "the backend `codex` has no permission mode {other:?}; set spec.backend.permissionMode to read-only, \
                 workspace-write, danger-full-access or bypassPermissions"
            )));
        }
    }
    if let Some(model) = &launch.model {
        args.extend(["--model", model]);
    }
    Ok(args.into_iter().map(OsString::from).chain(launch.args.iter().map(OsString::from)).collect())
}

/// Whether the run goes on with a thread that has a past.
fn goes_on(args: &[String]) -> bool {
    args.iter().any(|arg| matches!(arg.as_str(), "resume" | "fork"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(launch: &Launch) -> String {
        let args = arguments(launch).unwrap();
        args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_command_line_says_permissions_model_and_the_users_own_arguments_and_never_the_prompt() {
        let usual = line(&Launch { prompt: "--help".into(), ..Launch::default() });
        assert_eq!(usual, "exec --json --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox");
        let own = line(&Launch {
            model: Some("gpt-5".into()),
            permission_mode: Some("workspace-write".into()),
            args: vec!["resume".into(), "--last".into()],
            ..Launch::default()
        });
        assert!(own.ends_with("--sandbox workspace-write --model gpt-5 resume --last"), "{own}");
        let wrong = arguments(&Launch { permission_mode: Some("plan".into()), ..Launch::default() });
        let text = wrong.unwrap_err().to_string();
        assert!(text.contains("\"plan\"") && text.contains("read-only"), "{text}");
    }

    #[test]
    fn a_missing_cli_is_said_with_the_command_that_installs_it() {
        let missing = CodexBackend::with_program("/no/such/codex".into()).check().unwrap_err();
        assert_eq!(missing.reason, "CodexNotFound");
        assert!(missing.to_string().contains("npm install -g @openai/codex"), "{missing}");
    }
}
