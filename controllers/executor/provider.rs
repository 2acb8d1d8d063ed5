//! What a provider refuses to everybody on one credential, and what an agent does about it.
//!
//! ```text
//! iteration ended by a refusal ─▶ fault in status.providerFault ─▶ copied by every agent on the credential
//!                                     │ opensAt                        │ nothing begins
//!                                     ▼                                ▼
//!                             tries again, by priority, spread ─▶ an answer lifts it for all
//! ```
//!
//! A refusal is no failure of the agent's work: it counts neither against `maxIterations` nor as a failure.

use std::time::Duration;

use gcluster_types::conditions::{CREDENTIAL_VALID, Observed as Said, PROVIDER_AVAILABLE, THROTTLED};
use gcluster_types::kinds::iteration::{IterationStatus, Phase};
use gcluster_types::kinds::provider::{FaultKind, ProviderFault};
use gcluster_types::{AgentStatus, Iteration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::backoff::LONGEST;
use super::count;
use super::credential::Credential;
use super::gates::Gate;
use super::gates::clock;
use super::plan::{Note, Observed, Plan, Standing, is_unstarted};
use crate::backend::Authentication;
use crate::report::excerpt;

/// How soon an agent that waits for another one is looked at again if nothing wakes it.
pub(super) const RECHECK: Duration = Duration::from_secs(90);
/// Longest pause that is chosen here for a usage limit without a reset time.
const LONGEST_LIMIT: Duration = Duration::from_secs(3_600);
/// A fault that is over for this long says nothing about the next one.
const STALE: Duration = Duration::from_secs(3_600);

/// What is known of an agent's credential, when it is looked at.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The credential; none where the backend has no such thing, and the agent stands alone.
    pub(super) credential: Option<Credential>,
    /// How a person gets a valid one.
    pub(super) authentication: Authentication,
    /// The refusal that governs it: its own or that of another agent.
    pub(super) fault: Option<ProviderFault>,
    /// When this agent may try again.
    pub(super) turn: Option<Turn>,
    /// When the provider answered anybody on the credential.
    pub(super) answers: Answers,
}

/// When an agent on a credential that was refused something may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// From a time on.
    At(Timestamp),
    /// When another agent, `namespace/name`, has tried.
    After(String),
}

impl Turn {
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        matches!(self, Turn::At(at) if *at <= now)
    }
}

/// When the provider last answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// Beginning of the newest iteration that got an answer.
    pub(super) began: Option<Timestamp>,
    /// End of the newest iteration that succeeded.
    pub(super) succeeded: Option<Timestamp>,
}

impl Answers {
    /// The newer of both.
    pub(super) fn or(self, other: Answers) -> Answers {
        Answers { began: self.began.max(other.began), succeeded: self.succeeded.max(other.succeeded) }
    }

    /// Whether they show that a refusal is over. What had begun before proves nothing about a limit or a credential
    /// that was accepted when it began.
    pub(super) fn lift(self, fault: &ProviderFault) -> bool {
        let since = |time: Option<Timestamp>| time.is_some_and(|time| time >= fault.at.0);
        since(self.began) || fault.kind == FaultKind::Outage && since(self.succeeded)
    }
}

/// What the iterations of an agent say about answers on a credential.
pub(super) fn answers<'a>(
    iterations: impl IntoIterator<Item = &'a Iteration>,
    credential: Option<&str>,
) -> Answers {
    let mut answers = Answers::default();
    for status in iterations.into_iter().filter_map(|iteration| iteration.status.as_ref()) {
        if status.credential.as_deref() != credential {
            continue;
        }
        let succeeded = status.phase == Phase::Succeeded;
        let answered =
            succeeded || status.tool_uses > 0 || status.tokens.as_ref().is_some_and(|t| t.output > 0);
        let time = |time: &Option<MicroTime>| time.as_ref().map(|time| time.0);
        answers = answers.or(Answers {
            began: time(&status.started_at).filter(|_| answered),
            succeeded: time(&status.finished_at).filter(|_| succeeded),
        });
    }
    answers
}

