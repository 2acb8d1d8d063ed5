//! The socket: one port, told apart by the first byte of a connection.
//!
//! ```text
//! 0x16          TLS, then HTTP/1.1 or HTTP/2
//! anything else HTTP/1.1, or HTTP/2 with prior knowledge; on loopback addresses only
//! ```

mod stall;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use stall::Stalling;

use crate::security::{Local, Security, guarded};
use crate::{Api, Closing};

/// Connections that are open at once; further ones are closed at once.
const MAX_CONNECTIONS: usize = 8192;
/// Longest time for the first byte, for the TLS handshake, and for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time that requests have to end once the server stops.
const END_TIMEOUT: Duration = Duration::from_millis(2500);
/// Longest time that a client may take no byte of what it is sent.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves the API until `shutdown` completes: then nothing new is accepted, streams end, requests that are
/// under way are answered, idle connections are closed. Answers when all are gone, some seconds later at most.
///
/// # Errors
/// When the listener has no address.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    security: Security,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let local = listener.local_addr()?;
    let server = Server {
        router: guarded(&api, &security),
        tls: TlsAcceptor::from(security.tls()),
        plain: local.ip().is_loopback(),
        stopping: watch::Sender::new(false),
    };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                        tracing::warn!(limit = MAX_CONNECTIONS, "too many connections, one was closed");
                        continue;
                    };
                    let server = server.clone();
                    connections.spawn(async move {
                        server.connection(stream, local).await;
                        drop(slot);
                    });
                }
                // Out of descriptors, as a rule: others have to close first.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    server.stopping.send_replace(true);
    api.close_streams();
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(END_TIMEOUT, all).await.is_err() {
        tracing::debug!(open = connections.len(), "connections were cut");
    }
    connections.shutdown().await;
    Ok(())
}

#[derive(Clone)]
struct Server {
    router: Router,
    tls: TlsAcceptor,
    /// May a connection do without TLS?
    plain: bool,
    stopping: watch::Sender<bool>,
}

impl Server {
    async fn connection(&self, mut stream: TcpStream, listening: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().unwrap_or(listening);
        let mut stopping = Closing(self.stopping.subscribe());
        let mut first = [0_u8; 1];
        let peeked = tokio::select! {
            peeked = timeout(HEAD_TIMEOUT, stream.peek(&mut first)) => peeked,
            () = stopping.wait() => return,
        };
        match peeked {
            Ok(Ok(1)) => {}
            _ => return,
        }
        if first == [TLS_HANDSHAKE] {
            match timeout(HEAD_TIMEOUT, self.tls.accept(Stalling::new(stream, STALL_TIMEOUT))).await {
                Ok(Ok(stream)) => self.http(stream, local).await,
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        } else if self.plain {
            self.http(Stalling::new(stream, STALL_TIMEOUT), local).await;
        } else {
            let text = "this address takes TLS only\n";
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
            let _ = timeout(HEAD_TIMEOUT, stream.write_all(answer.as_bytes())).await;
        }
    }

    async fn http(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, local: SocketAddr) {
        let router = self.router.clone().layer(Extension(Local(local)));
        let service = router.map_request(|request: http::Request<Incoming>| request.map(Body::new));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(1024)
            .keep_alive_interval(Duration::from_secs(30));
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::pin!(connection);
        let mut stopping = Closing(self.stopping.subscribe());
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopping.wait() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::trace!(%error, "a connection ended early");
        }
    }
}
