//! `x-kubernetes-validations`: rules in the Common Expression Language, compiled with the schema.
//!
//! ```text
//! {"rule": "self.min <= self.max", "message": "min is more than max"}
//! ```
//! `oldSelf` is the value before an update; a rule that names it says nothing about a new value. A rule that
//! cannot be evaluated refuses the object.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::expression::{Expression, Outcome};
use super::node::Node;
use super::validate::same_item;
use super::{FieldError, FieldReason};
use crate::path::Path;
use crate::status::Cause;

/// Most errors of rules of one object.
const MAX_ERRORS: usize = 100;

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    source: String,
    condition: Result<Arc<Expression>, String>,
    message: Option<String>,
    message_expression: Option<Result<Arc<Expression>, String>>,
    field_path: Option<String>,
    reason: FieldReason,
    /// `oldSelf` is an optional value, and there is one for new values too.
    optional_old: bool,
}

impl Rule {
    /// All rules of one place.
    pub(super) fn all_of(schema: &Map<String, Value>) -> Vec<Rule> {
        let all = schema.get("x-kubernetes-validations").and_then(Value::as_array);
        all.into_iter().flatten().map(Rule::read).collect()
    }

    fn read(rule: &Value) -> Rule {
        let text = |name: &str| rule[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let source = text("rule").unwrap_or_default();
        Rule {
            condition: Expression::compile(&source).map(Arc::new),
            message: text("message"),
            message_expression: text("messageExpression").map(|s| Expression::compile(&s).map(Arc::new)),
            field_path: text("fieldPath"),
            reason: match rule["reason"].as_str() {
                Some("FieldValueRequired") => FieldReason::Required,
                Some("FieldValueForbidden") => FieldReason::Forbidden,
                Some("FieldValueDuplicate") => FieldReason::Duplicate,
                _ => FieldReason::Invalid,
            },
            optional_old: rule["optionalOldSelf"] == true,
            source,
        }
    }

    /// Names the value before the change?
    fn is_transition(&self) -> bool {
        self.condition.as_ref().is_ok_and(|condition| condition.names_old())
    }

    fn check(
        &self,
        node: &Node,
        value: &Value,
        old: Option<&Value>,
        path: &Path<'_>,
        errors: &mut Vec<FieldError>,
    ) {
        if self.is_transition() && old.is_none() && !self.optional_old {
            return;
        }
        let why = match &self.condition {
            Err(error) => format!("rule {:?} cannot be compiled: {error}", self.source),
            Ok(condition) => match condition.evaluate(node, value, old, self.optional_old) {
                Ok(Outcome::Bool(true)) => return,
                Ok(Outcome::Bool(false)) => self.why(node, value, old),
                Ok(_) => format!("rule {:?} is neither true nor false", self.source),
                Err(error) => format!("rule evaluation error: {error}: evaluating rule: {}", self.source),
            },
        };
        let shown = match value {
            Value::Object(_) => "\"object\"".to_owned(),
            Value::Array(_) => "\"array\"".to_owned(),
            other => other.to_string(),
        };
        let message = match self.reason {
            FieldReason::Required => format!("Required value: {why}"),
            FieldReason::Forbidden => format!("Forbidden: {why}"),
            FieldReason::Duplicate => format!("Duplicate value: {shown}: {why}"),
            _ => format!("Invalid value: {shown}: {why}"),
        };
        let mut field = path.to_string();
        if let Some(below) = &self.field_path {
            field.push_str(below);
        }
        let field = field.trim_start_matches('.').to_owned();
        errors.push(FieldError { field, reason: self.reason, message });
    }

    fn why(&self, node: &Node, value: &Value, old: Option<&Value>) -> String {
        if let Some(Ok(expression)) = &self.message_expression
            && let Ok(Outcome::Text(text)) = expression.evaluate(node, value, old, self.optional_old)
        {
            let text = text.trim();
            if !text.is_empty() && !text.contains('\n') {
                return text.to_owned();
            }
        }
        self.message.clone().unwrap_or_else(|| format!("failed rule: {}", self.source.trim()))
    }
}

/// All rules that a value breaks. `old`: what it was before.
pub(super) fn check(root: &Node, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(root, value, old, &Path::Root, &mut errors);
    errors
}

fn walk(node: &Node, value: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if !node.has_rules || value.is_null() || errors.len() >= MAX_ERRORS {
        return;
    }
    let same = old == Some(value);
    // What did not change is let be, except by rules about changes.
    for rule in node.rules.iter().filter(|rule| !same || rule.is_transition()) {
        rule.check(node, value, old, path, errors);
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if let Some(field) = node.field(key) {
                    let old = old.and_then(|old| old.get(key));
                    walk(field, value, old, &Path::Key(path, key), errors);
                }
            }
        }
        Value::Array(items) => {
            let Some(below) = &node.items else { return };
            for (index, item) in items.iter().enumerate() {
                let old = old.and_then(|old| same_item(&node.list, item, old));
                walk(below, item, old, &Path::Index(path, index), errors);
            }
        }
        _ => {}
    }
}

