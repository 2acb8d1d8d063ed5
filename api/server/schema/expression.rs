//! One expression of the Common Expression Language over a value that has a schema.
//!
//! What the evaluator does not know is found when the expression is checked, not when an object comes: identifiers,
//! fields that the schema does not have, functions. Fields whose names are no identifiers are escaped as in
//! Kubernetes: `x-y` is `x__dash__y`, `namespace` is `__namespace__`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::extractors::This;
use cel::objects::{Key, Map as CelMap, OptionalValue};
use cel::{Context, Env, ExecutionError, Program};
use regex::Regex;
use serde_json::Value;

use super::format::Format;
use super::node::{Node, Type};

/// Longest expression that is read, in bytes.
const MAX_LENGTH: usize = 16 << 10;
/// Most loops within one another: each multiplies the time that an object may take.
const MAX_LOOPS: usize = 3;

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
        Checker { root: node, scope: Vec::new(), loops: 0 }.visit(self.program.expression()).map(drop)
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

/// Functions that the evaluator knows, beside operators.
const FUNCTIONS: [&str; 50] = [
    "bool",
    "bytes",
    "charAt",
    "contains",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "find",
    "findAll",
    "format",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "hasValue",
    "indexOf",
    "int",
    "isSorted",
    "join",
    "lastIndexOf",
    "lowerAscii",
    "matches",
    "max",
    "min",
    "none",
    "of",
    "ofNonZeroValue",
    "or",
    "orValue",
    "replace",
    "reverse",
    "size",
    "split",
    "startsWith",
    "string",
    "substring",
    "sum",
    "timestamp",
    "trim",
    "type",
    "uint",
    "upperAscii",
    "value",
];
/// Names of types.
const TYPES: [&str; 12] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "optional",
    "optional_type",
    "string",
    "uint",
];

/// Walks an expression beside the schema; the shape of a part is none where it is not known.
struct Checker<'n> {
    root: &'n Node,
    scope: Vec<(String, Option<&'n Node>)>,
    loops: usize,
}

impl<'n> Checker<'n> {
    fn visit(&mut self, expression: &IdedExpr) -> Result<Option<&'n Node>, String> {
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(None),
            Expr::Ident(name) => self.identifier(name),
            Expr::Select(select) => {
                let of = self.visit(&select.operand)?;
                field(of, &select.field)
            }
            Expr::Call(call) => {
                let of = call.target.as_ref().map(|target| self.visit(target)).transpose()?.flatten();
                let arguments =
                    call.args.iter().map(|argument| self.visit(argument)).collect::<Result<Vec<_>, _>>()?;
                let name = call.func_name.as_str();
                let operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
                if !operator && !FUNCTIONS.contains(&name) {
                    return Err(format!("gcluster does not have the function {name:?} in validation rules"));
                }
                let first = of.or(arguments.first().copied().flatten());
                Ok(match name {
                    "_[_]" => first.and_then(|node| node.items.as_deref().or(node.additional.as_deref())),
                    _ => None,
                })
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.visit(element)?;
                }
                Ok(None)
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    self.entry(&entry.expr)?;
                }
                Ok(None)
            }
            Expr::Struct(structure) => Err(format!(
                "objects of the type {:?} cannot be made in validation rules",
                structure.type_name
            )),
            Expr::Comprehension(over) => {
                let range = self.visit(&over.iter_range)?;
                self.loops += 1;
                if self.loops > MAX_LOOPS {
                    return Err(format!("more than {MAX_LOOPS} loops within one another may take too long"));
                }
                self.visit(&over.accu_init)?;
                let depth = self.scope.len();
                let item = range.and_then(|node| node.items.as_deref());
                match &over.iter_var2 {
                    None => self.scope.push((over.iter_var.clone(), item)),
                    Some(second) => {
                        self.scope.push((over.iter_var.clone(), None));
                        let value = item.or(range.and_then(|node| node.additional.as_deref()));
                        self.scope.push((second.clone(), value));
                    }
                }
                self.scope.push((over.accu_var.clone(), None));
                self.visit(&over.loop_cond)?;
                self.visit(&over.loop_step)?;
                self.visit(&over.result)?;
                self.scope.truncate(depth);
                self.loops -= 1;
                Ok(None)
            }
        }
    }

    fn entry(&mut self, entry: &EntryExpr) -> Result<(), String> {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value).map(drop),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key)?;
                self.visit(&entry.value).map(drop)
            }
        }
    }

    fn identifier(&self, name: &str) -> Result<Option<&'n Node>, String> {
        if let Some((_, node)) = self.scope.iter().rev().find(|(bound, _)| bound == name) {
            return Ok(*node);
        }
        match name {
            "self" => Ok(Some(self.root)),
            "oldSelf" => Ok(None),
            _ if name.starts_with('@') || TYPES.contains(&name) => Ok(None),
            _ => Err(format!("undeclared reference to '{name}'")),
        }
    }
}

/// The shape of a field; unknown where the place takes more than the schema names.
fn field<'n>(of: Option<&'n Node>, name: &str) -> Result<Option<&'n Node>, String> {
    let Some(node) = of.filter(|node| node.kind == Type::Object && !node.properties.is_empty()) else {
        return Ok(of.and_then(|node| node.additional.as_deref()));
    };
    let declared = node.properties.iter().find(|(key, _)| escaped(key).as_deref() == Some(name));
    match declared {
        Some((_, field)) => Ok(Some(field)),
        None if node.preserve_unknown => Ok(None),
        None => Err(format!("undefined field '{name}'")),
    }
}

#[cfg(test)]
mod tests;
