//! The load generator's side of HTTP/1.1: as little work per request as possible, because it shares the cores.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Failure;

/// Where requests go, and with which token.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) token: String,
}

/// One keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Headers of every request.
    head: String,
    request: String,
    /// What was read and not yet looked at.
    pending: Vec<u8>,
    chunk: Vec<u8>,
}

/// An answer without its body.
struct Head {
    status: u16,
    /// Bytes of the body; none when it is sent in chunks.
    length: Option<usize>,
}

impl Connection {
    pub(crate) async fn open(target: &Target, program: &str) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(&target.address).await?;
        stream.set_nodelay(true)?;
        let head = format!(
            "Host: {}\r\nUser-Agent: {program}\r\nAuthorization: Bearer {}\r\n",
            target.address, target.token
        );
        Ok(Connection { stream, head, request: String::new(), pending: Vec::new(), chunk: vec![0; 64 << 10] })
    }

    /// Sends a request; a merge patch when the method is PATCH.
    pub(crate) async fn send(&mut self, method: &str, path: &str, body: &str) -> Result<(), Failure> {
        use std::fmt::Write as _;
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        self.request.clear();
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\n{}Content-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}",
            self.head,
            body.len()
        )?;
        Ok(self.stream.write_all(self.request.as_bytes()).await?)
    }

    /// Status and length of the answer's body.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<(u16, usize), Failure> {
        self.send(method, path, body).await?;
        let head = self.head().await?;
        let length = head.length.ok_or("an answer without Content-Length")?;
        while self.pending.len() < length {
            self.fill().await?;
        }
        self.pending.drain(..length);
        Ok((head.status, length))
    }

    /// The body of what is read.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        self.send("GET", path, "").await?;
        let head = self.head().await?;
        let length = head.length.ok_or("an answer without Content-Length")?;
        while self.pending.len() < length {
            self.fill().await?;
        }
        let rest = self.pending.split_off(length);
        Ok(std::mem::replace(&mut self.pending, rest))
    }

    /// Waits until a stream has begun.
    pub(crate) async fn begun(&mut self) -> Result<(), Failure> {
        match self.head().await? {
            Head { status: 200, length: None } => Ok(()),
            Head { status, .. } => Err(format!("no stream: {status}").into()),
        }
    }

    /// Waits for the next events of a watch; answers how many came. An event ends with a line.
    pub(crate) async fn events(&mut self) -> Result<usize, Failure> {
        loop {
            let events = self.pending.windows(3).filter(|end| end == b"}}\n").count();
            if events > 0 {
                self.pending.clear();
                return Ok(events);
            }
            self.fill().await?;
        }
    }

    async fn head(&mut self) -> Result<Head, Failure> {
        let end = loop {
            if let Some(end) = self.pending.windows(4).position(|end| end == b"\r\n\r\n") {
                break end;
            }
            self.fill().await?;
        };
        let text = std::str::from_utf8(self.pending.get(..end).unwrap_or_default())?;
        let status = text.get(9..12).ok_or("no status")?.parse()?;
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map(str::parse).transpose()?;
        self.pending.drain(..end + 4);
        Ok(Head { status, length })
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        let read = self.stream.read(&mut self.chunk).await?;
        if read == 0 {
            return Err("the connection was closed".into());
        }
        self.pending.extend_from_slice(self.chunk.get(..read).unwrap_or_default());
        Ok(())
    }
}
