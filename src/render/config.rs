//! A ConfigMap or Secret in words, as kubectl describes them. Of a secret only names and sizes are shown.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::event;
use super::fields::Fields;

/// Holds a whole former state of the object, values included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The text of `describe configmap`: each value under its name.
pub fn describe_map(object: &Value, events: &[Value], now: Timestamp) -> String {
    let mut out = head(object).render(0) + "\nData\n====\n";
    for (key, value) in entries(object, "data") {
        out.push_str(&format!("{}:\n----\n{}\n\n", super::visible(key), super::visible(value)));
    }
    out.push_str("BinaryData\n====\n");
    for (key, value) in entries(object, "binaryData") {
        out.push_str(&format!("{}: {}\n", super::visible(key), size(value)));
    }
    out + "\n" + &event::section(events, now, 12)
}

/// The text of `describe secret`: the names of its values, and how long they are.
pub fn describe_secret(object: &Value) -> String {
    let mut kind = Fields::new();
    kind.add("Type", object["type"].as_str().unwrap_or_default());
    let mut data = Fields::new();
    for (key, value) in entries(object, "data") {
        data.add(key, size(value));
    }
    format!("{}\n{}\nData\n====\n{}", head(object).render(0), kind.render(0), data.render(0))
}

fn head(object: &Value) -> Fields {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let map = |field: &str| -> Vec<(String, String)> {
        entries(&object["metadata"], field)
            .filter(|(key, _)| *key != LAST_APPLIED)
            .map(|(key, value)| (key.clone(), value.to_owned()))
            .collect()
    };
    let mut fields = Fields::new();
    fields.add("Name", text("name")).add("Namespace", text("namespace"));
    fields.map("Labels", map("labels").iter().map(|(key, value)| (key, value)));
    fields.map("Annotations", map("annotations").iter().map(|(key, value)| (key, value)));
    if object["immutable"] == true {
        fields.add("Immutable", "true");
    }
    fields
}

fn entries<'v>(object: &'v Value, field: &str) -> impl Iterator<Item = (&'v String, &'v str)> {
    let map = object[field].as_object();
    map.into_iter().flatten().map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

fn size(value: &str) -> String {
    match BASE64_STANDARD.decode(value) {
        Ok(bytes) => format!("{} bytes", bytes.len()),
        Err(_) => "not base64".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_shows_names_and_sizes_only() {
        let secret = json!({
            "metadata": {"name": "token", "namespace": "default", "labels": {"team": "blue"}, "annotations": {
                LAST_APPLIED: "{\"stringData\":{\"key\":\"hunter2\"}}", "note": "for builds"}},
            "type": "Opaque", "data": {"key": "aHVudGVyMg==", "other-key": "", "odd": "?"},
        });
        let text = describe_secret(&secret);
        assert!(!text.contains("hunter2") && !text.contains("aHVu"), "{text}");
        crate::testing::snapshot("describe-secret", &text);
    }

    #[test]
    fn a_config_map_shows_its_values() {
        let map = json!({
            "metadata": {"name": "settings", "namespace": "default"}, "immutable": true,
            "data": {"mode": "fast", "text": "a\nb\u{1b}[2J"}, "binaryData": {"blob": "AP8="},
        });
        crate::testing::snapshot("describe-config-map", &describe_map(&map, &[], Timestamp::UNIX_EPOCH));
    }
}
