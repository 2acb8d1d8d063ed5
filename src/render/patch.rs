//! The colours of a diff.

use super::Tone;

/// What a line of a diff means. A line that begins with `#` is a heading of whoever made the text.
pub fn tone(line: &str) -> Tone {
    match line.as_bytes() {
        [b'#', ..] => Tone::Strong,
        _ if line.starts_with("diff --git ") => Tone::Strong,
        _ if line.starts_with("+++ ") || line.starts_with("--- ") || line.starts_with("index ") => Tone::Dim,
        [b'@', b'@', ..] => Tone::Dim,
        [b'+', ..] => Tone::Good,
        [b'-', ..] => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// True for the first line of what concerns another file, and for headings.
pub fn begins_part(line: &str) -> bool {
    tone(line) == Tone::Strong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_taken_away_and_around_it_is_told_apart() {
        let lines =
            ["# app", "diff --git a/x b/x", "--- a/x", "+++ b/x", "@@ -1 +1 @@", "-old", "+new", " kept", ""];
        let tones = lines.map(tone);
        use Tone::{Bad, Dim, Good, Plain, Strong};
        assert_eq!(tones, [Strong, Strong, Dim, Dim, Dim, Bad, Good, Plain, Plain]);
    }
}