/// Of several refusals the one that holds longest, those that are lifted last.
pub(super) fn governing<'a>(
    faults: impl IntoIterator<Item = &'a ProviderFault>,
    answers: Answers,
) -> Option<&'a ProviderFault> {
    faults.into_iter().max_by_key(|fault| (!answers.lift(fault), fault.opens_at.0, fault.at.0))
}

/// The refusal that ended an iteration, if one did.
fn kind(status: &IterationStatus) -> Option<FaultKind> {
    let throttled = status.reason.as_deref() == Some(count::THROTTLED);
    let ended = status.phase == Phase::Interrupted;
    status.provider_fault.or(throttled.then_some(FaultKind::UsageLimit)).filter(|_| ended)
}

/// Takes what ended an iteration into the agent's status, when it is a refusal.
pub(super) fn met(seen: &Observed<'_>, iteration: &Iteration, finished: Timestamp, plan: &mut Plan) {
    let status = iteration.status.clone().unwrap_or_default();
    let Some(kind) = kind(&status) else { return };
    let own = seen.provider.credential.as_ref().map(|credential| credential.name.as_str());
    if status.credential.is_some() && status.credential.as_deref() != own {
        // The agent has another credential by now.
        return;
    }
    let known = [plan.status.provider_fault.as_ref(), seen.provider.fault.as_ref()];
    let answers =
        seen.provider.answers.or(answers(seen.iterations.iter().map(|i| &**i), status.credential.as_deref()));
    let before = governing(known.into_iter().flatten().filter(|fault| fault.kind == kind), answers)
        .filter(|fault| !answers.lift(fault) && !is_stale(fault, finished));
    let in_a_row = before.map_or(1, |fault| {
        // What ran beside the one that met it first is the same refusal, not a further one.
        let again = status.started_at.as_ref().is_some_and(|began| began.0 >= fault.at.0);
        fault.in_a_row.saturating_add(i64::from(again))
    });
    let announced = status.resets_at.filter(|at| kind == FaultKind::UsageLimit && at.0 > finished);
    let pause = pause(seen, kind, in_a_row);
    let Some(opens_at) = announced.clone().or_else(|| finished.checked_add(pause).ok().map(MicroTime)) else {
        return;
    };
    plan.status.provider_fault = Some(ProviderFault {
        kind,
        reason: status.reason.unwrap_or_default(),
        message: status.error.as_deref().and_then(excerpt).unwrap_or_default(),
        met_by: format!("{}/{}", iteration.namespace().unwrap_or_default(), iteration.name_any()),
        at: MicroTime(finished),
        opens_at,
        announced: announced.is_some(),
        in_a_row,
    });
}

/// How long nothing begins on a credential when the provider does not say.
fn pause(seen: &Observed<'_>, kind: FaultKind, in_a_row: i64) -> Duration {
    let doublings = i32::try_from(in_a_row.saturating_sub(1).clamp(0, 20)).unwrap_or(20);
    let doubled = |first: Duration, longest: Duration| {
        Duration::from_secs_f64((first.as_secs_f64() * 2_f64.powi(doublings)).min(longest.as_secs_f64()))
    };
    let spread = seen.spread.clamp(0.0, 1.0);
    match kind {
        FaultKind::UsageLimit => {
            doubled(seen.config.throttle_default, LONGEST_LIMIT).mul_f64(1.0 + spread / 10.0)
        }
        FaultKind::Outage => doubled(seen.config.outage_backoff, LONGEST).mul_f64(0.75 + spread / 4.0),
        FaultKind::Credential => seen.config.credential_recheck.mul_f64(1.0 + spread / 10.0),
    }
}

fn is_stale(fault: &ProviderFault, now: Timestamp) -> bool {
    fault.opens_at.0.checked_add(STALE).is_ok_and(|over| over < now)
}

/// What keeps an agent from beginning.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hold {
    pub(super) kind: FaultKind,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) until: Option<MicroTime>,
}

