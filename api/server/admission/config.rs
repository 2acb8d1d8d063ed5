//! ConfigMap and Secret: what a client sends in short becomes `data`, and the rules for keys, types and sizes.
//!
//! ```text
//! stringData {token: "abc"} ─▶ data {token: "YWJj"}      type "" ─▶ Opaque
//! ```
//! Nothing here ever repeats a value: a refusal names keys only.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode::RequireCanonical;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::kinds::Kind;
use crate::status::{ApiError, ApiResult, Cause};

/// Most bytes of all values of one object together, as in Kubernetes.
const MAX_BYTES: usize = 1 << 20;
/// Longest key.
const MAX_KEY: usize = 253;
const KEY: &str = "a valid config map key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const IMMUTABLE: &str = "field is immutable when `immutable` is set";
/// Reads what Go's decoder reads: the bits behind the last byte may be anything.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(RequireCanonical),
);

/// True for the kind whose values nobody may see in passing.
pub(crate) fn is_secret(kind: &Kind) -> bool {
    kind.builtin && kind.group.is_empty() && kind.kind == "Secret"
}

/// True for a ConfigMap.
fn is_config_map(kind: &Kind) -> bool {
    kind.builtin && kind.group.is_empty() && kind.kind == "ConfigMap"
}

/// Brings an object, or the part of one that is applied, into the form that is stored.
///
/// # Errors
/// 400 where a value that must be base64 is not; the message gives the place, not the value.
pub(super) fn normalise(kind: &Kind, object: &mut Value) -> ApiResult<()> {
    let field = match () {
        () if is_secret(kind) => "data",
        () if is_config_map(kind) => "binaryData",
        () => return Ok(()),
    };
    let Some(map) = object.as_object_mut() else { return Ok(()) };
    if let Some(Value::Object(data)) = map.get_mut(field) {
        for text in data.values_mut() {
            let Value::String(text) = text else { continue };
            let joined = unfolded(text);
            let bytes = LENIENT.decode(joined.as_bytes()).map_err(|error| not_base64(kind, &error))?;
            let canonical = BASE64_STANDARD.encode(bytes);
            if canonical != *text {
                *text = canonical;
            }
        }
    }
    if field != "data" {
        return Ok(());
    }
    let Some(Value::Object(plain)) = map.get("stringData") else {
        map.remove("stringData");
        return Ok(());
    };
    // What is no text stays where it is: the schema refuses it in its own words.
    if plain.values().any(|value| !value.is_string() && !value.is_null()) {
        return Ok(());
    }
    let encoded: Map<String, Value> = plain
        .iter()
        .map(|(key, text)| (key.clone(), BASE64_STANDARD.encode(text.as_str().unwrap_or_default()).into()))
        .collect();
    map.remove("stringData");
    if encoded.is_empty() {
        return Ok(());
    }
    let data = map.entry("data").or_insert_with(|| json!({}));
    if data.is_null() {
        *data = json!({});
    }
    if let Some(data) = data.as_object_mut() {
        data.extend(encoded);
    }
    Ok(())
}

/// Fills in what every stored object of the kind has.
pub(super) fn complete(kind: &Kind, object: &mut Value) {
    let absent = object["type"].is_null() || object["type"] == "";
    if is_secret(kind) && absent {
        object["type"] = "Opaque".into();
    }
}

/// Go's decoder skips line ends.
fn unfolded(text: &str) -> Cow<'_, str> {
    match text.contains(['\r', '\n']) {
        true => Cow::Owned(text.replace(['\r', '\n'], "")),
        false => Cow::Borrowed(text),
    }
}

fn not_base64(kind: &Kind, error: &base64::DecodeError) -> ApiError {
    use base64::DecodeError::{InvalidByte, InvalidLastSymbol};
    let place = match error {
        InvalidByte(at, _) => format!(" at input byte {at}"),
        InvalidLastSymbol { offset, .. } => format!(" at input byte {offset}"),
        _ => String::new(),
    };
    let kind = &kind.kind;
    ApiError::bad_request(format!(
        "{kind} in version \"v1\" cannot be handled as a {kind}: illegal base64 data{place}"
    ))
}

