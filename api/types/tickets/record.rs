//! One line of `metrics/tickets.csv` for each ticket that came to its end, as RFC 4180 has it.
//!
//! ```
//! use gcluster_types::tickets::record::{HEADER, Record, read};
//! let record = Record { title: "a, \"b\"".into(), ..Record::default() };
//! let file = format!("{HEADER}\r\n{}", record.line());
//! assert_eq!(read(&file).unwrap(), [record]);
//! ```
//!
//! A row is one line: line ends inside of texts become blanks. Columns are found by their name, so that files of other
//! versions read too.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::kinds::ticket::{Ticket, TicketPhase};
use crate::labels::ENDED;

/// The columns, in their order.
pub const HEADER: &str = "uid,namespace,name,id,title,pool,worker,priority,estimate_min,created,started,finished,result,reason,\
seconds_waiting,seconds_ready,seconds_working,seconds_checking,seconds_reviewing,seconds_approved,seconds_merging,\
rounds,attempts,review_rounds,conflicts,iterations,tokens,cost_usd,unpriced_tokens,repositories,commits,files,insertions,deletions";

/// The phases whose time is a column, in the order of a ticket's life.
pub const PHASES: [TicketPhase; 7] = [
    TicketPhase::Waiting,
    TicketPhase::Ready,
    TicketPhase::Working,
    TicketPhase::Checking,
    TicketPhase::Reviewing,
    TicketPhase::Approved,
    TicketPhase::Merging,
];

/// A ticket that came to its end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Record {
    /// Of the object; with `finished` the key of the row.
    pub uid: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// As its author wrote it.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The pool that had it.
    pub pool: String,
    /// Number of the worker.
    pub worker: Option<i64>,
    /// 1 is the highest.
    pub priority: i64,
    /// How long it was thought to take, in minutes.
    pub estimate_min: Option<f64>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When a worker first took it, as far as that is known.
    pub started: Option<Timestamp>,
    /// When it came to its end.
    pub finished: Option<Timestamp>,
    /// `Merged`, `Failed` or `Cancelled`.
    pub result: String,
    /// Why, in one word.
    pub reason: String,
    /// Seconds in each of [`PHASES`], by the phase's name in lower case.
    pub seconds: BTreeMap<String, f64>,
    /// How often a worker began.
    pub rounds: i64,
    /// How often for another reason than a review.
    pub attempts: i64,
    /// Readings by a reviewer.
    pub review_rounds: i64,
    /// Merges that were rejected.
    pub conflicts: i64,
    /// Iterations of its agents.
    pub iterations: i64,
    /// Their tokens.
    pub tokens: i64,
    /// Their cost in US dollars.
    pub cost_usd: f64,
    /// Tokens whose price is not known.
    pub unpriced_tokens: i64,
    /// Names of the repositories that it changed, joined by blanks.
    pub repositories: String,
    /// Commits in them.
    pub commits: i64,
    /// Files that it changed.
    pub files: i64,
    /// Lines that it added.
    pub insertions: i64,
    /// Lines that it took away.
    pub deletions: i64,
}

/// Name of a phase's column, without `seconds_`.
pub fn column(phase: TicketPhase) -> String {
    format!("{phase:?}").to_lowercase()
}

impl Record {
    /// The row of a ticket that came to its end; none for one that did not, that nobody ever worked on, or whose end was
    /// that of an object before it.
    pub fn of(ticket: &Ticket) -> Option<Record> {
        let status = ticket.status.as_ref()?;
        let finished = status.finished_at.as_ref()?.0;
        if !status.phase.is_terminal() || status.phase == TicketPhase::Cancelled && status.round == 0 {
            return None;
        }
        let meta = &ticket.metadata;
        let ended_before = meta.annotations.as_ref().and_then(|all| all.get(ENDED)?.parse().ok());
        if ended_before == Some(finished) {
            // It was brought back by `gcluster undelete`, and has its row from before.
            return None;
        }
        let name = meta.name.clone().unwrap_or_default();
        let at = |phase| status.transitions.iter().find(|step| step.phase == phase).map(|step| step.at.0);
        let usage = status.usage.clone().unwrap_or_default();
        let sum = |of: fn(&crate::kinds::ticket::TicketChange) -> i64| status.changes.iter().map(of).sum();
        let seconds = |phase| {
            let name = column(phase);
            let spent = status.seconds.get(&format!("{phase:?}")).copied().unwrap_or_default();
            (name, (spent * 1e3).round() / 1e3)
        };
        let repositories: Vec<&str> =
            status.changes.iter().map(|change| change.repository.as_str()).collect();
        Some(Record {
            uid: meta.uid.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            id: one_line(ticket.spec.ticket_id.as_deref().unwrap_or(&name)),
            name,
            title: one_line(&ticket.spec.title),
            pool: status.pool.clone().unwrap_or_default(),
            worker: status.worker.map(i64::from),
            priority: ticket.spec.priority.into(),
            estimate_min: ticket.spec.estimate_minutes,
            created: meta.creation_timestamp.as_ref().map(|at| at.0),
            started: at(TicketPhase::Working),
            finished: Some(finished),
            result: format!("{:?}", status.phase),
            reason: one_line(status.reason.as_deref().unwrap_or_default()),
            seconds: PHASES.into_iter().map(seconds).collect(),
            rounds: status.round.into(),
            attempts: status.attempts.into(),
            review_rounds: status.review_rounds.into(),
            conflicts: status.conflicts.into(),
            iterations: usage.iterations,
            tokens: usage.tokens,
            cost_usd: usage.cost_usd,
            unpriced_tokens: usage.unpriced_tokens.unwrap_or_default(),
            repositories: repositories.join(" "),
            commits: sum(|change| change.commits),
            files: sum(|change| change.files),
            insertions: sum(|change| change.insertions),
            deletions: sum(|change| change.deletions),
        })
    }

