//! The timeouts of one run: how long it may last, be silent, and let one tool run.
//!
//! ```text
//! progress ─▶ the stall clock begins anew      a tool, a background task ─▶ its own clock instead
//! silent too long ─▶ interrupt the turn ─(grace)▶ end the run ─▶ the agent backs off
//! ```
//!
//! What a program only says to show that it lives (pings, heartbeats, announced retries) is no progress.

use std::collections::BTreeMap;
use std::time::Duration;

use gcluster_types::kinds::agent::Limits;
use gcluster_types::transcript::{Entry, Record};
use gcluster_types::{Agent, duration};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::record::Ending;
use crate::backend::{BackendEvent, Capabilities};

/// `spec.limits.stallTimeout` where it is not set, of backends that tell which tools run.
const STALL: &str = "15m";
/// `spec.limits.toolTimeout` where it is not set.
const TOOL: &str = "2h";
/// The tool under which background tasks are kept: no backend gives a call this id.
const TASKS: &str = "\u{0}tasks";

/// What has to be done about a run that takes too long.
#[derive(Debug, PartialEq)]
pub(super) enum Overdue {
    /// Its turn is asked to end; so it will have ended.
    Turn(Ending),
    /// It has not ended: its processes are.
    Run(Ending),
}

/// The clocks of one run.
pub(super) struct Watch {
    end: Option<(Instant, String)>,
    stall: Option<(Duration, String)>,
    tool: Option<(Duration, String)>,
    progress: Instant,
    /// Tools that run, by the id of their call, and since when.
    tools: BTreeMap<String, (Instant, String)>,
    grace: Duration,
    /// The turn was asked to end; when the rest is, and as what.
    asked: Option<(Instant, Ending)>,
    over: bool,
}

impl Watch {
    /// Of a run that begins `now`. The turn has `grace`, but no longer than its limit, to end when it is interrupted.
    pub(super) fn new(agent: &Agent, capabilities: Capabilities, grace: Duration, now: Instant) -> Self {
        let limits = agent.spec.limits.clone().unwrap_or_default();
        let (stall, tool) = silence(&limits, capabilities);
        let end = limits.iteration_timeout.and_then(|text| {
            let limit = duration::parse(&text)?;
            Some((now.checked_add(limit)?, text))
        });
        Self { end, stall, tool, progress: now, tools: BTreeMap::new(), grace, asked: None, over: false }
    }

    /// Of a run that began earlier: what it has used of its time is gone, and a tool that runs goes on to run.
    #[must_use]
    pub(super) fn resumed(mut self, started: Option<Timestamp>, records: &[Record], now: Timestamp) -> Self {
        let back = |at: Timestamp| Duration::try_from(now.duration_since(at)).unwrap_or_default();
        let ran = started.map(back).unwrap_or_default();
        self.end = self.end.map(|(at, text)| (at.checked_sub(ran).unwrap_or(self.progress), text));
        for record in records {
            match &record.entry {
                Entry::ToolUse { id, name, .. } => {
                    let since = self.progress.checked_sub(back(record.at.0)).unwrap_or(self.progress);
                    self.tools.insert(id.clone(), (since, name.clone()));
                }
                Entry::ToolResult { id, .. } => {
                    self.tools.remove(id);
                }
                _ => {}
            }
        }
        self
    }

    /// Notes progress. A heartbeat is none; a tool is from its call to its answer.
    pub(super) fn saw(&mut self, event: &BackendEvent, now: Instant) {
        match event {
            BackendEvent::Heartbeat | BackendEvent::Steered { .. } => return,
            BackendEvent::Record(Entry::Notice { .. }) => return,
            BackendEvent::Tasks { open: 0 } => {
                self.tools.remove(TASKS);
            }
            BackendEvent::Tasks { open } => {
                let what = if *open == 1 { "a background task" } else { "background tasks" };
                self.tools.entry(TASKS.to_owned()).or_insert((now, what.to_owned()));
                return;
            }
            BackendEvent::Record(Entry::ToolUse { id, name, .. }) => {
                self.tools.insert(id.clone(), (now, name.clone()));
            }
            BackendEvent::Record(Entry::ToolResult { id, .. }) => {
                self.tools.remove(id);
            }
            BackendEvent::Record(_)
            | BackendEvent::Session { .. }
            | BackendEvent::Activity
            | BackendEvent::Usage { .. }
            | BackendEvent::Done(_) => {}
        }
        self.progress = now;
    }

