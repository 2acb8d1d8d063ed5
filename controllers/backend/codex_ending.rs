//! How a run of `codex exec` ended, from the one sentence that it says.
//!
//! The sentences are those of `codex-rs/protocol/src/error.rs` of github.com/openai/codex (the error's kind stays
//! inside the program), checked against recordings of 0.169.0. When a usage limit is lifted is said in local time,
//! without a date when it is today.

use k8s_openapi::jiff::civil::{Date, Time};
use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::drive::Exit;
use super::{Outcome, RetryClass, describe_exit};

/// The outcome of a turn that failed with a message, in a thread with an id; with the zone of its times.
pub(crate) fn judge(message: &str, thread: Option<&str>, zone: &TimeZone) -> Outcome {
    let (kind, message) = unwrapped(message);
    match class(kind.as_deref().unwrap_or_default(), &message) {
        Class::Limit => Outcome::Throttled { until: limit_lifted(&message, thread, zone), message },
        Class::Failure(reason, retry) => Outcome::Failed { reason: reason.to_owned(), error: message, retry },
    }
}

/// When a usage limit is lifted, by what a sentence says in a thread with an id.
pub(crate) fn limit_lifted(message: &str, thread: Option<&str>, zone: &TimeZone) -> Option<Timestamp> {
    lifted_at(message, thread.and_then(begun), zone)
}

/// The outcome of a run whose turn has no end; with the last error that it told of.
pub(crate) fn without_result(exit: &Exit, lines: u64, last: &str) -> Outcome {
    let Some(status) = exit.status else {
        let reason = "the program ended while no master watched it, and left no result".to_owned();
        return Outcome::Interrupted { reason };
    };
    let mut error = describe_exit("codex", exit);
    if !last.is_empty() {
        error = format!("{error}; the last that it told of was: {last}");
    }
    let (reason, retry) = if lines == 0 && status.code() == Some(2) {
        ("InvalidArguments", RetryClass::Fatal)
    } else if exit.stderr.contains("no rollout found") {
        ("SessionNotFound", RetryClass::NotRetryable)
    } else if exit.stderr.contains("No prompt provided") {
        ("InvalidRequest", RetryClass::NotRetryable)
    } else if lines == 0 && exit.stderr.contains("rror loading config") {
        ("InvalidConfiguration", RetryClass::Fatal)
    } else {
        ("BackendExited", RetryClass::Transient)
    };
    Outcome::Failed { reason: reason.to_owned(), error, retry }
}

