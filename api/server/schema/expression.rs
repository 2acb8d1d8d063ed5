//! One expression of the Common Expression Language over a value that has a schema.
//!
//! What the evaluator does not know is found when the expression is checked, not when an object comes: identifiers,
//! fields that the schema does not have, functions. Fields whose names are no identifiers are escaped as in
//! Kubernetes: `x-y` is `x__dash__y`, `namespace` is `__namespace__`.

mod check;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use cel::extractors::This;
use cel::objects::{Key, Map as CelMap, OptionalValue};
use cel::{Context, Env, ExecutionError, Program};
use regex::Regex;
use serde_json::Value;

use super::format::Format;
use super::node::{Node, Type};

/// Longest expression that is read, in bytes.
const MAX_LENGTH: usize = 16 << 10;

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Expression {
    program: Program,
    names_old: bool,
}

/// What an expression came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Bool(bool),
    Text(String),
    Other,
}

impl Expression {
    /// Reads an expression.
    pub(super) fn compile(source: &str) -> Result<Expression, String> {
        if source.len() > MAX_LENGTH {
            return Err(format!("an expression may have at most {MAX_LENGTH} bytes"));
        }
        let source = source.to_owned();
        // The parser is generated code of another project: whatever it does with strange text, the text is refused.
        let program = std::panic::catch_unwind(move || ENV.compile(&source));
        let program = program.map_err(|_| "the expression cannot be read".to_owned())?;
        let program = program.map_err(|errors| {
            errors.to_string().lines().next().unwrap_or("the expression cannot be read").to_owned()
        })?;
        let names_old = program.references().has_variable("oldSelf");
        Ok(Expression { program, names_old })
    }

    /// Does it name the value before the change?
    pub(super) fn names_old(&self) -> bool {
        self.names_old
    }

    /// Refuses what the evaluator cannot do and what the schema does not have.
    pub(super) fn check(&self, node: &Node) -> Result<(), String> {
        check::check(self.program.expression(), node)
    }

    /// Evaluates it for a value and the value before.
    pub(super) fn evaluate(
        &self,
        node: &Node,
        value: &Value,
        old: Option<&Value>,
        optional_old: bool,
    ) -> Result<Outcome, String> {
        let mut context = context();
        context.add_variable_from_value("self", convert(Some(node), value));
        if self.names_old {
            let old = old.map(|old| convert(Some(node), old));
            let old = match (optional_old, old) {
                (false, old) => old.unwrap_or(cel::Value::Null),
                (true, Some(old)) => cel::Value::Opaque(Arc::new(OptionalValue::of(old))),
                (true, None) => cel::Value::Opaque(Arc::new(OptionalValue::none())),
            };
            context.add_variable_from_value("oldSelf", old);
        }
        match self.program.execute(&context) {
            Ok(cel::Value::Bool(holds)) => Ok(Outcome::Bool(holds)),
            Ok(cel::Value::String(text)) => Ok(Outcome::Text(text.to_string())),
            Ok(_) => Ok(Outcome::Other),
            Err(ExecutionError::NoSuchKey(key)) => Err(format!("no such key: {key}")),
            Err(error) => Err(error.to_string().chars().take(200).collect()),
        }
    }
}

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    env.set_error_on_duplicate_map_keys(false);
    if let Err(error) = env.add_extension(cel::extensions::strings) {
        tracing::error!(%error, "the functions of texts are missing in validation rules");
    }
    Arc::new(env)
});

type Items = This<Arc<Vec<cel::Value>>>;
type Outcomes<T> = Result<T, ExecutionError>;

