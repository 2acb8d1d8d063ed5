//! The line protocol on an address that others can reach: within TLS only, and never without a token.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gcluster_server::line::LineOptions;
use gcluster_server::listen;
use gcluster_server::security::Security;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::Server;

/// Sends a line and reads one.
async fn ask(stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>, line: &Value) -> Value {
    stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut text = String::new();
    timeout(Duration::from_secs(20), stream.read_line(&mut text)).await.unwrap().unwrap();
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

#[tokio::test]
async fn an_address_that_others_reach_takes_it_within_tls_and_with_a_token_only() {
    let server = Server::start().await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()));
    let security = Security::open(server.dir.path()).unwrap();
    // Counts for nothing here, whoever may have asked for it.
    let line = LineOptions { insecure: true, ..LineOptions::default() };
    let options = listen::Options { line, ..listen::Options::default() };
    tokio::spawn(listen::serve(listener, server.api.clone(), security, options, std::future::pending()));

    let ping = json!({"type": "ping"});
    let mut plain = BufReader::new(TcpStream::connect(address).await.unwrap());
    let answer = ask(&mut plain, &ping).await;
    assert!(answer["payload"]["message"].as_str().unwrap().contains("within TLS"), "{answer}");

    let read = |file: &str| std::fs::read_to_string(server.dir.path().join(file)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(read("ca.crt").as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let secure = async || {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        BufReader::new(connector.connect(name, stream).await.unwrap())
    };
    let answer = ask(&mut secure().await, &ping).await;
    assert_eq!(answer["payload"]["reason"], "Unauthorized", "{answer}");
    let mut known = secure().await;
    let auth = json!({"type": "auth", "payload": {"token": read("admin.token").trim()}});
    assert_eq!(ask(&mut known, &auth).await["payload"]["ok"], true);
    let state = ask(&mut known, &json!({"type": "steer_subscribe"})).await;
    assert_eq!(state["payload"]["full"], true, "{state}");
    // A subscription that is there does not stand in the way of requests.
    assert_eq!(ask(&mut known, &ping).await["type"], "pong");
}
