//! Query parameters, read once and by the names that Kubernetes gives them.

use std::collections::HashMap;

use crate::status::{ApiError, ApiResult};

/// What is done about fields that a schema does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// They go without a word.
    Ignore,
    /// They go, and the answer carries a warning for each.
    Warn,
    /// The request is refused.
    Strict,
}

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    /// Reads the part of a URI behind `?`; of a repeated parameter the first counts.
    pub(crate) fn parse(text: &str) -> Self {
        let mut pairs = HashMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.entry(decode(name, true)).or_insert_with(|| decode(value, true));
        }
        Self(pairs)
    }

    /// The value, empty when absent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// True when the parameter is there, empty or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A switch: `1`, `true`, or the bare name.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.has(name) && matches!(self.get(name), "" | "1" | "t" | "true" | "True" | "TRUE")
    }

    /// A number; none when absent or empty.
    pub(crate) fn number(&self, name: &str) -> ApiResult<Option<u64>> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!(
                    "{name}: Invalid value: {text:?}: must be a non-negative number"
                ))
            }),
        }
    }

    /// Is the request to change nothing?
    pub(crate) fn dry_run(&self) -> ApiResult<bool> {
        match self.get("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(ApiError::bad_request(format!(
                "dryRun: Unsupported value: {other:?}: supported values: \"All\""
            ))),
        }
    }

    pub(crate) fn field_validation(&self) -> ApiResult<FieldValidation> {
        match self.get("fieldValidation") {
            "Ignore" => Ok(FieldValidation::Ignore),
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Strict" => Ok(FieldValidation::Strict),
            other => Err(ApiError::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }
}

/// Undoes percent encoding; what is not UTF-8 becomes U+FFFD.
pub(crate) fn decode(text: &str, form: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 2;
            }
            (b'+', _) if form => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_first_of_a_name_counts() {
        let query = Query::parse("a=1%2C2&b=x+y&a=3&watch&limit=x&%ff=1&tail=%4");
        assert_eq!((query.get("a"), query.get("b"), query.get("c")), ("1,2", "x y", ""));
        assert!(query.flag("watch") && !query.flag("b") && query.number("limit").is_err());
        assert_eq!(query.get("tail"), "%4");
    }
}