/// The functions that Kubernetes adds to the language.
fn context() -> Context<'static, 'static> {
    let mut context = Context::with_env(Arc::clone(&ENV));
    let results = [
        context.add_function("isSorted", |This(items): Items| {
            items.windows(2).all(|pair| match pair {
                [a, b] => a.partial_cmp(b).is_some_and(std::cmp::Ordering::is_le),
                _ => true,
            })
        }),
        context.add_function("sum", |This(items): Items| -> Outcomes<cel::Value> {
            let mut items = items.iter().cloned();
            let Some(first) = items.next() else { return Ok(cel::Value::Int(0)) };
            items.try_fold(first, |sum, item| sum + item)
        }),
        context.add_function("min", |This(items): Items| extreme(&items, std::cmp::Ordering::Less)),
        context.add_function("max", |This(items): Items| extreme(&items, std::cmp::Ordering::Greater)),
        context.add_function("find", |This(text): This<Arc<String>>, pattern: Arc<String>| {
            let regex = regex(&pattern)?;
            Ok::<cel::Value, ExecutionError>(regex.find(&text).map_or("", |found| found.as_str()).into())
        }),
        context.add_function("findAll", |This(text): This<Arc<String>>, pattern: Arc<String>| {
            let regex = regex(&pattern)?;
            let all = regex.find_iter(&text).map(|found| cel::Value::from(found.as_str()));
            Ok::<cel::Value, ExecutionError>(cel::Value::List(Arc::new(all.collect())))
        }),
    ];
    for error in results.into_iter().filter_map(Result::err) {
        tracing::error!(%error, "a function is missing in validation rules");
    }
    context
}

fn extreme(items: &[cel::Value], wanted: std::cmp::Ordering) -> Outcomes<cel::Value> {
    let empty = || ExecutionError::function_error("min or max", "the list is empty");
    let mut items = items.iter();
    let mut best = items.next().ok_or_else(empty)?;
    for item in items {
        if item.partial_cmp(best) == Some(wanted) {
            best = item;
        }
    }
    Ok(best.clone())
}

fn regex(pattern: &str) -> Outcomes<Regex> {
    Regex::new(pattern).map_err(|error| ExecutionError::function_error("find", error))
}

/// A value as its schema types it.
fn convert(node: Option<&Node>, value: &Value) -> cel::Value {
    let node = node.filter(|node| node.kind != Type::Any || !node.properties.is_empty());
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => {
            let float = node.is_some_and(|node| node.kind == Type::Number);
            match number.as_i64().filter(|_| !float) {
                Some(integer) => cel::Value::Int(integer),
                None => cel::Value::Float(number.as_f64().unwrap_or_default()),
            }
        }
        Value::String(text) => match node.and_then(|node| node.format) {
            Some(Format::DateTime) => converted("timestamp(text)", text),
            Some(Format::Date) => converted("timestamp(text)", &format!("{text}T00:00:00Z")),
            Some(Format::Duration) => converted("duration(text)", text),
            Some(Format::Byte) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
                cel::Value::Bytes(Arc::new(bytes))
            }
            _ => text.as_str().into(),
        },
        Value::Array(items) => {
            let below = node.and_then(|node| node.items.as_deref());
            cel::Value::List(Arc::new(items.iter().map(|item| convert(below, item)).collect()))
        }
        Value::Object(map) => {
            let mut entries = HashMap::with_capacity(map.len());
            for (key, value) in map {
                let name = match node {
                    Some(node) if node.declares(key) => escaped(key),
                    _ => Some(key.clone()),
                };
                if let Some(name) = name {
                    let value = convert(node.and_then(|node| node.field(key)), value);
                    entries.insert(Key::String(Arc::new(name)), value);
                }
            }
            cel::Value::Map(CelMap { map: Arc::new(entries) })
        }
    }
}

/// A text as a time or a duration; the text itself when it is none, which no comparison accepts.
fn converted(how: &str, text: &str) -> cel::Value {
    static TIMESTAMP: LazyLock<Option<Program>> = LazyLock::new(|| ENV.compile("timestamp(text)").ok());
    static DURATION: LazyLock<Option<Program>> = LazyLock::new(|| ENV.compile("duration(text)").ok());
    let program = if how.starts_with('t') { &*TIMESTAMP } else { &*DURATION };
    let mut context = Context::with_env(Arc::clone(&ENV));
    context.add_variable_from_value("text", text);
    let value = program.as_ref().and_then(|program| program.execute(&context).ok());
    value.unwrap_or_else(|| text.into())
}

const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name of a field as an identifier; none when it cannot be one.
fn escaped(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let first = name.chars().next()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    if first.is_ascii_digit() || !name.chars().all(fits) {
        return None;
    }
    let name = name.replace("__", "__underscores__");
    Some(name.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}

#[cfg(test)]
mod tests;
