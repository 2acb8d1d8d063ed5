//! One connection: requests are answered in order, pushes come between the answers.
//!
//! ```text
//! read ▶ decoder ▶ one request at a time ──┐
//! subscription, when all before is written ┴▶ out ▶ write
//! ```
//! One task and no queue between its parts. Who does not read is pushed nothing, and answered nothing more, until
//! there is room again; what is kept meanwhile is bounded.

use std::time::Duration;

use axum::Router;
use bytes::{Buf as _, Bytes, BytesMut};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};

use super::caller::{Caller, Refused};
use super::codec::{Decoder, Frame};
use super::envelope::{Envelope, error, line};
use super::program::Compile;
use super::subscribe::Subscription;
use super::{apply, edit, inject};
use crate::Closing;
use crate::status::ApiError;

/// Longest line before somebody has said who they are.
const MAX_STRANGER: usize = 4 << 10;
/// Longest line: a bundle, and its envelope.
const MAX_LINE: usize = (64 << 20) + (4 << 10);
/// Longest time until the `auth` envelope.
const AUTH_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time between two bytes of one line.
const LINE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time without any request, for connections that follow nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest time that a client takes no byte of an answer.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How often one that has closed its own side is sent something, to see whether it is still there.
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// Longest time for the last words of a connection.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// The same when the master stops and waits for it.
const STOP_TIMEOUT: Duration = Duration::from_millis(300);
/// Answers that wait to be written before no more requests are taken.
const MAX_WAITING: usize = 256 << 10;

/// What a connection comes through.
#[derive(Clone)]
pub(crate) struct Door {
    /// The API with its checks.
    pub(crate) router: Router,
    /// What the connection counts as having shown; none: it has to send `auth` first.
    pub(crate) token: Option<String>,
    /// Compiles programs.
    pub(crate) compile: Option<Compile>,
}

/// What came of a request.
pub(super) enum Done {
    /// Its answer.
    Answer(Bytes),
    /// The connection is somebody now.
    Known(Caller, Bytes),
    /// The connection is closed after this.
    Last(Bytes),
    /// The state is followed from now on.
    Following(Box<Subscription>, Bytes),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Auth {
    token: String,
}

struct Session {
    door: Door,
    caller: Option<Caller>,
    decoder: Decoder,
    out: BytesMut,
    /// The present request.
    current: Option<BoxFuture<'static, Done>>,
    subscription: Option<Box<Subscription>>,
    /// Bytes that were read and not yet given to the decoder.
    input: Bytes,
    /// The client sends no more.
    ended: bool,
    /// Nothing more is taken: `out` is written, then the connection is closed.
    last: bool,
    began: Instant,
    /// When a byte came last, or a request was answered.
    heard: Instant,
    /// When a byte was taken last, or there was nothing to take.
    written: Instant,
    probed: Instant,
}

/// Serves a connection to its end.
pub(crate) async fn serve(stream: impl AsyncRead + AsyncWrite, door: Door, mut closing: Closing) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut session = Session::new(door);
    let mut buffer = BytesMut::new();
    let mut unflushed = false;
    let mut stopped = false;
    loop {
        session.advance();
        if session.out.is_empty() && !unflushed && session.is_over() {
            break;
        }
        if session.out.is_empty() {
            session.written = Instant::now();
            // What a large answer took is given back.
            session.out = BytesMut::new();
        }
        let reads = session.reads();
        if reads {
            buffer.reserve(8 << 10);
        }
        let idle = session.out.is_empty();
        let deadline = session.deadline();
        tokio::select! {
            biased;
            () = closing.wait() => {
                stopped = true;
                break;
            }
            written = write_some(&mut writer, &session.out), if !idle || unflushed => match written {
                Ok(Some(n)) => {
                    session.out.advance(n);
                    session.written = Instant::now();
                    unflushed = true;
                }
                Ok(None) => unflushed = false,
                Err(_) => return,
            },
            done = pending_or(session.current.as_mut()), if session.current.is_some() => {
                session.current = None;
                session.done(done);
            }
            read = reader.read_buf(&mut buffer), if reads => match read {
                Ok(0) => session.end_of_input(),
                Ok(_) => {
                    session.heard = Instant::now();
                    session.input = buffer.split().freeze();
                }
                Err(_) => return,
            },
            push = push_of(session.subscription.as_mut(), idle), if session.subscription.is_some() && !session.last => {
                session.out.extend_from_slice(&push);
            }
            () = sleep_until(deadline) => {
                if session.late() {
                    return;
                }
            }
        }
    }
    session.subscription = None;
    if stopped {
        // A write that is under way is answered, as over HTTP.
        if let Some(Ok(done)) = as_some(session.current.take(), |current| timeout(END_TIMEOUT, current)).await
        {
            session.done(done);
        }
        let notice = json!({"reason": "the master is shutting down"});
        session.out.extend_from_slice(&line("shutdown_notice", None, &notice));
    }
    // The other side may end first: what it sent and nobody read would cut off the last words.
    let farewell = async {
        writer.write_all(&session.out).await?;
        writer.shutdown().await?;
        loop {
            buffer.clear();
            buffer.reserve(8 << 10);
            if reader.read_buf(&mut buffer).await? == 0 {
                return Ok::<(), std::io::Error>(());
            }
        }
    };
    let _ = timeout(if stopped { STOP_TIMEOUT } else { END_TIMEOUT }, farewell).await;
}

