//! HTTP/1.1 as bytes on a socket: what a web page, a script or a broken client would send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::cli::Sandbox;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status code.
    pub(crate) status: u16,
    /// Everything after the head, as it came.
    pub(crate) body: String,
}

/// The admin token of the sandbox's master, read from its kubeconfig as any client does.
pub(crate) fn token(sandbox: &Sandbox) -> String {
    let text = std::fs::read_to_string(sandbox.data().join("kubeconfig")).expect("kubeconfig");
    let line = text.lines().find(|l| l.trim_start().starts_with("token:")).expect("a token");
    line.trim_start().trim_start_matches("token:").trim().trim_matches('"').to_owned()
}

/// Sends one request with `Connection: close` and reads the answer to its end. An error when the connection
/// failed before an answer came, so that nothing is known of the request.
pub(crate) fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = send(address, method, path, headers, body)?;
    let mut bytes = Vec::new();
    // A server that refuses a body early may reset the connection after its answer.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok());
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    match status {
        Some(status) => Ok(Answer { status, body: if chunked { dechunked(body) } else { body.to_owned() } }),
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Sends a request and leaves the answer unread on the socket.
pub(crate) fn send(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    stream.write_all(head.as_bytes())?;
    // The answer to a refused body may come while it is still being sent.
    let _ = stream.write_all(body);
    Ok(stream)
}

/// A body without the framing of `Transfer-Encoding: chunked`.
fn dechunked(body: &str) -> String {
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        let Some(chunk) = after.get(..size).filter(|c| !c.is_empty()) else { break };
        whole += chunk;
        rest = after.get(size + 2..).unwrap_or_default();
    }
    whole
}
