//! How a turn of an ACP agent ended: its stop reason, or the error that it answered with.
//!
//! Stop reasons: <https://agentclientprotocol.com/protocol/v1/prompt-turn#stop-reasons>. Of errors only the code for a
//! missing sign-in says what is wrong; what the provider answered stands in the text, if anywhere.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::claude_ending::{rate_limit_reset, reset_in_text};
use super::drive::Exit;
use super::{Outcome, RetryClass, describe_exit};

/// The outcome of a turn that ended for a reason, with its last text.
pub(crate) fn stopped(reason: Option<&str>, answer: String) -> Outcome {
    let failed = |reason: &str, error: &str| Outcome::Failed {
        reason: reason.to_owned(),
        error: error.to_owned(),
        retry: RetryClass::NotRetryable,
    };
    match reason {
        Some("end_turn") => Outcome::Succeeded { output: answer },
        Some("cancelled") => Outcome::Interrupted { reason: "the turn was interrupted".to_owned() },
        Some("max_tokens") => failed("OutputLimit", "the agent reached its limit of tokens"),
        Some("max_turn_requests") => {
            failed("MaxTurns", "the agent reached its limit of requests in one turn")
        }
        Some("refusal") if answer.trim().is_empty() => failed("Refused", "the agent refused to go on"),
        Some("refusal") => failed("Refused", &format!("the agent refused to go on: {answer}")),
        other => Outcome::Failed {
            reason: "ExecutionError".to_owned(),
            error: format!("the agent ended its turn for a reason that gcluster does not know: {other:?}"),
            retry: RetryClass::Transient,
        },
    }
}

/// The outcome of a request that was answered with an error; with how the agent lets people sign in, and when the
/// session's limit is lifted by what the text says.
pub(crate) fn judge(error: &Value, sign_in: &str, lifted: impl Fn(&str) -> Option<Timestamp>) -> Outcome {
    use RetryClass::{Credential, Fatal, NotRetryable, Outage, Transient};
    let data = &error["data"];
    let details =
        ["details", "message", "error"].iter().find_map(|key| data[*key].as_str()).or(data.as_str());
    let mut text = error["message"].as_str().unwrap_or("the agent answered with an error").to_owned();
    if let Some(details) = details.filter(|details| !text.contains(*details)) {
        text = format!("{text}: {details}");
    }
    let lower = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let number = |number: &str| lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == number);
    let code = error["code"].as_i64().unwrap_or_default();
    let (reason, retry) = if code == -32000 {
        if !sign_in.is_empty() {
            text = format!("{text}; sign in with the agent itself: {sign_in}");
        }
        ("AuthenticationFailed", Credential)
    } else if code == -32800 {
        return Outcome::Interrupted { reason: "the agent cancelled the request".to_owned() };
    } else if code == -32601 {
        ("ProtocolMismatch", Fatal)
    } else if says(&["usage limit", "rate limit", "rate_limit", "too many requests"]) || number("429") {
        let until = rate_limit_reset(data).or_else(|| reset_in_text(&text)).or_else(|| lifted(&text));
        return Outcome::Throttled { until, message: text };
    } else if says(&["credit balance", "out of credits", "billing", "quota"]) || number("402") {
        ("BillingError", Credential)
    } else if says(&["unauthorized", "authentication", "api key", "not logged in"])
        || number("401")
        || number("403")
    {
        ("AuthenticationFailed", Credential)
    } else if says(&["overloaded", "at capacity"]) || number("529") || number("503") {
        ("ServerOverloaded", Outage)
    } else if says(&["context window", "context length", "prompt is too long"]) {
        ("PromptTooLong", NotRetryable)
    } else if says(&["model"]) && says(&["not found", "does not exist", "not supported"]) {
        ("ModelNotFound", Fatal)
    } else if code == -32602 {
        ("InvalidRequest", NotRetryable)
    } else {
        ("ExecutionError", Transient)
    };
    Outcome::Failed { reason: reason.to_owned(), error: text, retry }
}

/// The outcome of an agent that went away before its turn ended; and whether it had begun a session.
pub(crate) fn without_result(exit: &Exit, begun: bool) -> Outcome {
    let Some(status) = exit.status else {
        let reason = "the agent ended while no master watched it, and its turn had not ended".to_owned();
        return Outcome::Interrupted { reason };
    };
    let mut error = describe_exit("the agent", exit);
    if !begun {
        error.push_str(
            "; it had begun no session: spec.backend.args has to name a program that speaks the Agent Client Protocol",
        );
    }
    // A shell's words for what cannot be run, and the usual one for arguments that are not understood.
    let refused = !begun && matches!(status.code(), Some(2 | 126 | 127));
    let (reason, retry) = if refused {
        ("InvalidArguments", RetryClass::Fatal)
    } else {
        ("BackendExited", RetryClass::Transient)
    };
    Outcome::Failed { reason: reason.to_owned(), error, retry }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_are_told_apart_by_their_code_and_by_what_the_provider_said() {
        let ends = |error: Value| match judge(&error, "Log in", |_| None) {
            Outcome::Failed { reason, retry, .. } => format!("{reason} {retry:?}"),
            Outcome::Throttled { until, .. } => format!("throttled {}", until.is_some()),
            other => format!("{other:?}"),
        };
        let inner = |details: &str| {
            ends(json!({"code": -32603, "message": "Internal error", "data": {"details": details}}))
        };
        assert_eq!(
            ends(json!({"code": -32000, "message": "Authentication required"})),
            "AuthenticationFailed Credential"
        );
        assert_eq!(inner("Claude AI usage limit reached|1767323045"), "throttled true");
        assert_eq!(inner("API Error: 429 slow down"), "throttled false");
        assert_eq!(inner("API Error: 529 overloaded"), "ServerOverloaded Outage");
        assert_eq!(inner("401 invalid"), "AuthenticationFailed Credential");
        assert_eq!(inner("Your credit balance is too low"), "BillingError Credential");
        assert_eq!(inner("prompt is too long: 9 tokens"), "PromptTooLong NotRetryable");
        assert_eq!(
            inner("port 14290 is taken"),
            "ExecutionError Transient",
            "a number within a number is none"
        );
        assert_eq!(ends(json!({"code": -32601, "message": "Method not found"})), "ProtocolMismatch Fatal");
        assert_eq!(ends(json!({"code": -32602, "message": "Invalid params"})), "InvalidRequest NotRetryable");
        assert_eq!(ends(json!({})), "ExecutionError Transient");
        let Outcome::Failed { error, .. } =
            judge(&json!({"code": -32000, "message": "No"}), "Log in", |_| None)
        else {
            panic!()
        };
        assert_eq!(error, "No; sign in with the agent itself: Log in");
    }
}
