//! What the API does per second, durably, over HTTP, with its own process as the load generator.
//!
//! `cargo bench --bench api` starts the release binary on a new directory and prints one table. The disk's own
//! limit (one-kilobyte appends with `fdatasync`) is measured in the same run, so that ratios mean something on
//! any machine.

use std::io::{BufRead, BufReader as StdBufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const SECONDS: f64 = 3.0;
const NAMESPACES: &str = "/api/v1/namespaces";

fn main() -> Result<(), Failure> {
    // `cargo test --benches` and `cargo bench` pass flags of the standard harness; none of them matters here.
    let dir = tempfile::tempdir()?;
    let fsyncs = raw_fsyncs(dir.path())?;
    let started = Instant::now();
    let (mut master, address) = start(dir.path())?;
    let ready = started.elapsed();
    let token = token(dir.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let outcome = runtime.block_on(run(address, token, fsyncs, ready, master.id()));
    let _ = Command::new("kill").args(["-INT", &master.id().to_string()]).status();
    master.wait()?;
    outcome
}

async fn run(address: String, token: String, fsyncs: f64, ready: Duration, pid: u32) -> Result<(), Failure> {
    let target = Arc::new(Target { address, token, next: AtomicU64::new(0) });
    println!("{:<44} {:>12}", "raw fdatasync of 1 KB appends, per second", format!("{fsyncs:.0}"));
    println!("{:<44} {:>12}", "ready on an empty directory, ms", ready.as_millis());
    println!("{:<44} {:>12}", "resident, empty, MiB", resident_mib(pid));
    for clients in [1, 16, 64] {
        let per_second = rate(&target, clients, Work::Create).await?;
        println!(
            "{:<44} {:>12} {:>8}",
            format!("durable creates per second, {clients} clients"),
            format!("{per_second:.0}"),
            format!("{:.2}x", per_second / fsyncs)
        );
    }
    for clients in [1, 64] {
        let per_second = rate(&target, clients, Work::Get).await?;
        println!("{:<44} {:>12}", format!("gets per second, {clients} clients"), format!("{per_second:.0}"));
    }
    for watchers in [1, 100, 1_000] {
        let (p50, p99) = watch_latency(&target, watchers).await?;
        println!(
            "{:<44} {:>12} {:>12}",
            format!("acknowledgement to event, {watchers} watchers, ms"),
            format!("p50 {p50:.2}"),
            format!("p99 {p99:.2}")
        );
    }
    let count = target.next.load(Ordering::Relaxed);
    let mut connection = Connection::open(&target).await?;
    let start = Instant::now();
    let (_, bytes) = connection.call("GET", NAMESPACES, "").await?;
    let label = format!("list of {count} objects, {} MB, ms", bytes / 1_000_000);
    println!("{label:<44} {:>12.1}", start.elapsed().as_secs_f64() * 1e3);
    println!("{:<44} {:>12}", "resident after all that, MiB", resident_mib(pid));
    Ok(())
}

struct Target {
    address: String,
    token: String,
    next: AtomicU64,
}

#[derive(Clone, Copy)]
enum Work {
    Create,
    Get,
}

/// Requests per second that `clients` connections get answered, each waiting for its answer.
async fn rate(target: &Arc<Target>, clients: usize, work: Work) -> Result<f64, Failure> {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for _ in 0..clients {
        let target = Arc::clone(target);
        tasks.spawn(async move {
            let mut connection = Connection::open(&target).await?;
            let mut done = 0_u64;
            while start.elapsed().as_secs_f64() < SECONDS {
                let status = match work {
                    Work::Create => {
                        let body = object(target.next.fetch_add(1, Ordering::Relaxed));
                        connection.call("POST", NAMESPACES, &body).await?.0
                    }
                    Work::Get => {
                        let name = done % target.next.load(Ordering::Relaxed).max(1);
                        connection.call("GET", &format!("{NAMESPACES}/n{name}"), "").await?.0
                    }
                };
                if status >= 300 {
                    return Err(format!("answered with {status}").into());
                }
                done += 1;
            }
            Ok::<u64, Failure>(done)
        });
    }
    let mut total = 0;
    while let Some(done) = tasks.join_next().await {
        total += done??;
    }
    Ok(total as f64 / start.elapsed().as_secs_f64())
}

/// Milliseconds from the acknowledgement of a create until watchers have read its event, at p50 and p99.
async fn watch_latency(target: &Arc<Target>, watchers: usize) -> Result<(f64, f64), Failure> {
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel::<Instant>();
    let mut tasks = JoinSet::new();
    let ready = Arc::new(tokio::sync::Barrier::new(watchers + 1));
    let mut connection = Connection::open(target).await?;
    let (_, _, version) = connection.call_for_version("GET", &format!("{NAMESPACES}?limit=1")).await?;
    for _ in 0..watchers {
        let (target, sender, ready) = (Arc::clone(target), sender.clone(), Arc::clone(&ready));
        let path = format!("{NAMESPACES}?watch=true&resourceVersion={version}");
        tasks.spawn(async move {
            let mut connection = Connection::open(&target).await?;
            connection.send("GET", &path, "").await?;
            let mut line = String::new();
            loop {
                line.clear();
                connection.stream.read_line(&mut line).await?;
                if line == "\r\n" {
                    break;
                }
            }
            ready.wait().await;
            loop {
                line.clear();
                if connection.stream.read_line(&mut line).await? == 0 {
                    return Ok::<(), Failure>(());
                }
                if line.starts_with('{') && sender.send(Instant::now()).is_err() {
                    return Ok(());
                }
            }
        });
    }
    ready.wait().await;
    let mut latencies = Vec::new();
    for _ in 0..50 {
        let body = object(target.next.fetch_add(1, Ordering::Relaxed));
        connection.call("POST", NAMESPACES, &body).await?;
        let acknowledged = Instant::now();
        for _ in 0..watchers {
            let at = tokio::time::timeout(Duration::from_secs(20), seen.recv())
                .await?
                .ok_or("no watcher is left")?;
            latencies.push(at.saturating_duration_since(acknowledged).as_secs_f64() * 1e3);
        }
    }
    tasks.abort_all();
    latencies.sort_by(f64::total_cmp);
    Ok((latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100]))
}

/// A namespace of about one kilobyte.
fn object(n: u64) -> String {
    let filler = "x".repeat(700);
    format!(
        r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"n{n}","annotations":{{"filler":"{filler}"}}}}}}"#
    )
}

