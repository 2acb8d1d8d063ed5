//! A check in words with everything that its script printed, where that is on this machine.

use std::io::{Read as _, Seek as _, SeekFrom};

use serde_json::Value;

use super::describe;
use crate::client::Connection;
use crate::exit::Result;

/// Bytes of a log that are shown: its end.
const LIMIT: u64 = 4 << 20;

/// The text of `describe check`, with the whole log in place of its end.
///
/// # Errors
/// When what belongs to the check cannot be read.
pub(crate) async fn with_log(connection: &Connection, mut check: Value) -> Result<String> {
    let path = check.pointer("/status/log").and_then(Value::as_str).unwrap_or_default().to_owned();
    let read = tokio::task::spawn_blocking(move || end(&path)).await;
    if let (Ok(Some(output)), Some(status)) = (read, check.get_mut("status").and_then(Value::as_object_mut)) {
        status.insert("output".to_owned(), output.into());
    }
    describe(connection, &check).await
}

/// The end of a file; none when it is not there.
fn end(path: &str) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok().filter(|about| about.is_file())?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LIMIT))).ok()?;
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_end_is_read_and_of_none_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "x".repeat(LIMIT as usize) + "end\n").unwrap();
        let read = end(path.to_str().unwrap()).unwrap();
        assert!(read.len() == LIMIT as usize && read.ends_with("xend\n"));
        assert_eq!(end(dir.path().to_str().unwrap()), None);
        assert_eq!(end("/nowhere/log"), None);
    }
}