    /// What makes the row unique.
    pub fn key(&self) -> (String, String) {
        (self.uid.clone(), time(self.finished))
    }

    /// The row with its line end.
    pub fn line(&self) -> String {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        // Neither a write into memory nor a row on its own can fail.
        let _ = writer.write_record(HEADER.split(',').map(|column| self.value(column)));
        writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    }

    fn value(&self, column: &str) -> String {
        match column {
            "uid" => self.uid.clone(),
            "namespace" => self.namespace.clone(),
            "name" => self.name.clone(),
            "id" => self.id.clone(),
            "title" => self.title.clone(),
            "pool" => self.pool.clone(),
            "worker" => self.worker.map(|n| n.to_string()).unwrap_or_default(),
            "priority" => self.priority.to_string(),
            "estimate_min" => self.estimate_min.map(|n| n.to_string()).unwrap_or_default(),
            "created" => time(self.created),
            "started" => time(self.started),
            "finished" => time(self.finished),
            "result" => self.result.clone(),
            "reason" => self.reason.clone(),
            "rounds" => self.rounds.to_string(),
            "attempts" => self.attempts.to_string(),
            "review_rounds" => self.review_rounds.to_string(),
            "conflicts" => self.conflicts.to_string(),
            "iterations" => self.iterations.to_string(),
            "tokens" => self.tokens.to_string(),
            "cost_usd" => self.cost_usd.to_string(),
            "unpriced_tokens" => self.unpriced_tokens.to_string(),
            "repositories" => self.repositories.clone(),
            "commits" => self.commits.to_string(),
            "files" => self.files.to_string(),
            "insertions" => self.insertions.to_string(),
            "deletions" => self.deletions.to_string(),
            seconds => {
                let phase = seconds.strip_prefix("seconds_").unwrap_or_default();
                self.seconds.get(phase).map(f64::to_string).unwrap_or_default()
            }
        }
    }
}

/// Reads a file. Rows of a wrong length are skipped; cells that are no number count as nothing.
///
/// # Errors
/// When its first line does not name the columns `uid` and `finished`.
pub fn read(text: &str) -> Result<Vec<Record>, String> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    for needed in ["uid", "finished"] {
        if !header.iter().any(|column| column == needed) {
            return Err(format!("its first line names no column {needed}"));
        }
    }
    let rows = reader.records().filter_map(Result::ok).filter(|row| row.len() == header.len());
    Ok(rows.map(|row| record(&header.iter().zip(&row).collect())).collect())
}

