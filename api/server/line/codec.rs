//! Lines out of bytes, with a bound on what is kept.
//!
//! ```text
//! bytes ─▶ push ─▶ next ─▶ Line(…) │ TooLong │ none yet
//! ```
//! A line over the limit is thrown away while it comes: nothing of it is kept, and the one after it is read as if
//! nothing had been. What the lines are does not depend on how the bytes were cut.

use std::collections::VecDeque;

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole line without its newline. Blank lines are left out.
    Line(Vec<u8>),
    /// A line had more bytes than allowed and was thrown away.
    TooLong {
        /// Most bytes that a line may have.
        limit: usize,
    },
}

/// Takes bytes as they come and gives lines.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    partial: Vec<u8>,
    /// The present line holds something.
    begun: bool,
    /// The rest of the present line is thrown away.
    skipping: bool,
    ready: VecDeque<Frame>,
}

impl Decoder {
    /// Lines of at most `limit` bytes, newline not counted.
    pub fn new(limit: usize) -> Self {
        Self { limit, partial: Vec::new(), begun: false, skipping: false, ready: VecDeque::new() }
    }

    /// Another limit, from the next line on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes up to and with the next newline. Answers how many; the rest is for the next call, so that
    /// a limit that changes with a line holds for the line after it.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        self.begun |= !part.iter().all(u8::is_ascii_whitespace);
        if !self.skipping {
            if self.partial.len() + part.len() > self.limit {
                self.skipping = true;
                self.partial = Vec::new();
                self.ready.push_back(Frame::TooLong { limit: self.limit });
            } else {
                self.keep(part);
            }
        }
        match end {
            None => part.len(),
            Some(end) => {
                let line = std::mem::take(&mut self.partial);
                let begun = std::mem::take(&mut self.begun);
                if !std::mem::take(&mut self.skipping) && begun {
                    self.ready.push_back(Frame::Line(line));
                }
                end + 1
            }
        }
    }

    /// Room doubles, but never past the limit.
    fn keep(&mut self, part: &[u8]) {
        let need = self.partial.len() + part.len();
        if need > self.partial.capacity() {
            let want = need.max(self.partial.capacity() * 2).min(self.limit.max(need));
            self.partial.reserve_exact(want - self.partial.len());
        }
        self.partial.extend_from_slice(part);
    }

    /// The next line, if one is whole.
    pub fn next_frame(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    /// Did a line begin that has not ended?
    pub fn is_partial(&self) -> bool {
        self.skipping || self.begun
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(limit: usize, pieces: &[&[u8]]) -> (Vec<Frame>, bool) {
        let mut decoder = Decoder::new(limit);
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                rest = &rest[decoder.push(rest)..];
                assert!(decoder.partial.capacity() <= limit, "{} bytes are kept", decoder.partial.capacity());
            }
        }
        (std::iter::from_fn(|| decoder.next_frame()).collect(), decoder.is_partial())
    }

    fn line(text: &str) -> Frame {
        Frame::Line(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_come_whole_and_blank_ones_not_at_all() {
        let (found, partial) = frames(100, &[b"{\"a\":1}\n\n \r\n{}\r\n{\"ha", b"lf"]);
        assert_eq!((found, partial), (vec![line("{\"a\":1}"), line("{}\r")], true));
    }

    #[test]
    fn a_line_over_the_limit_is_thrown_away_and_the_next_one_is_read() {
        let long = vec![b'x'; 1 << 20];
        let (found, partial) = frames(4, &[b"1234\n12345\n12", b"34\nab", &long, b"x\nok\n"]);
        let too_long = || Frame::TooLong { limit: 4 };
        assert_eq!(found, [line("1234"), too_long(), line("1234"), too_long(), line("ok")]);
        assert!(!partial);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_were_cut(
            lines in prop::collection::vec(prop::collection::vec(prop::sample::select(b"{}\"a\\ \r\0\xff1".to_vec()), 0..40), 0..12),
            cuts in prop::collection::vec(0_usize..500, 0..20),
            limit in 1_usize..48,
        ) {
            let whole: Vec<u8> = lines.join(&b'\n');
            let mut at: Vec<usize> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
            at.extend([0, whole.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
            let cut = frames(limit, &pieces);
            prop_assert_eq!(&cut, &frames(limit, &[&whole]));
            let expected: Vec<Frame> = lines.split_last().map(|(_, ended)| ended).unwrap_or_default().iter()
                .filter_map(|line| match line {
                    long if long.len() > limit => Some(Frame::TooLong { limit }),
                    blank if blank.iter().all(u8::is_ascii_whitespace) => None,
                    line => Some(Frame::Line(line.clone())),
                }).collect();
            let ended = cut.0.iter().take(expected.len()).cloned().collect::<Vec<_>>();
            prop_assert_eq!(ended, expected);
        }
    }
}