enum Class {
    Limit,
    Failure(&'static str, RetryClass),
}

fn class(kind: &str, message: &str) -> Class {
    use Class::{Failure, Limit};
    use RetryClass::{Credential, Fatal, NotRetryable, Outage, Transient};
    let text = message.replace('’', "'").to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match status(&text) {
        Some(429) => return Limit,
        Some(401 | 403) => return Failure("AuthenticationFailed", Credential),
        Some(402) => return Failure("BillingError", Credential),
        Some(404) => return Failure("ModelNotFound", Fatal),
        Some(413) => return Failure("RequestTooLarge", NotRetryable),
        Some(408 | 409 | 500..) => return Failure("ServerError", Outage),
        Some(400..500) => return Failure("InvalidRequest", NotRetryable),
        _ => {}
    }
    if says(&["out of credits", "spend cap", "quota exceeded", "upgrade to plus: "]) {
        Failure("BillingError", Credential)
    } else if says(&["hit your usage limit", "usage limit has been reached", "rate limit reached"]) {
        Limit
    } else if says(&[
        "missing environment variable",
        "blocked by cloudflare",
        "not logged in",
        "log out and sign in again",
        "access token could not be refreshed",
        "incorrect api key",
    ]) {
        Failure("AuthenticationFailed", Credential)
    } else if text.contains("model") && says(&["does not exist", "is not supported", "not found"]) {
        Failure("ModelNotFound", Fatal)
    } else if says(&["context window"]) {
        Failure("PromptTooLong", NotRetryable)
    } else if says(&["at capacity"]) {
        Failure("ServerOverloaded", Outage)
    } else if says(&["high demand"]) {
        Failure("ServerError", Outage)
    } else if says(&[
        "stream disconnected",
        "connection failed",
        "error while reading the server response",
        "request timed out",
    ]) {
        Failure("ConnectionFailed", Outage)
    } else if kind == "invalid_request_error" || says(&["image poisoning"]) {
        Failure("InvalidRequest", NotRetryable)
    } else if says(&["no thread with id", "no rollout found"]) {
        Failure("SessionNotFound", NotRetryable)
    } else {
        Failure("ExecutionError", Transient)
    }
}

/// The status of an answer of the API, where the message names it.
fn status(text: &str) -> Option<u16> {
    let rest = ["unexpected status ", "last status: "].iter().find_map(|before| text.split_once(before))?.1;
    rest.get(..3)?.parse().ok()
}

/// Type and message of an error that is told as the JSON that the API sent, else the message as it is.
fn unwrapped(message: &str) -> (Option<String>, String) {
    let body = serde_json::from_str::<Value>(message).unwrap_or_default();
    let error = &body["error"];
    match error["message"].as_str() {
        Some(text) => (error["type"].as_str().map(str::to_owned), text.to_owned()),
        None => (None, message.to_owned()),
    }
}

/// When a thread began: its id is a UUID of version 7, which begins with the time.
fn begun(thread: &str) -> Option<Timestamp> {
    let (seconds, _) = Uuid::parse_str(thread).ok()?.get_timestamp()?.to_unix();
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// The time in `… try again at May 18th, 2033 3:33 AM.` or, on the day itself, `… try again at 3:33 AM.`
///
/// Seconds are left out there, so the end of that minute is meant. A time without a day is the first such time
/// after the beginning of the thread.
fn lifted_at(message: &str, begun: Option<Timestamp>, zone: &TimeZone) -> Option<Timestamp> {
    let text = message.to_lowercase();
    let (_, rest) = text.rsplit_once("try again at ")?;
    let words: Vec<&str> = rest.trim_end_matches(['.', ' ']).split_whitespace().collect();
    let (day, [clock, half]) = words
        .split_at_checked(words.len().checked_sub(2)?)
        .and_then(|(day, time)| Some((day, <[&str; 2]>::try_from(time).ok()?)))?;
    let time = time_of(clock, half)?;
    let at = |date: Date| Some(date.to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp());
    let until = match day {
        [] => {
            let begun = begun?;
            let today = begun.to_zoned(zone.clone()).date();
            let until = at(today)?;
            // The minute in which the thread began may be the one that is named.
            if until + SignedDuration::from_mins(1) < begun { at(today.tomorrow().ok()?)? } else { until }
        }
        [month, day, year] => at(date_of(month, day, year)?)?,
        _ => return None,
    };
    Some(until + SignedDuration::from_mins(1))
}

fn time_of(clock: &str, half: &str) -> Option<Time> {
    let (hour, minute) = clock.split_once(':')?;
    let hour: i8 = hour.parse().ok().filter(|hour| (1..=12).contains(hour))?;
    let afternoon = match half {
        "am" => 0,
        "pm" => 12,
        _ => return None,
    };
    Time::new(hour % 12 + afternoon, minute.parse().ok()?, 0, 0).ok()
}

fn date_of(month: &str, day: &str, year: &str) -> Option<Date> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let month = MONTHS.iter().position(|name| *name == month)?;
    let day = day.trim_end_matches(|c: char| !c.is_ascii_digit());
    Date::new(year.parse().ok()?, i8::try_from(month + 1).ok()?, day.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::tz::Offset;

    #[test]
    fn the_end_of_a_limit_is_read_in_local_time_with_and_without_a_day() {
        let zone = TimeZone::fixed(Offset::constant(2));
        let at = |text: &str, begun: &str| {
            lifted_at(text, begun.parse().ok(), &zone).map(|time| time.to_string()).unwrap_or_default()
        };
        let long = "You've hit your usage limit. Visit x.y or try again at May 18th, 2033 3:33 AM.";
        assert_eq!(at(long, ""), "2033-05-18T01:34:00Z");
        let today = "You've hit your usage limit. Try again at 12:05 AM.";
        assert_eq!(at(today, "2026-01-02T21:00:00Z"), "2026-01-02T22:06:00Z", "after midnight there");
        assert_eq!(at(today, "2026-01-02T22:05:30Z"), "2026-01-02T22:06:00Z", "within the minute");
        assert_eq!(at(today, "2026-01-02T22:07:00Z"), "2026-01-03T22:06:00Z");
        assert_eq!(at("Try again at 12:30 PM.", "2026-01-02T01:00:00Z"), "2026-01-02T10:31:00Z");
        for other in [
            "Try again later.",
            "try again at noon",
            "try again at 13:00 PM",
            "try again at",
            "at Foo 1st, x 3:3 AM",
        ] {
            assert_eq!(at(other, "2026-01-02T01:00:00Z"), "", "{other}");
        }
        assert_eq!(at(today, "no time"), "");
    }

    #[test]
    fn the_id_of_a_thread_tells_when_it_began() {
        let at = begun("01a1fe3d-adde-70d0-a50e-f2606d45414e").unwrap();
        assert!(at.to_string().starts_with("2026-11-21T13:1"), "{at}");
        assert_eq!(begun("5f0c0b64-7f7c-4e0e-8e5c-0d5e6f3c1a2b"), None, "a random id");
        assert_eq!(begun("thread"), None);
    }

    #[test]
    fn sentences_that_only_a_live_service_says_are_understood() {
        let ends = |message: &str| match judge(message, None, &TimeZone::UTC) {
            Outcome::Failed { reason, retry, .. } => format!("{reason} {retry:?}"),
            Outcome::Throttled { until, .. } => format!("throttled {until:?}"),
            other => format!("{other:?}"),
        };
        for (message, ending) in [
            ("You've hit your usage limit. Try again later.", "throttled None"),
            ("exceeded retry limit, last status: 429 Too Many Requests, request id: x", "throttled None"),
            ("exceeded retry limit, last status: 401 Unauthorized", "AuthenticationFailed Credential"),
            ("Your workspace is out of credits. Add credits to continue.", "BillingError Credential"),
            (
                "You hit your spend cap set in your workspace. Increase your spend cap to continue.",
                "BillingError Credential",
            ),
            (
                "Your access token could not be refreshed. Please log out and sign in again.",
                "AuthenticationFailed Credential",
            ),
            (
                "The 'x' model is not supported when using Codex with a ChatGPT account.",
                "ModelNotFound Fatal",
            ),
            ("unexpected status 502 Bad Gateway: Unknown error", "ServerError Outage"),
            ("unexpected status 418 I'm a teapot: x", "InvalidRequest NotRetryable"),
            ("Connection failed: error sending request", "ConnectionFailed Outage"),
            ("turn failed", "ExecutionError Transient"),
            ("", "ExecutionError Transient"),
        ] {
            assert_eq!(ends(message), ending, "{message}");
        }
    }
}
