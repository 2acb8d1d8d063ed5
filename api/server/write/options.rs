//! What a client may ask of a deletion.

use serde_json::Value;

use crate::query::Query;
use crate::status::{ApiError, ApiResult, Cause};

/// What happens to the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Propagation {
    /// They are collected afterwards.
    #[default]
    Background,
    /// They are collected first.
    Foreground,
    /// They stay, without an owner.
    Orphan,
}

/// The body of a DELETE with what the query says.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) propagation: Propagation,
    pub(super) dry_run: bool,
}

impl DeleteOptions {
    /// Reads a body that may be absent; where it says nothing the query counts.
    ///
    /// # Errors
    /// 400 for a value of a wrong type, 422 for one that is not supported or contradicts another.
    pub(crate) fn parse(body: &Value, query: &Query) -> ApiResult<Self> {
        if !body.is_null() && !body.is_object() {
            return Err(ApiError::bad_request("the body of a DELETE must be DeleteOptions"));
        }
        // Nothing here ends slowly, so the time that is granted is accepted and not needed.
        let grace = &body["gracePeriodSeconds"];
        let asked = query.get("gracePeriodSeconds");
        if !(grace.is_null() || grace.is_i64() || grace.is_u64())
            || !(asked.is_empty() || asked.parse::<i64>().is_ok())
        {
            return Err(ApiError::bad_request("gracePeriodSeconds: must be an integer"));
        }
        let orphan = match (&body["orphanDependents"], query.get("orphanDependents")) {
            (Value::Bool(orphan), _) => Some(*orphan),
            (Value::Null, "") => None,
            (Value::Null, text) => match text.parse() {
                Ok(orphan) => Some(orphan),
                Err(_) => return Err(ApiError::bad_request("orphanDependents: must be true or false")),
            },
            _ => return Err(ApiError::bad_request("orphanDependents: must be true or false")),
        };
        let policy = match &body["propagationPolicy"] {
            Value::Null => query.get("propagationPolicy"),
            Value::String(policy) => policy,
            _ => return Err(ApiError::bad_request("propagationPolicy: must be a string")),
        };
        let refuse = |cause: Cause| Err(ApiError::invalid_options("DeleteOptions", cause));
        if orphan.is_some() && !policy.is_empty() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            return refuse(Cause::invalid("propagationPolicy", policy, why));
        }
        let propagation = match (policy, orphan) {
            ("Orphan", _) | ("", Some(true)) => Propagation::Orphan,
            ("Foreground", _) => Propagation::Foreground,
            ("Background" | "", _) => Propagation::Background,
            (other, _) => {
                let supported = r#""Foreground", "Background", "Orphan", "nil""#;
                return refuse(Cause::unsupported("propagationPolicy", other, supported));
            }
        };
        let dry_run = match body["dryRun"].as_array().map(Vec::as_slice) {
            None | Some([]) => false,
            Some([Value::String(all)]) if all == "All" => true,
            Some(_) => return refuse(Cause::unsupported("dryRun", &body["dryRun"].to_string(), r#""All""#)),
        };
        let named = |path: &str| body.pointer(path).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            uid: named("/preconditions/uid"),
            resource_version: named("/preconditions/resourceVersion"),
            propagation,
            dry_run,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_body_counts_before_the_query_and_contradictions_are_refused() {
        let parse = |body: Value, query: &str| DeleteOptions::parse(&body, &Query::parse(query));
        let propagation = |body: Value, query: &str| parse(body, query).unwrap().propagation;
        assert_eq!(propagation(Value::Null, ""), Propagation::Background);
        assert_eq!(propagation(Value::Null, "propagationPolicy=Foreground"), Propagation::Foreground);
        assert_eq!(
            propagation(json!({"propagationPolicy": "Orphan"}), "propagationPolicy=Foreground"),
            Propagation::Orphan
        );
        assert_eq!(propagation(json!({"orphanDependents": true}), ""), Propagation::Orphan);
        assert_eq!(
            propagation(json!({"orphanDependents": false, "gracePeriodSeconds": 0}), ""),
            Propagation::Background
        );
        assert_eq!(propagation(Value::Null, "gracePeriodSeconds=-1"), Propagation::Background);
        for (body, query, code) in [
            (json!({"orphanDependents": true, "propagationPolicy": "Background"}), "", 422),
            (json!({"propagationPolicy": "Sideways"}), "", 422),
            (json!({"dryRun": ["Some"]}), "", 422),
            (json!({"gracePeriodSeconds": "soon"}), "", 400),
            (Value::Null, "gracePeriodSeconds=soon", 400),
            (Value::Null, "orphanDependents=maybe", 400),
            (json!([1]), "", 400),
        ] {
            assert_eq!(parse(body.clone(), query).unwrap_err().code(), code, "{body} {query}");
        }
    }
}
