//! The line protocol: the API for `nc` and scripts of ten lines, as one JSON envelope a line.
//!
//! ```text
//! port, first byte `{` ─┐                     ┌─ auth, ping
//! gcluster.sock ────────┴▶ codec ▶ session ───┼─ apply, inject, edit ──▶ caller ──▶ the API with all its checks
//!                                             └─ subscribe ◀── watches, transcripts
//! ```
//! A thin adapter: it owns no state, and every request goes through the API as an HTTP request would.

pub mod codec;

mod apply;
mod caller;
mod edit;
mod envelope;
mod feed;
mod inject;
mod program;
mod records;
mod scope;
mod session;
mod socket;
mod subscribe;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::Api;
use crate::status::ApiError;

pub use program::{Compile, Compiled, Problem, Source};
pub(crate) use session::{Door, serve};
pub use socket::Socket;

/// How a master offers the line protocol.
#[derive(Clone, Default)]
pub struct LineOptions {
    /// Compiles programs for `apply_request`; without it only manifests are taken.
    pub compile: Option<Compile>,
    /// Connections to a loopback address need no token. Counts for nothing when the listener's address is another.
    pub insecure: bool,
    /// The Unix socket to serve.
    pub socket: Option<Arc<Socket>>,
}

impl std::fmt::Debug for LineOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineOptions")
            .field("compile", &self.compile.is_some())
            .field("insecure", &self.insecure)
            .field("socket", &self.socket)
            .finish()
    }
}

/// Speaks the protocol with somebody who is trusted, on any stream, to its end: for programs that embed the API.
pub async fn speak(api: &Api, stream: impl AsyncRead + AsyncWrite) {
    let door = Door { router: api.router(), token: Some(String::new()), compile: None };
    serve(stream, door, api.closing()).await;
}

/// Tells a client without TLS that this address takes nothing else. Nothing of what it sends is looked at.
pub(crate) async fn refuse_plain_line(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let refusal = ApiError::bad_request("this address takes the line protocol within TLS only");
    let said = async {
        stream.write_all(&envelope::error(None, &refusal.to_json())).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    let _ = timeout(Duration::from_secs(1), said).await;
}
