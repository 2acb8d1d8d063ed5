//! Formats of strings and numbers that are checked; every other format is a remark for people.

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::civil::Date;
use serde_json::Value;

/// A checked format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    DateTime,
    Date,
    Uuid,
    Byte,
    Int32,
    Int64,
}

impl Format {
    /// The format of that name, when it is one that is checked.
    pub(super) fn parse(name: &str) -> Option<Format> {
        Some(match name {
            "date-time" => Format::DateTime,
            "date" => Format::Date,
            "uuid" => Format::Uuid,
            "byte" => Format::Byte,
            "int32" => Format::Int32,
            "int64" => Format::Int64,
            _ => return None,
        })
    }

    /// As the schema calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Format::DateTime => "date-time",
            Format::Date => "date",
            Format::Uuid => "uuid",
            Format::Byte => "byte",
            Format::Int32 => "int32",
            Format::Int64 => "int64",
        }
    }

    /// True when the value has the format; values of another JSON type are somebody else's concern.
    pub(super) fn allows(self, value: &Value) -> bool {
        match (self, value) {
            (Format::DateTime, Value::String(text)) => is_date_time(text),
            (Format::Date, Value::String(text)) => text.len() == 10 && text.parse::<Date>().is_ok(),
            (Format::Uuid, Value::String(text)) => uuid::Uuid::parse_str(text).is_ok(),
            (Format::Byte, Value::String(text)) => is_base64(text),
            (Format::Int32, Value::Number(number)) if !number.is_f64() => {
                number.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
            }
            (Format::Int64, Value::Number(number)) if !number.is_f64() => number.is_i64(),
            _ => true,
        }
    }
}

/// RFC 3339 in the form that all clients write: `2026-01-02T03:04:05Z`, with fraction or offset.
fn is_date_time(text: &str) -> bool {
    text.as_bytes().get(10).is_some_and(|b| b.eq_ignore_ascii_case(&b'T'))
        && text.parse::<Timestamp>().is_ok()
}

fn is_base64(text: &str) -> bool {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}
