use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use gcluster_store::engine::disk;
use gcluster_store::engine::faulty::{Faults, Faulty, Point};
use gcluster_store::engine::memory::Memory;
use gcluster_store::{Key, ListAt, Store, StoreConfig, TransactError};

use super::*;

fn key(name: &str) -> Key {
    Key::new("r", "n", name)
}

fn start(engine: Box<dyn Engine>, loaded: gcluster_store::engine::Loaded) -> Store {
    let (store, journal) = Store::open(StoreConfig::default(), loaded);
    tokio::spawn(run(journal, engine, std::future::pending()));
    store
}

async fn put(store: &Store, name: &str) -> Result<u64, TransactError<String>> {
    store
        .transact(|tx| {
            let value = format!(r#"{{"name":"{name}","revision":{}}}"#, tx.revision());
            tx.put(key(name), Bytes::from(value));
            Ok(tx.revision())
        })
        .await
}

async fn until_healthy(store: &Store) {
    let healthy = async {
        while store.healthy().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), healthy).await.expect("the store to become healthy");
}

fn names(store: &Store) -> Vec<String> {
    let listing = store.list("r", None, &ListAt::default()).unwrap();
    listing.entries.iter().map(|entry| entry.key.name.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_point_leaves_acknowledged_writes_and_no_refused_ones() {
    use Point::{AfterCommit, BeforeCommit, Probe, Recover};
    let plans: [(&[Point], bool); 5] = [
        (&[BeforeCommit], false),
        (&[AfterCommit], true),
        (&[BeforeCommit, Recover, Recover], false),
        (&[AfterCommit, Recover], true),
        (&[BeforeCommit, Probe, Recover, Probe], false),
    ];
    for (plan, there) in plans {
        let (memory, faults) = (Memory::default(), Faults::default());
        let store = start(Box::new(Faulty::new(memory.clone(), faults.clone())), memory.load());
        assert_eq!(put(&store, "before").await, Ok(1));
        faults.plan(plan);
        let answer = put(&store, "during").await;
        assert_eq!(answer.is_ok(), there, "{plan:?}: {answer:?}");
        if let Err(error) = answer {
            assert_eq!(error, TransactError::Storage("planned failure at BeforeCommit".to_owned()));
            assert_eq!(store.revision(), 1);
        }
        until_healthy(&store).await;
        assert_eq!(faults.left(), 0, "{plan:?}");
        assert_eq!(put(&store, "after").await, Ok(if there { 3 } else { 2 }));
        let expected: Vec<&str> =
            if there { vec!["after", "before", "during"] } else { vec!["after", "before"] };
        assert_eq!(names(&store), expected, "{plan:?}");
        let mut on_disk: Vec<_> =
            memory.load().entries.iter().map(|entry| entry.key.name.to_string()).collect();
        on_disk.sort();
        assert_eq!(on_disk, expected, "{plan:?}: what a restart finds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_disk_refuses_reads_go_on_and_writes_are_refused_at_once() {
    let (memory, faults) = (Memory::default(), Faults::default());
    let store = start(Box::new(Faulty::new(memory.clone(), faults.clone())), memory.load());
    assert_eq!(put(&store, "a").await, Ok(1));
    faults.plan(&[Point::BeforeCommit]);
    faults.plan(&[Point::Probe; 1000]);
    assert!(matches!(put(&store, "b").await, Err(TransactError::Storage(_))));
    assert!(matches!(put(&store, "c").await, Err(TransactError::Storage(_))));
    assert!(store.healthy().is_err());
    assert_eq!(names(&store), ["a"]);
    let unchanged = store.transact(|tx| Ok::<_, String>(tx.get(&key("a")).is_some())).await;
    assert_eq!(unchanged, Ok(true));
    faults.clear();
    until_healthy(&store).await;
    assert_eq!(put(&store, "d").await, Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_share_commits() {
    let memory = Memory::default();
    let slow = Slow(memory.clone());
    let store = start(Box::new(slow), memory.load());
    let writers = (0..64).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..10 {
                put(&store, &format!("{n}-{round}")).await.unwrap();
            }
        })
    });
    join_all(writers).await.into_iter().for_each(|done| done.unwrap());
    assert_eq!(store.revision(), 640);
    assert!(memory.commits() < 160, "{} commits for 640 transactions", memory.commits());
}

/// A disk with the latency of a real one.
struct Slow(Memory);

impl Engine for Slow {
    fn commit(&mut self, batches: &[Arc<Batch>]) -> Result<(), EngineError> {
        std::thread::sleep(Duration::from_millis(2));
        self.0.commit(batches)
    }
    fn recover(&mut self) -> Result<u64, EngineError> {
        self.0.recover()
    }
    fn probe(&mut self) -> Result<(), EngineError> {
        self.0.probe()
    }
    fn tidy(&mut self, idle: bool) -> Result<bool, EngineError> {
        self.0.tidy(idle)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_later_takes_writes_and_a_restart_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let opened = disk::open(dir.path()).unwrap();
    opened.engine.limit_growth(Some(8));
    let store = start(Box::new(opened.engine), opened.loaded);
    let large = |name: &'static str| {
        let store = store.clone();
        async move {
            let value = Bytes::from(format!("\"{}\"", "x".repeat(8_000)));
            let put = store.transact(|tx| {
                tx.put(key(name), value);
                Ok::<_, String>(())
            });
            put.await
        }
    };
    let mut taken = Vec::new();
    let refused = loop {
        let name: &'static str = format!("o{:03}", taken.len()).leak();
        match large(name).await {
            Ok(()) => taken.push(name.to_owned()),
            Err(error) => break error,
        }
    };
    assert!(refused.to_string().contains("full"), "{refused}");
    assert!(!taken.is_empty() && taken.len() < 8, "{}", taken.len());
    assert_eq!(names(&store), taken);
    // Recovery opens the database anew, and with that the limit of this connection is gone.
    until_healthy(&store).await;
    large("z").await.unwrap();
    taken.push("z".to_owned());
    store.close();
    let reopened = reopen(dir.path()).await;
    let mut found: Vec<_> = reopened.loaded.entries.iter().map(|entry| entry.key.name.to_string()).collect();
    found.sort();
    assert_eq!(found, taken);
    assert_eq!(reopened.loaded.revision, taken.len() as u64);
}

async fn reopen(dir: &std::path::Path) -> disk::Opened {
    let opened = async {
        loop {
            match disk::open(dir) {
                Ok(opened) => return opened,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), opened).await.expect("the directory to be free")
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_writes_what_is_queued_and_then_ends() {
    let memory = Memory::default();
    let (store, journal) = Store::open(StoreConfig::default(), memory.load());
    let write = put(&store, "a");
    let mut write = pin!(write);
    // Queued before anybody follows the journal.
    assert!(futures::poll!(&mut write).is_pending());
    run(journal, Box::new(memory.clone()), std::future::ready(())).await;
    assert_eq!(write.await, Ok(1));
    assert_eq!(memory.load().revision, 1);
    assert_eq!(put(&store, "b").await, Err(TransactError::Closed));
}