async fn as_some<T, F: Future>(value: Option<T>, work: impl FnOnce(T) -> F) -> Option<F::Output> {
    match value {
        Some(value) => Some(work(value).await),
        None => None,
    }
}

/// Writes what is taken at once and answers how much; with nothing to write, flushes. Cancel safe.
async fn write_some(writer: &mut (impl AsyncWrite + Unpin), out: &[u8]) -> std::io::Result<Option<usize>> {
    if out.is_empty() {
        return writer.flush().await.map(|()| None);
    }
    match writer.write(out).await? {
        0 => Err(std::io::ErrorKind::WriteZero.into()),
        n => Ok(Some(n)),
    }
}

async fn pending_or(current: Option<&mut BoxFuture<'static, Done>>) -> Done {
    match current {
        Some(current) => current.await,
        None => std::future::pending().await,
    }
}

async fn push_of(subscription: Option<&mut Box<Subscription>>, idle: bool) -> Bytes {
    match subscription {
        Some(subscription) => subscription.next(idle).await,
        None => std::future::pending().await,
    }
}

impl Session {
    fn new(door: Door) -> Self {
        let caller = door.token.clone().map(|token| Caller::new(door.router.clone(), token));
        let limit = if caller.is_some() { MAX_LINE } else { MAX_STRANGER };
        let now = Instant::now();
        Self {
            door,
            caller,
            decoder: Decoder::new(limit),
            out: BytesMut::new(),
            current: None,
            subscription: None,
            input: Bytes::new(),
            ended: false,
            last: false,
            began: now,
            heard: now,
            written: now,
            probed: now,
        }
    }

    /// Takes lines out of what was read until one needs an answer that is not there at once.
    fn advance(&mut self) {
        while self.current.is_none() && !self.last && self.out.len() < MAX_WAITING {
            match self.decoder.next_frame() {
                Some(Frame::Line(line)) => self.begin(&line),
                Some(Frame::TooLong { limit }) => {
                    let refusal = match self.caller {
                        Some(_) => ApiError::too_large(limit).to_json(),
                        None => stranger(),
                    };
                    self.out.extend_from_slice(&error(None, &refusal));
                    self.last = self.caller.is_none();
                }
                None if !self.input.is_empty() => {
                    let taken = self.decoder.push(&self.input);
                    self.input.advance(taken);
                }
                None => break,
            }
        }
    }

    /// Begins with a request.
    fn begin(&mut self, text: &[u8]) {
        let envelope = match Envelope::read(text) {
            Ok(envelope) => envelope,
            Err((id, refusal)) => {
                self.last = self.caller.is_none();
                let refusal = if self.last { stranger() } else { refusal.to_json() };
                return self.out.extend_from_slice(&error(id.as_ref(), &refusal));
            }
        };
        if envelope.request == "auth" {
            let router = self.door.router.clone();
            self.current = Some(Box::pin(auth(envelope, router)));
            return;
        }
        let Some(caller) = self.caller.clone() else {
            self.last = true;
            return self.out.extend_from_slice(&envelope.refuse(&stranger()));
        };
        let compile = self.door.compile.clone();
        self.current = Some(match envelope.request.as_str() {
            "ping" => return self.out.extend_from_slice(&envelope.answer("pong", &json!({}))),
            "apply_request" => {
                answered(envelope, "apply_response", |envelope| apply::apply(caller, compile, envelope))
            }
            "steer_inject" => {
                answered(envelope, "steer_inject_response", |envelope| inject::inject(caller, envelope))
            }
            "steer_edit_prompt" => {
                answered(envelope, "steer_edit_prompt_response", |envelope| edit::edit(caller, envelope))
            }
            "steer_subscribe" => {
                // The old one ends at once, so that nothing of it comes after the answer.
                self.subscription = None;
                Box::pin(subscribe(caller, envelope))
            }
            other => {
                let why = format!(
                    "type: {other:?} is not known; known are auth, ping, apply_request, steer_subscribe, steer_inject, steer_edit_prompt"
                );
                return self.out.extend_from_slice(&envelope.refuse(&ApiError::bad_request(why).to_json()));
            }
        });
    }

