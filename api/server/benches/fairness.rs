//! What a flood of one client does to another: p50 and p99 of gets at 50 a second, idle and beside each flood.
//!
//! ```text
//! cargo bench -p gcluster-server --bench fairness
//! ```
//! Server, flood and probe are processes of their own. The ratio is what counts: it has to stay below ten.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gcluster_server::listen::{self, Options};
use gcluster_server::security::Security;
use gcluster_server::{Api, ApiOptions};
use gcluster_store::{Store, StoreConfig, Transcripts};

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
const CONNECTIONS: usize = 64;
const PROBES: u32 = 300;

fn main() {
    let args: Vec<String> = std::env::args().filter(|arg| arg != "--bench").collect();
    match args.get(1).map(String::as_str) {
        Some("probe") => probe(&args[2], &args[3], &args[4]),
        Some("flood") => flood(&args[2], &args[3], &args[4]),
        _ => compare(),
    }
}

/// One connection that is kept.
struct Client {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Client {
    fn new(address: &str, token: &str, agent: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let head = format!("host: {address}\r\nauthorization: Bearer {token}\r\nuser-agent: {agent}\r\n");
        Self { stream: BufReader::new(stream), head }
    }

    fn call(&mut self, method: &str, path: &str, body: &str) -> u16 {
        let request =
            format!("{method} {path} HTTP/1.1\r\n{}content-length: {}\r\n\r\n{body}", self.head, body.len());
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut line, mut code, mut length) = (String::new(), 0, 0_u64);
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            let text = line.trim().to_ascii_lowercase();
            if text.is_empty() {
                break;
            }
            if let Some(rest) = text.strip_prefix("http/1.1 ") {
                code = rest[..3].parse().unwrap();
            }
            if let Some(rest) = text.strip_prefix("content-length:") {
                length = rest.trim().parse().unwrap();
            }
        }
        std::io::copy(&mut self.stream.by_ref().take(length), &mut std::io::sink()).unwrap();
        code
    }
}

fn probe(address: &str, token: &str, agent: &str) {
    let mut client = Client::new(address, token, agent);
    let path = format!("{CONFIGMAPS}/probed");
    let mut times: Vec<Duration> = (0..PROBES)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            let started = Instant::now();
            assert_eq!(client.call("GET", &path, ""), 200);
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("{} {}", times[times.len() / 2].as_micros(), times[times.len() * 99 / 100].as_micros());
}

fn object(name: &str) -> String {
    format!(r#"{{"metadata":{{"name":"{name}"}},"data":{{"text":"{}"}}}}"#, "x".repeat(1000))
}

fn flood(address: &str, token: &str, what: &str) {
    let run = |connection: usize| {
        let mut client = Client::new(address, token, "flood");
        let path = match what {
            "gets" => format!("{CONFIGMAPS}/probed"),
            _ => CONFIGMAPS.into(),
        };
        for n in 0_u64.. {
            match what {
                "creates" => {
                    client.call("POST", &path, &object(&format!("f-{}-{connection}-{n}", std::process::id())))
                }
                _ => client.call("GET", &path, ""),
            };
            if connection == 0 && n == 0 {
                println!("running");
            }
        }
    };
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            scope.spawn(move || run(connection));
        }
    });
}

#[tokio::main(flavor = "multi_thread")]
async fn compare() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::in_memory(StoreConfig::default());
    let transcripts = Transcripts::open(&dir.path().join("transcripts")).unwrap();
    let api = Api::new(ApiOptions { store, transcripts, version: "0.0.0".into() });
    api.bootstrap().await.unwrap();
    let security = Security::open(dir.path()).unwrap();
    let token = std::fs::read_to_string(dir.path().join("admin.token")).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(listen::serve(listener, api, security, Options::default(), std::future::pending()));
    let done = tokio::task::spawn_blocking(move || table(&address, &token)).await;
    done.unwrap();
}

fn table(address: &str, token: &str) {
    let mut client = Client::new(address, token, "setup");
    assert_eq!(client.call("POST", CONFIGMAPS, &object("probed")), 201);
    for n in 0..2000 {
        assert_eq!(client.call("POST", CONFIGMAPS, &object(&format!("o-{n}"))), 201);
    }
    let me = std::env::current_exe().unwrap();
    let probe = |agent: &str| {
        let out = Command::new(&me).args(["probe", address, token, agent]).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let (p50, p99) = text.trim().split_once(' ').expect("the probe ends well");
        (p50.parse::<f64>().unwrap(), p99.parse::<f64>().unwrap())
    };
    println!("{:<15} {:>10} {:>10} {:>8}", "flood, probe", "p50 µs", "p99 µs", "ratio");
    let idle = probe("probe");
    println!("{:<15} {:>10} {:>10} {:>8.1}", "none", idle.0, idle.1, 1.0);
    for what in ["creates", "gets", "lists"] {
        let mut flood = Command::new(&me);
        let mut flood = flood.args(["flood", address, token, what]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(flood.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // Another program, and then a second process of the same one.
        for agent in ["probe", "flood"] {
            let (p50, p99) = probe(agent);
            println!("{what:<8} {agent:<6} {p50:>10} {p99:>10} {:>8.1}", p99 / idle.1);
        }
        flood.kill().unwrap();
        flood.wait().unwrap();
    }
    let again = probe("probe");
    println!("{:<15} {:>10} {:>10} {:>8.1}", "none", again.0, again.1, again.1 / idle.1);
}
