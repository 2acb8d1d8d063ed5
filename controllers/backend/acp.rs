//! The `acp` backend: any agent that speaks the Agent Client Protocol, version 1, over its standard input and output.
//!
//! ```text
//! initialize ─▶ session/new ─▶ [session/set_mode] ─▶ [session/set_config_option] ─▶ session/prompt ─▶ … ─▶ stopReason
//! ```
//!
//! `spec.backend.args` is the program and its arguments: `["claude-code-acp"]`, `["gemini", "--experimental-acp"]`.
//! The protocol is that of <https://agentclientprotocol.com/protocol/v1> and of `schema/v1/schema.json` in the npm
//! package `@agentclientprotocol/sdk` 2.4.0. What the lines mean is in `acp_stream`, how runs end in `acp_ending`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::acp_sent::Sent;
use super::acp_stream::{AcpStream, Wishes, is_answer};
use super::drive::{drive, take_over};
use super::evidence::{Evidence, of_json_lines};
use super::local_time::local_zone;
use super::process::{Input, Program, find_program, spawn};
use super::recorded::Recorded;
use super::{Adoption, Backend, Capabilities, Launch, Running, StartError, Unavailable};

/// Runs an agent that speaks the Agent Client Protocol.
#[derive(Debug, Default)]
pub struct AcpBackend;

impl Backend for AcpBackend {
    fn name(&self) -> &'static str {
        "acp"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { live_steering: true, resume: false, cost: true, tools: true, process: true }
    }

    fn check(&self) -> Result<(), Unavailable> {
        // Which program it is only the launch knows.
        Ok(())
    }

    fn evidence(&self, run_dir: &Path) -> Option<Evidence> {
        let evidence = of_json_lines(run_dir, is_answer)?;
        // An agent that was silent may have been given its prompt all the same.
        (evidence.answered || !Sent::read(run_dir).has_prompt()).then_some(evidence)
    }

    fn adopt(&self, adoption: Adoption) -> Option<Result<Running, StartError>> {
        let sent = Sent::read(&adoption.run_dir);
        if !sent.has_prompt() {
            // What was to be asked is not on record.
            return None;
        }
        let stream = AcpStream::resume(sent, adoption.messages.clone(), local_zone());
        let recorded = Recorded::new(adoption.recorded.clone());
        Some(take_over(&adoption, Box::new(stream), recorded))
    }

    fn start(&self, launch: Launch) -> BoxFuture<'static, Result<Running, StartError>> {
        async move {
            let Some((name, args)) = launch.args.split_first() else {
                return Err(StartError::Invalid(
                    "the backend `acp` needs the agent program in spec.backend.args, such as [\"claude-code-acp\"] \
                     (npm install -g @zed-industries/claude-code-acp)"
                        .to_owned(),
                ));
            };
            let found = find_program(OsStr::new(name), Some(&launch.working_directory));
            // A missing directory explains a missing program, and is the better thing to say.
            let path = match found {
                None if launch.working_directory.is_dir() => return Err(missing(name).into()),
                found => found.unwrap_or_default(),
            };
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            let wishes = Wishes {
                directory: launch.working_directory.to_string_lossy().into_owned(),
                prompt: launch.prompt.clone(),
                model: launch.model.clone(),
                permission_mode: launch.permission_mode.clone(),
            };
            let (stream, first) = AcpStream::begin(wishes, local_zone());
            let program = Program { path, args, env: Vec::new(), input: Input::Open(first) };
            let process = spawn(&launch, program).await?;
            drive(&launch, process, Box::new(stream))
        }
        .boxed()
    }
}

fn missing(name: &str) -> Unavailable {
    Unavailable {
        reason: "ProgramNotFound",
        message: format!("there is no program {name:?}"),
        hint:
            "install it (agents: https://agentclientprotocol.com/get-started/agents) or correct the first of \
               spec.backend.args"
                .to_owned(),
    }
}
