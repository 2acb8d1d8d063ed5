//! Formats of strings and numbers that are checked; every other format is a remark for people.

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::civil::Date;
use serde_json::Value;

/// A checked format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    DateTime,
    Date,
    Duration,
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
            "duration" => Format::Duration,
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
            Format::Duration => "duration",
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
            (Format::Duration, Value::String(text)) => is_duration(text),
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

/// A duration as Go writes it: `1h30m`, `1.5s`, `-10ms`, `0`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, unit) = rest.split_at(digits);
        if number.parse::<f64>().is_err() {
            return false;
        }
        let Some(after) = ["ns", "us", "µs", "ms", "s", "m", "h"].iter().find_map(|u| unit.strip_prefix(u))
        else {
            return false;
        };
        rest = after;
        parts += 1;
    }
    parts > 0
}

fn is_base64(text: &str) -> bool {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}
