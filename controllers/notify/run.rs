//! One command that tells of one thing.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use gcluster_types::Ticket;
use kube::ResourceExt;

use super::plan::News;
use crate::Context;
use crate::backend::process::find_program;
use crate::backend::script::{self, Script};
use crate::backend::sweep;

/// Most of a command's output that is quoted, in characters: its end.
const QUOTED: usize = 400;

/// The folder of a ticket's command, below the data directory.
fn folder(data_dir: &Path, uid: &str) -> PathBuf {
    data_dir.join("notify").join(uid)
}

/// Ends what commands of an earlier master left. Blocks.
pub(super) fn clear(data_dir: &Path) {
    for entry in std::fs::read_dir(data_dir.join("notify")).into_iter().flatten().flatten() {
        let uid = entry.file_name().to_string_lossy().into_owned();
        remove(data_dir, &uid);
    }
}

fn remove(data_dir: &Path, uid: &str) {
    let folder = folder(data_dir, uid);
    sweep::sweep_run(&mark(uid), &folder);
    if let Err(error) = std::fs::remove_dir_all(&folder) {
        tracing::debug!(%error, folder = %folder.display(), "the folder of a command cannot be removed");
    }
}

/// What marks the processes of a ticket's command.
fn mark(uid: &str) -> String {
    format!("notify-{uid}")
}

/// Runs the command to its end, or until its time is over. An error says why nobody may have been told.
pub(super) async fn tell(ctx: &Context, ticket: &Ticket, news: &News) -> Result<(), String> {
    let (data_dir, uid) = (ctx.config.data_dir.clone(), ticket.uid().unwrap_or_default());
    let folder = folder(&data_dir, &uid);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let told = run(ctx, ticket, news, &folder).await;
    let cleared = tokio::task::spawn_blocking(move || remove(&data_dir, &uid)).await;
    if let Err(error) = cleared {
        tracing::warn!(%error, "what a command left could not be cleared away");
    }
    told
}

async fn run(ctx: &Context, ticket: &Ticket, news: &News, folder: &Path) -> Result<(), String> {
    let Some((name, args)) = news.command.split_first() else { return Ok(()) };
    let directory = ctx.config.default_directory.clone();
    let program = find_program(OsStr::new(name), Some(&directory))
        .ok_or_else(|| format!("there is no program {name}; install it or correct spec.notify.command"))?;
    let status = ticket.status.clone().unwrap_or_default();
    let env = [
        ("GCLUSTER_EVENT", format!("{:?}", news.reason)),
        ("GCLUSTER_NAMESPACE", news.ticket.0.clone()),
        ("GCLUSTER_TICKET", news.ticket.1.clone()),
        ("GCLUSTER_TITLE", ticket.spec.title.clone()),
        ("GCLUSTER_REASON", status.reason.unwrap_or_default()),
        ("GCLUSTER_MESSAGE", status.message.unwrap_or_default()),
    ];
    let output = folder.join("log");
    let script = Script {
        uid: mark(&ticket.uid().unwrap_or_default()),
        run_dir: folder.to_owned(),
        directory,
        program,
        args: args.iter().map(OsString::from).collect(),
        // No program takes a variable with a zero byte.
        env: env.into_iter().map(|(name, value)| (name.to_owned(), value.replace('\0', " "))).collect(),
        output: output.clone(),
    };
    let running = script::start(script).await.map_err(|error| error.to_string())?;
    let said = || {
        let text = std::fs::read(&output).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).trim().replace('\n', " ");
        let skipped = text.chars().count().saturating_sub(QUOTED);
        let text: String = text.chars().skip(skipped).filter(|c| !c.is_control()).collect();
        if text.is_empty() { String::new() } else { format!(": {text}") }
    };
    match tokio::time::timeout(news.timeout, running.ended()).await {
        Ok(ended) if ended.status.is_some_and(|status| status.success()) => Ok(()),
        Ok(ended) => {
            let how = ended.status.map_or_else(|| "was lost".to_owned(), |status| status.to_string());
            Err(format!("{name} ended badly ({how}){}", said()))
        }
        Err(_) => {
            running.end(ctx.config.stop_grace.min(std::time::Duration::from_secs(2))).await;
            Err(format!("{name} did not end within {:?} and was ended{}", news.timeout, said()))
        }
    }
}
