//! Kubernetes' JSONPath templates, the part that scripts use.
//!
//! ```text
//! {.items[*].metadata.name}
//! {range .items[*]}{.metadata.name}{"\t"}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}
//! ```
//! Fields, `['field']`, `[0]`, `[-1]`, `[a:b]`, `[*]`, `..` is not there; filters compare with `==` or `!=`.

use serde_json::Value;

/// A template: literal text and expressions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Path(Path),
    Range(Path, Vec<Part>),
}

/// A path into a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    Filter { path: Path, equal: bool, value: Value },
    Has(Path),
}

impl Template {
    /// Reads a template. A text without braces is taken as one path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the JSONPath template is empty".into());
        }
        if !text.contains('{') {
            return Ok(Self(vec![Part::Path(Path::parse(text)?)]));
        }
        let mut stack: Vec<(Option<Path>, Vec<Part>)> = vec![(None, Vec::new())];
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            push(&mut stack, Part::Text(rest[..open].to_owned()));
            let close = closing_brace(&rest[open..])
                .ok_or_else(|| format!("the JSONPath template has a `{{` without `}}`: {text}"))?;
            let inner = rest[open + 1..open + close].trim();
            rest = &rest[open + close + 1..];
            if let Some(path) = inner.strip_prefix("range ") {
                stack.push((Some(Path::parse(path.trim())?), Vec::new()));
            } else if inner == "end" {
                match stack.pop() {
                    Some((Some(path), parts)) if !stack.is_empty() => {
                        push(&mut stack, Part::Range(path, parts))
                    }
                    _ => return Err("the JSONPath template has an {end} without {range}".into()),
                }
            } else if inner.starts_with(['"', '\'']) {
                push(&mut stack, Part::Text(literal(inner)?));
            } else {
                push(&mut stack, Part::Path(Path::parse(inner)?));
            }
        }
        push(&mut stack, Part::Text(rest.to_owned()));
        match (stack.len(), stack.pop()) {
            (1, Some((None, parts))) => Ok(Self(parts)),
            _ => Err("the JSONPath template has a {range} without {end}".into()),
        }
    }

    /// The template's text for `value`. Fields that are not there are left out.
    pub(crate) fn render(&self, value: &Value) -> String {
        let mut out = String::new();
        render(&self.0, value, &mut out);
        out
    }
}

fn push(stack: &mut [(Option<Path>, Vec<Part>)], part: Part) {
    if let Some((_, parts)) = stack.last_mut() {
        parts.push(part);
    }
}

fn render(parts: &[Part], value: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let found: Vec<String> = path.select(value).into_iter().map(show).collect();
                out.push_str(&found.join(" "));
            }
            Part::Range(path, inner) => {
                path.select(value).into_iter().for_each(|item| render(inner, item, out))
            }
        }
    }
}

/// A value as JSONPath prints it: texts bare, the rest as JSON.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Where the brace that opens `text` is closed; braces in quotes do not count.
fn closing_brace(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), c) if c == open && !escaped => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') => return Some(at),
            _ => {}
        }
        escaped = false;
    }
    None
}

fn literal(text: &str) -> Result<String, String> {
    let inner = unquoted(text).ok_or_else(|| format!("{text} is not a closed text"))?;
    Ok(inner.replace("\\n", "\n").replace("\\t", "\t").replace("\\\"", "\""))
}

fn unquoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    text.strip_prefix(quote)?.strip_suffix(quote)
}

impl Path {
    /// Reads `.a.b[0]['c.d'][?(@.type=="Ready")]`, with or without a leading `$` or `@`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = text.trim().trim_start_matches(['$', '@']);
        while let Some(c) = rest.chars().next() {
            match c {
                '[' => {
                    let close = closing_bracket(rest).ok_or_else(|| format!("`[` without `]` in {text}"))?;
                    steps.push(bracket(&rest[1..close])?);
                    rest = &rest[close + 1..];
                }
                _ => {
                    rest = rest.strip_prefix('.').unwrap_or(rest);
                    let (name, after) = field(rest);
                    match name.as_str() {
                        "" if after.starts_with('[') || (after.is_empty() && steps.is_empty()) => {}
                        "" => return Err(format!("a field name is missing in {text}")),
                        "*" => steps.push(Step::All),
                        _ => steps.push(Step::Field(name)),
                    }
                    rest = after;
                }
            }
        }
        Ok(Self(steps))
    }

    /// [`Path::parse`] for an argument, which may stand in braces.
    pub(crate) fn parse_argument(text: &str) -> Result<Self, String> {
        Self::parse(text.trim().trim_start_matches('{').trim_end_matches('}'))
    }

    /// Every value at the path.
    pub(crate) fn select<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut current = vec![value];
        for step in &self.0 {
            current = current.into_iter().flat_map(|value| step.select(value)).collect();
        }
        current
    }
}

