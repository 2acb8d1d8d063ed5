//! What a reviewer answered: the list of findings in it, or why there is none.
//!
//! Only what the agent itself said is looked at, and only a list that is meant as the answer counts: a list with
//! findings wherever it stands, an empty one only where it stands alone. An `[]` in the middle of a sentence, or in a
//! line of code that is quoted, approves nothing.

use std::fmt;

use gcluster_types::kinds::review::Finding;
use serde_json::Value;

/// Longest answer that is read, in bytes.
const LONGEST: usize = 512 << 10;
/// Most places at which a list is looked for.
const TRIES: usize = 1_000;
/// Most findings of one answer.
const MOST: usize = 100;
/// Longest line beside an empty list that is looked at, in bytes: blanks, or a fence with a language.
const FENCE: usize = 64;
/// Longest text of one finding, in characters.
const LONGEST_TEXT: usize = 4_000;

/// Why an answer cannot be used, in words for the reviewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The findings of an answer: a JSON list, alone, in a fenced block or with words around it.
pub(super) fn findings(answer: &str) -> Result<Vec<Finding>, Unreadable> {
    if answer.len() > LONGEST {
        return Err(unreadable(format!("the answer is longer than {LONGEST} bytes")));
    }
    let mut lists: Vec<Vec<Finding>> = Vec::new();
    let mut wrong: Option<Unreadable> = None;
    let (mut at, mut tries) = (0, 0);
    while let Some(found) = answer.get(at..).and_then(|rest| rest.find('[')) {
        let start = at + found;
        at = start + 1;
        // A list of something else is not looked into.
        if !answer.get(at..).is_some_and(|rest| rest.trim_start().starts_with(['{', ']'])) {
            continue;
        }
        tries += 1;
        if tries > TRIES {
            return Err(unreadable("the answer holds too many lists; answer with one alone".to_owned()));
        }
        let Some((items, end)) = list_at(answer, start) else { continue };
        at = end;
        if items.is_empty() && !stands_alone(answer, start, end) {
            continue;
        }
        match read(&items) {
            Ok(list) if lists.contains(&list) => {}
            Ok(list) => lists.push(list),
            Err(error) if items.iter().any(is_meant) => wrong = wrong.or(Some(error)),
            // A list of something else, such as code that is quoted.
            Err(_) => {}
        }
    }
    match (lists.len(), wrong) {
        (0, Some(wrong)) => Err(wrong),
        (0, None) => Err(unreadable("the answer holds no JSON list of findings".to_owned())),
        // One that is wrong beside an empty one: nobody can tell which is meant.
        (1, Some(wrong)) if lists.first().is_none_or(Vec::is_empty) => Err(wrong),
        (1, _) => Ok(lists.pop().unwrap_or_default()),
        (more, _) => Err(unreadable(format!("the answer holds {more} different lists; answer with one"))),
    }
}

fn unreadable(why: String) -> Unreadable {
    Unreadable(why)
}

/// The JSON list that begins at a byte, and where it ends.
fn list_at(text: &str, start: usize) -> Option<(Vec<Value>, usize)> {
    let rest = text.get(start..)?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    match values.next()? {
        Ok(Value::Array(items)) => Some((items, start + values.byte_offset())),
        _ => None,
    }
}

/// Whether nothing but white space shares its lines, but for the fence of a block.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    // Blanks and fences are short, and a line may be as long as the answer.
    let near = |bytes: &mut dyn Iterator<Item = &u8>| -> Vec<u8> {
        bytes.take(FENCE).take_while(|byte| **byte != b'\n').copied().collect()
    };
    let bytes = text.as_bytes();
    let mut before = near(&mut bytes.get(..start).unwrap_or_default().iter().rev());
    before.reverse();
    let after = near(&mut bytes.get(end..).unwrap_or_default().iter());
    let (before, after) = (before.trim_ascii(), after.trim_ascii());
    let is_fence = |line: &[u8]| line.strip_prefix(b"```").is_some_and(|language| !language.contains(&b'`'));
    (before.is_empty() || is_fence(before)) && after.iter().all(|byte| *byte == b'`')
}

/// Whether somebody meant it as a finding.
fn is_meant(item: &Value) -> bool {
    let has = |key: &str| item.get(key).is_some();
    has("severity") || has("file") && has("text")
}

fn read(items: &[Value]) -> Result<Vec<Finding>, Unreadable> {
    if items.len() > MOST {
        return Err(unreadable(format!(
            "the list has {} findings; keep the {MOST} that matter most",
            items.len()
        )));
    }
    let numbered = items.iter().enumerate().map(|(n, item)| {
        finding(item).map_err(|why| unreadable(format!("finding {} of {}: {why}", n + 1, items.len())))
    });
    numbered.collect()
}

