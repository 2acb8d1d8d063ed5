//! Helpers of the unit tests.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::client::{Connection, Target};

/// Compares `text` with the reviewed file `snapshots/cli/NAME.snap`.
pub(crate) fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/cli"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// A server that answers each request with the next of its answers whose path fits, and records what was asked.
pub(crate) struct Canned {
    /// Request lines without the version, such as `GET /version`.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    connection: Connection,
}

/// A prepared answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    path: &'static str,
    status: u16,
    body: String,
    cut: bool,
}

/// An answer to requests whose path begins with `path`.
pub(crate) fn answer(path: &'static str, body: impl Into<String>) -> Answer {
    Answer { path, status: 200, body: body.into(), cut: false }
}

impl Answer {
    /// The same with another status.
    pub(crate) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The same, but the connection breaks before the body is complete.
    pub(crate) fn cut(self) -> Self {
        Self { cut: true, ..self }
    }
}

impl Canned {
    /// Starts one on a free port.
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut left = answers;
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                log.lock().unwrap().push(line);
                let found = left.iter().position(|answer| path.starts_with(answer.path));
                let answer =
                    found.map(|at| left.remove(at)).unwrap_or_else(|| self::answer("", "{}").status(500));
                let length = answer.body.len() + usize::from(answer.cut);
                let text = format!(
                    "HTTP/1.1 {} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{}",
                    answer.status, answer.body
                );
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        let target = Target {
            server: Some(server),
            kubeconfig: "/nonexistent".into(),
            kubeconfig_named: false,
            token: None,
            given: None,
        };
        Self { asked, connection: Connection::open(&target).await.unwrap() }
    }

    /// A connection to it.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }
}
