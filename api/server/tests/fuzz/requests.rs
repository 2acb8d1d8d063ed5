//! Whole requests: any method, path, query, headers and body.

use std::cell::RefCell;
use std::time::Duration;

use axum::body::Body;
use gcluster_server::{Api, ApiOptions};
use gcluster_store::{Store, StoreConfig, Transcripts};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

use super::source::Source;

/// An API over a store in memory, made anew now and then so that what was written does not pile up.
pub(crate) struct Served {
    runtime: tokio::runtime::Runtime,
    api: Api,
    calls: usize,
    _directory: tempfile::TempDir,
}

impl Served {
    fn new() -> Self {
        // Time jumps to the next timer when nothing else is left to do: a request that waits costs nothing.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let directory = tempfile::tempdir().expect("a directory");
        let api = runtime.block_on(async {
            let transcripts = Transcripts::open(&directory.path().join("transcripts")).expect("transcripts");
            let store = Store::in_memory(StoreConfig::default());
            let api = Api::new(ApiOptions { store, transcripts, version: "0.0.0".into() });
            api.bootstrap().await.expect("the first objects");
            api
        });
        let served = Self { runtime, api, calls: 0, _directory: directory };
        for (name, labels) in
            [("a", json!({"app": "x"})), ("b", json!({"app": "y", "tier": ""})), ("c", json!({}))]
        {
            let agent = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
                "metadata": {"name": name, "labels": labels},
                "spec": {"definition": format!("(defagent {name:?}\n  \"Work.\")"), "run": "Stopped"}});
            let path = "/apis/gcluster.dev/v1alpha1/namespaces/default/agents";
            let (code, body) = served.call("POST", path, &[], agent.to_string()).expect("a valid request");
            assert_eq!(code, StatusCode::CREATED, "{body}");
        }
        served
    }

    /// Sends a request and reads its answer, a stream's beginning only. None: it is no request.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Option<(StatusCode, String)> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).ok()?;
        self.runtime.block_on(async {
            let response = self.api.router().oneshot(request).await.expect("the router never fails");
            let code = response.status();
            let json = response
                .headers()
                .get(header::CONTENT_TYPE)
                .is_some_and(|t| t.as_bytes() == b"application/json");
            let read = tokio::time::timeout(Duration::from_secs(1), response.into_body().collect()).await;
            let text = read.ok().and_then(Result::ok).map(|all| all.to_bytes()).unwrap_or_default();
            if json && !text.is_empty() && !code.is_success() {
                let status: Value = serde_json::from_slice(&text).expect("a refusal is JSON");
                assert_eq!(status["kind"], "Status", "{status}");
                assert_eq!(status["code"], code.as_u16(), "{status}");
            }
            Some((code, String::from_utf8_lossy(&text).into_owned()))
        })
    }
}

impl Served {
    /// Says something in the line protocol and reads all that is answered until nothing more comes.
    pub(crate) fn speak(&self, said: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let (near, far) = tokio::io::duplex(1 << 20);
            let (mut read, mut write) = tokio::io::split(near);
            let mut heard = Vec::new();
            // A subscription has no end of its own.
            let _ = tokio::time::timeout(Duration::from_secs(2), async {
                let _ = tokio::join!(
                    gcluster_server::line::speak(&self.api, far),
                    read.read_to_end(&mut heard),
                    async {
                        let _ = write.write_all(said).await;
                        let _ = write.shutdown().await;
                    }
                );
            })
            .await;
            heard
        })
    }
}

/// Calls `act` with an API that has three agents and lives for a thousand calls.
pub(crate) fn with_served<T>(act: impl FnOnce(&Served) -> T) -> T {
    thread_local!(static SERVED: RefCell<Option<Served>> = const { RefCell::new(None) });
    SERVED.with_borrow_mut(|served| {
        if served.as_ref().is_none_or(|served| served.calls >= 1_000) {
            *served = Some(Served::new());
        }
        let served = served.as_mut().expect("just made");
        served.calls += 1;
        act(served)
    })
}

/// Nothing that a client sends is an internal error, and what is refused is refused with a Status.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "QUERY"];
    const PREFIXES: [&str; 12] = [
        "",
        "/apis/gcluster.dev/v1alpha1/namespaces/default/agents",
        "/apis/gcluster.dev/v1alpha1/namespaces/default/agents/a",
        "/apis/gcluster.dev/v1alpha1/namespaces/default/agents/a/status",
        "/apis/gcluster.dev/v1alpha1/agents?",
        "/apis/gcluster.dev/v1alpha1/namespaces/default/iterations/i/transcript?",
        "/apis/gcluster.dev/v1alpha1/namespaces/default/bundles?fieldManager=f&",
        "/api/v1/namespaces",
        "/api/v1/namespaces/default/events",
        "/apis/coordination.k8s.io/v1/namespaces/default/leases",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/gcluster.dev/v1alpha1/namespaces/default/agents/b?fieldManager=f&force=true&",
    ];
    const TYPES: [&str; 8] = [
        "application/json",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/apply-patch+yaml",
        "application/strategic-merge-patch+json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "text/plain",
    ];
    const ACCEPTS: [&str; 5] = [
        "application/json",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        "application/vnd.kubernetes.protobuf",
        "*/*;q=0.1, text/html",
    ];
    let method = *source.pick(&METHODS);
    let prefix = *source.pick(&PREFIXES);
    let headers = [("content-type", *source.pick(&TYPES)), ("accept", *source.pick(&ACCEPTS))];
    let path = format!("{prefix}{}", source.text());
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    let answer = with_served(|served| served.call(method, &path, &headers, source.rest()));
    if let Some((code, body)) = answer {
        assert!(code.as_u16() < 500 || code.as_u16() > 502, "{method} {path}: {code} {body}");
    }
}
