//! Wrapping by words, in one pass.

use std::ops::Range;

use super::clusters;

/// Wraps every line of `text` by words to `columns`; a word that is longer is broken. What is indented stays
/// indented where it goes on. Blanks at the end of a line and around a break are dropped, nothing else is.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut out = Vec::new();
    for line in text.split('\n') {
        let indent = indentation(line, columns);
        for (number, range) in breaks(line, columns, columns.saturating_sub(indent)).into_iter().enumerate() {
            let part = &line[range];
            out.push(if number == 0 { part.to_owned() } else { format!("{}{part}", " ".repeat(indent)) });
        }
    }
    out
}

/// Columns by which a line is indented, at most half of the view.
pub(super) fn indentation(line: &str, columns: usize) -> usize {
    let blank = line.len() - line.trim_start_matches(' ').len();
    // A row must keep room for a wide character.
    if blank == line.len() || columns < 4 { 0 } else { blank.min(columns / 2) }
}

/// Where one line breaks: the parts of it that stand on a row each. The first row has `first` columns, every further
/// one `rest`. A cluster that is wider than the row stands alone. There is at least one part.
pub fn breaks(line: &str, first: usize, rest: usize) -> Vec<Range<usize>> {
    let end = line.trim_end().len();
    let line = &line[..end];
    if line.len() <= first && line.is_ascii() {
        return std::iter::once(0..end).collect();
    }
    let (first, rest) = (first.max(1), rest.max(1));
    let mut rows: Vec<Range<usize>> = Vec::new();
    let mut limit = first;
    let mut start = 0;
    // Columns used in this row; the last place where it may be broken: where the row would end and the next begin,
    // and the columns used up to there.
    let mut used = 0;
    let mut chance: Option<(usize, usize, usize)> = None;
    let mut blank_from: Option<usize> = None;
    for (at, cluster, columns) in clusters(line) {
        let blank = cluster == " ";
        if blank {
            blank_from.get_or_insert(at);
            used += columns;
            continue;
        }
        if let Some(from) = blank_from.take() {
            // Blanks at the very start are indentation, no place for a break.
            if from > start {
                chance = Some((from, at, used));
            }
        } else if columns >= 2 && at > start && chance.is_none_or(|(_, next, _)| next < at) {
            // Between the characters of scripts that know no blanks, and emoji.
            chance = Some((at, at, used));
        }
        while used + columns > limit && at > start {
            match chance.take() {
                Some((row_end, next, up_to)) => {
                    rows.push(start..row_end);
                    start = next;
                    used -= up_to;
                }
                // An indentation that leaves no room for a character is dropped.
                None if line[start..at].trim_start_matches(' ').is_empty() => {
                    (start, used) = (at, 0);
                    continue;
                }
                None => {
                    rows.push(start..at);
                    (start, used) = (at, 0);
                }
            }
            limit = rest;
        }
        used += columns;
    }
    rows.push(start..end);
    rows
}

/// Where one line breaks regardless of words, as code does: every row is as full as it can be.
pub(super) fn hard_breaks(line: &str, first: usize, rest: usize) -> Vec<Range<usize>> {
    let mut rows = Vec::new();
    let (mut start, mut used, mut limit) = (0, 0, first.max(1));
    for (at, _, columns) in clusters(line) {
        if used + columns > limit && at > start {
            rows.push(start..at);
            (start, used, limit) = (at, 0, rest.max(1));
        }
        used += columns;
    }
    rows.push(start..line.len());
    rows
}

/// What wrapping promises of a row: it is no wider than asked unless all it holds, but for its indentation, is one
/// character that is. (Emoji that are joined with marks between them take four columns.)
#[cfg(test)]
pub(super) fn fits(row: &str, columns: usize) -> bool {
    super::width(row) <= columns || clusters(row.trim_start()).filter(|(_, _, width)| *width > 0).count() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::text::sanitize;
    use proptest::prelude::*;

    #[test]
    fn words_stay_whole_and_long_ones_are_broken() {
        let rows: [(&str, usize, &[&str]); 9] = [
            ("the quick brown fox", 10, &["the quick", "brown fox"]),
            ("abcdefghijkl", 5, &["abcde", "fghij", "kl"]),
            ("ab abcdefgh", 5, &["ab", "abcde", "fgh"]),
            ("  indented text goes on", 12, &["  indented", "  text goes", "  on"]),
            ("one\n\n two", 10, &["one", "", " two"]),
            ("trailing   ", 20, &["trailing"]),
            ("日本語の文章", 5, &["日本", "語の", "文章"]),
            ("see 日本語 there", 8, &["see 日本", "語 there"]),
            ("", 5, &[""]),
        ];
        for (text, columns, expected) in rows {
            assert_eq!(wrap(text, columns), expected, "{text:?}");
        }
    }

    #[test]
    fn a_view_without_room_still_gets_every_character() {
        assert_eq!(wrap("ab", 0), ["a", "b"]);
        assert_eq!(wrap("日x", 1), ["日", "x"]);
    }

    #[test]
    fn a_megabyte_is_wrapped_in_one_pass() {
        for unit in ["x", "word ", " ", "日", "a\u{301}"] {
            let text = unit.repeat(1_000_000 / unit.len());
            let started = std::time::Instant::now();
            let rows = wrap(&text, 80);
            assert!(rows.len() < 60_000);
            assert!(started.elapsed().as_secs() < 5, "{unit:?}");
        }
    }

    proptest! {
        #[test]
        fn no_row_is_wider_and_nothing_but_blanks_is_lost(
            text in "[ a-z日本👩\u{200d}\u{301}é\n-]{0,120}|\\PC{0,60}",
            columns in 0_usize..30,
        ) {
            let text = sanitize(&text).into_owned();
            let rows = wrap(&text, columns);
            for row in &rows {
                prop_assert!(fits(row, columns.max(1)), "{:?} in {}", row, columns);
            }
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(solid(&rows.concat()), solid(&text));
        }

        #[test]
        fn code_keeps_every_character(line in "[ a-z日👩\u{301}]{0,80}", columns in 1_usize..20) {
            let rows = hard_breaks(&line, columns, columns.saturating_sub(1));
            prop_assert_eq!(rows.iter().map(|row| &line[row.clone()]).collect::<String>(), line.clone());
            for row in rows {
                prop_assert!(fits(&line[row.clone()], columns), "{:?}", &line[row]);
            }
        }
    }
}
