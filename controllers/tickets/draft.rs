//! A status in the making: entering phases, saying why, and what to tell about it.

use gcluster_types::conditions::{self, Observed};
use gcluster_types::kinds::ticket::{TicketPhase, TicketStatus, Transition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;

use crate::report::shortened;

/// Transitions that are kept.
const TRANSITIONS: usize = 64;
/// Longest sentence in a status.
const SENTENCE: usize = 600;
/// Longest feedback, in characters.
const FEEDBACK: usize = 16_000;

/// Condition: a person approved what the present round makes.
pub(super) const APPROVED: &str = "Approved";
/// Condition: nothing goes on before a person decides.
pub(super) const NEEDS_HUMAN: &str = "NeedsHuman";

/// One Event about a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Somebody should look at it.
    pub warning: bool,
    /// One CamelCase word.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

/// The next status of one ticket.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) status: TicketStatus,
    pub(super) notes: Vec<Note>,
    now: Timestamp,
    /// A status was written before.
    known: bool,
}

impl Draft {
    pub(super) fn new(status: Option<&TicketStatus>, now: Timestamp) -> Self {
        Self {
            status: status.cloned().unwrap_or_default(),
            notes: Vec::new(),
            now,
            known: status.is_some_and(|status| status.since.is_some()),
        }
    }

    /// Comes into a phase; one that it is in already, too: a round of work ends and the next begins.
    pub(super) fn enter(&mut self, phase: TicketPhase, reason: &str, message: impl Into<String>) {
        let now = MicroTime(self.now);
        let status = &mut self.status;
        if let Some(since) = &status.since {
            let spent = self.now.duration_since(since.0).as_secs_f64().max(0.0);
            *status.seconds.entry(format!("{:?}", status.phase)).or_default() += spent;
        }
        status.phase = phase;
        status.since = Some(now.clone());
        let reason_of_transition = Some(reason.to_owned());
        status.transitions.push(Transition { phase, reason: reason_of_transition, at: now.clone() });
        let surplus = status.transitions.len().saturating_sub(TRANSITIONS);
        status.transitions.drain(..surplus);
        status.finished_at = phase.is_terminal().then_some(now);
        status.reason = None;
        self.say(reason, message);
    }

    /// Says why it is where it is. A reason that is new is told.
    pub(super) fn say(&mut self, reason: &str, message: impl Into<String>) {
        let message = shortened(&message.into(), SENTENCE);
        let needs_human = reason == NEEDS_HUMAN;
        if self.status.reason.as_deref() != Some(reason) && !is_passing(reason) {
            let warning = needs_human || is_trouble(reason) || self.status.phase == TicketPhase::Failed;
            self.note(warning, reason, message.clone());
        }
        self.flag(NEEDS_HUMAN, needs_human.then(|| message.clone()));
        self.status.reason = Some(reason.to_owned());
        self.status.message = Some(message);
    }

    /// Stands where nobody has taken it, for this reason.
    pub(super) fn stand(&mut self, phase: TicketPhase, reason: &str, message: impl Into<String>) {
        if !self.known || self.status.phase != phase {
            // That a new ticket may be taken at once is no news.
            let is_new = !self.known;
            let before = self.notes.len();
            self.enter(phase, reason, message);
            if is_new && phase == TicketPhase::Ready {
                self.notes.truncate(before);
            }
            self.known = true;
        } else {
            self.say(reason, message);
        }
    }

    /// Tells something, whatever becomes of the status.
    pub(super) fn note(&mut self, warning: bool, reason: &str, message: impl Into<String>) {
        self.notes.push(Note { warning, reason: reason.to_owned(), message: message.into() });
    }

    /// Sets a condition that is there only while it is true.
    pub(super) fn flag(&mut self, kind: &str, message: Option<String>) {
        match message {
            None => {
                conditions::clear(&mut self.status.conditions, kind);
            }
            Some(message) => {
                let generation = self.status.observed_generation;
                let said = Observed { kind, status: Some(true), reason: kind, message, generation };
                conditions::set(&mut self.status.conditions, said, &Time(self.now));
            }
        }
    }

    pub(super) fn is_flagged(&self, kind: &str) -> bool {
        conditions::is_true(&self.status.conditions, kind)
    }

    pub(super) fn set_feedback(&mut self, text: &str) {
        let text = shortened(text.trim(), FEEDBACK);
        self.status.feedback = (!text.is_empty()).then_some(text);
    }
}

/// Reasons that come and go with every step and are seen in the status.
fn is_passing(reason: &str) -> bool {
    matches!(reason, "Looking" | "Starting" | "Preparing" | "Rebasing" | "Landing" | "Queued")
}

/// Reasons for which somebody has to do something.
fn is_trouble(reason: &str) -> bool {
    matches!(
        reason,
        "DependencyCycle"
            | "DependencyMissing"
            | "DependencyFailed"
            | "NoPool"
            | "RepositoryMissing"
            | "RepositoryNotReady"
            | "DiskSpace"
            | "NameUnusable"
    )
}
