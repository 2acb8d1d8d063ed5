//! The store against a sequential model: whatever is written, lists and watches agree with a plain history.
//! Each guarantee of a watch is a check with its own name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use crate::engine::Loaded;
use crate::{Event, EventKind, Key, ListAt, Store, StoreConfig, TransactError, WatchEnd};

const RESOURCES: [&str; 2] = ["g/apples", "g/pears"];
const NAMESPACES: [&str; 2] = ["blue", "red"];

/// One change: resource, namespace, name, and whether it is a put.
type Change = (usize, usize, u8, bool);

#[derive(Clone, Debug)]
struct Write {
    changes: Vec<Change>,
    rejected: bool,
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let change = (0..2_usize, 0..2_usize, 0..4_u8, prop::bool::weighted(0.7));
    let write = (prop::collection::vec(change, 0..5), prop::bool::weighted(0.1))
        .prop_map(|(changes, rejected)| Write { changes, rejected });
    prop::collection::vec(write, 1..30)
}

/// What an event says, without its bytes.
type Said = (u64, &'static str, String, String);

/// The state after each revision, and what led to it.
#[derive(Default)]
struct Model {
    states: Vec<BTreeMap<Key, u64>>,
    events: Vec<(String, Said)>,
}

impl Model {
    fn newest(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    /// Applies one transaction as the store should.
    fn apply(&mut self, changes: &[Change]) {
        let before = self.states.last().cloned().unwrap_or_default();
        let revision = self.newest() + 1;
        let mut after = before.clone();
        for (resource, namespace, name, put) in changes {
            let key = key(*resource, *namespace, *name);
            if *put {
                after.insert(key, revision);
            } else {
                after.remove(&key);
            }
        }
        let touched: BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
        let mut events = Vec::new();
        for key in touched {
            let kind = match (before.get(key), after.get(key)) {
                (None, Some(_)) => EventKind::Added,
                (Some(old), Some(new)) if old != new => EventKind::Modified,
                (Some(_), None) => EventKind::Deleted,
                _ => continue,
            };
            let said = (revision, kind.as_str(), key.namespace.to_string(), key.name.to_string());
            events.push((key.resource.to_string(), said));
        }
        if !events.is_empty() {
            self.events.extend(events);
            self.states.push(after);
        }
    }

    fn list(&self, revision: u64, resource: &str, namespace: Option<&str>) -> Vec<(String, u64)> {
        let inside = |key: &Key| &*key.resource == resource && namespace.is_none_or(|n| n == &*key.namespace);
        let state = &self.states[usize::try_from(revision).unwrap()];
        state.iter().filter(|(key, _)| inside(key)).map(|(key, r)| (key.to_string(), *r)).collect()
    }

    fn after(&self, revision: u64, resource: &str, namespace: Option<&str>) -> Vec<Said> {
        let wanted = |(r, said): &&(String, Said)| {
            r == resource && said.0 > revision && namespace.is_none_or(|n| n == said.2)
        };
        self.events.iter().filter(wanted).map(|(_, said)| said.clone()).collect()
    }
}

fn key(resource: usize, namespace: usize, name: u8) -> Key {
    Key::new(RESOURCES[resource], NAMESPACES[namespace], &format!("n{name}"))
}

async fn run(store: &Store, model: &mut Model, write: &Write) {
    let answer = store
        .transact(|tx| {
            let value = Bytes::from(format!("{{\"revision\":{}}}", tx.revision()));
            for (resource, namespace, name, put) in &write.changes {
                let key = key(*resource, *namespace, *name);
                match put {
                    true => tx.put(key, value.clone()),
                    false => tx.delete(&key, value.clone()),
                }
            }
            if write.rejected { Err("refused") } else { Ok(()) }
        })
        .await;
    match write.rejected {
        true => assert_eq!(answer, Err(TransactError::Rejected("refused"))),
        false => {
            assert_eq!(answer, Ok(()));
            model.apply(&write.changes);
        }
    }
    assert_eq!(store.revision(), model.newest(), "an answered write is published");
}

/// Reads a watch until it has caught up with the store.
async fn read(
    store: &Store,
    resource: &str,
    namespace: Option<&str>,
    after: u64,
) -> Result<Vec<Said>, WatchEnd> {
    let mut watcher = store.watch(resource, namespace, after)?;
    let mut seen = Vec::new();
    while watcher.progress() < store.revision() {
        let events = tokio::time::timeout(Duration::from_secs(20), watcher.next()).await.expect("an event");
        let events = events?;
        check_atomic(&events, namespace, &seen);
        seen.extend(events.iter().map(|event| said(event)));
    }
    Ok(seen)
}

fn said(event: &Event) -> Said {
    let key = &event.entry.key;
    (event.revision, event.kind.as_str(), key.namespace.to_string(), key.name.to_string())
}

fn check_ordered(seen: &[Said]) {
    assert!(seen.is_sorted_by_key(|said| said.0), "out of order: {seen:?}");
}

fn check_unique(seen: &[Said]) {
    let distinct: BTreeSet<&Said> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "an event came twice: {seen:?}");
}

/// No transaction is split over two answers.
fn check_atomic(events: &[std::sync::Arc<Event>], namespace: Option<&str>, before: &[Said]) {
    let first = events.first().map(|event| event.revision);
    assert!(before.last().map(|said| said.0) != first, "a transaction was split ({namespace:?}): {events:?}");
}

fn check_complete(seen: &[Said], wanted: &[Said]) {
    assert_eq!(seen, wanted, "events are missing or too many");
}

async fn check_everything(store: &Store, model: &Model, keeps_all: bool) {
    for resource in RESOURCES {
        for namespace in [None, Some("blue"), Some("red")] {
            for revision in 0..=model.newest() {
                check_lists(store, model, (resource, namespace), revision, keeps_all);
                match read(store, resource, namespace, revision).await {
                    Ok(seen) => {
                        check_ordered(&seen);
                        check_unique(&seen);
                        check_complete(&seen, &model.after(revision, resource, namespace));
                    }
                    Err(end) => assert!(!keeps_all, "after {revision}: {end}"),
                }
            }
        }
    }
}

/// A list at a revision, whole and in pages of two, is the state of that revision, or Gone.
fn check_lists(store: &Store, model: &Model, what: (&str, Option<&str>), revision: u64, keeps_all: bool) {
    let (resource, namespace) = what;
    let mut found = Vec::new();
    let mut at = ListAt { revision: Some(revision), after: None, limit: Some(2) };
    loop {
        let Ok(page) = store.list(resource, namespace, &at) else {
            assert!(!keeps_all, "the list at {revision} is gone");
            return;
        };
        assert_eq!(page.revision, revision);
        assert!(page.entries.len() <= 2);
        found.extend(page.entries.iter().map(|entry| (entry.key.to_string(), entry.revision)));
        match page.entries.last() {
            Some(last) if page.remaining > 0 => {
                at.after = Some((last.key.namespace.to_string(), last.key.name.to_string()));
            }
            _ => break,
        }
    }
    assert_eq!(found, model.list(revision, resource, namespace), "the list of {what:?} at {revision}");
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn lists_and_watches_agree_with_a_sequential_history(writes in writes()) {
        block_on(async {
            let store = Store::in_memory(StoreConfig::default());
            let mut model = Model { states: vec![BTreeMap::new()], ..Model::default() };
            for write in &writes {
                run(&store, &mut model, write).await;
            }
            check_everything(&store, &model, true).await;
        });
    }

    #[test]
    fn with_a_small_window_history_is_right_or_gone(writes in writes()) {
        block_on(async {
            let store = Store::in_memory(StoreConfig { window_events: 4, window_bytes: usize::MAX });
            let mut model = Model { states: vec![BTreeMap::new()], ..Model::default() };
            for write in &writes {
                run(&store, &mut model, write).await;
            }
            check_everything(&store, &model, false).await;
        });
    }

    #[test]
    fn a_watch_that_is_resumed_after_each_answer_sees_each_event_once(writes in writes()) {
        block_on(async {
            let store = Store::in_memory(StoreConfig::default());
            let mut model = Model { states: vec![BTreeMap::new()], ..Model::default() };
            let (mut after, mut seen) = (0, Vec::new());
            for write in &writes {
                run(&store, &mut model, write).await;
                // Each time another watcher, from where the one before had come.
                let mut watcher = store.watch(RESOURCES[0], None, after).unwrap();
                while watcher.progress() < store.revision() {
                    seen.extend(watcher.next().await.unwrap().iter().map(|event| said(event)));
                }
                after = watcher.progress();
            }
            check_ordered(&seen);
            check_unique(&seen);
            check_complete(&seen, &model.after(0, RESOURCES[0], None));
        });
    }
}

#[test]
fn nothing_is_visible_or_answered_before_it_is_durable() {
    block_on(async {
        let (store, journal) = Store::open(StoreConfig::default(), Loaded::default());
        let mut watcher = store.watch(RESOURCES[0], None, 0).unwrap();
        let put = |tx: &mut crate::Transaction<'_>| -> Result<(), String> {
            tx.put(key(0, 0, 1), Bytes::from_static(b"{}"));
            Ok(())
        };
        let mut writer = std::pin::pin!(store.transact(put));
        let mut reader = std::pin::pin!(store.transact(|tx| match tx.get(&key(0, 0, 1)) {
            Some(_) => Err("it is there already"),
            None => Ok(()),
        }));
        assert!(futures_now(&mut writer).is_none(), "a write was answered before it was durable");
        assert!(futures_now(&mut reader).is_none(), "a refusal told of what was not durable");
        assert_eq!((store.get(&key(0, 0, 1)), store.revision()), (None, 0));
        assert_eq!(journal.next().await.unwrap().len(), 1);
        journal.durable();
        assert_eq!(writer.await, Ok(()));
        assert_eq!(reader.await, Err(TransactError::Rejected("it is there already")));
        assert_eq!(watcher.next().await.unwrap().len(), 1);
    });
}

