//! Over a real socket: TLS, tokens, Host and Origin, the first byte, the end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use gcluster_server::listen;
use gcluster_server::security::Security;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{AGENTS, Server, agent};

const LIMIT: Duration = Duration::from_secs(20);

/// A server that listens.
pub(crate) struct Listening {
    pub(crate) server: Server,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Listening {
    pub(crate) async fn start() -> Self {
        Self::with(listen::Options::default()).await
    }

    pub(crate) async fn with(options: listen::Options) -> Self {
        let server = Server::start().await;
        Self::of(server, options).await
    }

    pub(crate) async fn of(server: Server, options: listen::Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let security = Security::open(server.dir.path()).unwrap();
        let kubeconfig = security.write_kubeconfig(server.dir.path(), address).unwrap();
        let (stop, stopped) = oneshot::channel();
        let api = server.api.clone();
        let task = tokio::spawn(listen::serve(listener, api, security, options, async move {
            let _ = stopped.await;
        }));
        Self { server, kubeconfig, address, stop, task }
    }

    pub(crate) async fn stop(self) {
        self.stop_and_keep().await;
    }

    /// Stops listening. Answers what was served.
    pub(crate) async fn stop_and_keep(self) -> Server {
        let _ = self.stop.send(());
        timeout(LIMIT, self.task).await.expect("the server ends").unwrap().unwrap();
        self.server
    }

    pub(crate) fn token(&self, file: &str) -> String {
        std::fs::read_to_string(self.server.dir.path().join(file)).unwrap()
    }

    pub(crate) async fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Value) {
        let text = self.raw(method, path, headers, body).await;
        let code = text.split(' ').nth(1).unwrap().parse().unwrap();
        let body = text.split_once("\r\n\r\n").unwrap().1;
        (code, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// The whole answer as it came.
    pub(crate) async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
        let mut text = String::new();
        timeout(LIMIT, stream.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }
}

#[tokio::test]
async fn only_a_token_opens_the_door_and_no_web_page_gets_in() {
    let listening = Listening::start().await;
    let (admin, viewer) = (listening.token("admin.token"), listening.token("viewer.token"));
    let (admin, viewer) = (format!("Bearer {admin}"), format!("Bearer {viewer}"));
    let body = agent("a").to_string();
    let other = format!("http://localhost:{}", listening.address.port());
    let watch = format!("{AGENTS}?watch=true&timeoutSeconds=1");
    let one = format!("{AGENTS}/a");
    let own = format!("http://{}", listening.address);
    type Headers<'a> = Vec<(&'a str, &'a str)>;
    let cases: [(&str, &str, &str, Headers<'_>, u16); 19] = [
        (
            "an admin in the name of another",
            "GET",
            AGENTS,
            vec![("authorization", &admin), ("impersonate-user", "bob")],
            403,
        ),
        (
            "a page elsewhere, by what the browser says of it",
            "GET",
            AGENTS,
            vec![("authorization", &admin), ("sec-fetch-site", "cross-site")],
            403,
        ),
        (
            "a form of a page",
            "POST",
            AGENTS,
            vec![("content-type", "text/plain"), ("sec-fetch-mode", "no-cors")],
            401,
        ),
        (
            "a person who types the address",
            "GET",
            "/version",
            vec![("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
            200,
        ),
        ("a viewer that watches", "GET", &watch, vec![("authorization", &viewer)], 200),
        ("a viewer that deletes", "DELETE", &one, vec![("authorization", &viewer)], 403),
        ("no token", "POST", AGENTS, vec![], 401),
        ("a wrong token", "GET", AGENTS, vec![("authorization", "Bearer guess")], 401),
        ("another scheme", "GET", AGENTS, vec![("authorization", "Basic eDp5")], 401),
        ("metrics without a token", "GET", "/metrics", vec![], 401),
        ("version without a token", "GET", "/version?timeout=5s", vec![], 200),
        ("health without a token", "GET", "/readyz", vec![], 200),
        (
            "a page elsewhere",
            "POST",
            AGENTS,
            vec![("authorization", &admin), ("origin", "https://evil.example")],
            403,
        ),
        (
            "a page without an origin",
            "POST",
            AGENTS,
            vec![("authorization", &admin), ("origin", "null")],
            403,
        ),
        ("a page on another name", "POST", AGENTS, vec![("authorization", &admin), ("origin", &other)], 403),
        ("a rebound name", "GET", "/version", vec![("host", "evil.example")], 403),
        ("a viewer that writes", "POST", AGENTS, vec![("authorization", &viewer)], 403),
        (
            "a viewer that reads",
            "GET",
            AGENTS,
            vec![("authorization", &viewer), ("host", "localhost:1")],
            200,
        ),
        ("the admin", "POST", AGENTS, vec![("authorization", &admin), ("origin", &own)], 201),
    ];
    for (what, method, path, headers, want) in cases {
        let body = if method == "POST" { body.as_str() } else { "" };
        let text =
            if want == 201 { String::new() } else { listening.raw(method, path, &headers, body).await };
        let head = text.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        assert!(!head.contains("access-control"), "{what}: {head}");
        assert!(want == 201 || head.contains("x-content-type-options: nosniff"), "{what}: {head}");
        assert_eq!(head.contains("www-authenticate: bearer"), want == 401, "{what}: {head}");
        let (code, answer) = listening.http(method, path, &headers, body).await;
        assert_eq!(code, want, "{what}: {answer}");
        assert!(code < 400 || answer["kind"] == "Status", "{what}: {answer}");
    }
    listening.stop().await;
}

#[tokio::test]
async fn one_port_takes_tls_and_plain_http_and_ends_in_spite_of_idle_clients() {
    let listening = Listening::start().await;
    let text = std::fs::read_to_string(&listening.kubeconfig).unwrap();
    assert!(text.contains(&format!("https://{}", listening.address)), "{text}");
    // A TLS hello that never ends holds up nobody.
    let mut silent = TcpStream::connect(listening.address).await.unwrap();
    silent.write_all(&[0x16, 0x03, 0x01, 0x00, 0x01, 0x01]).await.unwrap();
    let mut idle = TcpStream::connect(listening.address).await.unwrap();
    let request = format!("GET /version HTTP/1.1\r\nhost: {}\r\n\r\n", listening.address);
    idle.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = [0; 15];
    timeout(LIMIT, idle.read_exact(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer, b"HTTP/1.1 200 OK");
    let _nothing = TcpStream::connect(listening.address).await.unwrap();
    let mut watch = TcpStream::connect(listening.address).await.unwrap();
    let token = listening.token("admin.token");
    let request = format!(
        "GET {AGENTS}?watch=true HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\r\n",
        listening.address
    );
    watch.write_all(request.as_bytes()).await.unwrap();
    timeout(LIMIT, watch.read_exact(&mut buffer)).await.unwrap().unwrap();
    listening.stop().await;
    let mut rest = Vec::new();
    timeout(LIMIT, watch.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "a watch ends as a complete answer");
}

#[tokio::test]
async fn both_identities_are_told_the_truth_about_themselves() {
    let listening = Listening::start().await;
    for (file, user) in [("admin.token", "gcluster-admin"), ("viewer.token", "gcluster-viewer")] {
        let token = format!("Bearer {}", listening.token(file));
        let token = [("authorization", token.as_str())];
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let (code, who) = listening.http("POST", path, &token, "{}").await;
        assert_eq!((code, &who["status"]["userInfo"]["username"]), (201, &user.into()), "{who}");
        for (verb, group, resource, target, method) in [
            ("list", "gcluster.dev", "agents", AGENTS, "GET"),
            ("deletecollection", "gcluster.dev", "agents", AGENTS, "DELETE"),
            ("list", "", "secrets", "/api/v1/namespaces/default/secrets", "GET"),
            ("list", "", "configmaps", "/api/v1/namespaces/default/configmaps", "GET"),
        ] {
            let review = serde_json::json!({"spec": {"resourceAttributes":
                {"verb": verb, "group": group, "resource": resource, "namespace": "default"}}});
            let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
            let review = listening.http("POST", path, &token, &review.to_string()).await.1;
            let (code, answer) = listening.http(method, target, &token, "").await;
            let allowed = review["status"]["allowed"].as_bool().unwrap();
            assert_eq!(allowed, code == 200, "{user} {verb} {resource}: {review} {answer}");
            assert_eq!(allowed, user == "gcluster-admin" || (method == "GET" && resource != "secrets"));
        }
    }
    listening.stop().await;
}