fn record(cells: &BTreeMap<&str, &str>) -> Record {
    let text = |name: &str| cells.get(name).copied().unwrap_or_default().to_owned();
    let number = |name: &str| text(name).parse::<i64>().ok();
    let decimal = |name: &str| text(name).parse::<f64>().ok().filter(|number| number.is_finite());
    let at = |name: &str| text(name).parse::<Timestamp>().ok();
    let seconds = |phase| {
        let name = column(phase);
        let spent = decimal(&format!("seconds_{name}"))?;
        Some((name, spent))
    };
    Record {
        uid: text("uid"),
        namespace: text("namespace"),
        name: text("name"),
        id: text("id"),
        title: text("title"),
        pool: text("pool"),
        worker: number("worker"),
        priority: number("priority").unwrap_or_default(),
        estimate_min: decimal("estimate_min"),
        created: at("created"),
        started: at("started"),
        finished: at("finished"),
        result: text("result"),
        reason: text("reason"),
        seconds: PHASES.into_iter().filter_map(seconds).collect(),
        rounds: number("rounds").unwrap_or_default(),
        attempts: number("attempts").unwrap_or_default(),
        review_rounds: number("review_rounds").unwrap_or_default(),
        conflicts: number("conflicts").unwrap_or_default(),
        iterations: number("iterations").unwrap_or_default(),
        tokens: number("tokens").unwrap_or_default(),
        cost_usd: decimal("cost_usd").unwrap_or_default(),
        unpriced_tokens: number("unpriced_tokens").unwrap_or_default(),
        repositories: text("repositories"),
        commits: number("commits").unwrap_or_default(),
        files: number("files").unwrap_or_default(),
        insertions: number("insertions").unwrap_or_default(),
        deletions: number("deletions").unwrap_or_default(),
    }
}

fn time(at: Option<Timestamp>) -> String {
    at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn ticket(status: serde_json::Value) -> Ticket {
        serde_json::from_value(json!({
            "apiVersion": "gcluster.dev/v1alpha1", "kind": "Ticket",
            "metadata": {"name": "t-1", "namespace": "default", "uid": "u-1", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"title": "Add avatars,\n\"now\"", "ticketID": "T-1", "priority": 2, "estimateMinutes": 7.5},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_row_tells_of_a_ticket_that_came_to_its_end() {
        let row = Record::of(&ticket(json!({
            "phase": "Merged", "reason": "Merged", "pool": "team", "worker": 2, "round": 2, "reviewRounds": 1,
            "seconds": {"Working": 12.5, "Merging": 0.25}, "finishedAt": "2026-01-01T01:00:00.5Z",
            "transitions": [
                {"phase": "Waiting", "at": "2026-01-01T00:00:00Z"},
                {"phase": "Working", "at": "2026-01-01T00:10:00Z"},
                {"phase": "Working", "at": "2026-01-01T00:40:00Z"},
            ],
            "usage": {"iterations": 3, "tokens": 1000, "costUSD": 0.5},
            "changes": [{"repository": "web", "commits": 1, "files": 2, "insertions": 30, "deletions": 4}],
        })))
        .unwrap();
        assert_eq!(
            row.line(),
            "u-1,default,t-1,T-1,\"Add avatars, \"\"now\"\"\",team,2,2,7.5,2026-01-01T00:00:00.000000Z,\
             2026-01-01T00:10:00.000000Z,2026-01-01T01:00:00.500000Z,Merged,Merged,0,0,12.5,0,0,0,0.25,2,0,1,0,3,1000,0.5,0,\
             web,1,2,30,4\r\n"
        );
        assert!(Record::of(&ticket(json!({"phase": "Working"}))).is_none());
        let dropped = json!({"phase": "Cancelled", "finishedAt": "2026-01-01T01:00:00Z"});
        assert!(Record::of(&ticket(dropped)).is_none(), "nobody worked on it");
    }

    #[test]
    fn files_of_other_versions_and_hands_are_read_by_the_names_of_their_columns() {
        let text = "finished,extra,uid,cost_usd\n2026-01-01T01:00:00Z,\"a\nb\",u-1,0.5\n\nshort,row\n2026-01-01T01:00:00Z,,u-2,NaN\n";
        let read_back = read(text).unwrap();
        assert_eq!(read_back.iter().map(|row| row.uid.as_str()).collect::<Vec<_>>(), ["u-1", "u-2"]);
        assert_eq!((read_back[0].cost_usd, read_back[1].cost_usd), (0.5, 0.0));
        assert!(read("a,b\n1,2\n").unwrap_err().contains("uid"));
        assert!(read("").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(texts in proptest::collection::vec("[a,\"; =é\\\\'x]{0,8}", 3), cost in 0.0..1e6_f64, second in 0..4_000_000_000_i64) {
            let record = Record {
                uid: "u".into(),
                title: texts[0].clone(),
                pool: texts[1].clone(),
                reason: texts[2].clone(),
                cost_usd: cost,
                finished: Timestamp::from_second(second).ok(),
                seconds: PHASES.into_iter().map(|phase| (column(phase), cost)).collect(),
                ..Record::default()
            };
            let line = record.line();
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(read(&format!("{HEADER}\r\n{line}{line}")).unwrap(), vec![record.clone(), record]);
        }

        #[test]
        fn reading_never_panics(text in "(?s)[uid,finshe\"\r\n0-9]{0,80}") {
            let _ = read(&text);
            let _ = read(&format!("{HEADER}\n{text}"));
        }
    }
}
