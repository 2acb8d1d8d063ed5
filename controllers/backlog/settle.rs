//! Which files are whole: nobody writes into them any more, as far as can be told from outside.
//!
//! File events tell when a writer closes a file. Where there are none (a network folder), and where a writer never
//! closes it, a file counts as whole when it stayed the same for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long a file has to stay as it is, when nothing says that somebody writes into it.
const QUIET: Duration = Duration::from_millis(100);
/// The same of a file that was seen growing.
const GREW: Duration = Duration::from_millis(1_200);
/// The same of a file that somebody was seen to open and not to close, and of an empty one.
const OPEN: Duration = Duration::from_secs(5);

/// By what two states of a file are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Number of the file in its file system.
    pub(super) inode: u64,
    /// Bytes.
    pub(super) size: u64,
    /// Time of the last change, in nanoseconds since 1970.
    pub(super) modified: i128,
}

/// What is known of the files of one folder from earlier looks.
#[derive(Debug, Default)]
pub(super) struct Looks {
    files: BTreeMap<String, Look>,
}

#[derive(Debug)]
struct Look {
    stamp: Stamp,
    since: Instant,
    is_open: bool,
    grew: bool,
    /// It was read and not taken as it is: when it is tried again.
    put_off: Option<Instant>,
}

/// What came of a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// Files to be taken now, the oldest first.
    pub(super) whole: Vec<String>,
    /// When to look again at the latest, if a file waits.
    pub(super) again: Option<Instant>,
}

impl Looks {
    /// A writer opened the file or wrote into it.
    pub(super) fn opened(&mut self, name: &str, now: Instant) {
        let unknown = Stamp { inode: 0, size: 0, modified: 0 };
        let look = self.files.entry(name.to_owned());
        let look =
            look.or_insert(Look { stamp: unknown, since: now, is_open: false, grew: false, put_off: None });
        (look.is_open, look.since) = (true, now);
    }

    /// A writer closed the file, or it came here whole.
    pub(super) fn closed(&mut self, name: &str) {
        if let Some(look) = self.files.get_mut(name) {
            look.is_open = false;
        }
    }

    /// The file was read and not taken. As long as it stays the same it is not tried again before `until`.
    pub(super) fn put_off(&mut self, name: &str, until: Instant) {
        if let Some(look) = self.files.get_mut(name) {
            look.put_off = Some(until);
        }
    }

    /// Takes in what is there now.
    pub(super) fn settle(&mut self, there: &[(String, Stamp)], now: Instant) -> Settled {
        self.files.retain(|name, _| there.iter().any(|(other, _)| other == name));
        let mut whole: Vec<(i128, String)> = Vec::new();
        let mut again: Option<Instant> = None;
        for (name, stamp) in there {
            let look = self.files.entry(name.clone()).or_insert(Look {
                stamp: *stamp,
                since: now,
                is_open: false,
                grew: false,
                put_off: None,
            });
            if look.stamp != *stamp {
                // Another file under the name begins anew; the same one grows.
                look.grew = look.stamp.inode == stamp.inode;
                (look.stamp, look.since, look.put_off) = (*stamp, now, None);
            }
            let quiet = match (look.is_open || stamp.size == 0, look.grew) {
                (true, _) => OPEN,
                (false, true) => GREW,
                (false, false) => QUIET,
            };
            let due = look.put_off.unwrap_or(look.since + quiet);
            if due <= now {
                whole.push((stamp.modified, name.clone()));
            } else {
                again = Some(again.map_or(due, |again| again.min(due)));
            }
        }
        whole.sort();
        Settled { whole: whole.into_iter().map(|(_, name)| name).collect(), again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(inode: u64, size: u64) -> Stamp {
        Stamp { inode, size, modified: i128::from(size) }
    }

    fn there(files: &[(&str, Stamp)]) -> Vec<(String, Stamp)> {
        files.iter().map(|(name, stamp)| ((*name).to_owned(), *stamp)).collect()
    }

    #[test]
    fn a_file_is_whole_after_it_stayed_the_same() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let first = looks.settle(&there(&[("a", stamp(1, 5))]), at(0));
        assert_eq!(first, Settled { whole: vec![], again: Some(at(100)) });
        assert_eq!(looks.settle(&there(&[("a", stamp(1, 9))]), at(100)).whole, [""; 0], "it grew");
        assert_eq!(looks.settle(&there(&[("a", stamp(1, 9))]), at(1_299)).again, Some(at(1_300)));
        assert_eq!(looks.settle(&there(&[("a", stamp(1, 9))]), at(1_300)).whole, ["a"]);
    }

    #[test]
    fn a_file_that_somebody_writes_waits_for_the_close_and_not_for_ever() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let files = there(&[("a", stamp(1, 5))]);
        looks.opened("a", at(0));
        assert_eq!(looks.settle(&files, at(10)).whole, [""; 0]);
        assert_eq!(looks.settle(&files, at(4_000)).whole, [""; 0]);
        looks.closed("a");
        assert_eq!(looks.settle(&files, at(4_001)).whole, ["a"]);
        looks.opened("a", at(5_000));
        assert_eq!(looks.settle(&files, at(9_999)).whole, [""; 0]);
        assert_eq!(looks.settle(&files, at(10_000)).whole, ["a"], "the close was missed");
    }

    #[test]
    fn what_was_not_taken_is_tried_again_when_it_changes_and_later() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let files = there(&[("a", stamp(1, 5)), ("b", stamp(2, 4))]);
        looks.settle(&files, at(0));
        assert_eq!(looks.settle(&files, at(100)).whole, ["b", "a"], "the older one first");
        looks.put_off("a", at(10_100));
        assert_eq!(looks.settle(&files[..1], at(200)), Settled { whole: vec![], again: Some(at(10_100)) });
        assert_eq!(looks.settle(&files[..1], at(10_100)).whole, ["a"]);
        looks.put_off("a", at(20_100));
        let mended = there(&[("a", stamp(3, 6))]);
        looks.settle(&mended, at(10_200));
        assert_eq!(looks.settle(&mended, at(10_300)).whole, ["a"], "saved under its name by an editor");
    }
}
