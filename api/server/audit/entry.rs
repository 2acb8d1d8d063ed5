//! One line of the log, from the head of a request to its answer.

use std::net::SocketAddr;
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use http::{Method, Request};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Audit;
use crate::query::Query;
use crate::routes::{Target, verb};
use crate::status::{ApiResult, Reason};

/// What a write did, for the log; goes with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrote {
    name: String,
    version: String,
    /// Of a Bundle: kind, name and result of each item.
    items: Vec<String>,
}

/// Items of a Bundle that are named in its line.
const NAMED: usize = 200;

impl Wrote {
    /// Of the object, or the Bundle, that is answered.
    pub(crate) fn of(object: &Value) -> Self {
        let text = |at: &str| object.pointer(at).and_then(Value::as_str);
        let version = text("/metadata/resourceVersion").or_else(|| text("/resourceVersion"));
        let results = object.get("results").and_then(Value::as_array).into_iter().flatten();
        let items = results.filter(|item| item["result"] != "unchanged").take(NAMED).map(|item| {
            let text = |key: &str| item[key].as_str().unwrap_or_default();
            format!("{} {} {}", text("kind"), text("name"), text("result"))
        });
        Self {
            name: text("/metadata/name").unwrap_or_default().into(),
            version: version.unwrap_or_default().into(),
            items: items.collect(),
        }
    }
}

/// A line that is written when it is dropped, so that a request that is given up is in the log, too.
#[derive(Debug)]
pub(crate) struct Entry {
    audit: Audit,
    line: Map<String, Value>,
    started: Instant,
}

impl Entry {
    /// The beginning of a line; none for requests that change nothing.
    pub(crate) fn of(
        audit: &Audit,
        request: &Request<Body>,
        target: &ApiResult<Target>,
        user: String,
        peer: Option<SocketAddr>,
    ) -> Option<Self> {
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return None;
        }
        let mut line = Map::new();
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                line.insert(key.into(), value.chars().take(512).collect::<String>().into());
            }
        };
        put("time", &format!("{:.6}", Timestamp::now()));
        put("user", &user);
        put("userAgent", &super::user_agent(request));
        put("peer", &peer.map(|peer| peer.to_string()).unwrap_or_default());
        let query = Query::parse(request.uri().query().unwrap_or_default());
        match target {
            // A question about oneself, which happens to be a POST.
            Ok(Target::Info(page)) if page.is_review() => return None,
            Ok(Target::Resource(place)) => {
                put("verb", verb(request.method(), place, &query));
                put("group", &place.kind.group);
                put("resource", &place.kind.plural);
                put("subresource", place.subresource.as_deref().unwrap_or_default());
                put("namespace", place.namespace.as_deref().unwrap_or_default());
                put("name", place.name.as_deref().unwrap_or_default());
            }
            _ => {
                put("verb", &request.method().as_str().to_ascii_lowercase());
                put("path", request.uri().path());
            }
        }
        if query.has("dryRun") {
            line.insert("dryRun".into(), true.into());
        }
        Some(Self { audit: audit.clone(), line, started: Instant::now() })
    }

    /// The request was answered.
    pub(crate) fn finish(mut self, response: &Response) {
        let status = response.status();
        self.line.insert("code".into(), status.as_u16().into());
        if let Some(Reason(reason)) = response.extensions().get() {
            self.line.insert("reason".into(), (*reason).into());
        }
        if let Some(Wrote { name, version, items }) = response.extensions().get() {
            if !self.line.contains_key("name") && !name.is_empty() {
                self.line.insert("name".into(), name.as_str().into());
            }
            if !items.is_empty() {
                self.line.insert("items".into(), items.as_slice().into());
            }
            if !version.is_empty() {
                self.line.insert("resourceVersion".into(), version.as_str().into());
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if !line.contains_key("code") {
            // The write may have been made all the same.
            line.insert("reason".into(), "ClientGone".into());
        }
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        line.insert("micros".into(), micros.into());
        self.audit.put(Value::Object(line).to_string());
    }
}

/// The line that stands where lines are missing.
pub(super) fn missing(count: u64) -> String {
    json!({"time": format!("{:.6}", Timestamp::now()), "verb": "", "reason": "LinesMissing", "missing": count})
        .to_string()
}
