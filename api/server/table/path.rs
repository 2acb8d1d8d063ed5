//! JSONPath as far as printer columns and selectable fields use it.
//!
//! `.a.b`, `['x.y']`, `["x"]`, `[0]`, `[-1]`, `[*]`, `.*`, `[?(@.type=="Ready")]`, each optionally in
//! braces and with a leading `$`.

use serde_json::Value;

/// A path into an object. A path that cannot be read finds nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JsonPath {
    /// None when the text is no path.
    steps: Option<Vec<Step>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    Index(i64),
    All,
    /// Items whose value at a path compares to another; none tests that there is a value.
    Filter(Vec<Step>, Option<(Compare, Value)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Reads a path such as `.status.conditions[?(@.type=="Ready")].status`.
    pub fn parse(text: &str) -> JsonPath {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        JsonPath { steps: steps(text.strip_prefix('$').unwrap_or(text), 0) }
    }

    /// True when the text was a path.
    pub fn is_valid(&self) -> bool {
        self.steps.is_some()
    }

    /// The first value at the path.
    pub fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.all(value).into_iter().next()
    }

    /// All values at the path, in order.
    pub fn all<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        self.steps.as_ref().map(|steps| find(steps, value)).unwrap_or_default()
    }
}

fn find<'v>(steps: &[Step], value: &'v Value) -> Vec<&'v Value> {
    let mut found = vec![value];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            step.follow(value, &mut next);
        }
        found = next;
    }
    found
}

impl Step {
    fn follow<'v>(&self, value: &'v Value, found: &mut Vec<&'v Value>) {
        match (self, value) {
            (Step::Key(key), Value::Object(map)) => found.extend(map.get(key)),
            (Step::Index(index), Value::Array(items)) => {
                let length = items.len() as i64;
                let index = if *index < 0 { length.saturating_add(*index) } else { *index };
                found.extend(usize::try_from(index).ok().and_then(|index| items.get(index)));
            }
            (Step::All, Value::Array(items)) => found.extend(items),
            (Step::All, Value::Object(map)) => found.extend(map.values()),
            (Step::Filter(path, test), Value::Array(items)) => found.extend(items.iter().filter(|item| {
                let values = find(path, item);
                match test {
                    None => !values.is_empty(),
                    Some((compare, wanted)) => values.iter().any(|value| compare.holds(value, wanted)),
                }
            })),
            _ => {}
        }
    }
}

impl Compare {
    fn holds(self, value: &Value, wanted: &Value) -> bool {
        use std::cmp::Ordering;
        let order = match (value, wanted) {
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (a, b) if a == b => Some(Ordering::Equal),
            _ => None,
        };
        match self {
            Compare::Equal => order == Some(Ordering::Equal),
            Compare::Unequal => order != Some(Ordering::Equal),
            Compare::Less => order == Some(Ordering::Less),
            Compare::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Compare::Greater => order == Some(Ordering::Greater),
            Compare::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// Filters within filters say nothing that a column needs.
const MAX_FILTER_DEPTH: usize = 4;

fn steps(mut text: &str, depth: usize) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    if depth > MAX_FILTER_DEPTH {
        return None;
    }
    while !text.is_empty() {
        if let Some(rest) = text.strip_prefix('[') {
            let end = closing(rest)?;
            steps.push(bracket(rest.get(..end)?.trim(), depth)?);
            text = rest.get(end + 1..)?;
        } else {
            // The first step may come without its dot.
            let rest = match text.strip_prefix('.') {
                Some(rest) => rest,
                None if steps.is_empty() => text,
                None => return None,
            };
            let (key, end) = key(rest)?;
            steps.push(if key == "*" { Step::All } else { Step::Key(key) });
            text = rest.get(end..)?;
        }
    }
    Some(steps)
}

/// A key up to the next step; `\` keeps the character after it.
fn key(text: &str) -> Option<(String, usize)> {
    let mut key = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '.' | '[' => return (!key.is_empty()).then_some((key, index)),
            '\\' => key.push(chars.next()?.1),
            _ => key.push(c),
        }
    }
    (!key.is_empty()).then_some((key, text.len()))
}

/// Where the bracket that was opened before closes, outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (1, None);
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => depth -= 1,
            (None, _) => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

fn bracket(inner: &str, depth: usize) -> Option<Step> {
    if inner == "*" {
        return Some(Step::All);
    }
    if let Some(Value::String(key)) = literal(inner) {
        return Some(Step::Key(key));
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|filter| filter.strip_suffix(')')) {
        return filter_step(filter.trim(), depth);
    }
    inner.parse().ok().map(Step::Index)
}

fn filter_step(filter: &str, depth: usize) -> Option<Step> {
    const OPERATORS: [(&str, Compare); 6] = [
        ("==", Compare::Equal),
        ("!=", Compare::Unequal),
        ("<=", Compare::LessOrEqual),
        (">=", Compare::GreaterOrEqual),
        ("<", Compare::Less),
        (">", Compare::Greater),
    ];
    let found = OPERATORS.iter().find_map(|(sign, compare)| {
        filter.split_once(sign).map(|(left, right)| (left.trim(), *compare, right.trim()))
    });
    match found {
        Some((left, compare, right)) => {
            Some(Step::Filter(steps(left.strip_prefix('@')?, depth + 1)?, Some((compare, literal(right)?))))
        }
        None => Some(Step::Filter(steps(filter.strip_prefix('@')?, depth + 1)?, None)),
    }
}

/// A quoted text, a number, true, false or null.
fn literal(text: &str) -> Option<Value> {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)) {
            return Some(Value::String(inner.to_owned()));
        }
    }
    match text.parse::<i64>() {
        // A bare number within brackets is an index, so only filters come here with one.
        Ok(number) => Some(number.into()),
        Err(_) => {
            serde_json::from_str(text).ok().filter(|value: &Value| !value.is_array() && !value.is_object())
        }
    }
}
