//! The agent that reads: one prompt, in the workspace, without the means to change it where its program has such a mode.

use gcluster_types::kinds::agent::{Backend, EnvVar, Limits, LoopContext};
use gcluster_types::names::{MAX_LABEL, is_dns_label};
use gcluster_types::sexpr::Form;
use gcluster_types::sexpr::print::print;
use gcluster_types::{Agent, AgentSpec, Review, Workspace, labels};
use kube::{Resource, ResourceExt};
use sha2::{Digest, Sha256};

/// The value of [`labels::ROLE`].
pub(super) const ROLE: &str = "reviewer";
/// Iterations of one reviewer that may end: the first, and one more if it failed.
pub(super) const TRIES: i64 = 2;
/// Without it `claude` puts the text of every file that is named `@FILE` into its prompt, wherever the file is: what the
/// change says would decide what the reviewer reads.
const CLAUDE_AS_WRITTEN: (&str, &str) = ("CLAUDE_CODE_DISABLE_ATTACHMENTS", "1");
/// Longest time of one of them.
const TIMEOUT: &str = "30m";
/// Tools of `claude` that only read.
const CLAUDE_READS: &str =
    "Read,Grep,Glob,Bash(git diff *),Bash(git log *),Bash(git show *),Bash(git status *),Bash(git blame *)";
/// Tools of `claude` that write.
const CLAUDE_WRITES: &str = "Edit,Write,NotebookEdit";

/// Name of the agent of an attempt: `REVIEW-ATTEMPT`, shortened where that is no name for an agent.
pub(super) fn name(review: &str, attempt: i32) -> String {
    let name = format!("{review}-{attempt}");
    if is_dns_label(&name) {
        return name;
    }
    let digest: String =
        Sha256::digest(review.as_bytes()).iter().take(5).map(|b| format!("{b:02x}")).collect();
    let keep = MAX_LABEL.saturating_sub(digest.len() + attempt.to_string().len() + 2);
    let kept: String = review.replace('.', "-").chars().take(keep).collect();
    format!("{}-{digest}-{attempt}", kept.trim_matches('-'))
}

/// The agent of the present attempt.
pub(super) fn agent(
    review: &Review,
    workspace: &Workspace,
    attempt: i32,
    prompt: &str,
    default_backend: &str,
) -> Agent {
    let name = name(&review.name_any(), attempt);
    let seen = workspace.status.clone().unwrap_or_default();
    let environment =
        seen.environment.into_iter().map(|(name, value)| EnvVar { name, value, value_from: None });
    let backend = backend(review.spec.backend.clone().unwrap_or_default(), default_backend);
    let backend = Backend { env: environment.chain(backend.env).collect(), ..backend };
    let spec = AgentSpec {
        definition: print(&Form::List(vec![Form::symbol("defagent"), Form::str(&name), Form::str(prompt)])),
        working_directory: seen.path,
        backend: Some(backend),
        limits: Some(Limits {
            max_iterations: Some(TRIES),
            iteration_timeout: Some(TIMEOUT.to_owned()),
            ..Limits::default()
        }),
        loop_context: LoopContext::None,
        revision_history_limit: 1,
        iteration_history_limit: 10,
        ..AgentSpec::default()
    };
    let mut agent = Agent::new(&name, spec);
    agent.metadata.namespace = review.namespace();
    agent.metadata.owner_references = review.controller_owner_ref(&()).map(|owner| vec![owner]);
    let labels = [(labels::TICKET, review.spec.ticket.as_str()), (labels::ROLE, ROLE)];
    agent.metadata.labels =
        Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
    agent
}

