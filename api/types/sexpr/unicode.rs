//! Which characters are printed as they are, and which may stand in a name.
//!
//! ```
//! use gcluster_types::sexpr::unicode::{is_printable, is_word};
//! assert!(is_printable('é') && !is_printable('\u{a0}'));
//! assert!(is_word('é') && is_word('-') && !is_word('.'));
//! ```

use super::unicode_tables::{PRINTABLE, WORD};

/// True for what a string shows as it is: letters, marks, numbers, punctuation, symbols, and the ASCII space.
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() { matches!(c, ' '..='~') } else { contains(&PRINTABLE_LOW, &PRINTABLE, c) }
}

/// True for what a name may hold: letters and decimal digits of any script, `-` and `_`.
pub fn is_word(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || c == '-' || c == '_'
    } else {
        contains(&WORD_LOW, &WORD, c)
    }
}

/// True for a name: at least one character, all of them word characters.
pub fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_word)
}

/// One bit for each character of the basic plane: text in any script is classified by one look.
type Bitmap = [u64; 1024];

static PRINTABLE_LOW: Bitmap = bitmap(&PRINTABLE);
static WORD_LOW: Bitmap = bitmap(&WORD);

const fn bitmap(ranges: &[(u32, u32)]) -> Bitmap {
    let mut bits = [0u64; 1024];
    let mut i = 0;
    while i < ranges.len() {
        let mut c = ranges[i].0;
        while c <= ranges[i].1 && c < 0x1_0000 {
            bits[(c / 64) as usize] |= 1 << (c % 64);
            c += 1;
        }
        i += 1;
    }
    bits
}

fn contains(low: &Bitmap, ranges: &[(u32, u32)], c: char) -> bool {
    let c = u32::from(c);
    match low.get((c / 64) as usize) {
        Some(word) => word >> (c % 64) & 1 == 1,
        None => {
            let after = ranges.partition_point(|&(first, _)| first <= c);
            after > 0 && ranges[after - 1].1 >= c
        }
    }
}
