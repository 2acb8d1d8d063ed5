//! Reading and following transcripts: one iteration after another, over lost connections.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use gcluster_types::natural::natural;
use gcluster_types::transcript::{Entry, Record};
use serde_json::Value;

use super::objects::{self, Selectors, text};
use super::output::note;
use crate::client::{Connection, JSON, escape, query};
use crate::exit::{Failure, Kind, Result};
use crate::render::transcript::{Conversation, heading};
use crate::render::{Line, Tone};

const NDJSON: &str = "application/x-ndjson, application/json";
/// How long a follower tries to reach a master that went away.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the text of a transcript goes.
pub(crate) trait Sink {
    /// One record as it was stored.
    fn raw(&mut self, line: &str) -> Result;
    /// Rendered lines.
    fn lines(&mut self, lines: &[Line]) -> Result;
    /// True when records are wanted as they were stored.
    fn wants_raw(&self) -> bool;
}

/// What to show of one iteration's transcript.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Part {
    /// First record to show.
    pub(crate) since: u64,
    /// Only so many records at the end of what is there.
    pub(crate) tail: Option<usize>,
    /// Go on until the transcript is sealed.
    pub(crate) follow: bool,
}

/// Path of the iterations of a namespace.
pub(crate) fn iterations_path(namespace: &str) -> String {
    format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/iterations", escape(namespace))
}

/// Shows one iteration's transcript.
pub(crate) async fn show(
    connection: &Connection,
    namespace: &str,
    iteration: &str,
    part: Part,
    sink: &mut impl Sink,
) -> Result {
    let mut conversation = Conversation::new();
    let mut next = 0;
    let mut held = VecDeque::new();
    let base = format!("{}/{}/transcript", iterations_path(namespace), escape(iteration));
    // The tail of a transcript that is still written is shown before it is followed.
    let first = Part { follow: part.follow && part.tail.is_none(), ..part };
    let mut ended = false;
    read(connection, &base, &mut next, first.follow, &mut ended, |number, line| match part.tail {
        Some(limit) => {
            held.push_back(line.to_owned());
            if held.len() > limit {
                held.pop_front();
            }
            Ok(())
        }
        None => emit(&mut conversation, number >= part.since, line, sink),
    })
    .await?;
    for line in held {
        emit(&mut conversation, true, &line, sink)?;
    }
    if part.follow && part.tail.is_some() && !ended {
        read(connection, &base, &mut next, true, &mut ended, |_, line| {
            emit(&mut conversation, true, line, sink)
        })
        .await?;
    }
    Ok(())
}

