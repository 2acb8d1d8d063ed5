//! The API as one connection sees it: every request goes the way of an HTTP request, with the token of the
//! connection, so that the same checks, limits and records hold.

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::status::ApiError;

/// What refuses something: a Status as JSON.
pub(crate) type Refused = Box<Value>;

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Box::new(error.to_json())
    }
}

/// An answer of the API.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) bytes: Bytes,
    /// Texts of the `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    /// The answer as JSON.
    pub(crate) fn json(&self) -> Result<Value, Refused> {
        serde_json::from_slice(&self.bytes).map_err(|error| ApiError::internal(error.to_string()).into())
    }
}

/// Sends requests under one identity.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    router: Router,
    token: String,
}

impl Caller {
    /// `router` is the API with its checks, `token` what the connection has shown.
    pub(crate) fn new(router: Router, token: String) -> Self {
        Self { router, token }
    }

    /// Sends a request and waits for the whole answer.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: impl Into<Body>,
    ) -> Result<Answer, Refused> {
        let (parts, body) = self.send(method, path, media, body.into()).await?;
        let warnings = parts.headers.get_all(header::WARNING).iter();
        let warnings = warnings.filter_map(|value| value.to_str().ok()).map(unquoted).collect();
        Ok(Answer { bytes: collect(body).await?, warnings })
    }

    /// The object at a path.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Refused> {
        self.call(Method::GET, path, JSON, Body::empty()).await?.json()
    }

    /// Opens a stream; its chunks follow.
    pub(crate) async fn stream(&self, path: &str) -> Result<Body, Refused> {
        Ok(self.send(Method::GET, path, JSON, Body::empty()).await?.1)
    }

    /// Who the connection is: its user name.
    pub(crate) async fn who(&self) -> Result<String, Refused> {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let review = self.call(Method::POST, path, JSON, body).await?.json()?;
        Ok(review["status"]["userInfo"]["username"].as_str().unwrap_or_default().to_owned())
    }

    /// Refuses what the connection may not do, before anything is done for it.
    pub(crate) async fn may(&self, verb: &str, resource: &str, namespace: &str) -> Result<(), Refused> {
        let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes":
                {"verb": verb, "group": "gcluster.dev", "resource": resource, "namespace": namespace}}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let review = self.call(Method::POST, path, JSON, body.to_string()).await?.json()?;
        if review["status"]["allowed"] == true {
            return Ok(());
        }
        let why = review["status"]["reason"].as_str().unwrap_or("it is not allowed");
        Err(ApiError::forbidden(format!("cannot {verb} {resource}: {why}")).into())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: Body,
    ) -> Result<(http::response::Parts, Body), Refused> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::USER_AGENT, "gcluster-line")
            .header(header::ACCEPT, JSON)
            .header(header::CONTENT_TYPE, media)
            .body(body)
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            return Ok((parts, body));
        }
        let status = serde_json::from_slice(&collect(body).await?).ok();
        Err(status.filter(|status: &Value| status["kind"] == "Status").map_or_else(
            || {
                let code = parts.status;
                let status = if code == StatusCode::UNAUTHORIZED {
                    ApiError::unauthorized()
                } else {
                    ApiError::internal(format!("the API answered {code}"))
                };
                status.into()
            },
            Box::new,
        ))
    }
}

/// Media type of JSON.
pub(crate) const JSON: &str = "application/json";

/// A segment of a path: everything but letters, digits, `-`, `.` and `_` escaped.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    // A browser-like library would take these for steps up the path.
    if matches!(out.as_str(), "." | "..") { out.replace('.', "%2E") } else { out }
}

/// Path of the objects of one of gcluster's kinds.
pub(crate) fn objects(namespace: &str, plural: &str) -> String {
    format!("/apis/gcluster.dev/v1alpha1/namespaces/{}/{plural}", segment(namespace))
}

async fn collect(body: Body) -> Result<Bytes, Refused> {
    let collected = body.collect().await.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(collected.to_bytes())
}

/// The text of a `Warning` header: `299 - "text"`.
fn unquoted(header: &str) -> String {
    let inside = header.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')).map(|(text, _)| text);
    inside.unwrap_or(header).replace("\\\"", "\"").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(segment("a-b.c_1"), "a-b.c_1");
        assert_eq!(segment("../x?y#z %\u{e9}"), "..%2Fx%3Fy%23z%20%25%C3%A9");
        assert_eq!(segment(".."), "%2E%2E");
    }

    #[test]
    fn a_warning_is_read_back() {
        assert_eq!(unquoted("299 - \"unknown field \\\"x\\\"\""), "unknown field \"x\"");
    }
}
