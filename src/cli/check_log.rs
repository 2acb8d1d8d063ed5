//! `gcluster logs check/NAME`: what a test script printed, all of it where the file is on this machine.

use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use serde_json::Value;

use super::objects::text;
use super::output::{note, print};
use crate::client::{Connection, JSON, escape};
use crate::exit::{Kind, Result};
use crate::render::visible;

/// How often a growing log is looked at.
const INTERVAL: Duration = Duration::from_millis(250);
/// How much is read at once.
const CHUNK: u64 = 1 << 20;

/// Prints the log of a check; with `follow` until the check has come to its end.
pub(crate) async fn show(connection: &Connection, name: &str, follow: bool) -> Result {
    let mut at = 0;
    loop {
        // First the phase, then the file: what is written between the two is not missed.
        let check = get(connection, name).await?;
        let is_over = matches!(text(&check, "/status/phase"), "Passed" | "Failed");
        let log = text(&check, "/status/log");
        match rest(log, &mut at) {
            Some(more) => print(&visible(&more))?,
            None if is_over => {
                note(&format!("the log {log} is not on this machine; this is its end"));
                let output = text(&check, "/status/output");
                return print(&format!("{}\n", visible(output)));
            }
            None if !follow => {
                note(&format!("check {name} has not begun: {}", text(&check, "/status/message")))
            }
            None => {}
        }
        if is_over {
            note(text(&check, "/status/message"));
        }
        if is_over || !follow {
            return Ok(());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn get(connection: &Connection, name: &str) -> Result<Value> {
    let namespace = escape(&connection.namespace);
    let path = format!("/apis/gcluster.dev/v1alpha1/namespaces/{namespace}/checks/{}", escape(name));
    connection.get(&path, JSON).await.map_err(|failure| match failure.kind {
        Kind::NotFound => {
            failure.hint("`gcluster get checks` lists what there is; -n chooses another namespace")
        }
        _ => failure,
    })
}

/// What a file has behind `at`; none when there is no file to read.
fn rest(path: &str, at: &mut u64) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    // A check that was begun again has a new log.
    *at = if length < *at { 0 } else { *at };
    let mut bytes = Vec::new();
    while *at < length {
        file.seek(SeekFrom::Start(*at)).ok()?;
        let read = file.by_ref().take(CHUNK).read_to_end(&mut bytes).ok()?;
        if read == 0 {
            break;
        }
        *at += read as u64;
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_on_from_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let name = path.to_str().unwrap();
        let mut at = 0;
        assert_eq!(rest(name, &mut at), None);
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(rest(name, &mut at).as_deref(), Some("one\n"));
        std::fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(rest(name, &mut at).as_deref(), Some("two\n"));
        assert_eq!(rest(name, &mut at).as_deref(), Some(""));
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(rest(name, &mut at).as_deref(), Some("new\n"));
    }
}
