//! The connection to a master: found through the kubeconfig that it wrote, or through `--server`.
//!
//! Speaks JSON over [`kube::Client`], so that any kind works without its Rust type. Every error comes back
//! as a [`Failure`] that names the address in use.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::{AsyncBufRead, AsyncBufReadExt as _};
use http::{Method, Request, Uri};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::config::DEFAULT_ADDR;
use crate::exit::{Failure, Kind, Result};

/// Time until a connection counts as failed. On loopback a refusal comes at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks for JSON.
pub const JSON: &str = "application/json";
/// Asks for a table with the server's columns.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// Content type of server-side apply.
pub const APPLY: &str = "application/apply-patch+yaml";
/// Content type of a merge patch.
pub const MERGE: &str = "application/merge-patch+json";

/// Which master is meant, as the command line says it.
#[derive(Clone, Debug)]
pub struct Target {
    /// `--server`.
    pub server: Option<String>,
    /// The kubeconfig: named by the user or in the data directory.
    pub kubeconfig: PathBuf,
    /// True when the user named the kubeconfig: then it must exist.
    pub kubeconfig_named: bool,
    /// `--token`.
    pub token: Option<String>,
    /// What the environment says; then no kubeconfig is read.
    pub given: Option<Given>,
}

impl Target {
    /// True when the user, or whoever started the program, names the master.
    pub fn is_named(&self) -> bool {
        self.server.is_some() || self.kubeconfig_named || self.given.is_some()
    }
}

/// A master that the environment names, as that of an agent's programs does.
#[derive(Clone)]
pub struct Given {
    /// `GCLUSTER_SERVER`.
    pub server: String,
    /// `GCLUSTER_TOKEN`.
    pub token: Option<String>,
    /// `GCLUSTER_CA`.
    pub ca: Option<PathBuf>,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Given").field("server", &self.server).field("ca", &self.ca).finish_non_exhaustive()
    }
}

impl Given {
    /// The same as a kubeconfig.
    fn kubeconfig(&self) -> Result<Kubeconfig> {
        let authority = self.ca.as_ref().map(|path| {
            let pem = std::fs::read(path).map_err(|error| {
                Failure::failed(format!(
                    "cannot read the certificate authority {} that GCLUSTER_CA names: {error}",
                    path.display()
                ))
            });
            pem.map(|pem| BASE64_STANDARD.encode(pem))
        });
        let server = server_url("GCLUSTER_SERVER", &self.server, self.ca.is_some())?;
        let mut cluster = json!({"server": server.to_string()});
        if let Some(authority) = authority.transpose()? {
            cluster["certificate-authority-data"] = authority.into();
        }
        let mut user = json!({});
        if let Some(token) = &self.token {
            user["token"] = token.as_str().into();
        }
        let config = json!({
            "clusters": [{"name": "given", "cluster": cluster}],
            "users": [{"name": "given", "user": user}],
            "contexts": [{"name": "given", "context": {"cluster": "given", "user": "given"}}],
            "current-context": "given",
        });
        serde_json::from_value(config)
            .map_err(|error| Failure::failed(format!("cannot use GCLUSTER_SERVER: {error}")))
    }
}

/// An open way to one master.
#[derive(Clone)]
pub struct Connection {
    client: kube::Client,
    /// `host:port`, for messages.
    pub address: String,
    /// Namespace that the kubeconfig names, else `default`.
    pub namespace: String,
}

/// Lines of a streamed answer.
pub struct Lines {
    reader: std::pin::Pin<Box<dyn AsyncBufRead + Send>>,
}

impl Lines {
    /// The next line without its newline; `None` at the end. A cut connection is an error.
    pub async fn next(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            // Servers write whole lines: a part of one means that the connection broke.
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        while line.last().is_some_and(|b| *b == b'\n' || *b == b'\r') {
            line.pop();
        }
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    }
}

