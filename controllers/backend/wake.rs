//! Waking whoever waits for a file to grow: one inotify instance and one thread for the whole process.
//!
//! A watch wakes once and is made again by whoever has read all there was, so that a program that writes all the
//! time, and is read at its own pace, costs nothing here.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::fs::inotify;
use tokio::sync::Notify;

/// Between two looks at what the kernel has gathered. Many programs that write at the same time are one wake.
const GATHER: Duration = Duration::from_millis(20);

type Waiters = Mutex<HashMap<i32, Arc<Waiter>>>;

struct Watcher {
    fd: OwnedFd,
    waiters: Waiters,
}

/// Whom one watch wakes.
#[derive(Default)]
struct Waiter {
    grown: Notify,
    /// The kernel will tell.
    armed: AtomicBool,
}

/// A watch on one file. Dropping it ends the watch.
pub(crate) struct FileWatch {
    path: PathBuf,
    waiter: Arc<Waiter>,
}

impl FileWatch {
    /// A watch on a file that exists, not armed yet.
    pub(crate) fn new(path: &Path) -> FileWatch {
        FileWatch { path: path.to_owned(), waiter: Arc::default() }
    }

    /// Lets the next growth wake. True when it would not have before: what was written up to now does not wake, so
    /// the caller has to look once more. Where the kernel has no watch left nothing wakes and the caller polls.
    pub(crate) fn arm(&self) -> bool {
        if self.wakes() {
            return false;
        }
        let Some(watcher) = watcher() else { return false };
        // Held while the watch is made, so that no event comes before its waiter is known.
        let mut waiters = watcher.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::ONESHOT;
        let Ok(id) = inotify::add_watch(&watcher.fd, &self.path, flags) else { return false };
        waiters.insert(id, self.waiter.clone());
        self.waiter.armed.store(true, Ordering::Release);
        true
    }

    /// Whether growth wakes; else the caller has to look by itself.
    pub(crate) fn wakes(&self) -> bool {
        self.waiter.armed.load(Ordering::Acquire)
    }

    /// Returns when the file grew since it was armed.
    pub(crate) async fn grown(&self) {
        self.waiter.grown.notified().await;
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        let Some(watcher) = watcher() else { return };
        let mut waiters = watcher.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        let own: Vec<i32> =
            waiters.iter().filter(|(_, w)| Arc::ptr_eq(w, &self.waiter)).map(|(id, _)| *id).collect();
        for id in own {
            waiters.remove(&id);
            // Fails when the file was removed, and the watch with it.
            let _ = inotify::remove_watch(&watcher.fd, id);
        }
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
    let wake = |waiter: &Waiter| {
        waiter.armed.store(false, Ordering::Release);
        waiter.grown.notify_one();
    };
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watcher.fd, &mut buffer);
    loop {
        if events.is_buffer_empty() {
            std::thread::sleep(GATHER);
        }
        match events.next() {
            Ok(event) => {
                let mut waiters = watcher.waiters.lock().unwrap_or_else(PoisonError::into_inner);
                if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
                    waiters.drain().for_each(|(_, waiter)| wake(&waiter));
                } else if let Some(waiter) = waiters.remove(&event.wd()) {
                    wake(&waiter);
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
