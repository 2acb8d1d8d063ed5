//! The socket: one port, told apart by the first byte of a connection.
//!
//! ```text
//! 0x16          TLS, then HTTP/1.1 or HTTP/2
//! `{`           the line protocol; on loopback addresses, or within TLS
//! anything else HTTP/1.1, or HTTP/2 with prior knowledge; on loopback addresses, or within TLS
//! ```

mod activity;
mod head;
mod line;
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
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

pub(crate) use activity::{Activity, Busy, Holding};
use head::Heads;
use stall::Stalling;

use crate::audit::Audit;
pub use crate::limits::Limits;
use crate::limits::{Gate, Seat};
use crate::line::{LineOptions, refuse_plain_line};
use crate::security::{Security, guarded};
use crate::status::ApiError;
use crate::{Api, Closing};

/// Longest time that requests have to end once the server stops.
const END_TIMEOUT: Duration = Duration::from_millis(2500);
/// How often it is looked whether a connection is idle, at least.
const IDLE_LOOK: Duration = Duration::from_secs(5);
/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// Largest header list that HTTP/2 decodes; above it the stream is answered with a bare 431.
const HTTP2_HEADERS: u32 = 256 << 10;

/// How a listener treats its clients.
#[derive(Clone, Debug)]
pub struct Options {
    /// What one client may take.
    pub limits: Limits,
    /// Where writes are recorded; nowhere when absent.
    pub audit: Option<Audit>,
    /// How the line protocol is offered.
    pub line: LineOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: Limits::of_this_process(), audit: None, line: LineOptions::default() }
    }
}

/// Serves the API until `shutdown` completes: then nothing new is accepted, streams end, requests that are
/// under way are answered, idle connections are closed. Answers when all are gone, some seconds later at most.
///
/// # Errors
/// When the listener has no address.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    security: Security,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let local = listener.local_addr()?;
    let limits = options.limits;
    let gate = Gate::new(limits);
    let server = Server {
        router: guarded(&api, &security, limits, options.audit.clone(), &gate),
        tls: TlsAcceptor::from(security.tls()),
        plain: local.ip().is_loopback(),
        limits,
        line: options.line,
        admin: security.admin_token(),
        stopping: watch::Sender::new(false),
    };
    let socket = server.line.socket.clone();
    let mut connections = JoinSet::new();
    let fresh = security.keep();
    tokio::pin!(shutdown, fresh);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            () = &mut fresh => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    let Some(seat) = gate.admit() else {
                        tracing::debug!(limit = limits.connections, "too many connections, one was closed");
                        continue;
                    };
                    let server = server.clone();
                    let seat = Arc::new(seat);
                    let peer = Peer {
                        local: stream.local_addr().unwrap_or(local),
                        remote,
                        seat: Arc::clone(&seat),
                        activity: Activity::new(),
                    };
                    connections.spawn(async move {
                        tokio::select! {
                            () = server.connection(stream, peer) => {}
                            () = seat.evicted() => tracing::debug!("a connection made room for a newer one"),
                        }
                    });
                }
                // Out of descriptors, as a rule: others have to close first.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            accepted = line::accept(socket.as_deref()) => match accepted {
                Ok(stream) => {
                    let Some(seat) = gate.admit().map(Arc::new) else { continue };
                    let server = server.clone();
                    connections.spawn(async move {
                        tokio::select! {
                            () = server.local(stream, Arc::clone(&seat)) => {}
                            () = seat.evicted() => tracing::debug!("a connection made room for a newer one"),
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the socket could not be accepted");
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
    if let Some(audit) = options.audit {
        audit.flush().await;
    }
    Ok(())
}

/// A connection, as its requests know it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The address that was connected to.
    pub(crate) local: SocketAddr,
    /// The address of the client.
    pub(crate) remote: SocketAddr,
    pub(crate) seat: Arc<Seat>,
    pub(crate) activity: Arc<Activity>,
}

#[derive(Clone)]
struct Server {
    router: Router,
    tls: TlsAcceptor,
    /// May a connection do without TLS?
    plain: bool,
    limits: Limits,
    line: LineOptions,
    admin: Arc<str>,
    stopping: watch::Sender<bool>,
}

impl Server {
    async fn connection(&self, stream: TcpStream, peer: Peer) {
        let _ = stream.set_nodelay(true);
        let mut stopping = Closing(self.stopping.subscribe());
        let mut first = [0_u8; 1];
        let patience = self.limits.head_time;
        let peeked = tokio::select! {
            peeked = timeout(patience, stream.peek(&mut first)) => peeked,
            () = stopping.wait() => return,
        };
        match peeked {
            Ok(Ok(1)) => {}
            _ => return,
        }
        let stream = Stalling::new(stream, self.limits.stall_time);
        if first == [TLS_HANDSHAKE] {
            match timeout(patience, self.tls.accept(stream)).await {
                Ok(Ok(stream)) => self.spoken(stream, peer).await,
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        } else if self.plain {
            self.spoken(stream, peer).await;
        } else if first == *b"{" {
            refuse_plain_line(stream).await;
        } else {
            refuse_plain(stream, patience).await;
        }
    }

    async fn http(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let activity = Arc::clone(&peer.activity);
        let stream = Heads::new(stream, Arc::clone(&activity), self.limits.head_time);
        let router = self.router.clone().layer(Extension(peer));
        let busy = Arc::clone(&activity);
        let service = router.map_request(move |request: http::Request<Incoming>| {
            // Counted from here on, so that a head is over when its request begins.
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Arc::new(busy.begin()));
            request
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // The layer below measures the time of heads, because it can answer.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(1024)
            .max_header_list_size(HTTP2_HEADERS)
            .max_pending_accept_reset_streams(64)
            .max_local_error_reset_streams(256)
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
            () = idle(&activity, self.limits.idle_time) => {
                connection.as_mut().graceful_shutdown();
                timeout(END_TIMEOUT, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::trace!(%error, "a connection ended early");
        }
    }
}

/// Completes when nothing was under way for a time.
async fn idle(activity: &Activity, limit: Duration) {
    loop {
        let until = activity.idle_since().map(|since| since + limit);
        match until {
            Some(until) if until <= Instant::now() => return,
            Some(until) => tokio::time::sleep_until(until.min(Instant::now() + IDLE_LOOK)).await,
            None => tokio::time::sleep(IDLE_LOOK.min(limit)).await,
        }
    }
}

/// Says what is wrong with plain HTTP on an address that others can reach. Nothing is read: it may hold a token.
async fn refuse_plain(mut stream: Stalling<TcpStream>, patience: Duration) {
    let error = ApiError::bad_request(
        "this address takes TLS only: use https, with the certificate authority of the kubeconfig",
    );
    let said = async {
        stream.write_all(&head::plain_answer(&error)).await?;
        stream.shutdown().await
    };
    let _ = timeout(patience, said).await;
    // The request has to be taken from the socket, or closing it takes the answer from the client.
    let mut rest = [0; 1024];
    let drained = async { while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {} };
    let _ = timeout(Duration::from_secs(1), drained).await;
}
