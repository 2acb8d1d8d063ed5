//! What a transcript holds already, while the output that it came from is read a second time.
//!
//! ```text
//! output ──again──▶ Dialect ──▶ text · tool · usage · text …
//! transcript        prompt · text · tool · usage ─┘     └▶ new: reported
//! ```
//!
//! The same lines give the same entries in the same order, so the beginning of what is produced again is what is
//! on record. Notices and messages of the transcript need not come from the output (the executor records those of
//! the prompt); they are passed over when they do not come again.

use std::collections::VecDeque;

use gcluster_types::transcript::Entry;

/// Entries on record that were not produced again yet.
#[derive(Default)]
pub(crate) struct Recorded {
    left: VecDeque<Entry>,
}

impl Recorded {
    /// From a transcript. What only the caller of a backend records is left out.
    pub(crate) fn new(transcript: impl IntoIterator<Item = Entry>) -> Recorded {
        let own =
            |entry: &Entry| !matches!(entry, Entry::Prompt { .. } | Entry::Output { .. } | Entry::End { .. });
        Recorded { left: transcript.into_iter().filter(own).collect() }
    }

    /// True when this entry is on record: the next one that is produced is compared with what follows it.
    pub(crate) fn takes(&mut self, produced: &Entry) -> bool {
        let soft = self.left.iter().take_while(|entry| is_soft(entry)).count();
        let mut reach = self.left.iter().take(soft + 1);
        if let Some(at) = reach.position(|entry| is_same(entry, produced)) {
            self.left.drain(..=at);
            return true;
        }
        if soft == self.left.len() {
            // Nothing of what is left comes from the output.
            if !is_soft(produced) {
                self.left.clear();
            }
            return false;
        }
        // Should a newer version word something differently, the place decides.
        self.left.drain(..=soft);
        true
    }
}

fn is_soft(entry: &Entry) -> bool {
    matches!(entry, Entry::Notice { .. } | Entry::Message { .. })
}

fn is_same(recorded: &Entry, produced: &Entry) -> bool {
    match (recorded, produced) {
        // The name of an acknowledged message is not known any more.
        (Entry::Message { .. }, Entry::Message { name: None, .. }) => true,
        // A fraction may have lost its last digit on its way through JSON.
        (Entry::Usage { tokens, .. }, Entry::Usage { tokens: produced, .. }) => tokens == produced,
        _ => recorded == produced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(kind: u8, n: usize) -> Entry {
        let text = format!("{}", n % 3);
        match kind % 4 {
            0 => Entry::Notice { text },
            1 => Entry::Message { from: "user".into(), text, name: Some(format!("m{n}")) },
            2 => Entry::ToolUse { id: n.to_string(), name: "Bash".into(), detail: text },
            _ => Entry::Text { text },
        }
    }

    proptest! {
        #[test]
        fn a_cut_at_any_place_neither_loses_nor_doubles_an_entry(
            kinds in proptest::collection::vec(0..4_u8, 0..20),
            prompt_messages in 0..3_usize,
            cut in 0..21_usize,
        ) {
            let produced: Vec<Entry> = kinds.iter().enumerate().map(|(n, kind)| entry(*kind, n)).collect();
            let cut = cut.min(produced.len());
            let mut transcript = vec![Entry::Prompt { text: "p".into() }];
            let in_prompt = |n| Entry::Message { from: "ann".into(), text: "x".into(), name: Some(format!("p{n}")) };
            transcript.extend((0..prompt_messages).map(in_prompt));
            transcript.extend_from_slice(&produced[..cut]);
            let mut recorded = Recorded::new(transcript);
            let new: Vec<Entry> = produced.iter().filter(|entry| !recorded.takes(entry)).cloned().collect();
            prop_assert_eq!(&new[..], &produced[cut..]);
        }
    }
}