/// One keep-alive connection over plain HTTP.
struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Connection {
    async fn open(target: &Target) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(&target.address).await?;
        stream.set_nodelay(true)?;
        let head = format!(
            "Host: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
            target.address, target.token
        );
        Ok(Connection { stream: BufReader::with_capacity(1 << 16, stream), head })
    }

    async fn send(&mut self, method: &str, path: &str, body: &str) -> Result<(), Failure> {
        let text =
            format!("{method} {path} HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n{body}", self.head, body.len());
        Ok(self.stream.get_mut().write_all(text.as_bytes()).await?)
    }

    /// Status and length of the answer's body.
    async fn call(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, usize), Failure> {
        self.send(method, path, body).await?;
        let (status, body) = self.answer().await?;
        Ok((status, body.len()))
    }

    /// Like `call`, with the resourceVersion of the list that is answered.
    async fn call_for_version(&mut self, method: &str, path: &str) -> Result<(u16, usize, String), Failure> {
        self.send(method, path, "").await?;
        let (status, body) = self.answer().await?;
        let list: serde_json::Value = serde_json::from_slice(&body)?;
        let version = list["metadata"]["resourceVersion"].as_str().ok_or("a list without resourceVersion")?;
        Ok((status, body.len(), version.to_owned()))
    }

    async fn answer(&mut self) -> Result<(u16, Vec<u8>), Failure> {
        let (mut line, mut status, mut length) = (String::new(), 0, None);
        loop {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err("the connection was closed".into());
            }
            let lower = line.to_ascii_lowercase();
            if lower.starts_with("http/") {
                status = lower.split(' ').nth(1).ok_or("no status")?.trim().parse()?;
            } else if let Some(value) = lower.strip_prefix("content-length:") {
                length = Some(value.trim().parse::<usize>()?);
            } else if line == "\r\n" {
                break;
            }
        }
        let mut body = Vec::new();
        if let Some(length) = length {
            body.resize(length, 0);
            self.stream.read_exact(&mut body).await?;
            return Ok((status, body));
        }
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let size = usize::from_str_radix(line.trim(), 16)?;
            let from = body.len();
            body.resize(from + size, 0);
            self.stream.read_exact(&mut body[from..]).await?;
            self.stream.read_line(&mut line).await?;
            if size == 0 {
                return Ok((status, body));
            }
        }
    }
}

/// Appends of one kilobyte, each with `fdatasync`, per second.
fn raw_fsyncs(dir: &std::path::Path) -> Result<f64, Failure> {
    let mut file = std::fs::File::create(dir.join("raw"))?;
    let block = [b'x'; 1024];
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < Duration::from_secs(2) {
        file.write_all(&block)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

fn start(dir: &std::path::Path) -> Result<(Child, String), Failure> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gcluster"))
        .args(["master", "--addr", "127.0.0.1:0", "--backend", "rehearsal", "--data-dir"])
        .arg(dir.join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("no standard output")?;
    for line in StdBufReader::new(stdout).lines() {
        if let Some(rest) = line?.split("https://").nth(1) {
            let end =
                rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).unwrap_or(rest.len());
            return Ok((child, rest[..end].to_owned()));
        }
    }
    Err("the master ended before it was ready".into())
}

fn token(dir: &std::path::Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(dir.join("data/kubeconfig"))?;
    let line =
        text.lines().find(|l| l.trim_start().starts_with("token:")).ok_or("no token in the kubeconfig")?;
    Ok(line.trim_start().trim_start_matches("token:").trim().trim_matches('"').to_owned())
}

fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