impl Step {
    fn select<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let place = |index: i64| {
            let length = items.len() as i64;
            (if index < 0 { length + index } else { index }).clamp(0, length) as usize
        };
        match self {
            Step::Field(name) => value.get(name).filter(|found| !found.is_null()).into_iter().collect(),
            Step::Index(index) if *index < -(items.len() as i64) => Vec::new(),
            Step::Index(index) => items.get(place(*index)).into_iter().collect(),
            Step::Slice(from, to) => {
                let (from, to) = (from.map_or(0, place), to.map_or(items.len(), place));
                items.get(from..to).unwrap_or_default().iter().collect()
            }
            Step::All => match value {
                Value::Object(map) => map.values().collect(),
                _ => items.iter().collect(),
            },
            Step::Filter { path, equal, value } => {
                items.iter().filter(|item| path.select(item).contains(&value) == *equal).collect()
            }
            Step::Has(path) => items.iter().filter(|item| !path.select(item).is_empty()).collect(),
        }
    }
}

/// A field name up to the next `.` or `[`; `\.` stands for a dot within it.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '.' | '[' => return (name, &text[at..]),
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            _ => name.push(c),
        }
    }
    (name, "")
}

fn closing_bracket(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 1 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Result<Step, String> {
    let inner = inner.trim();
    if inner == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = unquoted(inner) {
        return Ok(Step::Field(name.to_owned()));
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        return condition(filter);
    }
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("[{inner}] is no index"));
    let bound = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
    match inner.split_once(':') {
        Some((from, to)) => Ok(Step::Slice(bound(from)?, bound(to)?)),
        None => number(inner).map(Step::Index),
    }
}

fn condition(text: &str) -> Result<Step, String> {
    let (operator, equal) = if text.contains("!=") { ("!=", false) } else { ("==", true) };
    let Some((path, value)) = text.split_once(operator) else { return Path::parse(text).map(Step::Has) };
    let value = value.trim();
    let value = match unquoted(value) {
        Some(text) => Value::String(text.to_owned()),
        None => serde_json::from_str(value).map_err(|_| format!("{value} is no value to compare with"))?,
    };
    Ok(Step::Filter { path: Path::parse(path)?, equal, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn render(template: &str) -> String {
        let value = json!({"items": [
            {"metadata": {"name": "a", "labels": {"x.y/z": "1"}}, "n": 1,
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "False"}]},
            {"metadata": {"name": "b"}, "n": 2},
        ]});
        Template::parse(template).unwrap().render(&value)
    }

    #[test]
    fn templates_select_as_kubectl_does() {
        let rows = [
            ("{.items[*].metadata.name}", "a b"),
            (".items[0].metadata.name", "a"),
            ("{.items[-1].metadata.name}", "b"),
            ("{.items[0:1].n}", "1"),
            (r"{.items[0].metadata.labels.x\.y/z}", "1"),
            ("{$.items[0].metadata.labels['x.y/z']}", "1"),
            (r#"{.items[*].conditions[?(@.type=="Ready")].status}"#, "True"),
            (r#"{.items[?(@.n!=1)].metadata.name}"#, "b"),
            ("{.items[?(@.conditions)].metadata.name}", "a"),
            (r#"{range .items[*]}{.metadata.name}{"\t"}{.n}{"\n"}{end}"#, "a\t1\nb\t2\n"),
            ("x{.nothing.here}y", "xy"),
            ("{.items[7].n}", ""),
            ("{.items[-7].n}", ""),
            ("{.items[0].metadata.labels}", r#"{"x.y/z":"1"}"#),
        ];
        for (template, expected) in rows {
            assert_eq!(render(template), expected, "{template}");
        }
    }

    #[test]
    fn malformed_templates_are_refused() {
        for bad in ["", "{.a", "{range .a}", "{end}", "{.a[}", "{.a[x]}", "{\"x}", "{..a}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_template_panics(text in r#"[{}\[\].*?()@$'"a-c0-9:=!\\ ü-]{0,24}"#) {
            if let Ok(template) = Template::parse(&text) {
                template.render(&json!({"a": [{"b": 1}, {"c": "x"}], "b": {"a": [1, 2, 3]}}));
            }
        }
    }
}