impl Connection {
    /// Prepares a connection; nothing is sent yet. Fails when there is no kubeconfig and no `--server`.
    pub async fn open(target: &Target) -> Result<Self> {
        // Another provider may already be installed by a test in the same process; either will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = match &target.given {
            Some(given) => Some(given.kubeconfig()?),
            None => read_kubeconfig(target)?,
        };
        let mut config = match (kubeconfig, &target.server) {
            (Some(kubeconfig), server) => {
                let mut config =
                    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                        .await
                        .map_err(|error| bad_kubeconfig(target, &error))?;
                if let Some(server) = server {
                    config.cluster_url = server_url("--server", server, true)?;
                }
                let in_the_clear =
                    config.cluster_url.scheme_str() == Some("http") && !is_loopback(&config.cluster_url);
                if in_the_clear && (target.given.is_some() || server.is_some()) {
                    // The token of this machine's master must not cross a network in the clear.
                    config.auth_info.token = None;
                }
                config
            }
            (None, Some(server)) => kube::Config::new(server_url("--server", server, false)?),
            (None, None) => {
                return Err(Failure::unreachable(DEFAULT_ADDR)
                    .cause(format!("no master has written {} yet", target.kubeconfig.display())));
            }
        };
        if let Some(token) = &target.token {
            config.auth_info.token = Some(token.clone().into());
        }
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.default_retry = false;
        config.proxy_url = None;
        let address = address_of(&config.cluster_url);
        let namespace = config.default_namespace.clone();
        let client = kube::Client::try_from(config)
            .map_err(|error| Failure::failed(format!("cannot prepare a connection to {address}: {error}")))?;
        Ok(Self { client, address, namespace })
    }

    /// The client itself, for watches.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Reads one document.
    pub async fn get(&self, path: &str, accept: &str) -> Result<Value> {
        self.call(Method::GET, path, accept, None).await
    }

    /// Sends a document and reads the answer.
    pub async fn send(&self, method: Method, path: &str, content_type: &str, body: &Value) -> Result<Value> {
        self.call(method, path, JSON, Some((content_type, body))).await
    }

    /// Deletes; the body carries the options.
    pub async fn delete(&self, path: &str, options: &Value) -> Result<Value> {
        self.call(Method::DELETE, path, JSON, Some((JSON, options))).await
    }

    /// Opens a streamed answer: a watch or a transcript.
    pub async fn lines(&self, path: &str, accept: &str) -> Result<Lines> {
        let request = build(Method::GET, path, accept, None)?;
        let reader = self.client.request_stream(request).await.map_err(|error| self.failure(error))?;
        Ok(Lines { reader: Box::pin(reader) })
    }

    /// Asks whether the master does its work; a failure says why it does not.
    pub async fn ready(&self) -> Result {
        let request = build(Method::GET, "/readyz", "*/*", None)?;
        self.client.request_text(request).await.map(drop).map_err(|error| self.failure(error))
    }

    /// True when a master answers at the address; an answer that refuses the token counts too.
    pub async fn answers(&self) -> bool {
        match self.get("/version", JSON).await {
            Ok(_) => true,
            Err(failure) => failure.kind != Kind::Unreachable,
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Value> {
        let request = build(method, path, accept, body)?;
        let text = self.client.request_text(request).await.map_err(|error| self.failure(error))?;
        serde_json::from_str(&text).map_err(|error| {
            Failure::failed(format!(
                "{} answered {path} with something that is not JSON: {error}",
                self.address
            ))
        })
    }

    fn failure(&self, error: kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) => Failure::from_status(&status),
            kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => {
                let reasons = chain(&error);
                let failure = Failure::unreachable(&self.address);
                let refused = reasons.iter().any(|reason| reason.contains("refused"));
                match reasons.last() {
                    Some(last) if last.contains("certificate") => failure.cause(last.clone()).hint(
                        "another master answers there: use the kubeconfig that it wrote (--kubeconfig)",
                    ),
                    Some(last) if !refused => failure.cause(last.clone()),
                    _ => failure,
                }
            }
            other => Failure::failed(format!("the request to {} failed: {other}", self.address)),
        }
    }
}

fn build(method: Method, path: &str, accept: &str, body: Option<(&str, &Value)>) -> Result<Request<Vec<u8>>> {
    let mut request = Request::builder().method(method).uri(path).header("accept", accept);
    let bytes = match body {
        Some((content_type, value)) => {
            request = request.header("content-type", content_type);
            value.to_string().into_bytes()
        }
        None => Vec::new(),
    };
    request
        .body(bytes)
        .map_err(|error| Failure::failed(format!("cannot build a request for {path}: {error}")))
}

