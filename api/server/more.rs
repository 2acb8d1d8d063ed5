//! What others than the server count, shown on its pages `/metrics` and `/metrics/tickets.csv`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where further metrics come from.
#[derive(Clone)]
pub struct More {
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
    tickets: PathBuf,
}

impl More {
    /// `metrics` gives lines in Prometheus' text form; the file `tickets` holds a row for each ticket that came to its
    /// end, and need not be there.
    pub fn new(metrics: impl Fn() -> String + Send + Sync + 'static, tickets: PathBuf) -> Self {
        Self { metrics: Arc::new(metrics), tickets }
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
