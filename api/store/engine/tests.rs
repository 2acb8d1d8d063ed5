use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;

use super::disk::{self, Opened};
use super::*;
use crate::{Event, EventKind, Key, OpenError};

fn batch(revision: u64, name: &str, value: Option<&str>) -> Arc<Batch> {
    let key = Key::new("r", "n", name);
    let (kind, value) = match value {
        Some(value) => (EventKind::Modified, value),
        None => (EventKind::Deleted, "{}"),
    };
    let event = Event::new(kind, revision, key, value.as_bytes(), None);
    Arc::new(Batch { revision, events: vec![Arc::new(event)] })
}

fn objects(loaded: &Loaded) -> BTreeMap<String, (u64, Bytes)> {
    let named = |entry: &Arc<Entry>| (entry.key.name.to_string(), (entry.revision, entry.value.clone()));
    loaded.entries.iter().map(named).collect()
}

fn open(dir: &Path) -> Opened {
    disk::open(dir).unwrap()
}

/// A state with history: revisions 1 to `count` over a few names, some deleted.
fn write(dir: &Path, from: u64, count: u64) {
    let mut engine = open(dir).engine;
    for revision in from..from + count {
        let name = format!("o{}", revision % 7);
        let value = format!("{{\"revision\":{revision},\"text\":\"{}\"}}", "x".repeat(300));
        let value = (revision % 5 != 0).then_some(value.as_str());
        engine.commit(&[batch(revision, &name, value)]).unwrap();
    }
}

/// What a crash leaves: a copy of the files while the database is open.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("state")).unwrap();
    for entry in fs::read_dir(from.join("state")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join("state").join(entry.file_name())).unwrap();
    }
}

#[test]
fn what_was_committed_is_there_after_reopening_and_the_revision_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = open(dir.path()).engine;
    engine.commit(&[batch(1, "a", Some("1")), batch(2, "b", Some("2"))]).unwrap();
    engine.commit(&[batch(3, "a", None), batch(4, "b", None)]).unwrap();
    drop(engine);
    let reopened = open(dir.path());
    assert_eq!((reopened.loaded.revision, reopened.loaded.entries.len()), (4, 0));
    assert_eq!(reopened.damaged, None);
}

#[test]
fn files_are_for_their_owner_only_and_a_second_master_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    for file in ["state/state.db", "state/state.db-wal", "state/newest", "state.lock"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    assert_eq!(mode("state"), 0o700);
    let second = disk::open(dir.path()).unwrap_err();
    assert!(matches!(second, OpenError::Locked { .. }), "{second}");
    assert!(second.to_string().contains("in use by another master"));
    drop(first);
    open(dir.path());
}

#[test]
fn superseded_rows_and_deletions_are_folded_and_nothing_else_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = open(dir.path()).engine;
    for revision in 1..=3_000 {
        let value = (revision % 3 != 0).then(|| revision.to_string());
        engine.commit(&[batch(revision, &format!("o{}", revision % 10), value.as_deref())]).unwrap();
    }
    let rows = engine.rows();
    while engine.tidy(true).unwrap() {}
    assert!(rows == 3_000 && engine.rows() < 20, "{rows} rows became {}", engine.rows());
    drop(engine);
    let loaded = open(dir.path()).loaded;
    let expected = (2_991..=3_000).filter(|n| n % 3 != 0).map(|n| (format!("o{}", n % 10), n.to_string()));
    let found = objects(&loaded).into_iter().map(|(name, (_, value))| (name, value));
    assert_eq!(
        found.collect::<BTreeMap<_, _>>(),
        expected.map(|(name, value)| (name, Bytes::from(value))).collect()
    );
    assert_eq!(loaded.revision, 3_000);
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1, 3);
    disk::set_format(dir.path(), 9);
    let error = disk::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 9, known: 1, .. }), "{error}");
    disk::set_format(dir.path(), 1);
    assert_eq!(open(dir.path()).loaded.revision, 3);
}

#[test]
fn a_log_cut_anywhere_gives_all_acknowledged_writes_or_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = open(dir.path()).engine;
    for revision in 1..=12 {
        engine.commit(&[batch(revision, &revision.to_string(), Some("{}"))]).unwrap();
    }
    let length = fs::metadata(dir.path().join("state/state.db-wal")).unwrap().len();
    for keep in (0..=length).step_by(2_003).chain([length]) {
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        let wal = fs::OpenOptions::new().write(true).open(crashed.path().join("state/state.db-wal")).unwrap();
        wal.set_len(keep).unwrap();
        let opened = open(crashed.path());
        match opened.damaged {
            None => assert_eq!(opened.loaded.entries.len(), 12, "cut at {keep}"),
            Some(damaged) => {
                assert_eq!(opened.loaded, Loaded::default());
                assert!(damaged.preserved.join("state.db").exists(), "{damaged:?}");
            }
        }
    }
    drop(engine);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn damage_is_noticed_or_harmless(
        file in 0..3_usize, place in 0.0..1.0_f64, how in 0..3_u8, bit in 0..8_u32, closed in any::<bool>(),
    ) {
        let (dir, hurt) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(dir.path(), 1, 20);
        let open_engine = (!closed).then(|| {
            let mut engine = open(dir.path()).engine;
            engine.commit(&[batch(21, "last", Some("{}"))]).unwrap();
            engine
        });
        copy(dir.path(), hurt.path());
        drop(open_engine);
        let expected = open(dir.path()).loaded;
        let path = hurt.path().join("state").join(["state.db", "state.db-wal", "newest"][file]);
        let mut bytes = fs::read(&path).unwrap_or_default();
        let at = (bytes.len() as f64 * place) as usize;
        match how {
            0 => bytes.truncate(at),
            1 => { if let Some(byte) = bytes.get_mut(at) { *byte ^= 1 << bit; } }
            _ => bytes.iter_mut().skip(at).for_each(|byte| *byte = byte.wrapping_mul(31).wrapping_add(7)),
        }
        fs::write(&path, &bytes).unwrap();
        let opened = open(hurt.path());
        match &opened.damaged {
            Some(damaged) => {
                prop_assert_eq!(&opened.loaded, &Loaded::default());
                let preserved = damaged.preserved.is_dir();
                prop_assert!(preserved);
            }
            None => {
                prop_assert_eq!(opened.loaded.revision, expected.revision);
                prop_assert_eq!(objects(&opened.loaded), objects(&expected));
            }
        }
        // Whatever was found, it takes writes.
        let mut engine = opened.engine;
        engine.commit(&[batch(opened.loaded.revision + 1, "new", Some("{}"))]).unwrap();
    }
}
