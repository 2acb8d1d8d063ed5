//! TLS over a real socket: which certificate is shown to whom, and no plain HTTP for the world.

use std::sync::Arc;
use std::time::Duration;

use gcluster_server::listen::{self, Options};
use gcluster_server::security::{Security, TlsOptions};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::support::Server;

const LIMIT: Duration = Duration::from_secs(20);

/// Asks for a page over TLS, trusting one certificate. Answers what came, or why not.
async fn ask(port: u16, trusted: &[u8], name: &str, host: &str) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    let request = format!("GET /version HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // The server may end without a farewell.
    let _ = stream.read_to_string(&mut answer).await;
    Ok(answer)
}

#[tokio::test]
async fn the_world_gets_tls_only_and_the_certificate_of_the_name_that_it_asks_for() {
    let server = Server::start().await;
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let owners_ca = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["*.example.org".to_owned()]).unwrap();
    let files = (server.dir.path().join("tls.crt"), server.dir.path().join("tls.key"));
    std::fs::write(&files.0, leaf.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(&files.1, key.serialize_pem()).unwrap();

    let tls = TlsOptions { certificate: Some(files), hostnames: vec!["master.lan".into()] };
    let data = server.dir.path().join("data");
    let security = Security::open_with(&data, tls).unwrap();
    let own_ca = std::fs::read(data.join("ca.crt")).unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel::<()>();
    let api = server.api.clone();
    let task = tokio::spawn(listen::serve(listener, api, security, Options::default(), async move {
        let _ = stopped.await;
    }));

    let owners_ca = owners_ca.as_bytes();
    for (what, trusted, name, host, want) in [
        ("its name", owners_ca, "a.example.org", "a.example.org", Ok(200)),
        ("its name with a port", owners_ca, "a.example.org", "a.example.org:43252", Ok(200)),
        ("a rebound name", owners_ca, "a.example.org", "evil.example", Ok(403)),
        ("another name under its authority", owners_ca, "localhost", "localhost", Err(())),
        ("localhost", &own_ca, "localhost", "localhost", Ok(200)),
        ("an address", &own_ca, "127.0.0.1", "127.0.0.1", Ok(200)),
        ("a further name", &own_ca, "master.lan", "master.lan", Ok(200)),
        ("a name of nobody", &own_ca, "other.lan", "other.lan", Err(())),
    ] {
        let answer = ask(port, trusted, name, host).await;
        let code = answer.as_ref().map(|text| text.split(' ').nth(1).unwrap_or("0").parse().unwrap());
        assert_eq!(code.map_err(drop), want, "{what}: {answer:?}");
    }

    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain.write_all(b"GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(LIMIT, plain.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["kind"], &body["reason"]), (&"Status".into(), &"BadRequest".into()));
    assert!(body["message"].as_str().unwrap().contains("use https"), "{body}");
    stop.send(()).unwrap();
    timeout(LIMIT, task).await.unwrap().unwrap().unwrap();
}
