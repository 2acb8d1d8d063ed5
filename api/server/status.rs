//! Errors as Kubernetes shapes them: a `Status` with a reason, a code and details.
//!
//! ```text
//! {"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,
//!  "message":"agents.gcluster.dev \"x\" not found","details":{"name":"x","group":"gcluster.dev","kind":"agents"}}
//! ```

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::kinds::Kind;
use crate::patch::apply::Conflict;
use crate::schema::FieldError;

/// Result of everything that may be refused.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

/// A refusal: becomes a `Status` on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct ApiError(Box<Refusal>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Map<String, Value>,
}

/// Why a request was refused; goes with its answer, for the audit log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reason(pub(crate) &'static str);

/// One cause of a refusal, for `details.causes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) field: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Cause {
    pub(crate) fn new(
        field: impl Into<String>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), reason: reason.into(), message: message.into() }
    }

    /// A value that is not allowed, in Kubernetes' words.
    pub(crate) fn invalid(field: impl Into<String>, shown: &str, why: &str) -> Self {
        Self::new(field, "FieldValueInvalid", format!("Invalid value: {shown:?}: {why}"))
    }

    /// A change that is not allowed.
    pub(crate) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self::new(field, "FieldValueForbidden", format!("Forbidden: {why}"))
    }

    /// A value that is none of those supported.
    pub(crate) fn unsupported(field: &str, shown: &str, supported: &str) -> Self {
        let message = format!("Unsupported value: {shown:?}: supported values: {supported}");
        Self::new(field, "FieldValueNotSupported", message)
    }

    fn to_json(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

impl From<FieldError> for Cause {
    fn from(error: FieldError) -> Self {
        Self { field: error.field, reason: error.reason.as_str().into(), message: error.message }
    }
}

impl ApiError {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Refusal { code, reason, message: message.into(), details: Map::new() }))
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        let details = &mut self.0.details;
        details.insert("name".into(), name.into());
        if !kind.group.is_empty() {
            details.insert("group".into(), kind.group.as_str().into());
        }
        details.insert("kind".into(), kind.plural.as_str().into());
        self
    }

    fn causes(mut self, causes: &[Cause]) -> Self {
        let causes: Vec<Value> = causes.iter().map(Cause::to_json).collect();
        self.0.details.insert("causes".into(), causes.into());
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.0.details.insert("retryAfterSeconds".into(), seconds.into());
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// A path that leads nowhere.
    pub(crate) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", kind.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(kind, name)
    }

    pub(crate) fn namespace_not_found(name: &str) -> Self {
        let mut error =
            Self::new(StatusCode::NOT_FOUND, "NotFound", format!("namespaces {name:?} not found"));
        error.0.details.insert("name".into(), name.into());
        error.0.details.insert("kind".into(), "namespaces".into());
        error
    }

    /// Nothing can be created in a namespace that is being deleted.
    pub(crate) fn namespace_terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let message = format!(
            "{} {name:?} is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
            kind.qualified()
        );
        let cause = Cause::new(
            "metadata.namespace",
            "NamespaceTerminating",
            format!("namespace {namespace} is being terminated"),
        );
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(kind, name).causes(&[cause])
    }

    pub(crate) fn forbidden_object(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", kind.qualified());
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(kind, name)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// A method that the resource has, but not now.
    pub(crate) fn not_allowed(kind: &Kind, name: &str, why: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", why).about(kind, name)
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(kind, name)
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.qualified());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(kind, name)
    }

    /// The object changed since it was read.
    pub(crate) fn stale(kind: &Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// Other managers own what an apply would change.
    pub(crate) fn apply_conflict(message: String, conflicts: &[Conflict]) -> Self {
        let causes: Vec<Cause> =
            conflicts.iter().map(|c| Cause::new(&c.field, "FieldManagerConflict", &c.message)).collect();
        Self::new(StatusCode::CONFLICT, "Conflict", message).causes(&causes)
    }

    pub(crate) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let all = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified =
            if kind.group.is_empty() { kind.kind.clone() } else { format!("{}.{}", kind.kind, kind.group) };
        let message = format!("{qualified} {name:?} is invalid: {all}");
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(kind, name);
        error.0.details.insert("kind".into(), kind.kind.as_str().into());
        error.causes(causes)
    }

    /// Options of a request that contradict each other or are not supported.
    pub(crate) fn invalid_options(options: &str, cause: Cause) -> Self {
        let message = format!("{options}.meta.k8s.io \"\" is invalid: {}: {}", cause.field, cause.message);
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        error.0.details.insert("group".into(), "meta.k8s.io".into());
        error.0.details.insert("kind".into(), options.into());
        error.causes(&[cause])
    }

    /// A JSON patch that does not fit the object.
    pub(crate) fn invalid_patch(kind: &Kind, name: &str, why: String) -> Self {
        let message = format!("the patch of {} {name:?} cannot be applied: {why}", kind.qualified());
        let error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(kind, name);
        // Clients show the causes of what is invalid, and nothing else.
        error.causes(&[Cause::new("patch", "FieldValueInvalid", why)])
    }

    /// A revision whose history is no longer kept.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// A revision that does not exist yet.
    pub(crate) fn too_new(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let cause = Cause::new("", "ResourceVersionTooLarge", "Too large resource version");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).causes(&[cause]).retry_after(1)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the request body is too large: at most {limit} bytes are allowed");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// The body of the request did not come in time.
    pub(crate) fn request_timeout(limit: Duration) -> Self {
        let message = format!("the request body did not come within {} seconds", limit.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
    }

    /// The head of the request did not come in time.
    pub(crate) fn head_timeout(limit: Duration) -> Self {
        let message = format!("the head of the request did not come within {} seconds", limit.as_secs_f32());
        Self::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
    }

    /// The head of the request, that is its target and headers, is too large.
    pub(crate) fn head_too_large(why: &str) -> Self {
        let message = format!("the head of the request is too large: {why}");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "RequestHeaderFieldsTooLarge", message)
    }

    /// A refusal that nothing but the listener makes.
    pub(crate) fn of_code(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, reason, message)
    }

    /// Too many of something are open; may be tried again.
    pub(crate) fn too_many(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).retry_after(1)
    }

    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub(crate) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json, application/yaml";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// The disk refuses writes, or the master is stopping; may be tried again.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message).retry_after(1)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        let message = format!("Internal error occurred: {}", message.into());
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// A transcript that has another length than the writer thought.
    pub(crate) fn offset(kind: &Kind, name: &str, message: String, records: u64, bytes: u64) -> Self {
        let cause = |field: &str, value: u64| Cause::new(field, "TranscriptSize", value.to_string());
        Self::new(StatusCode::CONFLICT, "Conflict", message)
            .about(kind, name)
            .causes(&[cause("records", records), cause("bytes", bytes)])
    }

    /// The same refusal as part of a bundle: it names the item.
    pub(crate) fn of_item(mut self, index: usize, kind: &str, namespace: &str, name: &str) -> Self {
        self.0.message = format!("items[{index}] ({kind} {namespace}/{name}): {}", self.0.message);
        let details = &mut self.0.details;
        let item = format!("items[{index}]");
        match details.get_mut("causes").and_then(Value::as_array_mut) {
            Some(causes) if !causes.is_empty() => {
                for cause in causes {
                    let field = match cause["field"].as_str() {
                        Some(field) if !field.is_empty() => {
                            format!("{item}.{}", field.trim_start_matches('.'))
                        }
                        _ => item.clone(),
                    };
                    cause["field"] = field.into();
                }
            }
            _ => {
                let cause = Cause::new(item, self.0.reason, self.0.message.clone());
                details.insert("causes".into(), vec![cause.to_json()].into());
            }
        }
        self
    }

    /// HTTP status code.
    pub(crate) fn code(&self) -> StatusCode {
        self.0.code
    }

    /// The `Status` object.
    pub(crate) fn to_json(&self) -> Value {
        let Refusal { code, reason, message, details } = &*self.0;
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code.as_u16(),
        });
        if !details.is_empty() {
            status["details"] = Value::Object(details.clone());
        }
        status
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.code(), axum::Json(self.to_json())).into_response();
        response.extensions_mut().insert(Reason(self.0.reason));
        if let Some(seconds) = self.0.details.get("retryAfterSeconds").and_then(Value::as_u64) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The `Status` that answers a deletion.
pub(crate) fn deleted(kind: &Kind, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": kind.plural, "uid": uid});
    if !kind.group.is_empty() {
        details["group"] = kind.group.as_str().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
