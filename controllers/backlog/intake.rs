//! Taking one file: every step can be the last before the process is killed.
//!
//! ```text
//! read ─ plan ─ put aside ─ still the same? ─ write Tickets ─ still the same? ─ processed/ ─ note away
//!   └──────┴─ refused: note beside it          └─ refused: put back, note
//! ```

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use gcluster_types::tickets::{Problem, read_file};
use gcluster_types::{Ticket, labels};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::disk::{Folder, LARGEST, NOT_TAKEN};
use super::names;
use super::plan::{Decision, There, digest, plan};
use super::settle::Looks;
use crate::error::Error;

/// Longest name of a file, in bytes: there has to be room for a prefix or a suffix of ours.
const LONGEST_NAME: usize = 200;

/// When a file that was not taken is read again although it is the same: what was in its way may be gone.
const AGAIN: Duration = Duration::from_secs(10);
/// When a file is looked at again whose ticket, or which itself, was changing.
const SOON: Duration = Duration::from_millis(500);

/// Where tickets of a folder go.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Their namespace.
    pub(super) namespace: String,
    /// Name of the Repository.
    pub(super) repository: String,
    /// The worker pool of those that name none.
    pub(super) pool: Option<String>,
}

/// Takes files of one folder.
pub(super) struct Intake<F> {
    folder: F,
    api: Api<Ticket>,
    target: Target,
    /// The tickets that are there, asked for when they are needed.
    there: Option<There>,
    /// What is not as it should be and has no note, so that each is told once.
    told: BTreeSet<(String, String)>,
}

/// What came of a file.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is not there any more.
    Gone,
    /// Not yet: it changes, or its ticket does.
    Later,
    /// It stays, with a note beside it. The problem in short when the note is new.
    Refused(Option<String>),
    /// It stays, without a note, and why.
    Strange(String),
    /// Its tickets are there, and what was done with each.
    Done(Vec<(Ticket, Decision)>),
}

