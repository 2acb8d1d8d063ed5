//! An API over a store in memory, and raw requests to it.

use axum::body::Body;
use gcluster_server::{Api, ApiOptions};
use gcluster_store::{Store, StoreConfig, Transcripts};
use gcluster_types::Agent;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use kube::api::PostParams;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Path of the agents of the namespace `default`.
pub(crate) const AGENTS: &str = "/apis/gcluster.dev/v1alpha1/namespaces/default/agents";

/// An API with its store, and the directory of its transcripts.
pub(crate) struct Server {
    pub(crate) api: Api,
    pub(crate) store: Store,
    pub(crate) dir: tempfile::TempDir,
}

/// An answer: its status code, its headers, its body as JSON (or null).
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(StoreConfig::default()).await
    }

    pub(crate) async fn with(config: StoreConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::in_memory(config);
        let transcripts = Transcripts::open(&dir.path().join("transcripts")).unwrap();
        let api = Api::new(ApiOptions { store: store.clone(), transcripts, version: "0.0.0".into() });
        api.bootstrap().await.unwrap();
        Self { api, store, dir }
    }

    /// Another API over the same store, as after a restart.
    pub(crate) async fn restart(self) -> Self {
        let transcripts = Transcripts::open(&self.dir.path().join("again")).unwrap();
        let options = ApiOptions { store: self.store.clone(), transcripts, version: "0.0.0".into() };
        let api = Api::new(options);
        api.bootstrap().await.unwrap();
        Self { api, ..self }
    }

    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(self.api.router(), "default")
    }

    pub(crate) fn agents(&self) -> kube::Api<Agent> {
        kube::Api::namespaced(self.client(), "default")
    }

    pub(crate) async fn create(&self, name: &str) -> Agent {
        let agent = serde_json::from_value(agent(name)).unwrap();
        self.agents().create(&PostParams::default(), &agent).await.unwrap()
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.api.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { code: parts.status, headers: parts.headers, text, json }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, &[], &body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, media: &str, body: &Value) -> Answer {
        self.call(Method::PATCH, path, &[("content-type", media)], &body.to_string()).await
    }
}

/// A valid agent.
pub(crate) fn agent(name: &str) -> Value {
    json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Agent",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"definition": format!("(defagent {name:?}\n  \"Work.\")")},
    })
}

/// A valid iteration of an agent.
pub(crate) fn iteration(name: &str) -> Value {
    json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Iteration",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"agent": "a", "revision": "a-1", "step": "prompt", "kind": "Call", "number": 0, "execution": 1},
    })
}