/// All that is wrong with a ConfigMap or Secret that its schema accepts.
pub(super) fn check(kind: &Kind, before: Option<&Value>, object: &Value) -> Vec<Cause> {
    let secret = is_secret(kind);
    if !secret && !is_config_map(kind) {
        return Vec::new();
    }
    let mut causes = keys(object);
    let size: usize = entries(object, "data")
        .map(|(_, text)| if secret { decoded_size(text) } else { text.len() })
        .chain(entries(object, "binaryData").map(|(_, text)| decoded_size(text)))
        .sum();
    if size > MAX_BYTES {
        let message = format!("Too long: may not be more than {MAX_BYTES} bytes");
        causes.push(Cause::new(if secret { "data" } else { "[]" }, "FieldValueTooLong", message));
    }
    if secret {
        causes.extend(of_type(object));
    }
    if let Some(before) = before {
        causes.extend(changed(secret, before, object));
    }
    causes
}

fn entries<'v>(object: &'v Value, field: &str) -> impl Iterator<Item = (&'v String, &'v str)> {
    let map = object[field].as_object();
    map.into_iter().flatten().map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

fn decoded_size(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

fn keys(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in ["data", "binaryData"] {
        for (key, _) in entries(object, field) {
            let mut refuse = |why: &str| {
                let shown: String = key.chars().take(MAX_KEY).collect();
                causes.push(Cause::invalid(format!("{field}[{shown}]"), &shown, why));
            };
            if key.len() > MAX_KEY {
                refuse("must be no more than 253 characters");
            }
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            if key.is_empty() || !key.bytes().all(plain) {
                refuse(KEY);
            }
            match key.as_str() {
                "." => refuse("must not be '.'"),
                ".." => refuse("must not be '..'"),
                key if key.starts_with("..") => refuse("must not start with '..'"),
                _ => {}
            }
            if field == "data" && object["binaryData"].get(key).is_some() {
                refuse("duplicate of key present in binaryData");
            }
        }
    }
    causes
}

/// What the well-known types of secrets must hold.
fn of_type(object: &Value) -> Vec<Cause> {
    let has = |key: &str| object["data"].get(key).is_some();
    let required = |key: &str| Cause::new(format!("data[{key}]"), "FieldValueRequired", "Required value");
    let json_in = |key: &str| match object["data"].get(key).and_then(Value::as_str) {
        None => vec![required(key)],
        Some(text) => {
            let bytes = BASE64_STANDARD.decode(text).unwrap_or_default();
            match serde_json::from_slice::<Map<String, Value>>(&bytes) {
                Ok(_) => Vec::new(),
                Err(_) => vec![Cause::invalid(
                    format!("data[{key}]"),
                    "<secret contents redacted>",
                    "must be a JSON object",
                )],
            }
        }
    };
    match object["type"].as_str().unwrap_or_default() {
        "kubernetes.io/service-account-token"
            if object["metadata"]["annotations"]["kubernetes.io/service-account.name"]
                .as_str()
                .is_none_or(str::is_empty) =>
        {
            let field = "metadata.annotations[kubernetes.io/service-account.name]";
            vec![Cause::new(field, "FieldValueRequired", "Required value")]
        }
        "kubernetes.io/dockercfg" => json_in(".dockercfg"),
        "kubernetes.io/dockerconfigjson" => json_in(".dockerconfigjson"),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            vec![required("username"), required("password")]
        }
        "kubernetes.io/ssh-auth" if !has("ssh-privatekey") => vec![required("ssh-privatekey")],
        "kubernetes.io/tls" => {
            ["tls.crt", "tls.key"].into_iter().filter(|key| !has(key)).map(required).collect()
        }
        _ => Vec::new(),
    }
}

fn changed(secret: bool, before: &Value, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if secret && before["type"] != object["type"] {
        let shown = object["type"].as_str().unwrap_or_default();
        causes.push(Cause::invalid("type", shown, "field is immutable"));
    }
    if before["immutable"] != true {
        return causes;
    }
    if object["immutable"] != true {
        causes.push(Cause::forbidden("immutable", IMMUTABLE));
    }
    let empty = |value: &Value| value.as_object().is_none_or(Map::is_empty);
    for field in ["data", "binaryData"] {
        let (old, new) = (&before[field], &object[field]);
        if old != new && !(empty(old) && empty(new)) {
            causes.push(Cause::forbidden(field, IMMUTABLE));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Registry;

    fn kind(plural: &str) -> Kind {
        (**Registry::new(Vec::new()).by_resource("", "v1", plural).unwrap()).clone()
    }

    fn normalised(mut object: Value) -> Value {
        normalise(&kind("secrets"), &mut object).unwrap();
        complete(&kind("secrets"), &mut object);
        object
    }

    #[test]
    fn plain_text_becomes_data_and_wins() {
        let object = json!({"data": {"a": "eA==", "b": "eQ="}, "stringData": {"a": "new", "c": ""}});
        let mut broken = object.clone();
        let error = normalise(&kind("secrets"), &mut broken).unwrap_err();
        assert_eq!(error.code(), 400);
        let mut object = object;
        object["data"]["b"] = "eX\nk=\r\n".into();
        assert_eq!(
            normalised(object),
            json!({"data": {"a": "bmV3", "b": "eXk=", "c": ""}, "type": "Opaque"})
        );
        assert_eq!(normalised(json!({"stringData": {}, "type": "x"})), json!({"type": "x"}));
    }

    #[test]
    fn a_refusal_never_repeats_a_value() {
        let secret = kind("secrets");
        for data in ["hunter2!", "hunter2", "h\u{fc}nter2="] {
            let error = normalise(&secret, &mut json!({"data": {"k": data}})).unwrap_err();
            assert!(error.to_string().contains("illegal base64 data"), "{error}");
            assert!(!error.to_string().contains("nter2"), "{error}");
        }
        let object =
            json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "aHVudGVyMg=="}});
        let causes = check(&secret, None, &object);
        assert_eq!(causes.len(), 1);
        assert!(!causes[0].message.contains("hunter2") && !causes[0].message.contains("aHVu"), "{causes:?}");
    }

    #[test]
    fn keys_sizes_and_types_are_checked() {
        let map = kind("configmaps");
        let fields = |kind: &Kind, object: Value| -> Vec<String> {
            check(kind, None, &object).into_iter().map(|cause| cause.field).collect()
        };
        assert_eq!(fields(&map, json!({"data": {"a.b_C-1": "x", "..data": "y"}})), ["data[..data]"]);
        assert_eq!(
            fields(&map, json!({"data": {"a b": "", "": "", "d": ""}, "binaryData": {"d": ""}})),
            ["data[]", "data[a b]", "data[d]"]
        );
        let half = "x".repeat(MAX_BYTES / 2);
        let exact = json!({"data": {"a": half}, "binaryData": {"b": BASE64_STANDARD.encode(&half)}});
        assert_eq!(fields(&map, exact), Vec::<String>::new(), "the limit itself is allowed");
        assert_eq!(fields(&map, json!({"data": {"a": half, "b": half, "c": "1"}})), ["[]"]);
        let secret = kind("secrets");
        assert_eq!(
            fields(&secret, json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}})),
            ["data[tls.key]"]
        );
        assert_eq!(fields(&secret, json!({"type": "kubernetes.io/basic-auth"})).len(), 2);
        assert_eq!(fields(&secret, json!({"type": "kubernetes.io/service-account-token"})).len(), 1);
    }

    #[test]
    fn an_immutable_object_keeps_its_data() {
        let map = kind("configmaps");
        let before = json!({"data": {"a": "1"}, "immutable": true});
        let fields = |object: Value| -> Vec<String> {
            check(&map, Some(&before), &object).into_iter().map(|cause| cause.field).collect()
        };
        assert_eq!(fields(json!({"data": {"a": "2"}, "immutable": true})), ["data"]);
        assert_eq!(fields(json!({"data": {"a": "1"}})), ["immutable"]);
        let labelled = json!({"data": {"a": "1"}, "immutable": true, "metadata": {"labels": {"x": "y"}}, "binaryData": {}});
        assert_eq!(fields(labelled), Vec::<String>::new());
        let secret = check(&kind("secrets"), Some(&json!({"type": "a"})), &json!({"type": "b"}));
        assert_eq!(secret[0].field, "type");
    }
}
