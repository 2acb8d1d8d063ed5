use serde_json::{Value, json};

use super::*;

fn node() -> Node {
    Node::compile(
        &json!({"type": "object", "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"}, "ratio": {"type": "number"},
            "name": {"type": "string"}, "namespace": {"type": "string"}, "x-y": {"type": "string"},
            "from": {"type": "string", "format": "date-time"}, "to": {"type": "string", "format": "date-time"},
            "wait": {"type": "string", "format": "duration"},
            "items": {"type": "array", "items": {"type": "object", "properties": {"port": {"type": "integer"}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }}),
        false,
    )
}

fn eval(source: &str, value: Value, old: Option<Value>) -> Result<Outcome, String> {
    let expression = Expression::compile(source)?;
    expression.check(&node())?;
    expression.evaluate(&node(), &value, old.as_ref(), false)
}

#[test]
fn what_kubernetes_users_write_is_evaluated() {
    let value = json!({
        "min": 1, "max": 3, "ratio": 2, "name": "web-1", "namespace": "n", "x-y": "z",
        "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00+02:00", "wait": "1h30m",
        "items": [{"port": 80}, {"port": 443}], "labels": {"a.b/c": "d"}, "free": {"any": {"thing": 1}},
    });
    for rule in [
        "self.min <= self.max",
        "!has(self.other) || true",
        "self.ratio > 1.5",
        "self.ratio * 2.0 == 4.0",
        "self.name.startsWith('web') && self.name.matches('^[a-z]+-[0-9]$')",
        "self.__namespace__ == 'n' && self.x__dash__y == 'z'",
        "self.from < self.to",
        "self.wait > duration('1h') && self.wait <= duration('90m')",
        "self.items.all(i, i.port > 0) && self.items.exists_one(i, i.port == 80)",
        "self.items.map(i, i.port).sum() == 523",
        "self.items.map(i, i.port).isSorted() && self.items.map(i, i.port).max() == 443",
        "self.items.filter(i, i.port < 100).size() == 1 && size(self.items) == 2",
        "'a.b/c' in self.labels && self.labels['a.b/c'] == 'd'",
        "self.labels.all(k, k.contains('/'))",
        "self.free.any.thing == 1",
        "has(self.labels) ? self.labels.size() == 1 : false",
        "self.name.split('-')[1] == '1' && self.name.lowerAscii() == self.name",
        "self.name.find('[0-9]+') == '1' && self.name.findAll('[a-z]').size() == 3",
        "self.name in ['web-1', 'web-2']",
        "self.?name.orValue('x') == 'web-1'",
        "int('5') + self.min == 6 && string(self.min) == '1'",
    ] {
        // A field that is not there is found before anything is evaluated.
        let expected = if rule.contains("other") {
            Err("undefined field 'other'".into())
        } else {
            Ok(Outcome::Bool(true))
        };
        assert_eq!(eval(rule, value.clone(), None), expected, "{rule}");
    }
    assert_eq!(eval("self.min > self.max", value.clone(), None), Ok(Outcome::Bool(false)));
    let old = json!({"min": 5});
    assert_eq!(eval("self.min >= oldSelf.min", value.clone(), Some(old)), Ok(Outcome::Bool(false)));
    let text = eval("'min ' + string(self.min)", value, None);
    assert_eq!(text, Ok(Outcome::Text("min 1".into())));
}

#[test]
fn what_cannot_be_evaluated_is_refused_before() {
    for (rule, why) in [
        ("self.nothing == 1", "undefined field 'nothing'"),
        ("self.items.all(i, i.prot > 0)", "undefined field 'prot'"),
        ("other == 1", "undeclared reference to 'other'"),
        ("quantity(self.name) > quantity('1')", "does not have the function \"quantity\""),
        ("isURL(self.name)", "does not have the function \"isURL\""),
        ("self.min <=", "ERROR"),
        ("self.items.all(a, self.items.all(b, self.items.all(c, self.items.all(d, true))))", "loops"),
        ("Foo{a: 1} == self", "cannot be made"),
    ] {
        let error = eval(rule, json!({}), None).unwrap_err();
        assert!(error.contains(why), "{rule}: {error}");
    }
    assert!(eval("self.min > 1", json!({}), None).unwrap_err().contains("no such key: min"));
}

#[test]
fn names_are_escaped_as_in_kubernetes() {
    assert_eq!(escaped("namespace").as_deref(), Some("__namespace__"));
    assert_eq!(escaped("a-b.c/d__e").as_deref(), Some("a__dash__b__dot__c__slash__d__underscores__e"));
    assert_eq!(escaped("1a"), None);
    assert_eq!(escaped("a b"), None);
}
