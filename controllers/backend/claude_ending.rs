//! How a run of `claude` ended: success, failure and its class, a usage limit, an interruption.
//!
//! Judged by `is_error`, never by `subtype` (API failures carry `"subtype":"success"`); by HTTP status and error
//! type; by text only where nothing else is there.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::drive::Exit;
use super::{Outcome, RetryClass, describe_exit};

/// What is known besides the last `result` line.
#[derive(Default)]
pub(crate) struct Hints {
    /// `error` of the last `assistant` line that had one.
    pub(crate) error: Option<String>,
    /// Text of the last message that the CLI made up itself.
    pub(crate) synthetic: Option<String>,
    /// When the usage limit that was hit is lifted.
    pub(crate) resets_at: Option<Timestamp>,
}

/// The outcome that a `result` line says.
pub(crate) fn judge(result: &Value, hints: &Hints) -> Outcome {
    let text = result["result"].as_str();
    let aborted = result["terminal_reason"].as_str().is_some_and(|reason| reason.starts_with("aborted"));
    if aborted {
        return Outcome::Interrupted { reason: "the turn was interrupted".to_owned() };
    }
    if !result["is_error"].as_bool().unwrap_or(false)
        && result["subtype"].as_str().is_none_or(|s| s == "success")
    {
        return Outcome::Succeeded { output: text.unwrap_or_default().to_owned() };
    }
    let errors = result["errors"].as_array().map(|errors| {
        errors
            .iter()
            .map(|error| error.as_str().map_or_else(|| error.to_string(), str::to_owned))
            .collect::<Vec<_>>()
    });
    let error = text
        .map(str::to_owned)
        .or_else(|| errors.filter(|errors| !errors.is_empty()).map(|errors| errors.join("; ")))
        .or_else(|| result["error"].as_str().map(str::to_owned))
        .or_else(|| hints.synthetic.clone())
        .unwrap_or_else(|| format!("claude reported {} without a message", result["subtype"]));
    let (reason, retry) = match class(result, hints, &error) {
        Class::Limit => {
            let until = hints.resets_at.or_else(|| reset_in_text(&error));
            return Outcome::Throttled { until, message: error };
        }
        Class::Failure(reason, retry) => (reason, retry),
    };
    Outcome::Failed { reason: reason.to_owned(), error, retry }
}

/// The outcome of a run that ended without a `result` line.
pub(crate) fn without_result(exit: &Exit, lines: u64) -> Outcome {
    if exit.stopped {
        return Outcome::Interrupted { reason: "it was stopped".to_owned() };
    }
    if exit.status.is_none() {
        let reason = "the program ended while no master watched it, and left no result".to_owned();
        return Outcome::Interrupted { reason };
    }
    // A program that refuses its arguments says so at once, on stderr, with status 1.
    let refused = lines == 0
        && exit.status.is_some_and(|status| status.code() == Some(1))
        && ["error: unknown", "error: option", "--dangerously-skip-permissions", "Invalid"]
            .iter()
            .any(|sign| exit.stderr.contains(sign));
    let (reason, retry) = if refused {
        ("InvalidArguments", RetryClass::Fatal)
    } else {
        ("BackendExited", RetryClass::Transient)
    };
    Outcome::Failed { reason: reason.to_owned(), error: describe_exit("claude", exit), retry }
}