fn finding(item: &Value) -> Result<Finding, String> {
    if !item.is_object() {
        return Err("an object with file, line, severity and text is expected".to_owned());
    }
    let mut finding: Finding = serde_json::from_value(item.clone()).map_err(|error| error.to_string())?;
    finding.file = finding.file.trim().to_owned();
    finding.text = finding.text.trim().to_owned();
    finding.repository = finding.repository.filter(|name| !name.trim().is_empty());
    if finding.file.is_empty() {
        return Err("`file` is empty".to_owned());
    }
    if finding.text.is_empty() {
        return Err("`text` is empty".to_owned());
    }
    if let Some(line) = finding.line.filter(|line| *line < 1) {
        return Err(format!("`line` is {line}; lines count from 1, null stands for the whole file"));
    }
    finding.text = crate::report::shortened(&finding.text, LONGEST_TEXT);
    Ok(finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gcluster_types::kinds::review::Severity;
    use proptest::prelude::*;

    const ONE: &str = r#"[{"file": "src/a.rs", "line": 3, "severity": "high", "text": "off by one"}]"#;

    fn said(answer: &str) -> String {
        match findings(answer) {
            Ok(list) => format!("{} findings", list.len()),
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn a_list_is_found_in_whatever_is_around_it() {
        for wrapped in [
            ONE.to_owned(),
            format!("```json\n{ONE}\n```"),
            format!("Here is what I found [see below]:\n\n{ONE}\n\nThat is all of it [x]."),
            format!("Findings: {ONE}."),
            format!("{{\"findings\": {ONE}}}"),
            format!("An example is `[]`, and items[0] == [] is fine.\n{ONE}\nOnce more: {ONE}"),
            format!("The code says [{{\"a\": 1}}, 2] and [1].\n{ONE}"),
        ] {
            let found = findings(&wrapped).unwrap();
            assert_eq!((found[0].severity, found[0].line), (Severity::High, Some(3)), "{wrapped}");
        }
        for empty in ["[]", " [ ]\n", "```json\n[]\n```", "```[]```", "I looked at all of it.\n\n[]\n"] {
            assert_eq!(said(empty), "0 findings", "{empty}");
        }
    }

    #[test]
    fn what_is_no_list_of_findings_says_why_and_where() {
        let none = "the answer holds no JSON list of findings";
        for answer in [
            "",
            "Looks good to me!",
            "The test asserts `items == []`, which is wrong.",
            "+let all = [];",
            "{\"verdict\": \"approved\", \"findings\": []}",
            "[1, 2]",
            "[[[[",
            "[\"unclosed",
        ] {
            assert_eq!(said(answer), none, "{answer}");
        }
        let with =
            |item: &str| said(&format!("[{{\"file\":\"a\",\"severity\":\"low\",\"text\":\"t\"}},{item}]"));
        assert!(with(r#"{"file":"a","severity":"blocker","text":"t"}"#).starts_with(
            "finding 2 of 2: unknown variant `blocker`, expected one of `low`, `medium`, `high`, `critical`"
        ));
        assert_eq!(with(r#"{"file":"a","severity":"low"}"#), "finding 2 of 2: missing field `text`");
        assert_eq!(with(r#"{"file":" ","severity":"low","text":"t"}"#), "finding 2 of 2: `file` is empty");
        assert!(with(r#"{"file":"a","line":0,"severity":"low","text":"t"}"#).contains("`line` is 0"));
        assert!(with("7").contains("an object with file, line, severity and text"));
        assert_eq!(with(r#"{"file":"a","line":null,"severity":"low","text":"t"}"#), "2 findings");
        let two = format!("{ONE}\n[]");
        assert_eq!(said(&two), "the answer holds 2 different lists; answer with one");
        let wrong = "[{\"file\":\"a\",\"severity\":\"huge\",\"text\":\"t\"}]\n\n[]";
        assert!(said(wrong).contains("unknown variant `huge`"), "an empty list does not cover it up");
        assert!(said(&"[".repeat(LONGEST + 1)).contains("longer"));
    }

    #[test]
    fn an_answer_made_to_take_long_does_not() {
        let begin = std::time::Instant::now();
        for evil in ["[", "[{", "[]", "[{\"a\":", "[{\"a\":1},"] {
            let evil = evil.repeat(LONGEST / evil.len());
            assert!(findings(&evil).is_err());
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(60), "{:?}", begin.elapsed());
    }

    fn any_finding() -> impl Strategy<Value = Finding> {
        let severity = prop_oneof![
            Just(Severity::Low),
            Just(Severity::Medium),
            Just(Severity::High),
            Just(Severity::Critical)
        ];
        ("[a-z\\[\\]\"/`.]{1,12}", proptest::option::of(1..9_999_i64), severity, "[^\\s](?s:.{0,40})[^\\s]")
            .prop_map(|(file, line, severity, text)| Finding { repository: None, file, line, severity, text })
    }

    proptest! {
        #[test]
        fn nothing_panics(answer in "(?s).{0,80}", pieces in proptest::collection::vec(0..9_usize, 0..40)) {
            let of = ["[", "]", "{", "}", "\"severity\":", "\"high\"", ",", "```\n", "\\"];
            let noise: String = pieces.into_iter().map(|piece| of[piece]).collect();
            let _ = findings(&answer);
            let _ = findings(&noise);
            let _ = findings(&format!("{noise}{answer}{noise}"));
        }

        #[test]
        fn every_valid_list_in_any_wrapping_is_found(
            list in proptest::collection::vec(any_finding(), 0..4),
            before in "[a-zA-Z .,:`()\\n-]{0,60}",
            after in "[a-zA-Z .,:()\\n-]{0,60}",
            fenced in any::<bool>(),
            pretty in any::<bool>(),
        ) {
            let json = if pretty { serde_json::to_string_pretty(&list) } else { serde_json::to_string(&list) }.unwrap();
            let wrapped = if fenced { format!("{before}\n```json\n{json}\n```\n{after}") } else { format!("{before}\n{json}\n{after}") };
            prop_assert_eq!(findings(&wrapped), Ok(list));
        }

        #[test]
        fn an_empty_list_inside_of_a_line_never_approves(before in "[a-z=(+:-]{1,20}", after in "[a-z ;).]{0,20}") {
            let answer = format!("{before}[]{after}");
            prop_assert!(findings(&answer).is_err(), "{}", answer);
        }
    }
}