    fn done(&mut self, done: Done) {
        self.heard = Instant::now();
        let text = match done {
            Done::Answer(text) => text,
            Done::Known(caller, text) => {
                self.caller = Some(caller);
                self.decoder.set_limit(MAX_LINE);
                text
            }
            Done::Last(text) => {
                self.last = true;
                text
            }
            Done::Following(subscription, text) => {
                self.subscription = Some(subscription);
                text
            }
        };
        self.out.extend_from_slice(&text);
    }

    fn reads(&self) -> bool {
        !self.ended
            && !self.last
            && self.current.is_none()
            && self.input.is_empty()
            && self.out.len() < MAX_WAITING
    }

    /// The client has closed its side. It may still wait for answers, and for what it follows.
    fn end_of_input(&mut self) {
        self.ended = true;
        self.probed = Instant::now();
        if self.decoder.is_partial() {
            let why = "the connection ended within a line: every envelope ends with a newline";
            self.out.extend_from_slice(&error(None, &ApiError::bad_request(why).to_json()));
        }
    }

    /// Is there nothing left to do?
    fn is_over(&self) -> bool {
        self.last || (self.ended && self.current.is_none() && self.subscription.is_none())
    }

    /// When the connection is to be looked at again, if nothing happens before.
    fn deadline(&self) -> Instant {
        if !self.out.is_empty() || self.last {
            self.written + STALL_TIMEOUT
        } else if self.caller.is_none() {
            self.began + AUTH_TIMEOUT
        } else if self.current.is_some() {
            // What a request waits for has limits of its own.
            Instant::now() + IDLE_TIMEOUT
        } else if self.ended {
            self.probed + PROBE_EVERY
        } else if self.decoder.is_partial() {
            self.heard + LINE_TIMEOUT
        } else if self.subscription.is_some() {
            // Who follows may be silent.
            Instant::now() + IDLE_TIMEOUT
        } else {
            self.heard + IDLE_TIMEOUT
        }
    }

    /// The deadline has come. True when nothing can be said any more.
    fn late(&mut self) -> bool {
        if !self.out.is_empty() || self.last {
            return true;
        }
        let partial = self.decoder.is_partial();
        let limit = if self.caller.is_none() {
            AUTH_TIMEOUT
        } else if self.current.is_some() {
            return false;
        } else if self.ended {
            self.probed = Instant::now();
            self.out.extend_from_slice(&line("ping", None, &json!({})));
            return false;
        } else if partial {
            LINE_TIMEOUT
        } else if self.subscription.is_some() {
            return false;
        } else {
            IDLE_TIMEOUT
        };
        self.out.extend_from_slice(&error(None, &timed_out(limit)));
        self.last = true;
        false
    }
}

/// Refuses who has not said who they are.
fn stranger() -> Value {
    let mut status = ApiError::unauthorized().to_json();
    status["message"] =
        "the first envelope must be {\"type\":\"auth\",\"payload\":{\"token\":…}} with a token of this master"
            .into();
    status
}

fn timed_out(limit: Duration) -> Value {
    let mut status = ApiError::request_timeout(limit).to_json();
    status["message"] = format!("no envelope came within {} seconds", limit.as_secs()).into();
    status
}

async fn auth(envelope: Envelope, router: Router) -> Done {
    let token = match envelope.payload::<Auth>() {
        Ok(auth) => auth.token,
        Err(error) => return Done::Last(envelope.refuse(&error.to_json())),
    };
    let caller = Caller::new(router, token);
    match caller.who().await {
        Ok(user) => {
            let text = envelope.answer("auth_response", &json!({"ok": true, "identity": user}));
            Done::Known(caller, text)
        }
        Err(status) => Done::Last(envelope.refuse(&status)),
    }
}

async fn subscribe(caller: Caller, envelope: Envelope) -> Done {
    let opened = async {
        let scope = envelope.payload().map_err(Refused::from)?;
        Subscription::open(caller, scope, envelope.id.clone()).await
    };
    match opened.await {
        Ok((subscription, first)) => Done::Following(Box::new(subscription), first),
        Err(status) => Done::Answer(envelope.refuse(&status)),
    }
}

/// A request with one answer.
fn answered<F, W>(envelope: Envelope, kind: &'static str, work: W) -> BoxFuture<'static, Done>
where
    W: FnOnce(Envelope) -> F,
    F: Future<Output = Result<Value, Refused>> + Send + 'static,
{
    let named = envelope.named();
    let work = work(envelope);
    Box::pin(async move {
        Done::Answer(match work.await {
            Ok(payload) => named.answer(kind, &payload),
            Err(status) => named.refuse(&status),
        })
    })
}