fn chain(error: &dyn std::error::Error) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        reasons.push(error.to_string());
        next = error.source();
    }
    reasons
}

fn read_kubeconfig(target: &Target) -> Result<Option<Kubeconfig>> {
    if !target.kubeconfig.exists() {
        return match target.kubeconfig_named {
            true => Err(Failure::failed(format!(
                "cannot read the kubeconfig {}: there is no such file",
                target.kubeconfig.display()
            ))
            .hint("a master writes one into its data directory: `gcluster kubeconfig` prints its path")),
            false => Ok(None),
        };
    }
    Kubeconfig::read_from(&target.kubeconfig).map(Some).map_err(|error| bad_kubeconfig(target, &error))
}

fn bad_kubeconfig(target: &Target, error: &dyn std::error::Error) -> Failure {
    let mut failure = Failure::failed(match &target.given {
        Some(given) => format!("cannot use GCLUSTER_SERVER {:?} with GCLUSTER_CA: {error}", given.server),
        None => format!("cannot use the kubeconfig {}: {error}", target.kubeconfig.display()),
    });
    failure.causes = chain(error);
    failure
}

/// `http://…`, `https://…` or a bare `host:port`, which means https when a CA to check it with is known.
fn server_url(from: &str, text: &str, ca_known: bool) -> Result<Uri> {
    let full = match (text.contains("://"), ca_known) {
        (true, _) => text.to_owned(),
        (false, true) => format!("https://{text}"),
        (false, false) => format!("http://{text}"),
    };
    let uri: Uri = full
        .trim_end_matches('/')
        .parse()
        .map_err(|error| Failure::usage(format!("{from} {text:?} is not a URL: {error}")))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err(Failure::usage(format!("{from} {text:?} must look like https://127.0.0.1:43252"))),
    }
}

fn address_of(uri: &Uri) -> String {
    let host = uri.host().unwrap_or("localhost");
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    format!("{host}:{port}")
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A query string from pairs, percent-encoded, with its `?`; empty without pairs.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.push_str(&escape(value));
    }
    text
}

/// Percent-encodes one path segment or query value.
pub fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(server: Option<&str>, kubeconfig: &str) -> Target {
        Target {
            server: server.map(str::to_owned),
            kubeconfig: kubeconfig.into(),
            kubeconfig_named: false,
            token: None,
            given: None,
        }
    }

    #[tokio::test]
    async fn without_a_kubeconfig_the_default_address_is_named() {
        let failure = Connection::open(&target(None, "/nonexistent/kubeconfig")).await.err().unwrap();
        assert_eq!(failure.kind, Kind::Unreachable);
        assert_eq!(
            failure.message,
            "cannot connect to master at 127.0.0.1:43252: is `gcluster master` running?"
        );
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable_at_once_and_named() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = format!("http://127.0.0.1:{port}");
        let connection = Connection::open(&target(Some(&server), "/nonexistent")).await.unwrap();
        let failure = connection.get("/version", JSON).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Unreachable);
        assert!(failure.message.contains(&format!("127.0.0.1:{port}")), "{}", failure.message);
        assert!(!connection.answers().await);
    }

    #[tokio::test]
    async fn a_named_kubeconfig_must_exist() {
        let mut target = target(None, "/nonexistent/kubeconfig");
        target.kubeconfig_named = true;
        let failure = Connection::open(&target).await.err().unwrap();
        assert_eq!(failure.kind, Kind::Failed);
    }

    #[test]
    fn server_forms_are_read() {
        assert_eq!(server_url("--server", "127.0.0.1:1", true).unwrap().to_string(), "https://127.0.0.1:1/");
        assert_eq!(server_url("--server", "127.0.0.1:1", false).unwrap().to_string(), "http://127.0.0.1:1/");
        assert_eq!(server_url("--server", "ftp://x", true).unwrap_err().kind, Kind::Usage);
        assert!(is_loopback(&"http://[::1]:5".parse().unwrap()));
        assert!(!is_loopback(&"http://example.org".parse().unwrap()));
    }

    #[test]
    fn queries_are_percent_encoded() {
        assert_eq!(query(&[("a", "x=y,z"), ("b", "ü")]), "?a=x%3Dy%2Cz&b=%C3%BC");
        assert_eq!(query(&[]), "");
    }
}
