//! Text on a grid of cells: made harmless, measured, cut and wrapped.
//!
//! ```text
//! agent's bytes ──sanitize──▶ harmless text ──wrap / flow──▶ lines no wider than the view
//! ```
//!
//! The unit is the grapheme cluster and its width is what `ratatui` puts it into: the columns of a text are the sum
//! of the columns of its clusters. (The width of a whole string can be smaller where a script joins letters.)

mod flow;
mod sanitize;
mod wrap;

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

pub use flow::{Run, chop, flow, line_text};
pub use sanitize::{TAB, one_line, sanitize};
pub use wrap::{breaks, wrap};

/// Columns that a text without line breaks takes.
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { clusters(text).map(|(_, _, width)| width).sum() }
}

/// Each grapheme cluster with its offset and its columns. ASCII is not sent through the Unicode tables.
pub fn clusters(text: &str) -> impl Iterator<Item = (usize, &str, usize)> {
    let ascii = text.is_ascii();
    let single = ascii.then(|| (0..text.len()).map(|at| (at, &text[at..=at], 1)));
    let general =
        (!ascii).then(|| text.grapheme_indices(true).map(|(at, cluster)| (at, cluster, columns(cluster))));
    single.into_iter().flatten().chain(general.into_iter().flatten())
}

/// Columns of one grapheme cluster.
pub fn columns(cluster: &str) -> usize {
    if cluster.len() == 1 { 1 } else { cluster.width() }
}

/// The longest beginning of `text` that is no wider than `limit`, and its columns.
pub fn cut(text: &str, limit: usize) -> (&str, usize) {
    if text.is_ascii() {
        let end = text.len().min(limit);
        return (&text[..end], end);
    }
    let mut used = 0;
    for (at, _, width) in clusters(text) {
        if used + width > limit {
            return (&text[..at], used);
        }
        used += width;
    }
    (text, used)
}

/// `text` when it fits, else its beginning with `ellipsis` at the end, together no wider than `limit`.
pub fn truncate<'a>(text: &'a str, limit: usize, ellipsis: &str) -> Cow<'a, str> {
    // A text of fewer bytes than columns fits whatever it holds, and a very long one is not measured to its end.
    if cut(text, limit).0.len() == text.len() {
        return Cow::Borrowed(text);
    }
    let (mark, mark_width) = cut(ellipsis, limit);
    Cow::Owned(format!("{}{mark}", cut(text, limit - mark_width).0))
}

/// `text` filled up with blanks, or cut, to exactly `columns`.
pub fn pad(text: &str, columns: usize, ellipsis: &str) -> String {
    let mut out = truncate(text, columns, ellipsis).into_owned();
    let missing = columns.saturating_sub(width(&out));
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wide_joined_and_combined_characters_take_their_columns() {
        assert_eq!(width("größe"), 5);
        assert_eq!(width("日本"), 4);
        assert_eq!(width("👩‍👩‍👧"), 2);
        assert_eq!(width("e\u{301}e\u{301}"), 2);
        assert_eq!(width("🇩🇪"), 2);
    }

    #[test]
    fn a_cut_never_divides_a_character() {
        assert_eq!(truncate("日本語", 5, "…"), "日本…");
        assert_eq!(truncate("日本語", 4, "…"), "日…");
        assert_eq!(truncate("日本語", 6, "…"), "日本語");
        assert_eq!(truncate("abc", 0, "…"), "");
        assert_eq!(truncate("👩‍👩‍👧x", 2, "…"), "…");
        assert_eq!(pad("日本", 3, "…"), "日…");
        assert_eq!(pad("日本", 6, "…"), "日本  ");
    }

    proptest! {
        #[test]
        fn padded_text_is_exactly_as_wide_as_asked(text in any::<String>(), columns in 0_usize..40) {
            let text = one_line(&text);
            prop_assert_eq!(width(&pad(&text, columns, "~")), columns);
            prop_assert!(width(&truncate(&text, columns, "…")) <= columns);
        }
    }
}
