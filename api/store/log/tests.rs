use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

fn open(dir: &Path) -> Transcripts {
    Transcripts::open(dir).unwrap()
}

async fn all(mut reader: Reader) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

#[tokio::test]
async fn an_append_happens_exactly_once_under_retries() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path());
    let lines = Bytes::from_static(b"{\"a\":1}\n{\"a\":2}\n");
    let size = logs.append("it", Some(0), lines.clone()).await.unwrap();
    assert_eq!(size, Size { records: 2, bytes: 16 });
    let again = logs.append("it", Some(0), lines.clone()).await.unwrap_err();
    assert_eq!(again, AppendError::Offset { have: size, expected: 0 });
    assert_eq!(logs.append("it", Some(2), lines).await.unwrap().records, 4);
    for bad in [&b"no newline"[..], b"a\n\nb\n", b"\n"] {
        assert_eq!(logs.append("it", None, Bytes::from_static(bad)).await, Err(AppendError::NotLines));
    }
    assert_eq!(all(logs.read("it", 3).unwrap()).await, b"{\"a\":2}\n");
    let mode = fs::metadata(dir.path().join("it.ndjson")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_torn_last_record_is_cut_and_appending_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("it.ndjson"), b"{\"a\":1}\n{\"a\":2}\n{\"a\":").unwrap();
    let logs = open(dir.path());
    assert_eq!(logs.size("it").await.unwrap(), Size { records: 2, bytes: 16 });
    logs.append("it", Some(2), Bytes::from_static(b"{\"a\":3}\n")).await.unwrap();
    assert_eq!(all(logs.read("it", 1).unwrap()).await, b"{\"a\":2}\n{\"a\":3}\n");
}

#[tokio::test]
async fn a_sealed_transcript_stays_sealed_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path());
    logs.append("it", None, Bytes::from_static(b"{}\n")).await.unwrap();
    let size = logs.seal("it").await.unwrap();
    for logs in [logs, open(dir.path())] {
        assert!(logs.sealed("it").await.unwrap());
        assert_eq!(logs.seal("it").await.unwrap(), size);
        assert_eq!(logs.size("it").await.unwrap(), size);
        let late = logs.append("it", None, Bytes::from_static(b"{}\n")).await;
        assert_eq!(late, Err(AppendError::Sealed { have: size }));
        assert_eq!(all(logs.follow("it", 0).unwrap()).await, b"{}\n");
    }
}

#[tokio::test]
async fn a_follower_gets_every_record_once_and_ends_with_the_seal() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path());
    let follower = tokio::spawn(all(logs.follow("it", 1).unwrap()));
    let mut expected = Vec::new();
    for n in 0..50_u64 {
        let line = format!("{{\"n\":{n}}}\n");
        if n >= 1 {
            expected.extend_from_slice(line.as_bytes());
        }
        logs.append("it", Some(n), line.into()).await.unwrap();
    }
    logs.seal("it").await.unwrap();
    let followed = tokio::time::timeout(Duration::from_secs(30), follower).await.unwrap().unwrap();
    assert_eq!(followed, expected);
}

#[tokio::test]
async fn removing_ends_followers_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path());
    logs.append("it", None, Bytes::from_static(b"{}\n")).await.unwrap();
    let mut follower = logs.follow("it", 0).unwrap();
    assert_eq!(follower.next().await.unwrap().unwrap(), "{}\n");
    logs.remove("it").await.unwrap();
    assert!(follower.next().await.is_none());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(logs.size("it").await.unwrap(), Size::default());
}

#[tokio::test]
async fn a_record_of_megabytes_is_read_in_chunks_and_records_after_it_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path());
    let long = format!("\"{}\"\n", "x".repeat(3 << 20));
    for line in ["1\n", &long, "2\n", &long, "3\n"] {
        logs.append("it", None, line.to_owned().into()).await.unwrap();
    }
    for logs in [logs, open(dir.path())] {
        assert_eq!(all(logs.read("it", 4).unwrap()).await, b"3\n");
        assert_eq!(all(logs.read("it", 2).unwrap()).await.len(), 2 + long.len() + 2);
        let first = logs.read("it", 1).unwrap().next().await.unwrap().unwrap();
        assert!(first.len() <= 256 * 1024);
        assert!(all(logs.read("it", 5).unwrap()).await.is_empty());
        assert!(all(logs.read("it", 99).unwrap()).await.is_empty());
    }
}

#[tokio::test]
async fn an_id_never_leaves_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path());
    for id in ["", "..", "../x", "a/b", ".hidden", "a\0b", &"x".repeat(129)] {
        assert!(matches!(logs.append(id, None, Bytes::new()).await, Err(AppendError::InvalidId(_))), "{id}");
        assert!(logs.follow(id, 0).is_err() && logs.remove(id).await.is_err());
    }
}