enum Class {
    Limit,
    Failure(&'static str, RetryClass),
}

fn class(result: &Value, hints: &Hints, message: &str) -> Class {
    use Class::{Failure, Limit};
    use RetryClass::{Credential, Fatal, NotRetryable, Outage, Transient};
    match result["subtype"].as_str() {
        Some("error_max_turns") => return Failure("MaxTurns", NotRetryable),
        Some("error_max_budget_usd") => return Failure("BudgetExhausted", NotRetryable),
        Some("error_max_structured_output_retries") => return Failure("NoStructuredOutput", NotRetryable),
        _ => {}
    }
    let status = result["api_error_status"].as_u64();
    match (status, result["terminal_reason"].as_str()) {
        (_, Some("prompt_too_long")) => return Failure("PromptTooLong", NotRetryable),
        (Some(413), _) | (_, Some("image_error")) => return Failure("RequestTooLarge", NotRetryable),
        (Some(529), _) => return Failure("ServerOverloaded", Outage),
        _ => {}
    }
    let by_error = match hints.error.as_deref() {
        Some(
            "authentication_failed"
            | "oauth_org_not_allowed"
            | "account_on_hold"
            | "verification_required"
            | "cloud_credential_error",
        ) => Some(Failure("AuthenticationFailed", Credential)),
        Some("billing_error") => Some(Failure("BillingError", Credential)),
        Some("rate_limit") => Some(Limit),
        Some("model_not_found") => Some(Failure("ModelNotFound", Fatal)),
        Some("overloaded") => Some(Failure("ServerOverloaded", Outage)),
        Some("server_error") if status.is_none() => Some(Failure("ConnectionFailed", Outage)),
        Some("server_error") => Some(Failure("ServerError", Outage)),
        Some("max_output_tokens") => Some(Failure("OutputLimit", NotRetryable)),
        Some("invalid_request") => Some(Failure("InvalidRequest", NotRetryable)),
        _ => None,
    };
    let by_status = || match status? {
        401 | 403 => Some(Failure("AuthenticationFailed", Credential)),
        402 => Some(Failure("BillingError", Credential)),
        404 => Some(Failure("ModelNotFound", Fatal)),
        429 => Some(Limit),
        408 | 409 | 500.. => Some(Failure("ServerError", Outage)),
        400..500 => Some(Failure("InvalidRequest", NotRetryable)),
        _ => None,
    };
    by_error.or_else(by_status).unwrap_or_else(|| {
        let text = message.to_lowercase();
        if text.contains("usage limit reached") || (text.contains("limit") && text.contains("resets")) {
            Limit
        } else if text.contains("no conversation found") {
            Failure("SessionNotFound", NotRetryable)
        } else {
            Failure("ExecutionError", Transient)
        }
    })
}

/// The reset time in texts such as `Claude AI usage limit reached|1767323045`.
pub(crate) fn reset_in_text(text: &str) -> Option<Timestamp> {
    text.rsplit('|')
        .next()
        .filter(|_| text.contains('|'))
        .and_then(|number| instant(&Value::from(number.trim())))
}

/// The reset time of a limit that was hit, in a `rate_limit_event` of whatever shape. `None` while the limit
/// only comes near.
pub(crate) fn rate_limit_reset(event: &Value) -> Option<Timestamp> {
    let status = find(event, 0, &|key, value| {
        key.eq_ignore_ascii_case("status").then(|| value.as_str().map(str::to_lowercase)).flatten()
    });
    // "allowed" and "allowed_warning" are sent all the time.
    if status.is_some_and(|status| status.starts_with("allowed")) {
        return None;
    }
    find(event, 0, &|key, value| {
        let key: String = key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        matches!(key.as_str(), "resetsat" | "resetat" | "reset" | "resets").then(|| instant(value)).flatten()
    })
}

fn find<T>(value: &Value, depth: u8, pick: &dyn Fn(&str, &Value) -> Option<T>) -> Option<T> {
    let fields = value.as_object().filter(|_| depth < 4)?;
    let here = fields.iter().find_map(|(key, value)| pick(key, value));
    here.or_else(|| fields.values().find_map(|value| find(value, depth + 1, pick)))
}

/// Seconds or milliseconds since 1970, as a number or a text, or an RFC 3339 time.
fn instant(value: &Value) -> Option<Timestamp> {
    let number = match value {
        Value::String(text) => match text.parse::<f64>() {
            Ok(number) => number,
            Err(_) => return text.parse().ok(),
        },
        other => other.as_f64()?,
    };
    // Below a billion it is a duration or nonsense.
    if !(1e9..1e14).contains(&number) {
        return None;
    }
    let seconds = if number >= 1e11 { number / 1000.0 } else { number };
    Timestamp::from_second(seconds as i64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    #[test]
    fn reset_times_are_read_in_every_shape_that_was_reported() {
        let limit =
            |info: Value| rate_limit_reset(&json!({"type": "rate_limit_event", "rate_limit_info": info}));
        assert_eq!(limit(json!({"status": "rejected", "resetsAt": 1_767_323_045})), at(1_767_323_045));
        assert_eq!(
            limit(json!({"status": "rejected", "resets_at": 1_767_323_045_000_i64})),
            at(1_767_323_045)
        );
        assert_eq!(limit(json!({"resetsAt": "2026-01-02T03:04:05Z"})), at(1_767_323_045));
        assert_eq!(limit(json!({"five_hour": {"reset": "1767323045"}})), at(1_767_323_045));
        assert_eq!(limit(json!({"status": "allowed_warning", "resetsAt": 1_767_323_045})), None);
        assert_eq!(limit(json!({"status": "rejected", "resetsAt": "soon"})), None);
        assert_eq!(limit(json!({"status": "rejected", "resetsAt": 3600})), None);
    }

    #[test]
    fn a_usage_limit_in_text_alone_is_one_only_when_the_turn_failed() {
        let text = "Claude AI usage limit reached|1767323045";
        let failed =
            judge(&json!({"subtype": "success", "is_error": true, "result": text}), &Hints::default());
        assert_eq!(failed, Outcome::Throttled { until: at(1_767_323_045), message: text.into() });
        let fine =
            judge(&json!({"subtype": "success", "is_error": false, "result": text}), &Hints::default());
        assert_eq!(fine, Outcome::Succeeded { output: text.into() });
    }

    #[test]
    fn a_limit_without_a_time_is_throttled_until_nobody_knows() {
        let hints = Hints { error: Some("rate_limit".into()), ..Hints::default() };
        let result = json!({"is_error": true, "result": "slow down", "api_error_status": 429});
        assert_eq!(judge(&result, &hints), Outcome::Throttled { until: None, message: "slow down".into() });
    }
}
