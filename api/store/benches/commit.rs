//! Figures of the store, each beside what the disk itself allows in the same run: durable transactions per
//! second, the delay of watches, the time to open.
//!
//! ```text
//! cargo bench -p gcluster-store
//! ```
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on should stop")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gcluster_store::engine::{Engine, disk};
use gcluster_store::{Key, Store, StoreConfig, Waited};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const RESOURCE: &str = "gcluster.dev/agents";

/// How long each rate is measured.
const MEASURED: Duration = Duration::from_secs(2);

fn main() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let appends = |group: usize| raw_appends(&dir.path().join("raw"), group);
    println!("raw: {:.0} appends of 1 KB with fdatasync per second", appends(1));
    println!("raw: {:.0} appends of 1 KB per second, 64 to one fdatasync", appends(64) * 64.0);
    for writers in [1, 64] {
        let rate = transactions(&runtime, &dir.path().join(format!("writers-{writers}")), writers);
        println!("store: {rate:.0} durable transactions of 1 KB per second, {writers} writers");
    }
    for watchers in [1, 1_000] {
        let (p50, p99) = watch_delay(&runtime, &dir.path().join(format!("watchers-{watchers}")), watchers);
        println!("watch: p50 {p50:.2?}, p99 {p99:.2?} from the answer to the event, {watchers} watchers");
    }
    let (took, objects) = opening(&runtime, &dir.path().join("opening"));
    println!("open: {took:.2?} for {objects} objects of 2 KB");
}

/// What a log without any database would reach.
fn raw_appends(path: &Path, group: usize) -> f64 {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    let bytes = vec![b'x'; 1024 * group];
    let (begin, mut done) = (Instant::now(), 0_u32);
    while begin.elapsed() < MEASURED {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        done += 1;
    }
    f64::from(done) / begin.elapsed().as_secs_f64()
}

/// A store on disk, its journal followed as the persistence loop does.
fn open(dir: &Path) -> (Store, JoinHandle<()>) {
    let disk::Opened { mut engine, loaded, .. } = disk::open(dir).unwrap();
    let (store, journal) = Store::open(StoreConfig::default(), loaded);
    let follower = std::thread::spawn(move || {
        loop {
            match journal.wait(Some(Duration::from_millis(100))) {
                Waited::Closed => return,
                Waited::Nothing => drop(engine.tidy(true).unwrap()),
                Waited::Batches(batches) => {
                    engine.commit(&batches).unwrap();
                    journal.durable();
                    engine.tidy(false).unwrap();
                }
            }
        }
    });
    (store, follower)
}

fn transactions(runtime: &Runtime, dir: &Path, writers: usize) -> f64 {
    let (store, follower) = open(dir);
    let value = json(1024);
    let begin = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, value) = (store.clone(), value.clone());
            runtime.spawn(async move {
                let mut done = 0_u32;
                while begin.elapsed() < MEASURED {
                    put(&store, &format!("w{writer}-{}", done % 100), value.clone()).await;
                    done += 1;
                }
                done
            })
        })
        .collect();
    let done: u32 = tasks.into_iter().map(|task| runtime.block_on(task).unwrap()).sum();
    let rate = f64::from(done) / begin.elapsed().as_secs_f64();
    store.close();
    follower.join().unwrap();
    rate
}

/// Delays of 200 transactions at every watcher.
fn watch_delay(runtime: &Runtime, dir: &Path, watchers: usize) -> (Duration, Duration) {
    const ROUNDS: usize = 200;
    let (store, follower) = open(dir);
    let delays = runtime.block_on(async {
        let (seen, mut all) = mpsc::unbounded_channel();
        for _ in 0..watchers {
            let (mut watcher, seen) = (store.watch(RESOURCE, None, 0).unwrap(), seen.clone());
            tokio::spawn(async move {
                while let Ok(events) = watcher.next().await {
                    assert_eq!(events.len(), 1);
                    seen.send(Instant::now()).unwrap();
                }
            });
        }
        let mut delays = Vec::with_capacity(ROUNDS * watchers);
        for _ in 0..ROUNDS {
            let (store, value) = (store.clone(), json(1024));
            // As a request does: on a task of the runtime, not on the thread that drives it.
            let writer = tokio::spawn(async move {
                put(&store, "a", value).await;
                Instant::now()
            });
            let answered = writer.await.unwrap();
            for _ in 0..watchers {
                delays.push(all.recv().await.unwrap().saturating_duration_since(answered));
            }
        }
        delays
    });
    store.close();
    follower.join().unwrap();
    (quantile(delays.clone(), 50), quantile(delays, 99))
}

fn quantile(mut delays: Vec<Duration>, percent: usize) -> Duration {
    delays.sort_unstable();
    delays[(delays.len() * percent / 100).min(delays.len() - 1)]
}

fn opening(runtime: &Runtime, dir: &Path) -> (Duration, usize) {
    let (store, follower) = open(dir);
    let value = json(2048);
    runtime.block_on(async {
        for hundred in 0..100 {
            let put_all = store.transact(|tx| {
                for n in 0..100 {
                    tx.put(Key::new(RESOURCE, "default", &format!("{hundred}-{n}")), value.clone());
                }
                Ok::<_, String>(())
            });
            put_all.await.unwrap();
        }
    });
    store.close();
    follower.join().unwrap();
    let begin = Instant::now();
    let opened = disk::open(dir).unwrap();
    let (store, _journal) = Store::open(StoreConfig::default(), opened.loaded);
    let took = begin.elapsed();
    (took, store.list(RESOURCE, None, &gcluster_store::ListAt::default()).unwrap().entries.len())
}

async fn put(store: &Store, name: &str, value: Bytes) {
    let key = Key::new(RESOURCE, "default", name);
    let put = store.transact(|tx| {
        tx.put(key, value);
        Ok::<_, String>(())
    });
    put.await.unwrap();
}

fn json(bytes: usize) -> Bytes {
    format!(r#"{{"spec":"{}"}}"#, "x".repeat(bytes - 11)).into()
}
