//! What an expression names, looked up before anything is evaluated: identifiers, functions, fields.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use super::escaped;
use crate::schema::node::{Node, Type};

/// Most loops within one another: each multiplies the time that an object may take.
const MAX_LOOPS: usize = 3;
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

/// Refuses an expression that names what is not there.
pub(super) fn check(expression: &IdedExpr, root: &Node) -> Result<(), String> {
    Checker { root, scope: Vec::new(), loops: 0 }.visit(expression).map(drop)
}

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