/// Gives every record from `next` on to `each`. With `follow` until the record that ends the transcript,
/// and again after a lost connection.
async fn read(
    connection: &Connection,
    base: &str,
    next: &mut u64,
    follow: bool,
    ended: &mut bool,
    mut each: impl FnMut(u64, &str) -> Result,
) -> Result {
    let mut lost: Option<tokio::time::Instant> = None;
    loop {
        let since = next.to_string();
        let pairs = [("since", since.as_str()), ("follow", "true")];
        let path = format!("{base}{}", query(if follow { &pairs } else { &pairs[..1] }));
        let mut torn = false;
        match connection.lines(&path, NDJSON).await {
            Ok(mut lines) => loop {
                match lines.next().await {
                    Ok(Some(line)) if line.is_empty() => {}
                    Ok(Some(line)) => {
                        lost = None;
                        each(*next, &line)?;
                        *next += 1;
                        *ended |= is_end(&line);
                    }
                    Ok(None) => break,
                    Err(_) => {
                        torn = true;
                        break;
                    }
                }
            },
            Err(failure) if failure.kind == Kind::Unreachable && follow => {
                let since = *lost.get_or_insert_with(waiting);
                if since.elapsed() > PATIENCE {
                    return Err(failure);
                }
                torn = true;
            }
            Err(failure) => return Err(failure),
        }
        if *ended || (!follow && !torn) {
            return Ok(());
        }
        if !follow && torn {
            return Err(Failure::failed(format!(
                "{} broke off in the middle of the transcript",
                connection.address
            )));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        // A transcript that was sealed without an end, or whose iteration is gone, has no more to come.
        if !torn && !still_written(connection, base).await? {
            return Ok(());
        }
    }
}

fn is_end(line: &str) -> bool {
    line.contains("\"end\"")
        && serde_json::from_str::<Record>(line).is_ok_and(|record| matches!(record.entry, Entry::End { .. }))
}

async fn still_written(connection: &Connection, base: &str) -> Result<bool> {
    match connection.get(base.trim_end_matches("/transcript"), JSON).await {
        Ok(iteration) => {
            Ok(!matches!(text(&iteration, "/status/phase"), "Succeeded" | "Failed" | "Interrupted"))
        }
        Err(failure) if failure.kind == Kind::NotFound => Ok(false),
        // The next attempt to read decides.
        Err(failure) if failure.kind == Kind::Unreachable => Ok(true),
        Err(failure) => Err(failure),
    }
}

fn emit(conversation: &mut Conversation, wanted: bool, line: &str, sink: &mut impl Sink) -> Result {
    if sink.wants_raw() {
        return if wanted { sink.raw(line) } else { Ok(()) };
    }
    let lines = match serde_json::from_str::<Record>(line) {
        Ok(record) => conversation.lines(&record),
        Err(_) => vec![Line::new(Tone::Dim, "· a record that this version cannot read")],
    };
    if wanted { sink.lines(&lines) } else { Ok(()) }
}

/// The iterations of an agent, oldest first, and the resourceVersion of the list.
pub(crate) async fn iterations_of(
    connection: &Connection,
    namespace: &str,
    agent: &str,
) -> Result<(Vec<Value>, String)> {
    let labels = format!("{}={agent}", gcluster_types::labels::AGENT);
    let selectors = Selectors { labels: Some(&labels), fields: None };
    let path = format!("{}{}", iterations_path(namespace), query(&selectors.pairs()));
    let list = connection.get(&path, JSON).await?;
    let version = text(&list, "/metadata/resourceVersion").to_owned();
    let mut all = objects::items(list);
    all.sort_by(|a, b| {
        let created = |iteration| text(iteration, "/metadata/creationTimestamp");
        created(a).cmp(created(b)).then_with(|| natural(text(a, "/metadata/name"), text(b, "/metadata/name")))
    });
    Ok((all, version))
}

/// The line above an iteration's conversation.
pub(crate) fn heading_of(iteration: &Value) -> Line {
    let revision = text(iteration, "/spec/revision");
    let detail = if revision.is_empty() { String::new() } else { format!("revision {revision}") };
    heading(text(iteration, "/metadata/name"), &detail)
}

/// The beginning of a wait for the master, said once.
fn waiting() -> tokio::time::Instant {
    note("the master does not answer; waiting for it to come back");
    tokio::time::Instant::now()
}

/// Follows an agent from its newest iteration on, each following iteration after the one before, until the agent
/// is deleted.
pub(crate) async fn follow_agent(
    connection: &Connection,
    namespace: &str,
    agent: &str,
    part: Part,
    sink: &mut impl Sink,
) -> Result {
    let mut shown = BTreeSet::new();
    let mut first = true;
    let mut lost: Option<tokio::time::Instant> = None;
    loop {
        let (all, version) = match iterations_of(connection, namespace, agent).await {
            Ok(found) => found,
            Err(failure) if failure.kind == Kind::Unreachable => {
                if lost.get_or_insert_with(waiting).elapsed() > PATIENCE {
                    return Err(failure);
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        lost = None;
        if first && !all.is_empty() {
            // What came before the newest iteration, and beside it for the items of a map, is history.
            let begin = all.iter().position(|iteration| !is_over(iteration)).unwrap_or(all.len() - 1);
            shown.extend(all[..begin].iter().map(|i| text(i, "/metadata/uid").to_owned()));
        }
        let mut any = false;
        for iteration in &all {
            if !shown.insert(text(iteration, "/metadata/uid").to_owned()) {
                continue;
            }
            any = true;
            let part = Part { follow: true, ..if first { part } else { Part::default() } };
            first = false;
            if !sink.wants_raw() {
                sink.lines(&[heading_of(iteration)])?;
            }
            match show(connection, namespace, text(iteration, "/metadata/name"), part, sink).await {
                Err(failure) if failure.kind == Kind::NotFound => {}
                other => other?,
            }
            if !sink.wants_raw() {
                sink.lines(&[Line::default()])?;
            }
        }
        if !any {
            if !exists(connection, namespace, agent).await? {
                return match sink.wants_raw() {
                    true => Ok(()),
                    false => sink.lines(&[Line::new(Tone::Dim, format!("· {agent} was deleted"))]),
                };
            }
            wait_for_change(connection, namespace, agent, &version).await?;
        }
    }
}

/// Whether the agent is still there; a master that cannot be reached right now does not say that it is not.
async fn exists(connection: &Connection, namespace: &str, agent: &str) -> Result<bool> {
    let path =
        format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/agents/{}", escape(namespace), escape(agent));
    match connection.get(&path, JSON).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.kind == Kind::NotFound => Ok(false),
        Err(failure) if failure.kind == Kind::Unreachable => Ok(true),
        Err(failure) => Err(failure),
    }
}

fn is_over(iteration: &Value) -> bool {
    matches!(text(iteration, "/status/phase"), "Succeeded" | "Failed" | "Interrupted")
}

/// Returns when an iteration of the agent has changed after `version`, after half a minute in any case.
async fn wait_for_change(connection: &Connection, namespace: &str, agent: &str, version: &str) -> Result {
    let labels = format!("{}={agent}", gcluster_types::labels::AGENT);
    let pairs = [
        ("labelSelector", labels.as_str()),
        ("watch", "true"),
        ("resourceVersion", version),
        ("timeoutSeconds", "30"),
    ];
    let path = format!("{}{}", iterations_path(namespace), query(&pairs));
    let waiting = async {
        let mut lines = connection.lines(&path, JSON).await?;
        let _ = lines.next().await;
        Ok::<(), Failure>(())
    };
    match tokio::time::timeout(Duration::from_secs(35), waiting).await {
        Ok(Err(failure)) if failure.kind != Kind::Unreachable => Err(failure),
        _ => {
            // A server that ends watches at once must not be asked in a tight loop.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Canned, answer};

    const PATH: &str = "/apis/gcluster.dev/v1alpha1/namespaces/default/iterations/a.b.0/transcript";

    #[derive(Default)]
    struct Memory {
        raw: bool,
        text: String,
    }

    impl Sink for Memory {
        fn raw(&mut self, line: &str) -> Result {
            self.text.push_str(&format!("{line}\n"));
            Ok(())
        }

        fn lines(&mut self, lines: &[Line]) -> Result {
            lines.iter().for_each(|line| self.text.push_str(&format!("{}\n", line.text())));
            Ok(())
        }

        fn wants_raw(&self) -> bool {
            self.raw
        }
    }

    fn record(rest: &str) -> String {
        format!("{{\"at\":\"2026-01-02T03:04:05.000000Z\",{rest}}}\n")
    }

    fn said(text: &str) -> String {
        record(&format!("\"type\":\"text\",\"text\":\"{text}\""))
    }

    fn end() -> String {
        record(r#""type":"end","phase":"Succeeded","reason":"Completed""#)
    }

    #[tokio::test]
    async fn a_cut_connection_is_taken_up_where_it_broke() {
        let first = said("one") + &said("two") + "{\"torn";
        let canned =
            Canned::start(vec![answer(PATH, first).cut(), answer(PATH, said("three") + &end())]).await;
        let mut memory = Memory::default();
        let part = Part { follow: true, ..Part::default() };
        show(canned.connection(), "default", "a.b.0", part, &mut memory).await.unwrap();
        assert_eq!(memory.text, "● one\n\n● two\n\n● three\n\n✓ Succeeded · 0.0s\n");
        let asked = canned.asked.lock().unwrap().clone();
        assert!(asked[1].ends_with("since=2&follow=true"), "{asked:?}");
    }

    #[tokio::test]
    async fn an_agent_is_followed_from_its_running_iteration_into_the_next() {
        const LIST: &str = "/apis/gcluster.dev/v1alpha1/namespaces/default/iterations?labelSelector=";
        let item = |name: &str, phase: &str| serde_json::json!({"metadata": {"name": name, "uid": name}, "status": {"phase": phase}});
        let list = |items: &[Value]| {
            serde_json::json!({"metadata": {"resourceVersion": "7"}, "items": items}).to_string()
        };
        let one = [item("a.b.9", "Succeeded"), item("a.b.10", "Running")];
        let two = [item("a.b.10", "Succeeded"), item("a.b.11", "Running"), item("a.b.9", "Succeeded")];
        let canned = Canned::start(vec![
            answer(LIST, list(&one)),
            answer("/apis/gcluster.dev/v1alpha1/namespaces/default/iterations/a.b.10/", said("ten") + &end()),
            answer(LIST, list(&two)),
            answer(
                "/apis/gcluster.dev/v1alpha1/namespaces/default/iterations/a.b.11/",
                said("eleven") + &end(),
            ),
            answer(LIST, list(&two)),
            answer("/apis/gcluster.dev/v1alpha1/namespaces/default/agents/a", "no such agent").status(404),
        ])
        .await;
        let mut memory = Memory::default();
        let part = Part { follow: true, ..Part::default() };
        follow_agent(canned.connection(), "default", "a", part, &mut memory).await.unwrap();
        let shown: Vec<&str> = memory.text.lines().filter(|line| line.starts_with(['●', '─', '·'])).collect();
        assert_eq!(shown, ["── a.b.10 ──", "● ten", "── a.b.11 ──", "● eleven", "· a was deleted"]);
    }

    #[tokio::test]
    async fn a_part_of_a_transcript_is_chosen_by_record() {
        let whole = said("one") + &said("two") + &said("three");
        let chosen = async |part: Part, raw: bool| {
            let canned = Canned::start(vec![answer(PATH, whole.clone())]).await;
            let mut memory = Memory { raw, ..Memory::default() };
            show(canned.connection(), "default", "a.b.0", part, &mut memory).await.unwrap();
            memory.text
        };
        assert_eq!(chosen(Part { since: 2, ..Part::default() }, true).await, said("three"));
        assert_eq!(chosen(Part { tail: Some(1), ..Part::default() }, false).await, "● three\n");
        assert_eq!(chosen(Part::default(), true).await, whole);
    }

    #[test]
    fn only_an_end_record_ends_a_transcript() {
        let at = "2026-01-02T03:04:05.000000Z";
        let end = format!(r#"{{"at":"{at}","type":"end","phase":"Succeeded","reason":"Completed"}}"#);
        let text = format!(r#"{{"at":"{at}","type":"text","text":"the \"end\""}}"#);
        assert!(is_end(&end));
        assert!(!is_end(&text) && !is_end("{\"end\""));
    }
}
