//! Watchers: cursors over the window of recent events that all watchers of a resource share.
//!
//! A watcher costs a cursor. It has no queue, so a slow one holds no memory and slows nobody; when the
//! window moves past its cursor it ends with [`WatchEnd::Gone`] and the client lists again.

use std::sync::Arc;

use tokio::sync::watch;

use crate::state::Channel;
use crate::writer::Shared;
use crate::{Event, Gone, WatchEnd};

/// Follows the events of a resource in the order of revisions, each exactly once.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    channel: Arc<Channel>,
    changed: watch::Receiver<u64>,
    namespace: Option<Arc<str>>,
    /// Everything up to here was delivered.
    cursor: u64,
}

impl Watcher {
    pub(crate) fn new(
        shared: Arc<Shared>,
        resource: &str,
        namespace: Option<&str>,
        after: u64,
    ) -> Result<Self, Gone> {
        let channel = shared.state.channel(resource);
        let changed = channel.changed.subscribe();
        let floor = channel.window().floor();
        if after < floor {
            return Err(Gone { asked: after, floor });
        }
        Ok(Self { shared, channel, changed, namespace: namespace.map(Into::into), cursor: after })
    }

    /// Waits for events and returns all that are there, whole transactions, oldest first; never empty.
    /// Cancel safe: when the future is dropped nothing is lost.
    ///
    /// # Errors
    /// [`WatchEnd::Gone`] when the watcher fell out of the window, [`WatchEnd::Closed`] when the store
    /// ended and everything published was delivered.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, WatchEnd> {
        loop {
            // Both are read before the window, so that what comes between is looked at in the next round.
            self.changed.borrow_and_update();
            let closed = self.shared.is_closed();
            let events = self.take()?;
            if !events.is_empty() {
                return Ok(events);
            }
            if closed {
                return Err(WatchEnd::Closed);
            }
            if self.changed.changed().await.is_err() {
                return Err(WatchEnd::Closed);
            }
        }
    }

    /// The revision up to which everything was delivered, for bookmarks. It moves on with the changes of
    /// other resources and namespaces too.
    pub fn progress(&self) -> u64 {
        let published = self.shared.state.revision();
        match self.channel.window().since(self.cursor, self.namespace.as_deref()) {
            Some((undelivered, _)) if undelivered.is_empty() => self.cursor.max(published),
            Some(_) | None => self.cursor,
        }
    }

    fn take(&mut self) -> Result<Vec<Arc<Event>>, Gone> {
        let published = self.shared.state.revision();
        let window = self.channel.window();
        let Some((events, seen)) = window.since(self.cursor, self.namespace.as_deref()) else {
            return Err(Gone { asked: self.cursor, floor: window.floor() });
        };
        drop(window);
        self.cursor = match events.is_empty() {
            // Nothing of ours up to here: what is trimmed later was nothing of ours either.
            true => self.cursor.max(seen).max(published),
            false => seen,
        };
        Ok(events)
    }
}
