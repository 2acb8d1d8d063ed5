//! Clients that take too much, too slowly, or say too much: each gets its answer, and nobody else suffers.

use std::time::Duration;

use gcluster_server::listen::{Limits, Options};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::socket::Listening;
use crate::support::AGENTS;

const LIMIT: Duration = Duration::from_secs(20);

fn with(change: impl FnOnce(&mut Limits)) -> Options {
    let mut options = Options::default();
    change(&mut options.limits);
    options
}

/// Sends bytes and reads all that comes until the server closes.
async fn say(listening: &Listening, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    // The server may have answered and closed before all is sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The code of an answer, which must be a Status.
fn status(answer: &str) -> u16 {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no Status: {answer:?}"));
    assert_eq!((&body["kind"], &body["status"]), (&"Status".into(), &"Failure".into()), "{answer}");
    assert!(head.contains("application/json"), "{head}");
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(body["code"], code);
    code
}

async fn alive(listening: &Listening) {
    let token = format!("Bearer {}", listening.token("admin.token"));
    let (code, answer) = listening.http("GET", AGENTS, &[("authorization", &token)], "").await;
    assert_eq!(code, 200, "{answer}");
}

#[tokio::test]
async fn heads_that_come_too_slowly_or_are_none_are_answered() {
    let listening = Listening::with(with(|limits| limits.head_time = Duration::from_millis(300))).await;
    let line = "GET /version HTTP/1.1\r\nhost: localhost\r\n";
    assert_eq!(status(&say(&listening, line.as_bytes()).await), 408);
    assert_eq!(status(&say(&listening, b"\x01\x02\x03 nonsense\r\n\r\n").await), 400);
    // The second head on a connection, too.
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    let mut first = [0; 16];
    timeout(LIMIT, stream.read_exact(&mut first)).await.unwrap().unwrap();
    // A byte now and then does not help.
    let slow = async {
        loop {
            if stream.write_all(b"x").await.is_err() {
                return;
            }
            let mut rest = [0; 4096];
            let came = timeout(Duration::from_millis(50), stream.read(&mut rest)).await;
            if matches!(came, Ok(Ok(0) | Err(_))) {
                return;
            }
        }
    };
    timeout(LIMIT, slow).await.expect("the slow client loses its connection");
    alive(&listening).await;
    listening.stop().await;
}

#[tokio::test]
async fn heads_that_are_too_large_are_answered_with_431() {
    let listening = Listening::start().await;
    let head = |name: &str, size: usize| {
        format!(
            "GET /version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{name}: {}\r\n\r\n",
            "x".repeat(size)
        )
    };
    assert!(say(&listening, head("large", 60 << 10).as_bytes()).await.starts_with("HTTP/1.1 200"));
    assert_eq!(status(&say(&listening, head("large", 80 << 10).as_bytes()).await), 431);
    assert_eq!(status(&say(&listening, head("huge", 2 << 20).as_bytes()).await), 431);
    let many: String = (0..300).map(|n| format!("h{n}: v\r\n")).collect();
    let many = format!("GET /version HTTP/1.1\r\nhost: localhost\r\n{many}\r\n");
    assert_eq!(status(&say(&listening, many.as_bytes()).await), 431);
    alive(&listening).await;
    listening.stop().await;
}

#[tokio::test]
async fn a_connection_that_does_nothing_is_closed_and_a_quiet_watch_is_not() {
    let listening = Listening::with(with(|limits| limits.idle_time = Duration::from_millis(500))).await;
    let token = listening.token("admin.token");
    let request = |target: &str| {
        format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n")
    };
    let mut watch = TcpStream::connect(listening.address).await.unwrap();
    watch.write_all(request(&format!("{AGENTS}?watch=true")).as_bytes()).await.unwrap();
    let mut buffer = [0; 4096];
    timeout(LIMIT, watch.read(&mut buffer)).await.unwrap().unwrap();
    let answer = say(&listening, request("/version").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("408"), "{answer}");
    // That took longer than the limit; the watch is as old, and shows what happens.
    listening.server.create("a").await;
    let mut seen = String::new();
    while !seen.contains("ADDED") {
        let n = timeout(LIMIT, watch.read(&mut buffer)).await.unwrap().unwrap();
        assert!(n > 0, "the watch ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    drop(watch);
    listening.stop().await;
}

#[tokio::test]
async fn watches_and_connections_are_limited_per_client() {
    let listening = Listening::with(with(|limits| {
        limits.watches_per_client = 2;
        limits.connections_per_client = 4;
    }))
    .await;
    let token = format!("Bearer {}", listening.token("admin.token"));
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut watch = TcpStream::connect(listening.address).await.unwrap();
        let request = format!(
            "GET {AGENTS}?watch=true HTTP/1.1\r\nhost: localhost\r\nuser-agent: one\r\nauthorization: {token}\r\n\r\n"
        );
        watch.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 15];
        timeout(LIMIT, watch.read_exact(&mut start)).await.unwrap().unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK");
        open.push(watch);
    }
    let target = format!("{AGENTS}?watch=true&timeoutSeconds=1");
    let one = [("authorization", token.as_str()), ("user-agent", "one")];
    let refused = listening.raw("GET", &target, &one, "").await;
    assert_eq!(status(&refused), 429);
    assert!(refused.to_ascii_lowercase().contains("retry-after: 1"), "{refused}");
    assert!(refused.contains("TooManyRequests"), "{refused}");
    // Another client may, and so may this one do other things.
    let other = [("authorization", token.as_str()), ("user-agent", "other")];
    assert_eq!(listening.http("GET", &target, &other, "").await.0, 200);
    assert_eq!(listening.http("GET", AGENTS, &one, "").await.0, 200);
    for _ in 0..2 {
        let mut idle = TcpStream::connect(listening.address).await.unwrap();
        let request = format!(
            "GET {AGENTS} HTTP/1.1\r\nhost: localhost\r\nuser-agent: one\r\nauthorization: {token}\r\n\r\n"
        );
        idle.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 15];
        timeout(LIMIT, idle.read_exact(&mut start)).await.unwrap().unwrap();
        open.push(idle);
    }
    assert_eq!(status(&listening.raw("GET", AGENTS, &one, "").await), 429);
    assert_eq!(listening.http("GET", AGENTS, &other, "").await.0, 200);
    let metrics = listening.raw("GET", "/metrics", &other, "").await;
    for line in ["gcluster_api_watches_refused_total 1", "gcluster_api_connections_refused_total 1"] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    drop(open);
    listening.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_half_open_connections_keep_nobody_out() {
    let files = rustix::process::Resource::Nofile;
    let mut limit = rustix::process::getrlimit(files);
    limit.current = limit.maximum;
    let _ = rustix::process::setrlimit(files, limit);
    // Both ends are in this process, and other tests run beside.
    let room = rustix::process::getrlimit(files).current.unwrap_or(1 << 20);
    let count = usize::try_from(room.saturating_sub(1024) / 3).unwrap().clamp(100, 10_000);
    let listening = Listening::with(with(|limits| {
        limits.connections = 4096.min(count / 2);
        limits.unproved = (count / 8).min(512);
    }))
    .await;
    let mut half_open = Vec::with_capacity(count);
    for n in 0..count {
        let mut stream = timeout(LIMIT, TcpStream::connect(listening.address)).await.unwrap().unwrap();
        let begun: &[u8] = match n % 3 {
            0 => b"",
            1 => b"GET /version HT",
            _ => &[0x16, 0x03, 0x01, 0x00],
        };
        let _ = stream.write_all(begun).await;
        half_open.push(stream);
        if n % (count / 10) == 0 {
            alive(&listening).await;
        }
    }
    alive(&listening).await;
    let token = format!("Bearer {}", listening.token("admin.token"));
    let metrics = listening.raw("GET", "/metrics", &[("authorization", &token)], "").await;
    let open = metrics.lines().find_map(|line| line.strip_prefix("gcluster_api_connections "));
    let open: usize = open.unwrap().trim().parse().unwrap();
    assert!(open <= 513, "{open} connections are open");
    drop(half_open);
    listening.stop().await;
}

/// One HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_at_once_end_the_connection() {
    let listening = Listening::start().await;
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    for n in 0..20_000_u32 {
        let id = 2 * n + 1;
        // :method GET, :scheme http, :path /, :authority localhost, by the static table.
        let mut headers = vec![0x82, 0x86, 0x84, 0x01, 9];
        headers.extend_from_slice(b"localhost");
        bytes.extend(frame(1, 0x5, id, &headers));
        bytes.extend(frame(3, 0, id, &8_u32.to_be_bytes()));
    }
    let (mut read, mut write) = stream.split();
    let send = async {
        let _ = write.write_all(&bytes).await;
    };
    let receive = async {
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
        answer
    };
    let (answer, ()) = timeout(LIMIT, async { tokio::join!(receive, send) }).await.expect("it is closed");
    // GOAWAY with ENHANCE_YOUR_CALM.
    let goaway = answer.windows(4).any(|bytes| bytes == 11_u32.to_be_bytes());
    assert!(goaway, "{} bytes came", answer.len());
    alive(&listening).await;
    listening.stop().await;
}