/// The backend, in a mode that cannot write where it has one. What is said of it is for workers as a rule, who may
/// write: only a mode that cannot is kept.
fn backend(mut backend: Backend, default: &str) -> Backend {
    let mode = backend.permission_mode.as_deref();
    let name = backend.name.as_deref().unwrap_or(default);
    if name == "claude" && !backend.env.iter().any(|variable| variable.name == CLAUDE_AS_WRITTEN.0) {
        let (name, value) = (CLAUDE_AS_WRITTEN.0.to_owned(), CLAUDE_AS_WRITTEN.1.to_owned());
        backend.env.push(EnvVar { name, value, value_from: None });
    }
    match name {
        "claude" if mode.is_none_or(|mode| matches!(mode, "bypassPermissions" | "acceptEdits" | "auto")) => {
            // Whatever is not allowed here is refused without asking.
            backend.permission_mode = Some("dontAsk".to_owned());
            let rules = ["--allowedTools", CLAUDE_READS, "--disallowedTools", CLAUDE_WRITES];
            backend.args.extend(rules.map(str::to_owned));
        }
        "codex" => backend.permission_mode = Some("read-only".to_owned()),
        _ => {}
    }
    backend
}

/// Whether an agent is the reviewer of this review, not of an earlier one of that name.
pub(super) fn is_ours(agent: &Agent, review: &Review) -> bool {
    let uid = review.uid().unwrap_or_default();
    agent.owner_references().iter().any(|owner| owner.uid == uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gcluster_types::ReviewSpec;
    use gcluster_types::sexpr::program::{Body, parse_definition};

    #[test]
    fn any_text_is_one_prompt_and_reads_back_as_it_was() {
        let mut review =
            Review::new("t-1-review-2", ReviewSpec { ticket: "t-1".into(), ..ReviewSpec::default() });
        review.metadata.uid = Some("u-1".into());
        let text = "a [slot] \"q\" (x) ; \\ é\u{1b}\r\n\t`[]`\u{a0}$x -> loop(y)";
        let workspace = Workspace::new("t-1", Default::default());
        let agent = agent(&review, &workspace, 1, text, "claude");
        let read = parse_definition(&agent.spec.definition).unwrap();
        assert_eq!(read.agent_name.as_deref(), Some("t-1-review-2-1"));
        assert_eq!(read.body, Body::Prompt(text.into()));
        assert!(is_ours(&agent, &review));
    }

    #[test]
    fn names_are_names_of_agents_and_differ() {
        assert_eq!(name("t-1-review-1", 2), "t-1-review-1-2");
        let long = "a".repeat(70);
        for (review, other) in
            [("v1.2-review-1", "v1-2-review-1"), (long.as_str(), "b"), ("a.-review-1", "b")]
        {
            assert!(is_dns_label(&name(review, 1)), "{}", name(review, 1));
            assert_ne!(name(review, 1), name(other, 1));
            assert_ne!(name(review, 1), name(review, 2));
        }
    }

    #[test]
    fn a_reviewer_cannot_write_where_its_program_has_such_a_mode() {
        let of = |name: Option<&str>, mode: Option<&str>| {
            let given = Backend {
                name: name.map(str::to_owned),
                permission_mode: mode.map(str::to_owned),
                ..Backend::default()
            };
            backend(given, "claude")
        };
        assert_eq!(of(None, None).permission_mode.as_deref(), Some("dontAsk"));
        assert_eq!(of(Some("claude"), Some("bypassPermissions")).permission_mode.as_deref(), Some("dontAsk"));
        assert_eq!(of(Some("claude"), Some("plan")).permission_mode.as_deref(), Some("plan"));
        assert_eq!(of(Some("codex"), Some("workspace-write")).permission_mode.as_deref(), Some("read-only"));
        assert!(of(Some("claude"), None).args.contains(&CLAUDE_WRITES.to_owned()));
        let plain = of(Some("claude"), Some("plan")).env;
        assert_eq!(plain.first().map(|one| (one.name.as_str(), one.value.as_str())), Some(CLAUDE_AS_WRITTEN));
        assert_eq!(of(Some("command"), None), Backend { name: Some("command".into()), ..Backend::default() });
    }
}