#[test]
fn what_the_disk_refused_never_was() {
    block_on(async {
        let (store, journal) = Store::open(StoreConfig::default(), Loaded::default());
        let mut writer = std::pin::pin!(store.transact(|tx| {
            tx.put(key(0, 0, 1), Bytes::from_static(b"{}"));
            Ok::<_, String>(())
        }));
        assert!(futures_now(&mut writer).is_none());
        journal.next().await.unwrap();
        journal.refused("no space");
        assert_eq!(writer.await, Err(TransactError::Storage("no space".into())));
        assert_eq!((store.get(&key(0, 0, 1)), store.healthy()), (None, Err("no space".into())));
        journal.recovered();
        assert_eq!(store.healthy(), Ok(()));
    });
}

#[test]
fn a_watcher_that_never_reads_slows_nobody_and_is_told_that_it_fell_behind() {
    block_on(async {
        let store = Store::in_memory(StoreConfig { window_events: 8, window_bytes: usize::MAX });
        let mut deaf = store.watch(RESOURCES[0], None, 0).unwrap();
        let mut model = Model { states: vec![BTreeMap::new()], ..Model::default() };
        for _ in 0..50 {
            run(&store, &mut model, &Write { changes: vec![(0, 0, 1, true)], rejected: false }).await;
        }
        assert!(matches!(deaf.next().await, Err(WatchEnd::Gone(_))));
        let mut late = store.watch(RESOURCES[0], None, store.revision()).unwrap();
        store.close();
        assert_eq!(late.next().await, Err(WatchEnd::Closed));
    });
}

/// The result of a future that is polled once.
fn futures_now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}
