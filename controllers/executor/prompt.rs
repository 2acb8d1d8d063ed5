//! Putting a prompt together: slots filled from the context, what came before in front.
//!
//! ```
//! use gcluster_controllers::executor::prompt::{fill, preceded};
//! let context = [("topic".to_owned(), "bees".to_owned())].into();
//! assert_eq!(fill("On [topic] and [x].", &context), "On bees and [x].");
//! assert_eq!(preceded(Some("An outline."), "Write."), "An outline.\n\nWrite.");
//! ```

use std::collections::BTreeMap;

/// Replaces every `[name]` that the context binds. What is put in is not looked at again. Other brackets stay
/// as they are.
pub fn fill(body: &str, context: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(open) = rest.find('[') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let close = rest[1..].find(['[', ']']).map(|at| at + 1);
        match close
            .filter(|at| rest[*at..].starts_with(']'))
            .and_then(|at| Some((at, context.get(&rest[1..at])?)))
        {
            Some((at, value)) => {
                out.push_str(value);
                rest = &rest[at + 1..];
            }
            None => {
                out.push('[');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// A body with the text that precedes it, an empty line between them.
pub fn preceded(before: Option<&str>, body: &str) -> String {
    match before.map(|text| text.trim_end_matches('\n')).filter(|text| !text.is_empty()) {
        Some(text) => format!("{text}\n\n{body}"),
        None => body.to_owned(),
    }
}

/// The results of a map, in the order of its items.
pub fn join<'a>(results: impl IntoIterator<Item = &'a str>) -> String {
    results.into_iter().map(|text| text.trim_end_matches('\n')).collect::<Vec<_>>().join("\n\n---\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn slots_are_filled_and_everything_else_stays() {
        let bound = context(&[("a", "1"), ("b", "[a]"), ("größe", "4")]);
        let cases = [
            ("[a][b]", "1[a]"),
            ("[a] [c] [A] [ a ]", "1 [c] [A] [ a ]"),
            ("[[a]] [x[a]] [", "[1] [x1] ["),
            ("[größe]", "4"),
            ("[a](link) - [ ] task", "1(link) - [ ] task"),
            ("", ""),
        ];
        for (body, want) in cases {
            assert_eq!(fill(body, &bound), want, "{body}");
        }
    }

    #[test]
    fn what_came_before_precedes_with_an_empty_line() {
        assert_eq!(preceded(Some("x\n\n"), "y"), "x\n\ny");
        assert_eq!(preceded(Some("\n"), "y"), "y");
        assert_eq!(preceded(None, "y"), "y");
        assert_eq!(join(["a\n", "b"]), "a\n\n---\n\nb");
        assert_eq!(join([]), "");
    }

    proptest! {
        #[test]
        fn without_bindings_nothing_changes(body in "(?s)[\\[\\]a-c ]{0,60}") {
            prop_assert_eq!(fill(&body, &BTreeMap::new()), body);
        }
    }
}
