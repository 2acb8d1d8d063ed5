//! Reading a transcript in chunks, to its end or as it grows.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::file::{Log, STRIDE, Tail};
use super::{AppendError, Size, blocking};

/// Reads a transcript from a record on. A chunk is at most 256 KiB; a record longer than that comes in
/// several chunks, so a reader needs little memory whatever the transcript holds.
#[derive(Debug)]
pub struct Reader {
    log: Arc<Log>,
    tail: watch::Receiver<Tail>,
    follow: bool,
    place: Place,
    /// For one that does not follow: where the transcript ended at the first read.
    until: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Looking for this record.
    Record(u64),
    /// At this byte.
    Byte(u64),
}

impl Reader {
    pub(super) fn new(log: Arc<Log>, since_record: u64, follow: bool) -> Self {
        let tail = log.tail.subscribe();
        Self { log, tail, follow, place: Place::Record(since_record), until: None }
    }

    /// The next bytes; `None` at the end: of what was there at the first call, or, when following, once the
    /// transcript is sealed or removed. Cancel safe.
    ///
    /// # Errors
    /// [`AppendError::Io`].
    pub async fn next(&mut self) -> Option<Result<Bytes, AppendError>> {
        loop {
            self.tail.borrow_and_update();
            let (log, place, until) = (Arc::clone(&self.log), self.place, self.until);
            let step = match blocking("", move || advance(&log, place, until)).await {
                Ok(step) => step,
                Err(error) => return Some(Err(error)),
            };
            if !self.follow && self.until.is_none() {
                self.until = Some(step.tail.size.bytes);
            }
            self.place = step.place;
            if !step.bytes.is_empty() {
                return Some(Ok(step.bytes));
            }
            if !self.follow || step.tail.ended {
                return None;
            }
            self.tail.changed().await.ok()?;
        }
    }
}

struct Step {
    bytes: Bytes,
    place: Place,
    tail: Tail,
}

fn advance(log: &Log, place: Place, until: Option<u64>) -> Result<Step, AppendError> {
    let tail = log.look()?;
    let done = |place| Step { bytes: Bytes::new(), place, tail };
    if tail.removed {
        return Ok(Step { tail: Tail { ended: true, ..tail }, ..done(place) });
    }
    let end = until.map_or(tail.size.bytes, |until| until.min(tail.size.bytes));
    let from = match place {
        Place::Byte(at) => at,
        Place::Record(wanted) if wanted > tail.size.records => return Ok(done(place)),
        Place::Record(wanted) => find(log, wanted, tail.size)?,
    };
    if from >= end {
        return Ok(done(Place::Byte(from)));
    }
    let bytes = log.read_at(from, end - from)?;
    let place = Place::Byte(from + bytes.len() as u64);
    // A file that is shorter than it was said to be ends here.
    Ok(Step { bytes: bytes.into(), place, tail })
}

/// The byte at which a record starts.
fn find(log: &Log, wanted: u64, size: Size) -> Result<u64, AppendError> {
    let mut at = log.mark_before(wanted)?;
    while at.records < wanted && at.bytes < size.bytes {
        let bytes = log.read_at(at.bytes, STRIDE.min(size.bytes - at.bytes))?;
        if bytes.is_empty() {
            break;
        }
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(n, _)| n as u64 + 1);
        let missing = usize::try_from(wanted - at.records - 1).unwrap_or(usize::MAX);
        let mut ends = ends.skip(missing);
        if let Some(end) = ends.next() {
            return Ok(at.bytes + end);
        }
        at = Size {
            records: at.records + super::file::newlines(&bytes),
            bytes: at.bytes + bytes.len() as u64,
        };
    }
    Ok(at.bytes)
}
