//! What was changed, so that it can be taken back.

/// Bytes of removed and inserted text that are kept.
const KEPT: usize = 4 << 20;

/// How a change was made: typing and deleting are taken back by the word, not by the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Typed,
    Deleted,
    Whole,
}

#[derive(Clone, Debug)]
struct Change {
    at: usize,
    removed: String,
    inserted: String,
    /// Where the cursor was before.
    cursor: usize,
    way: Way,
}

/// Changes that were made, and changes that were taken back.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    done: Vec<Change>,
    undone: Vec<Change>,
    bytes: usize,
}

impl History {
    pub(super) fn record(&mut self, at: usize, removed: String, inserted: &str, cursor: usize, way: Way) {
        self.undone.clear();
        self.bytes += removed.len() + inserted.len();
        if let Some(last) = self.done.last_mut().filter(|last| last.way == way) {
            let goes_on = match way {
                // A blank after a word ends what is taken back together.
                Way::Typed => {
                    removed.is_empty()
                        && at == last.at + last.inserted.len()
                        && (inserted != " " || last.inserted.ends_with(' '))
                }
                Way::Deleted | Way::Whole => false,
            };
            if goes_on {
                last.inserted.push_str(inserted);
                return;
            }
            if way == Way::Deleted
                && at + removed.len() == last.at
                && removed != "\n"
                && last.removed.len() < 64
            {
                last.removed.insert_str(0, &removed);
                last.at = at;
                return;
            }
        }
        self.done.push(Change { at, removed, inserted: inserted.to_owned(), cursor, way });
        while self.bytes > KEPT && self.done.len() > 1 {
            let oldest = self.done.remove(0);
            self.bytes = self.bytes.saturating_sub(oldest.removed.len() + oldest.inserted.len());
        }
    }

    /// Takes the last change back; the cursor's place, if there was one.
    pub(super) fn undo(&mut self, text: &mut String) -> Option<usize> {
        let change = self.done.pop()?;
        text.replace_range(change.at..change.at + change.inserted.len(), &change.removed);
        let cursor = change.cursor;
        self.undone.push(change);
        Some(cursor)
    }

    /// Makes it again.
    pub(super) fn redo(&mut self, text: &mut String) -> Option<usize> {
        let change = self.undone.pop()?;
        text.replace_range(change.at..change.at + change.removed.len(), &change.inserted);
        let cursor = change.at + change.inserted.len();
        // What is typed next is a change of its own.
        self.done.push(Change { way: Way::Whole, ..change });
        Some(cursor)
    }
}