/// Brings the status up to what is known of the credential, and says what holds the agent.
pub(super) fn observe(seen: &Observed<'_>, plan: &mut Plan) -> Option<Hold> {
    let view = &seen.provider;
    let status = &mut plan.status;
    let name = view.credential.as_ref().map(|credential| credential.name.clone());
    if status.credential != name {
        // Another credential, another account: what the old one was refused does not matter any more.
        status.provider_fault = None;
        status.credential = name;
    }
    status.credential_source = view.credential.as_ref().map(|credential| credential.source.clone());
    let own = answers(seen.iterations.iter().map(|i| &**i), status.credential.as_deref());
    let answers = view.answers.or(own);
    let known = [status.provider_fault.as_ref(), view.fault.as_ref()];
    let Some(fault) = governing(known.into_iter().flatten(), answers).cloned() else {
        status.throttled_until = None;
        return None;
    };
    let lifted = answers.lift(&fault);
    let is_viewed =
        view.fault.as_ref().is_some_and(|viewed| viewed.at == fault.at && viewed.kind == fault.kind);
    let turn = view.turn.clone().filter(|_| is_viewed).unwrap_or(Turn::At(fault.opens_at.0));
    let held = !turn.is_over(seen.now) && !is_asked_for(seen.agent.spec.restarted_at.as_deref(), &fault);
    let over = !held && (lifted || is_stale(&fault, seen.now));
    status.throttled_until = (held && fault.kind == FaultKind::UsageLimit).then(|| fault.opens_at.clone());
    let hold = held.then(|| Hold {
        kind: fault.kind,
        reason: match fault.kind {
            FaultKind::UsageLimit => "Throttled",
            FaultKind::Outage => "ProviderUnavailable",
            FaultKind::Credential => "CredentialRefused",
        },
        message: sentence(seen, &fault, Some(&turn), lifted),
        until: match turn {
            Turn::At(at) => Some(MicroTime(at)),
            Turn::After(_) => None,
        },
    });
    status.provider_fault = Some(fault).filter(|_| !over);
    hold
}

/// Whether something of the agent would begin if the provider refused nothing.
pub(super) fn is_ready(
    seen: &Observed<'_>,
    standing: &Standing,
    gate: &Gate,
    wants: bool,
    status: &AgentStatus,
) -> bool {
    let waits = wants || standing.live.iter().any(|iteration| is_unstarted(iteration));
    let held = standing.hold.as_ref().is_some_and(|hold| {
        let backs_off = status.backoff_until.as_ref().is_some_and(|until| until.0 > seen.now);
        !backs_off && matches!(gate, Gate::Waiting { reason, .. } if *reason == hold.reason)
    });
    waits && (held || matches!(gate, Gate::Open { .. }))
}

/// Whoever asks for a restart after it was refused wants it to be tried now.
pub(super) fn is_asked_for(restarted_at: Option<&str>, fault: &ProviderFault) -> bool {
    let asked = restarted_at.and_then(|at| at.parse::<Timestamp>().ok());
    asked.is_some_and(|asked| asked > fault.at.0)
}

/// What was refused, what is to be done, and when it is tried again. Without a turn: it is being tried.
fn sentence(seen: &Observed<'_>, fault: &ProviderFault, turn: Option<&Turn>, lifted: bool) -> String {
    let said = if fault.message.is_empty() { String::new() } else { format!(" {:?}", fault.message) };
    let told = format!("{} was told{said}", fault.met_by);
    let credential = match &seen.provider.credential {
        Some(credential) => format!("{} ({})", credential.source, credential.name),
        None => format!("the backend {}", seen.backend),
    };
    let when = |open: &str| match turn {
        None => "it may be tried again now".to_owned(),
        Some(Turn::At(at)) if *at > seen.now => format!("{open} {}", clock(&MicroTime(*at))),
        Some(Turn::At(_)) => "it may be tried again now".to_owned(),
        Some(Turn::After(first)) => format!("{first} tries again first"),
    };
    if lifted || fault.opens_at.0 <= seen.now && fault.kind == FaultKind::UsageLimit {
        let over = if lifted { "the provider answers again" } else { "the time of the usage limit is over" };
        return format!("{over} on {credential}; agents go on one after the other, {}", when("this one at"));
    }
    match fault.kind {
        FaultKind::UsageLimit => {
            let until = match fault.announced {
                true => format!("until {}", clock(&fault.opens_at)),
                false => format!("and no time is known; it is tried again at {}", clock(&fault.opens_at)),
            };
            format!("the usage limit of {credential} is reached {until}; {told}")
        }
        FaultKind::Outage => format!(
            "the provider serves nobody on {credential} now ({}): {told}; {}",
            fault.reason,
            when("the next try is at")
        ),
        FaultKind::Credential => format!(
            "the provider refuses {credential} ({}): {told}; {}; then `gcluster restart {}` tries at once, and by itself {}",
            fault.reason,
            remedy(seen, fault),
            seen.agent.name_any(),
            when("it is tried again at"),
        ),
    }
}

