//! What a rehearsal does, as a list of directives, and the list that it makes up when it is given none.
//!
//! ```text
//! say I look at the backlog.        think …        notice …
//! tool Bash cargo test              shown as a call; `result` or `result-error` answers it
//! result 12 passed
//! wait 2s                           hang           echo
//! output done | fail TEXT | fail-fatal TEXT | fail-final TEXT | fail-outage TEXT | fail-login TEXT | throttle-until 2026-01-02T03:04:05Z|+30s|unknown
//! ```

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// One thing that a rehearsal does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Directive {
    Say(String),
    Think(String),
    Notice(String),
    Tool {
        name: String,
        detail: String,
    },
    Result {
        text: String,
        is_error: bool,
    },
    Wait(Duration),
    /// Waits until it is stopped.
    Hang,
    /// Says the prompt and makes it the output.
    Echo,
    Output(String),
    /// Class: may be tried again, fatal, not with this prompt.
    Fail {
        error: String,
        class: super::RetryClass,
    },
    ThrottleUntil(Limit),
    /// Tokens are used; `None`: at a price that is not known.
    Cost(Option<f64>),
}

/// When a rehearsed usage limit is lifted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Limit {
    Unknown,
    At(Timestamp),
    In(Duration),
}

/// Reads directives, one per line; empty lines and lines that begin with `#` are skipped.
pub(crate) fn parse(text: &str) -> Result<Vec<Directive>, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(directive)
        .collect()
}

fn directive(line: &str) -> Result<Directive, String> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let text = || unescape(rest);
    use super::RetryClass::{Credential, Fatal, NotRetryable, Outage, Transient};
    Ok(match word {
        "say" => Directive::Say(text()),
        "think" => Directive::Think(text()),
        "notice" => Directive::Notice(text()),
        "tool" => {
            let (name, detail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            Directive::Tool { name: name.to_owned(), detail: unescape(detail.trim()) }
        }
        "result" => Directive::Result { text: text(), is_error: false },
        "result-error" => Directive::Result { text: text(), is_error: true },
        "wait" => Directive::Wait(duration(rest).ok_or_else(|| wrong(line, "a time such as 500ms or 2s"))?),
        "hang" => Directive::Hang,
        "echo" => Directive::Echo,
        "output" => Directive::Output(text()),
        "fail" => Directive::Fail { error: text(), class: Transient },
        "fail-fatal" => Directive::Fail { error: text(), class: Fatal },
        "fail-final" => Directive::Fail { error: text(), class: NotRetryable },
        "fail-outage" => Directive::Fail { error: text(), class: Outage },
        "fail-login" => Directive::Fail { error: text(), class: Credential },
        "throttle-until" => Directive::ThrottleUntil(
            limit(rest).ok_or_else(|| wrong(line, "an RFC 3339 time, +TIME, or `unknown`"))?,
        ),
        "cost" if rest == "unpriced" => Directive::Cost(None),
        "cost" => Directive::Cost(Some(
            rest.parse()
                .ok()
                .filter(|usd: &f64| usd.is_finite() && *usd >= 0.0)
                .ok_or_else(|| wrong(line, "US dollars such as 0.25, or `unpriced`"))?,
        )),
        _ => {
            return Err(wrong(
                line,
                "say, think, notice, tool, result, result-error, wait, hang, echo, output, fail, fail-fatal, fail-final, \
                 fail-outage, fail-login, throttle-until or cost",
            ));
        }
    })
}

fn wrong(line: &str, expected: &str) -> String {
    format!("the rehearsal's directive {line:?} is wrong: expected {expected}")
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n")
}

fn limit(text: &str) -> Option<Limit> {
    match text {
        "" | "unknown" | "none" => Some(Limit::Unknown),
        _ => match text.strip_prefix('+') {
            Some(rest) => duration(rest).map(Limit::In),
            None => text.parse().ok().map(Limit::At),
        },
    }
}

/// A number with `ms`, `s` or `m`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let seconds = number.parse::<f64>().ok()?
        * match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            _ => return None,
        };
    Duration::try_from_secs_f64(seconds).ok()
}

/// A plausible iteration of two to four seconds. The same prompt gives the same one.
pub(crate) fn made_up(prompt: &str) -> Vec<Directive> {
    let seed = prompt.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut random = fastrand::Rng::with_seed(seed);
    let topic =
        super::claude_entry::one_line(prompt.lines().find(|line| !line.trim().is_empty()).unwrap_or(""), 60);
    let openings = [
        "I begin by looking at what is there.",
        "First I read the code that this is about.",
        "I look at the task and the repository.",
    ];
    let reads =
        [("Read", "README.md"), ("Grep", "fn main"), ("Glob", "src/**/*.rs"), ("Bash", "git status --short")];
    let works =
        [("Edit", "src/lib.rs"), ("Bash", "cargo test"), ("Bash", "cargo clippy"), ("Write", "notes.md")];
    let pause = |random: &mut fastrand::Rng| Directive::Wait(Duration::from_millis(random.u64(300..650)));
    let mut steps = vec![pause(&mut random)];
    let pick = |random: &mut fastrand::Rng, from: &[&str]| from[random.usize(..from.len())].to_owned();
    steps.push(Directive::Say(pick(&mut random, &openings)));
    for tools in [&reads, &works] {
        let (name, detail) = tools[random.usize(..tools.len())];
        steps.push(pause(&mut random));
        steps.push(Directive::Tool { name: name.to_owned(), detail: detail.to_owned() });
        steps.push(pause(&mut random));
        steps.push(Directive::Result {
            text: "(rehearsed: nothing was executed)".to_owned(),
            is_error: false,
        });
    }
    steps.push(pause(&mut random));
    steps.push(Directive::Output(format!("Rehearsed: {topic}")));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_and_wrong_ones_are_quoted() {
        let script =
            "# a comment\nsay one\\ntwo\n\ntool Bash cargo test\nwait 250ms\nthrottle-until +30s\nhang\n";
        let read = parse(script).unwrap();
        assert_eq!(read[0], Directive::Say("one\ntwo".into()));
        assert_eq!(read[1], Directive::Tool { name: "Bash".into(), detail: "cargo test".into() });
        assert_eq!(read[2], Directive::Wait(Duration::from_millis(250)));
        assert_eq!(read[3], Directive::ThrottleUntil(Limit::In(Duration::from_secs(30))));
        assert_eq!(read[4], Directive::Hang);
        assert_eq!(
            parse("cost 0.25\ncost unpriced"),
            Ok(vec![Directive::Cost(Some(0.25)), Directive::Cost(None)])
        );
        for wrong in
            ["dance", "cost -1", "cost nan", "wait long", "wait -1s", "wait 1e300m", "throttle-until soon"]
        {
            assert!(parse(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_is_made_up_depends_on_the_prompt_alone_and_takes_two_to_four_seconds() {
        assert_eq!(made_up("Fix the bug"), made_up("Fix the bug"));
        for prompt in ["", "Build it", "Fix the bug", "Release", "ünï"] {
            let total: Duration = made_up(prompt)
                .iter()
                .map(|d| if let Directive::Wait(time) = d { *time } else { Duration::ZERO })
                .sum();
            assert!((Duration::from_millis(1500)..Duration::from_secs(4)).contains(&total), "{total:?}");
        }
    }
}
