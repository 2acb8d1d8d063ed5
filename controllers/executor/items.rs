//! Splitting a text into the items of a map.
//!
//! ```
//! use gcluster_controllers::executor::items::split;
//! assert_eq!(split("Chapters:\n1. Bees\n2. Honey\n"), ["Bees", "Honey"]);
//! ```
//!
//! The first of these that gives two or more items decides: numbered list, Markdown headings, bullets,
//! paragraphs. Otherwise the whole text is one item. Lines before the first item belong to none.

/// The items of a text, without their markers, trimmed, in order; at least one.
pub fn split(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let ways = [by_marker(&lines, numbered), headings(&lines), by_marker(&lines, bullet), paragraphs(&lines)];
    ways.into_iter().find(|items| items.len() >= 2).unwrap_or_else(|| vec![text.trim().to_owned()])
}

/// `1. text` or `1) text`.
fn numbered(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = if rest.len() < line.len() { rest.strip_prefix(['.', ')'])? } else { return None };
    spaced(rest)
}

/// `- text` or `* text`.
fn bullet(line: &str) -> Option<&str> {
    spaced(line.strip_prefix(['-', '*'])?)
}

/// What follows a marker: a blank and a text, or nothing at all.
fn spaced(rest: &str) -> Option<&str> {
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix([' ', '\t']) }
}

/// Items that a marker begins. Indented lines and lines of text that follow belong to their item; items that
/// are indented deeper than the first one are part of the item above them.
fn by_marker(lines: &[&str], marker: fn(&str) -> Option<&str>) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut items: Vec<Vec<&str>> = Vec::new();
    let mut outer = 0;
    let mut fenced = false;
    for line in lines {
        let found = if fenced { None } else { marker(line.trim_start()) };
        fenced ^= fence(line);
        match (found, items.last_mut()) {
            (Some(text), None) => {
                outer = indent(line);
                items.push(vec![text]);
            }
            (Some(text), Some(_)) if indent(line) <= outer => items.push(vec![text]),
            (_, Some(item)) => item.push(line),
            (_, None) => {}
        }
    }
    joined(items)
}

/// Items that a heading of the highest level in the text begins, the heading included.
fn headings(lines: &[&str]) -> Vec<String> {
    let level = |line: &str| {
        let depth = line.chars().take_while(|c| *c == '#').count();
        ((1..=6).contains(&depth) && line[depth..].starts_with([' ', '\t'])).then_some(depth)
    };
    let marks: Vec<Option<usize>> =
        outside_fences(lines).map(|(line, out)| if out { level(line) } else { None }).collect();
    // A single title above several sections is no item: the highest level that occurs twice decides.
    let top = (1..=6).find(|depth| marks.iter().filter(|mark| **mark == Some(*depth)).count() >= 2);
    let Some(top) = top else { return Vec::new() };
    let mut items: Vec<Vec<&str>> = Vec::new();
    let mut open = false;
    for (line, mark) in lines.iter().zip(marks) {
        match mark {
            Some(depth) if depth == top => {
                items.push(vec![line]);
                open = true;
            }
            Some(depth) if depth < top => open = false,
            _ => {
                if let (true, Some(item)) = (open, items.last_mut()) {
                    item.push(line);
                }
            }
        }
    }
    joined(items)
}

/// Runs of lines between empty lines. A fenced block is never split.
fn paragraphs(lines: &[&str]) -> Vec<String> {
    let mut items: Vec<Vec<&str>> = vec![Vec::new()];
    for (line, outside) in outside_fences(lines) {
        match items.last_mut() {
            Some(item) if !(outside && line.trim().is_empty()) => item.push(line),
            Some(item) if item.is_empty() => {}
            _ => items.push(Vec::new()),
        }
    }
    joined(items)
}

fn outside_fences<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = (&'a str, bool)> {
    lines.iter().scan(false, |fenced, line| {
        let outside = !*fenced;
        *fenced ^= fence(line);
        Some((*line, outside))
    })
}

fn fence(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("```") || line.starts_with("~~~")
}

fn joined(items: Vec<Vec<&str>>) -> Vec<String> {
    items
        .into_iter()
        .map(|lines| lines.join("\n").trim().to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_way_that_gives_two_items_decides() {
        let cases: [(&str, &[&str]); 12] = [
            ("1. one\n2. two", &["one", "two"]),
            ("Here:\n\n1) one\n   more\n2) two\n- sub", &["one\n   more", "two\n- sub"]),
            ("# A\ntext\n# B\n1. only", &["# A\ntext", "# B\n1. only"]),
            ("# Book\n## One\na\n## Two\nb", &["## One\na", "## Two\nb"]),
            ("# Book\n## One\na\n# Other\nc\n## Two\nb", &["# Book\n## One\na", "# Other\nc\n## Two\nb"]),
            ("- one\n- two\n  - inner\n* three", &["one", "two\n  - inner", "three"]),
            ("  - one\n  - two", &["one", "two"]),
            ("first\nline\n\nsecond\n\n\n\nthird", &["first\nline", "second", "third"]),
            ("```\n- a\n\n- b\n```", &["```\n- a\n\n- b\n```"]),
            ("just one", &["just one"]),
            ("1. only one", &["1. only one"]),
            ("", &[""]),
        ];
        for (text, want) in cases {
            assert_eq!(split(text), want, "{text:?}");
        }
    }

    #[test]
    fn words_that_look_like_markers_are_none() {
        assert_eq!(split("-dash\n-dash"), ["-dash\n-dash"]);
        assert_eq!(split("1.5 litres\n2.5 litres"), ["1.5 litres\n2.5 litres"]);
        assert_eq!(split("**bold**\n**bold**"), ["**bold**\n**bold**"]);
    }

    proptest! {
        #[test]
        fn any_text_gives_at_least_one_item(text in "(?s).{0,300}") {
            prop_assert!(!split(&text).is_empty());
        }

        #[test]
        fn a_numbered_list_gives_its_items(items in prop::collection::vec("[a-z][a-z ]{0,20}[a-z]", 2..20)) {
            let text: Vec<String> = items.iter().enumerate().map(|(n, item)| format!("{}. {item}", n + 1)).collect();
            prop_assert_eq!(split(&text.join("\n")), items);
        }
    }
}
