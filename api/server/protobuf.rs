//! Protocol Buffers, as far as Go clients insist on them: bodies of the built-in kinds are decoded into JSON by
//! tables of their fields, and the OpenAPI v2 document is encoded for kubectl.
//!
//! ```text
//! "k8s\0"  Unknown { 1: TypeMeta { 1: apiVersion, 2: kind }, 2: raw bytes of the object }
//! ```

mod fields;
pub(crate) mod wire;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::status::{ApiError, ApiResult};
use fields::{Field, Kind, message_of};
use wire::{Broken, Data, Reader};

/// Media type of such a body.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Decodes the body of a built-in kind.
///
/// # Errors
/// 415 for kinds that are served as JSON only, 400 for what cannot be decoded.
pub(crate) fn decode(body: &[u8]) -> ApiResult<Value> {
    let broken = |Broken: Broken| {
        ApiError::bad_request("the body is not valid Kubernetes protobuf: it breaks off or has a wrong type")
    };
    let envelope = body.strip_prefix(MAGIC).ok_or(Broken).map_err(broken)?;
    let (mut api_version, mut kind, mut raw): (&str, &str, &[u8]) = ("", "", &[]);
    for field in Reader::new(envelope) {
        match field.map_err(broken)? {
            (1, Data::Bytes(meta)) => {
                for field in Reader::new(meta) {
                    match field.map_err(broken)? {
                        (1, Data::Bytes(text)) => api_version = utf8(text).map_err(broken)?,
                        (2, Data::Bytes(text)) => kind = utf8(text).map_err(broken)?,
                        _ => {}
                    }
                }
            }
            (2, Data::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let fields = message_of(api_version, kind).ok_or_else(|| {
        ApiError::unsupported_media_type(format!(
            "{kind:?} in version {api_version:?} is not read as protobuf: send application/json or application/yaml"
        ))
    })?;
    let mut object = message(raw, fields).map_err(broken)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

/// Go writes every field that is no pointer, empty or not: what JSON would omit is left out here too.
fn message(bytes: &[u8], fields: &[Field]) -> Result<Map<String, Value>, Broken> {
    let mut object = Map::new();
    for field in Reader::new(bytes) {
        let (number, data) = field?;
        let Some(Field(_, name, kind)) = fields.iter().find(|field| field.0 == number) else { continue };
        let value = match (kind, data) {
            (Kind::Text, Data::Bytes(text)) => some(utf8(text)?, json!(utf8(text)?)),
            (Kind::Int, Data::Varint(0)) => None,
            (Kind::Int | Kind::IntOrZero, Data::Varint(number)) => Some(json!(number.cast_signed())),
            (Kind::Bool, Data::Varint(number)) => Some(json!(number != 0)),
            (Kind::Json, Data::Bytes(bytes)) => Reader::new(bytes).find_map(|field| match field {
                Ok((1, Data::Bytes(json))) => serde_json::from_slice(json).ok(),
                _ => None,
            }),
            (Kind::Seconds, Data::Bytes(time)) => instant(time)?.map(|t| json!(crate::write::seconds(t))),
            (Kind::Micros, Data::Bytes(time)) => {
                instant(time)?.map(|t| json!(t.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()))
            }
            (Kind::Message(fields), Data::Bytes(bytes)) => {
                let inner = message(bytes, fields)?;
                (!inner.is_empty()).then_some(Value::Object(inner))
            }
            (Kind::Texts, Data::Bytes(text)) => {
                push(&mut object, name, json!(utf8(text)?));
                None
            }
            (Kind::Messages(fields), Data::Bytes(bytes)) => {
                push(&mut object, name, Value::Object(message(bytes, fields)?));
                None
            }
            (Kind::Map, Data::Bytes(entry)) => {
                let (mut key, mut value) = ("", "");
                for part in Reader::new(entry) {
                    match part? {
                        (1, Data::Bytes(text)) => key = utf8(text)?,
                        (2, Data::Bytes(text)) => value = utf8(text)?,
                        _ => {}
                    }
                }
                let map = object.entry(*name).or_insert_with(|| json!({}));
                if let Some(map) = map.as_object_mut() {
                    map.insert(key.to_owned(), value.into());
                }
                None
            }
            (Kind::Blobs, Data::Bytes(entry)) => {
                let (mut key, mut value): (&str, &[u8]) = ("", &[]);
                for part in Reader::new(entry) {
                    match part? {
                        (1, Data::Bytes(text)) => key = utf8(text)?,
                        (2, Data::Bytes(bytes)) => value = bytes,
                        _ => {}
                    }
                }
                let map = object.entry(*name).or_insert_with(|| json!({}));
                if let Some(map) = map.as_object_mut() {
                    map.insert(key.to_owned(), BASE64_STANDARD.encode(value).into());
                }
                None
            }
            _ => return Err(Broken),
        };
        if let Some(value) = value {
            object.insert((*name).to_owned(), value);
        }
    }
    Ok(object)
}

fn some(text: &str, value: Value) -> Option<Value> {
    (!text.is_empty()).then_some(value)
}

fn push(object: &mut Map<String, Value>, name: &str, item: Value) {
    if let Some(list) = object.entry(name).or_insert_with(|| json!([])).as_array_mut() {
        list.push(item);
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Broken> {
    std::str::from_utf8(bytes).map_err(|_| Broken)
}

/// A point in time; none for Go's zero time, which is written as nothing.
fn instant(bytes: &[u8]) -> Result<Option<Timestamp>, Broken> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    for field in Reader::new(bytes) {
        match field? {
            (1, Data::Varint(number)) => seconds = number.cast_signed(),
            (2, Data::Varint(number)) => nanos = i32::try_from(number.cast_signed()).map_err(|_| Broken)?,
            _ => {}
        }
    }
    if seconds == 0 && nanos == 0 {
        return Ok(None);
    }
    Timestamp::new(seconds, nanos).map(Some).map_err(|_| Broken)
}

#[cfg(test)]
mod tests;