/// What a person can do about a refused credential.
fn remedy(seen: &Observed<'_>, fault: &ProviderFault) -> String {
    let is_login = seen.provider.credential.as_ref().is_none_or(Credential::is_login);
    match (fault.reason.as_str(), seen.provider.authentication.remedy) {
        ("BillingError", _) => "put the credit or the payment of that account right".to_owned(),
        (_, remedy) if is_login && !remedy.is_empty() => format!("log in again with {remedy}"),
        _ if is_login => "log in again".to_owned(),
        _ => "correct that value".to_owned(),
    }
}

/// The conditions that tell of it. Those that were never set and do not apply are not mentioned.
pub(super) fn conditions(
    seen: &Observed<'_>,
    standing: &Standing,
    status: &AgentStatus,
) -> Vec<Said<'static>> {
    let generation = seen.agent.metadata.generation;
    let fault = status.provider_fault.as_ref();
    let held = standing.hold.as_ref();
    let of = |kind| fault.filter(|fault| fault.kind == kind);
    let is_set = |kind| status.conditions.iter().any(|c| c.type_ == kind);
    let message = |fault: &ProviderFault| {
        held.map_or_else(|| sentence(seen, fault, None, false), |hold| hold.message.clone())
    };
    let mut all = Vec::new();
    let mut say = |kind, is, reason, message: String| {
        all.push(Said { kind, status: Some(is), reason, message, generation });
    };
    match of(FaultKind::UsageLimit).filter(|_| held.is_some()) {
        Some(fault) => say(THROTTLED, true, "UsageLimitReached", message(fault)),
        None if is_set(THROTTLED) => say(THROTTLED, false, "LimitLifted", "no usage limit is known".into()),
        None => {}
    }
    match of(FaultKind::Outage) {
        Some(fault) => say(PROVIDER_AVAILABLE, false, "Outage", message(fault)),
        None if is_set(PROVIDER_AVAILABLE) => {
            say(PROVIDER_AVAILABLE, true, "Answers", "no outage is known".into())
        }
        None => {}
    }
    match of(FaultKind::Credential) {
        Some(fault) => {
            let reason = if fault.reason == "BillingError" { "BillingError" } else { "AuthenticationFailed" };
            say(CREDENTIAL_VALID, false, reason, message(fault));
        }
        None if is_set(CREDENTIAL_VALID) => {
            say(CREDENTIAL_VALID, true, "Accepted", "nothing is known against the credential".into());
        }
        None => {}
    }
    all
}

/// The Event for a condition of these that changed: one for each agent and refusal.
pub(super) fn note(kind: &str, is: bool, message: &str, fault: Option<&ProviderFault>) -> Option<Note> {
    let (warning, reason) = match (kind, is) {
        (THROTTLED, true) => (true, "Throttled"),
        (THROTTLED, false) => (false, "LimitLifted"),
        (PROVIDER_AVAILABLE, false) => (true, "ProviderUnavailable"),
        (PROVIDER_AVAILABLE, true) => (false, "ProviderAvailable"),
        (CREDENTIAL_VALID, false) => (true, "CredentialRefused"),
        (CREDENTIAL_VALID, true) => (false, "CredentialAccepted"),
        _ => return None,
    };
    // An Event of the same action is counted and keeps its first text, which names the time.
    let action = fault.map_or_else(|| reason.to_owned(), |fault| format!("Hold{}", fault.at.0.as_second()));
    Some(Note { warning, reason, action, message: message.to_owned() })
}