    /// Somebody else ends the run: nothing is watched any more.
    pub(super) fn disarm(&mut self) {
        self.over = true;
    }

    /// When to look next, if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        if let Some((at, _)) = &self.asked {
            return Some(*at);
        }
        let end = self.end.as_ref().map(|(at, _)| *at);
        [end, self.stalls_at(), self.tool_until().map(|(at, _)| at)].into_iter().flatten().min()
    }

    /// What has to be done now, each step once.
    pub(super) fn check(&mut self, now: Instant) -> Option<Overdue> {
        if self.over {
            return None;
        }
        if let Some((at, ending)) = &self.asked {
            let overdue = (*at <= now).then(|| Overdue::Run(ending.clone()));
            self.over = overdue.is_some();
            return overdue;
        }
        if let Some((_, text)) = self.end.as_ref().filter(|(at, _)| *at <= now) {
            let message = format!("it ran longer than spec.limits.iterationTimeout ({text})");
            self.over = true;
            return Some(Overdue::Run(Ending::failed("IterationTimeout", message)));
        }
        let (ending, limit) = match (&self.stall, &self.tool, self.tool_until()) {
            (Some((limit, text)), _, _) if self.stalls_at().is_some_and(|at| at <= now) => {
                let message = format!("no text and no tool for {text} (spec.limits.stallTimeout)");
                (Ending::failed("StallTimeout", message), *limit)
            }
            (_, Some((limit, text)), Some((at, name))) if at <= now => {
                let message = format!("{name} ran longer than {text} (spec.limits.toolTimeout)");
                (Ending::failed("ToolTimeout", message), *limit)
            }
            _ => return None,
        };
        self.asked = Some((now + self.grace.min(limit), ending.clone()));
        Some(Overdue::Turn(ending))
    }

    fn stalls_at(&self) -> Option<Instant> {
        let (limit, _) = self.stall.as_ref().filter(|_| self.tools.is_empty())?;
        self.progress.checked_add(*limit)
    }

    /// When the oldest tool has run too long, and its name.
    fn tool_until(&self) -> Option<(Instant, &str)> {
        let (limit, _) = self.tool.as_ref()?;
        let (since, name) = self.tools.values().min_by_key(|(since, _)| *since)?;
        Some((since.checked_add(*limit)?, name))
    }
}

type Limit = Option<(Duration, String)>;