/// All that is wrong with the rules of a schema, found at a path of a definition.
pub(crate) fn check_source(schema: &Value, at: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    source(schema, at, true, &mut causes);
    causes
}

fn source(schema: &Value, at: &str, correlatable: bool, causes: &mut Vec<Cause>) {
    let Value::Object(map) = schema else { return };
    if map.contains_key("x-kubernetes-validations") {
        let mut node = Node::compile(schema, false);
        if at.ends_with("openAPIV3Schema") {
            node.add_object_fields();
        }
        for (index, source) in map["x-kubernetes-validations"].as_array().into_iter().flatten().enumerate() {
            let at = format!("{at}.x-kubernetes-validations[{index}]");
            rule(&node, source, &at, correlatable, causes);
        }
    }
    for (name, schema) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        source(schema, &format!("{at}.properties[{name}]"), correlatable, causes);
    }
    if let Some(schema) = map.get("additionalProperties") {
        source(schema, &format!("{at}.additionalProperties"), correlatable, causes);
    }
    if let Some(schema) = map.get("items") {
        let keyed = map.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map");
        source(schema, &format!("{at}.items"), correlatable && keyed, causes);
    }
}

fn rule(node: &Node, source: &Value, at: &str, correlatable: bool, causes: &mut Vec<Cause>) {
    const REASONS: [&str; 4] =
        ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    let compiled = Rule::read(source);
    if compiled.source.trim().is_empty() {
        causes.push(Cause::new(
            format!("{at}.rule"),
            "FieldValueRequired",
            "Required value: rule is not specified",
        ));
        return;
    }
    let expressions = [
        ("rule", Some(&compiled.condition), compiled.source.as_str()),
        (
            "messageExpression",
            compiled.message_expression.as_ref(),
            source["messageExpression"].as_str().unwrap_or_default(),
        ),
    ];
    for (field, expression, text) in expressions {
        let wrong = match expression {
            None => continue,
            Some(Err(error)) => Some(format!("compilation failed: {error}")),
            Some(Ok(expression)) => expression.check(node).err().map(|e| format!("compilation failed: {e}")),
        };
        if let Some(why) = wrong {
            causes.push(Cause::invalid(format!("{at}.{field}"), text, &why));
        }
    }
    if compiled.is_transition() && !correlatable {
        let why = "oldSelf cannot be used on the uncorrelatable portion of the schema: items of a list that is no map have no identity";
        causes.push(Cause::invalid(format!("{at}.rule"), &compiled.source, why));
    }
    if compiled.message.as_deref().is_some_and(|message| message.contains('\n')) {
        let shown = compiled.message.as_deref().unwrap_or_default();
        causes.push(Cause::invalid(format!("{at}.message"), shown, "message must not contain line breaks"));
    }
    if let Some(reason) = source["reason"].as_str().filter(|reason| !REASONS.contains(reason)) {
        let message = format!("Unsupported value: {reason:?}: supported values: {REASONS:?}");
        causes.push(Cause::new(format!("{at}.reason"), "FieldValueNotSupported", message));
    }
    if let Some(path) = &compiled.field_path {
        let names = path.strip_prefix('.').map(|rest| rest.split('.'));
        let found = names.and_then(|mut names| names.try_fold(node, |node, name| node.field(name)));
        if found.is_none() {
            let why = "fieldPath must be a path such as .a.b to a field beneath the rule's place";
            causes.push(Cause::invalid(format!("{at}.fieldPath"), path, why));
        }
    }
}
