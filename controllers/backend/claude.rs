//! The `claude` backend: the CLI of Claude Code, kept talking over stdin and stdout.
//!
//! ```text
//! claude -p --input-format stream-json --output-format stream-json …   one JSON object per line, both ways
//! ```
//!
//! What its lines mean is in `claude_stream`, how runs end in `claude_ending`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::claude_stream::ClaudeStream;
use super::drive::{drive, take_over};
use super::evidence::{Evidence, of_claude};
use super::process::{Input, Program, find_program, spawn};
use super::recorded::Recorded;
use super::{Adoption, Authentication, Backend, Capabilities, Launch, Running, StartError, Unavailable};

const INSTALL: &str = "npm install -g @anthropic-ai/claude-code";
/// Names the program where it is not `claude` in `PATH`.
const PROGRAM: &str = "GCLUSTER_CLAUDE";
/// What the CLI looks at, in its own order of precedence.
const AUTHENTICATION: Authentication = Authentication {
    keys: &["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"],
    endpoints: &["ANTHROPIC_BASE_URL", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"],
    logins: &["CLAUDE_CONFIG_DIR", "HOME"],
    remedy: "`claude login`",
};
const BYPASS: &str = "bypassPermissions";

/// Runs the `claude` CLI.
#[derive(Debug, Default)]
pub struct ClaudeBackend {
    program: Option<PathBuf>,
}

impl ClaudeBackend {
    /// With a program other than what `GCLUSTER_CLAUDE` names or `claude` in `PATH`.
    pub fn with_program(program: PathBuf) -> ClaudeBackend {
        ClaudeBackend { program: Some(program) }
    }

    fn find(&self) -> Result<PathBuf, Unavailable> {
        let named = self.program.clone().map(OsString::from).or_else(|| std::env::var_os(PROGRAM));
        let name = named.clone().unwrap_or_else(|| "claude".into());
        find_program(&name, None).ok_or_else(|| Unavailable {
            reason: "ClaudeNotFound",
            message: match named {
                Some(path) => format!("there is no program {}", path.display()),
                None => "the program `claude` is not in PATH".to_owned(),
            },
            hint: format!("install it with `{INSTALL}`, name it in {PROGRAM}, or choose another backend"),
        })
    }
}

impl Backend for ClaudeBackend {
    fn name(&self) -> &'static str {
        "claude"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { live_steering: true, resume: true, cost: true, tools: true, process: true }
    }

    fn check(&self) -> Result<(), Unavailable> {
        self.find().map(drop)
    }

    fn authentication(&self) -> Authentication {
        AUTHENTICATION
    }

    fn evidence(&self, run_dir: &Path) -> Option<Evidence> {
        of_claude(run_dir)
    }

    fn adopt(&self, adoption: Adoption) -> Option<Result<Running, StartError>> {
        let stream = ClaudeStream::resume(adoption.messages.clone());
        let recorded = Recorded::new(adoption.recorded.clone());
        Some(take_over(&adoption, Box::new(stream), recorded))
    }

    fn start(&self, launch: Launch) -> BoxFuture<'static, Result<Running, StartError>> {
        let found = self.find();
        async move {
            let is_root = rustix::process::geteuid().is_root();
            let (stream, prompt) = ClaudeStream::begin(&launch.prompt);
            let program = Program {
                path: found?,
                args: arguments(&launch),
                env: environment(&launch, is_root),
                input: Input::Open(prompt),
            };
            let process = spawn(&launch, program).await?;
            drive(&launch, process, Box::new(stream))
        }
        .boxed()
    }
}

fn arguments(launch: &Launch) -> Vec<OsString> {
    let mut args: Vec<&str> = "-p --input-format stream-json --output-format stream-json --verbose \
         --replay-user-messages --include-partial-messages"
        .split_ascii_whitespace()
        .collect();
    match launch.permission_mode.as_deref() {
        None | Some(BYPASS) => args.push("--dangerously-skip-permissions"),
        Some(mode) => args.extend(["--permission-mode", mode]),
    }
    if let Some(model) = &launch.model {
        args.extend(["--model", model]);
    }
    // Whoever resumes a session names it by its own arguments.
    let resumes =
        |arg: &String| matches!(arg.as_str(), "--resume" | "-r" | "--continue" | "-c" | "--session-id");
    if !launch.session_id.is_empty() && !launch.args.iter().any(resumes) {
        args.extend(["--session-id", &launch.session_id]);
    }
    args.into_iter().map(OsString::from).chain(launch.args.iter().map(OsString::from)).collect()
}

/// The master reads every line anyway, so nothing of a run is left to the background, and nothing is sent that
/// no prompt asked for.
fn environment(launch: &Launch, is_root: bool) -> Vec<(String, String)> {
    let mut variables = vec![
        ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("DISABLE_ERROR_REPORTING", "1"),
        ("DISABLE_TELEMETRY", "1"),
    ];
    // Root may skip permissions only where it says that it is in a sandbox; the CLI does not start otherwise.
    if is_root && launch.permission_mode.as_deref().is_none_or(|mode| mode == BYPASS) {
        variables.push(("IS_SANDBOX", "1"));
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch() -> Launch {
        Launch { session_id: "5f0c".into(), ..Launch::default() }
    }

    fn line(launch: &Launch) -> String {
        arguments(launch).iter().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_command_line_says_model_session_permissions_and_the_users_own_arguments() {
        let usual = line(&launch());
        assert!(usual.ends_with("--dangerously-skip-permissions --session-id 5f0c"), "{usual}");
        let own = Launch {
            model: Some("opus".into()),
            permission_mode: Some("plan".into()),
            args: vec!["--max-turns".into(), "3".into()],
            ..launch()
        };
        let own = line(&own);
        assert!(
            own.ends_with("--permission-mode plan --model opus --session-id 5f0c --max-turns 3"),
            "{own}"
        );
        let resumed = line(&Launch { args: vec!["--resume".into(), "77".into()], ..launch() });
        assert!(!resumed.contains("--session-id"), "{resumed}");
    }

    #[test]
    fn only_root_that_skips_permissions_is_called_sandboxed() {
        let has =
            |launch: &Launch, root| environment(launch, root).iter().any(|(name, _)| name == "IS_SANDBOX");
        assert!(has(&launch(), true) && !has(&launch(), false));
        assert!(!has(&Launch { permission_mode: Some("plan".into()), ..launch() }, true));
    }

    #[test]
    fn a_missing_cli_is_said_with_the_command_that_installs_it() {
        let missing = ClaudeBackend::with_program("/no/such/claude".into()).check().unwrap_err();
        assert_eq!(missing.reason, "ClaudeNotFound");
        assert!(missing.to_string().contains("npm install -g @anthropic-ai/claude-code"), "{missing}");
    }
}
