//! What the kernel tells of a folder: who writes which file, and who has done.

use std::path::Path;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::names;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Happened {
    /// Somebody makes the file or writes into it.
    Opened(String),
    /// Somebody closed it after writing, or it was moved here.
    Closed(String),
    /// Something else, perhaps more than could be told.
    Other,
}

/// Watches one folder.
#[derive(Debug)]
pub(super) struct Events {
    happened: UnboundedReceiver<Happened>,
    _watcher: RecommendedWatcher,
}

impl Events {
    /// Begins to watch.
    ///
    /// # Errors
    /// Where the kernel cannot: no such folder, or too many watches. Looking now and then does as well.
    pub(super) fn watch(folder: &Path) -> notify::Result<Self> {
        let (sender, happened) = unbounded_channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            for happened in event.map_or_else(|_| vec![Happened::Other], |event| told(&event)) {
                // Nobody listens any more when the folder is not followed any more.
                let _ = sender.send(happened);
            }
        })?;
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(Self { happened, _watcher: watcher })
    }

    /// Waits until something happens to a file that may be a ticket; `None` when nothing can be told any more.
    pub(super) async fn next(&mut self) -> Option<Happened> {
        self.happened.recv().await
    }
}

/// What an event says of files that may be tickets.
fn told(event: &Event) -> Vec<Happened> {
    let is_opened = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => false,
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => true,
        // The folder may be gone.
        EventKind::Remove(_) | EventKind::Any | EventKind::Other => return vec![Happened::Other],
        _ => return Vec::new(),
    };
    let names = event.paths.iter().filter_map(|path| path.file_name()?.to_str());
    // The others are our own doing, or an editor's.
    let names = names.filter(|name| names::sort(name) != names::Sort::Ignored).map(str::to_owned);
    names.map(if is_opened { Happened::Opened } else { Happened::Closed }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    #[tokio::test]
    async fn writing_moving_and_leaving_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::watch(dir.path()).unwrap();
        fs::write(dir.path().join(".hidden"), "x").unwrap();
        fs::write(dir.path().join("a.yaml"), "x").unwrap();
        fs::rename(dir.path().join(".hidden"), dir.path().join("b.yaml")).unwrap();
        let mut all = Vec::new();
        while all.len() < 4 {
            let next = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
            all.push(next.expect("in time").unwrap());
        }
        let of = |name: &str| name.to_owned();
        let expected = [
            Happened::Opened(of("a.yaml")),
            Happened::Opened(of("a.yaml")),
            Happened::Closed(of("a.yaml")),
            Happened::Closed(of("b.yaml")),
        ];
        assert_eq!(all, expected);
        assert!(Events::watch(&dir.path().join("gone")).is_err());
    }
}