/// Why a file was not looked at to its end. It is as it was, or aside.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The folder could not be read or changed.
    #[error("the backlog folder cannot be used: {0}")]
    Folder(#[from] io::Error),
    /// The API could not be asked.
    #[error(transparent)]
    Api(#[from] Error),
}

impl<F: Folder> Intake<F> {
    pub(super) fn new(folder: F, api: Api<Ticket>, target: Target) -> Self {
        Self { folder, api, target, there: None, told: BTreeSet::new() }
    }

    /// Looks at the folder once and takes what is whole: `all` is what came of which file. Answers when to look again.
    pub(super) async fn pass(
        &mut self,
        looks: &mut Looks,
        now: Instant,
        all: &mut Vec<(String, Taken)>,
    ) -> Result<Instant, Broken> {
        self.there = None;
        let listing = self.on("", |folder, _| folder.list()).await?;
        // An earlier master was killed over these, or an error came between: they are looked at anew.
        for name in &listing.aside {
            self.on(name, |folder, name| folder.put_back(name)).await?;
        }
        for name in listing.noted.iter().filter(|name| !listing.files.iter().any(|(other, _)| other == *name))
        {
            self.on(name, |folder, name| folder.remove_note(name)).await?;
        }
        self.told.retain(|(name, why)| {
            listing.strange.iter().any(|(other, told)| other == name && told == why)
                || listing.files.iter().any(|(other, _)| other == name)
        });
        for (name, why) in listing.strange {
            if self.told.insert((name.clone(), why.to_owned())) {
                all.push((name, Taken::Strange(why.to_owned())));
            }
        }
        let settled = looks.settle(&listing.files, now);
        let mut again = settled.again.unwrap_or(now + AGAIN);
        if !listing.aside.is_empty() {
            again = now;
        }
        for name in settled.whole {
            let taken = self.take(&name).await?;
            let pause = match taken {
                Taken::Later => Some(SOON),
                Taken::Refused(_) | Taken::Strange(_) => Some(AGAIN),
                Taken::Gone | Taken::Done(_) => None,
            };
            if let Some(pause) = pause {
                looks.put_off(&name, now + pause);
                again = again.min(now + pause);
            }
            all.push((name, taken));
        }
        Ok(again)
    }

    /// Takes one file.
    async fn take(&mut self, name: &str) -> Result<Taken, Broken> {
        let bytes = match self.on(name, |folder, name| folder.read(name)).await {
            Ok(None) => return Ok(Taken::Gone),
            Ok(Some(bytes)) => bytes,
            // One file that cannot be read keeps no other back.
            Err(error) => return self.refuse(name, vec![format!("it cannot be read: {error}")]).await,
        };
        let tickets = match tickets(name, &bytes, &self.target) {
            Ok(tickets) => tickets,
            Err(problems) => return self.refuse(name, problems).await,
        };
        let decisions = plan(&tickets, self.there().await?);
        if decisions.contains(&Decision::Wait) {
            return Ok(Taken::Later);
        }
        let refusals: Vec<String> = decisions
            .iter()
            .filter_map(|decision| match decision {
                Decision::Refuse(why) => Some(why.clone()),
                _ => None,
            })
            .collect();
        if !refusals.is_empty() {
            return self.refuse(name, refusals).await;
        }
        match self.on(name, |folder, name| folder.put_aside(name)).await {
            Ok(true) => {}
            Ok(false) => return Ok(Taken::Gone),
            // As in a folder where everybody may write, and only the owner of a file may move it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return self.refuse(name, vec![format!("it cannot be moved: {error}")]).await;
            }
            Err(error) => return Err(error.into()),
        }
        // Somebody may have saved another file under the name since it was read.
        if self.on(name, |folder, name| folder.read_aside(name)).await?.as_ref() != Some(&bytes) {
            return self.put_back(name).await;
        }
        let mut written = Vec::new();
        for (ticket, decision) in tickets.into_iter().zip(decisions) {
            match self.write(&ticket, &decision).await {
                Ok(ticket) => written.push((ticket, decision)),
                Err(error) => return self.not_written(name, &ticket, error).await,
            }
        }
        // Or went on writing into it.
        if self.on(name, |folder, name| folder.read_aside(name)).await?.as_ref() != Some(&bytes) {
            return self.put_back(name).await;
        }
        self.on(name, |folder, name| folder.finish(name)).await?;
        self.on(name, |folder, name| folder.remove_note(name)).await?;
        Ok(Taken::Done(written))
    }

    async fn put_back(&mut self, name: &str) -> Result<Taken, Broken> {
        self.on(name, |folder, name| folder.put_back(name)).await?;
        Ok(Taken::Later)
    }

    async fn not_written(&mut self, name: &str, ticket: &Ticket, error: Error) -> Result<Taken, Broken> {
        // What was thought to be there is not.
        self.there = None;
        self.on(name, |folder, name| folder.put_back(name)).await?;
        match error.code() {
            Some(404 | 409) => Ok(Taken::Later),
            Some(400 | 403 | 413 | 422) => {
                self.refuse(name, vec![format!("the master refuses ticket {}: {error}", ticket.name_any())])
                    .await
            }
            _ => Err(error.into()),
        }
    }

    /// Writes the note about a file.
    async fn refuse(&mut self, name: &str, problems: Vec<String>) -> Result<Taken, Broken> {
        let text = note(name, &problems);
        let noted = self.on(name, move |folder, name| folder.note(name, &text)).await;
        let more =
            if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
        let told = format!("{}{more}", problems.into_iter().next().unwrap_or_default());
        match noted {
            Ok(is_new) => Ok(Taken::Refused(is_new.then_some(told))),
            // Something else has the name of the note.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::PermissionDenied) =>
            {
                let is_new = self.told.insert((name.to_owned(), told.clone()));
                Ok(if is_new { Taken::Strange(told) } else { Taken::Refused(None) })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn write(&mut self, ticket: &Ticket, decision: &Decision) -> Result<Ticket, Error> {
        let name = ticket.name_any();
        let step = |verb: &str| Error::api(format!("{verb} ticket {name}"));
        let manager = Some(labels::MANAGER_BACKLOG.to_owned());
        let written = match decision {
            Decision::Create => {
                let params = PostParams { field_manager: manager, ..PostParams::default() };
                self.api.create(&params, ticket).await.map_err(step("create"))?
            }
            Decision::Update => {
                let old = self.there.as_ref().and_then(|there| there.get(&name));
                let params = PatchParams { field_manager: manager, ..PatchParams::default() };
                let patch = Patch::Merge(replacing(old, ticket));
                self.api.patch(&name, &params, &patch).await.map_err(step("update"))?
            }
            Decision::Same | Decision::Refuse(_) | Decision::Wait => return Ok(ticket.clone()),
        };
        if let Some(there) = &mut self.there {
            there.insert(name, written.clone());
        }
        Ok(written)
    }

    async fn there(&mut self) -> Result<&There, Error> {
        let there = match self.there.take() {
            Some(there) => there,
            None => {
                let listed = self.api.list(&kube::api::ListParams::default()).await;
                let listed = listed.map_err(Error::api("list the tickets"))?;
                listed.items.into_iter().map(|ticket| (ticket.name_any(), ticket)).collect()
            }
        };
        Ok(self.there.insert(there))
    }

    /// Does something in the folder, off the threads that everything else runs on: it may hang.
    async fn on<T: Send + 'static>(
        &self,
        name: &str,
        act: impl FnOnce(&F, &str) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (folder, name) = (self.folder.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || act(&folder, &name))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// The tickets of a file as they are to be, or all its problems.
fn tickets(name: &str, bytes: &[u8], target: &Target) -> Result<Vec<Ticket>, Vec<String>> {
    let one = |told: String| vec![told];
    if names::sort(name) == names::Sort::Unknown {
        return Err(one("the name of a ticket ends in .yaml, .yml, .json or .md".into()));
    }
    if name.len() > LONGEST_NAME {
        return Err(one(format!("its name is longer than {LONGEST_NAME} bytes")));
    }
    if bytes.len() > LARGEST {
        return Err(one(format!("it is larger than {} KiB", LARGEST / 1024)));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
        one(format!("{name}:{line}: this is not UTF-8"))
    })?;
    let told = |problems: Vec<Problem>| {
        problems.iter().map(|problem| format!("{name}:{problem}")).collect::<Vec<_>>()
    };
    let mut tickets = read_file(&names::extension(name).to_ascii_lowercase(), text).map_err(told)?;
    let mut problems = Vec::new();
    for ticket in &mut tickets {
        if let Some(other) = ticket.namespace().filter(|namespace| *namespace != target.namespace) {
            problems.push(format!(
                "ticket {} is for namespace {other}, and those of this folder come into {}",
                ticket.name_any(),
                target.namespace
            ));
        }
        ticket.metadata.namespace = Some(target.namespace.clone());
        if ticket.spec.pool.is_none() && ticket.spec.repositories.is_empty() {
            match &target.pool {
                Some(pool) => ticket.spec.pool = Some(pool.clone()),
                None => ticket.spec.repositories = vec![target.repository.clone()],
            }
        }
        let digest = digest(&ticket.spec);
        let annotations = ticket.annotations_mut();
        annotations.insert(labels::BACKLOG_FILE.to_owned(), name.to_owned());
        annotations.insert(labels::BACKLOG_DIGEST.to_owned(), digest);
    }
    if problems.is_empty() { Ok(tickets) } else { Err(problems) }
}

/// The patch that makes the spec of a ticket that of another, provided that nobody wrote it meanwhile.
fn replacing(old: Option<&Ticket>, new: &Ticket) -> Value {
    let fields = |ticket: &Ticket| match serde_json::to_value(&ticket.spec) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let mut spec = fields(new);
    for field in old.map(fields).unwrap_or_default().keys() {
        spec.entry(field.clone()).or_insert(Value::Null);
    }
    let version = old.and_then(|old| old.meta().resource_version.clone());
    json!({"metadata": {"resourceVersion": version, "annotations": new.annotations()}, "spec": spec})
}

fn note(name: &str, problems: &[String]) -> String {
    let count =
        if problems.len() == 1 { "a problem".to_owned() } else { format!("{} problems", problems.len()) };
    let problems = problems.join("\n");
    format!(
        "{name}{NOT_TAKEN}: {count}.\n\n{problems}\n\nMend the file and save it, or take it away; this note goes by itself.\n"
    )
}