/// Longest silence, and longest time of a tool, with the texts that say so. A program that does not tell which tools
/// it runs is silent while one does: it is given a tool's time.
fn silence(limits: &Limits, capabilities: Capabilities) -> (Limit, Limit) {
    let read = |text: Option<&str>, default: &str| {
        let text = text.unwrap_or(default);
        let limit = duration::parse(text).filter(|limit| !limit.is_zero())?;
        Some((limit, text.to_owned()))
    };
    let tool = limits.tool_timeout.as_deref();
    let stall = limits.stall_timeout.as_deref().or(if capabilities.tools { None } else { tool });
    let default = if capabilities.tools { STALL } else { TOOL };
    (read(stall, default), read(tool, TOOL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gcluster_types::AgentSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    const TOOLS: Capabilities =
        Capabilities { tools: true, live_steering: false, resume: false, cost: false, process: false };
    const MINUTE: Duration = Duration::from_secs(60);

    fn watch(limits: serde_json::Value, capabilities: Capabilities, now: Instant) -> Watch {
        let limits = serde_json::from_value(limits).unwrap();
        let agent = Agent::new("a", AgentSpec { limits: Some(limits), ..AgentSpec::default() });
        Watch::new(&agent, capabilities, Duration::from_secs(30), now)
    }

    fn call(id: &str) -> BackendEvent {
        BackendEvent::Record(Entry::ToolUse { id: id.into(), name: "Bash".into(), detail: "test".into() })
    }

    fn answer(id: &str) -> BackendEvent {
        BackendEvent::Record(Entry::ToolResult { id: id.into(), text: "ok".into(), is_error: false })
    }

    fn reason(overdue: Option<Overdue>) -> String {
        match overdue {
            Some(Overdue::Turn(ending)) => format!("turn {}", ending.reason),
            Some(Overdue::Run(ending)) => format!("run {}", ending.reason),
            None => String::new(),
        }
    }

    #[test]
    fn a_stream_that_only_pings_stalls_and_is_ended_in_steps() {
        let mut now = Instant::now();
        let mut watch = watch(serde_json::json!({}), TOOLS, now);
        for _ in 0..14 {
            now += MINUTE;
            watch.saw(&BackendEvent::Heartbeat, now);
            watch.saw(&BackendEvent::Record(Entry::Notice { text: "attempt 2 of 10".into() }), now);
            assert_eq!(watch.check(now), None);
        }
        now += MINUTE;
        assert_eq!(reason(watch.check(now)), "turn StallTimeout");
        assert_eq!(watch.check(now), None, "each step once");
        now += Duration::from_secs(29);
        assert_eq!(watch.check(now), None);
        now += Duration::from_secs(1);
        assert_eq!(reason(watch.check(now)), "run StallTimeout");
        assert_eq!((watch.check(now), watch.deadline()), (None, None));
    }

    #[test]
    fn a_silent_tool_is_no_stall_and_has_a_limit_of_its_own() {
        let mut now = Instant::now();
        let mut watch = watch(serde_json::json!({"toolTimeout": "1h"}), TOOLS, now);
        watch.saw(&call("1"), now);
        now += 20 * MINUTE;
        assert_eq!(watch.check(now), None);
        watch.saw(&call("2"), now);
        now += 30 * MINUTE;
        watch.saw(&answer("1"), now);
        now += 29 * MINUTE;
        assert_eq!(watch.check(now), None, "the second one has run 59 minutes");
        now += MINUTE;
        assert_eq!(reason(watch.check(now)), "turn ToolTimeout");
    }

    #[test]
    fn a_background_task_is_a_tool() {
        let mut now = Instant::now();
        let mut watch = watch(serde_json::json!({}), TOOLS, now);
        watch.saw(&BackendEvent::Tasks { open: 1 }, now);
        now += 20 * MINUTE;
        assert_eq!(watch.check(now), None);
        watch.saw(&BackendEvent::Tasks { open: 0 }, now);
        now += 16 * MINUTE;
        assert_eq!(reason(watch.check(now)), "turn StallTimeout");
    }

    #[test]
    fn limits_can_be_taken_off_and_a_program_without_tools_is_given_their_time() {
        let mut now = Instant::now();
        let never = [serde_json::json!({"stallTimeout": "0s"}), serde_json::json!({"stallTimeout": "none"})];
        for limits in never {
            assert_eq!(watch(limits, TOOLS, now).deadline(), None);
        }
        let minutes = move |watch: &Watch| (watch.deadline().unwrap() - now).as_secs() / 60;
        assert_eq!(minutes(&watch(serde_json::json!({}), TOOLS, now)), 15);
        assert_eq!(minutes(&watch(serde_json::json!({}), Capabilities::default(), now)), 120);
        assert_eq!(
            minutes(&watch(serde_json::json!({"stallTimeout": "5m"}), Capabilities::default(), now)),
            5
        );
        let mut watch = watch(serde_json::json!({}), TOOLS, now);
        watch.disarm();
        now += 100 * MINUTE;
        assert_eq!(watch.check(now), None);
    }

    #[test]
    fn a_run_that_was_taken_over_keeps_its_clocks() {
        let mut now = Instant::now();
        let second = |s| Timestamp::from_second(s).unwrap();
        let record = |s, event| {
            let BackendEvent::Record(entry) = event else { panic!() };
            Record { at: MicroTime(second(s)), entry }
        };
        now += 500 * MINUTE;
        let limits = serde_json::json!({"iterationTimeout": "3h"});
        let records = [record(10, call("1")), record(20, answer("1")), record(60, call("2"))];
        let mut watch = watch(limits, TOOLS, now).resumed(Some(second(0)), &records, second(60 * 61));
        now += 59 * MINUTE;
        assert_eq!(watch.check(now), None, "its tool runs");
        now += MINUTE;
        assert_eq!(reason(watch.check(now)), "turn ToolTimeout");
        watch.asked = None;
        watch.saw(&answer("2"), now);
        watch.saw(&BackendEvent::Activity, now);
        watch.stall = None;
        now += 59 * MINUTE;
        assert_eq!(reason(watch.check(now)), "run IterationTimeout");
    }
}
