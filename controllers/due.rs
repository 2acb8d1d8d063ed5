//! When a loop that looks at everything at once looks again.

use std::time::Duration;

use tokio::time::Instant;

/// The time of the next look; none while nothing asks for one.
#[derive(Debug, Default)]
pub(crate) struct Due {
    at: Option<Instant>,
}

impl Due {
    /// Asks for a look after `pause` at the latest.
    pub(crate) fn within(&mut self, pause: Duration) {
        self.not_after(Instant::now() + pause);
    }

    /// Asks for a look at this time at the latest.
    pub(crate) fn not_after(&mut self, at: Instant) {
        self.at = Some(self.at.map_or(at, |due| due.min(at)));
    }

    /// Waits until a look is due, for ever where none is asked for. After it none is. May be dropped before.
    pub(crate) async fn come(&mut self) {
        match self.at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => futures::future::pending().await,
        }
        self.at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_earliest_time_that_was_asked_for_counts_and_only_once() {
        let mut due = Due::default();
        let moment = Duration::from_millis(20);
        assert!(tokio::time::timeout(moment, due.come()).await.is_err(), "nobody asked");
        let hour = Duration::from_secs(3_600);
        due.within(hour);
        due.within(moment);
        due.within(hour);
        // Whoever is dropped before it is due takes nothing away.
        let _ = tokio::time::timeout(Duration::ZERO, due.come()).await;
        assert!(tokio::time::timeout(hour / 60, due.come()).await.is_ok());
        assert!(tokio::time::timeout(moment, due.come()).await.is_err());
    }
}
