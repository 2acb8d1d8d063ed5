//! What others than the server count and know, shown on its pages `/metrics`, `/metrics/tickets.csv` and `/readyz`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where further metrics, and what is known of the loops, come from.
#[derive(Clone)]
pub struct More {
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
    tickets: PathBuf,
    stuck: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

impl More {
    /// `metrics` gives lines in Prometheus' text form; the file `tickets` holds a row for each ticket that came to its
    /// end, and need not be there.
    pub fn new(metrics: impl Fn() -> String + Send + Sync + 'static, tickets: PathBuf) -> Self {
        Self { metrics: Arc::new(metrics), tickets, stuck: Arc::new(|| None) }
    }

    /// The same, with what tells why the master is not ready although its disk is; nothing while all is well.
    #[must_use]
    pub fn with_stuck(mut self, stuck: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.stuck = Arc::new(stuck);
        self
    }

    pub(crate) fn stuck(&self) -> Option<String> {
        (self.stuck)()
    }

    pub(crate) fn metrics(&self) -> String {
        (self.metrics)()
    }

    /// The whole file; nothing where there is none.
    pub(crate) async fn ticket_rows(&self) -> std::io::Result<Vec<u8>> {
        match tokio::fs::read(&self.tickets).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }
}

impl fmt::Debug for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("More").field("tickets", &self.tickets).finish_non_exhaustive()
    }
}
