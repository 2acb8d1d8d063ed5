//! Waking whoever waits for a file to grow: one inotify instance and one thread for the whole process.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::fs::inotify;
use tokio::sync::Notify;

/// Between two looks at what the kernel has gathered. Many programs that write at the same time are one wake.
const GATHER: Duration = Duration::from_millis(20);

type Waiters = Mutex<HashMap<i32, Arc<Notify>>>;

struct Watcher {
    fd: OwnedFd,
    waiters: Waiters,
}

/// A watch on one file. Dropping it ends the watch.
pub(crate) struct FileWatch {
    grown: Arc<Notify>,
    watched: Option<i32>,
}

impl FileWatch {
    /// Watches a file that exists. Where the kernel has no watch left nothing wakes and the caller polls.
    pub(crate) fn new(path: &Path) -> FileWatch {
        let grown = Arc::new(Notify::new());
        let watched = watcher().and_then(|watcher| {
            // Held while the watch is made, so that no event comes before its waiter is known.
            let mut waiters = watcher.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            let id = inotify::add_watch(&watcher.fd, path, inotify::WatchFlags::MODIFY).ok()?;
            waiters.insert(id, grown.clone());
            Some(id)
        });
        FileWatch { grown, watched }
    }

    /// Whether growth wakes; else the caller has to look by itself.
    pub(crate) fn wakes(&self) -> bool {
        self.watched.is_some()
    }

    /// Returns when the file grew since the last call.
    pub(crate) async fn grown(&self) {
        self.grown.notified().await;
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        let (Some(id), Some(watcher)) = (self.watched, watcher()) else { return };
        watcher.waiters.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // Fails when the file was removed, and the watch with it.
        let _ = inotify::remove_watch(&watcher.fd, id);
    }
}

fn watcher() -> Option<&'static Watcher> {
    static WATCHER: OnceLock<Option<Watcher>> = OnceLock::new();
    static THREAD: OnceLock<()> = OnceLock::new();
    let watcher = WATCHER.get_or_init(|| {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC).ok()?;
        Some(Watcher { fd, waiters: Mutex::default() })
    });
    let watcher = watcher.as_ref()?;
    THREAD.get_or_init(|| {
        // Without the thread nothing wakes, and the pollers' slow round still sees everything.
        let _ = std::thread::Builder::new().name("spool-watch".into()).spawn(move || wake_all(watcher));
    });
    Some(watcher)
}

fn wake_all(watcher: &'static Watcher) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watcher.fd, &mut buffer);
    loop {
        if events.is_buffer_empty() {
            std::thread::sleep(GATHER);
        }
        match events.next() {
            Ok(event) => {
                let waiters = watcher.waiters.lock().unwrap_or_else(PoisonError::into_inner);
                if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
                    waiters.values().for_each(|waiter| waiter.notify_one());
                } else if let Some(waiter) = waiters.get(&event.wd()) {
                    waiter.notify_one();
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
