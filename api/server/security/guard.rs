//! The checks of every request that came over a socket.
//!
//! ```text
//! head not too large ─▶ Host is loopback (or the address listened on) ─▶ Origin is absent or this server
//!   ─▶ token ─▶ connection, watches, turn (limits) ─▶ routes
//! ```
//! Host and Origin are against browsers: a page whose name was rebound to this address, a page elsewhere.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};

use super::Security;
use crate::audit::{Audit, Entry};
use crate::identity::{AgentIdentity, Identity};
use crate::limits::{Caller, Class, Counts, Fair, Gate, Limits};
use crate::listen::{Busy, Holding, Peer};
use crate::query::Query;
use crate::routes::{Parsed, Target, verb};
use crate::status::{ApiError, ApiResult};
use crate::{Api, info, negotiate};

/// Bodies up to this size are read before a request waits for its turn, so that a slow one holds no seat.
const READ_FIRST: u64 = 64 << 10;

#[derive(Clone)]
struct Guard {
    api: Api,
    security: Security,
    limits: Limits,
    fair: Fair,
    watches: Counts,
    audit: Option<Audit>,
}

/// The API for callers that have to say who they are.
pub(crate) fn guarded(
    api: &Api,
    security: &Security,
    limits: Limits,
    audit: Option<Audit>,
    gate: &Gate,
) -> Router {
    let guard = Guard {
        api: api.clone(),
        security: security.clone(),
        limits,
        fair: Fair::new(&limits),
        watches: Counts::new(limits.watches, limits.watches_per_client),
        audit,
    };
    api.metrics().observe(guard.fair.clone(), guard.watches.clone(), gate.clone(), guard.audit.clone());
    api.router().layer(from_fn_with_state(guard, check))
}

/// What the checks found out about a request.
struct Admitted {
    identity: Identity,
    caller: Caller,
    kind: Work,
}

/// How a request is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Health and version: whoever looks after the master must get through.
    Free,
    Watch,
    Turn(Class),
}

async fn check(State(guard): State<Guard>, mut request: Request<Body>, next: Next) -> Response {
    let busy = request.extensions_mut().remove::<Arc<Busy>>();
    let shown = identify(&guard, request.headers());
    let target = Target::parse(&guard.api, request.uri().path());
    let entry = guard.audit.as_ref().and_then(|audit| {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.remote);
        Entry::of(audit, &request, &target, shown.user().to_owned(), peer)
    });
    let mut response = match admit(&guard, shown, &request, &target) {
        Ok(admitted) => {
            request.extensions_mut().insert(admitted.identity.clone());
            request.extensions_mut().insert(Parsed(target));
            match limited(&guard, admitted, request, next).await {
                Ok(response) => response,
                Err(error) => refused(error),
            }
        }
        Err(error) => refused(error),
    };
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(entry) = entry {
        entry.finish(&response);
    }
    match busy {
        Some(busy) => response.map(|body| Holding::wrap(body, busy)),
        None => response,
    }
}

fn refused(error: ApiError) -> Response {
    tracing::debug!(code = error.code().as_u16(), %error, "refused");
    error.into_response()
}

/// Does the request when its turn comes.
async fn limited(
    guard: &Guard,
    admitted: Admitted,
    request: Request<Body>,
    next: Next,
) -> ApiResult<Response> {
    let Admitted { identity, caller, kind } = admitted;
    match kind {
        Work::Free => Ok(next.run(request).await),
        Work::Watch => {
            let why = |why| ApiError::too_many(format!("watches: {why}: try again later"));
            let counted = guard.watches.add(&caller).map_err(why)?;
            let response = next.run(request).await;
            let response = match identity {
                Identity::Agent(agent) if response.status().is_success() => {
                    response.map(|body| while_it_lives(body, agent, guard.api.clone()))
                }
                _ => response,
            };
            Ok(response.map(|body| Holding::wrap(body, counted)))
        }
        Work::Turn(class) => {
            let peer = request.extensions().get::<Peer>();
            let connection = peer.map_or(0, |peer| peer.seat.number());
            let caller = match peer.is_some_and(|peer| peer.activity.is_quiet()) {
                true => caller.of_quiet(),
                false => caller,
            };
            let request = match class {
                Class::Write => read_first(request).await?,
                _ => request,
            };
            let _permit = guard.fair.enter(&caller, connection, class).await?;
            Ok(next.run(request).await)
        }
    }
}

async fn read_first(request: Request<Body>) -> ApiResult<Request<Body>> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let small = length.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length <= READ_FIRST);
    if !small {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let bytes = negotiate::read(body, READ_FIRST as usize).await?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn admit(
    guard: &Guard,
    shown: Shown,
    request: &Request<Body>,
    target: &ApiResult<Target>,
) -> ApiResult<Admitted> {
    let headers = request.headers();
    let peer = request.extensions().get::<Peer>();
    head_fits(request, guard.limits.head_bytes)?;
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => text(headers, header::HOST),
    };
    let local = peer.map(|peer| peer.local.ip());
    if !host.is_empty() && !is_this(host, local) && !guard.security.has_name(name_of(host)) {
        return Err(ApiError::forbidden(format!("the host {host:?} is not this server")));
    }
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if authority.is_none_or(|authority| authority != host) {
            return Err(ApiError::forbidden(format!("requests of the origin {origin:?} are not accepted")));
        }
    }
    let site = text(headers, http::HeaderName::from_static("sec-fetch-site"));
    if matches!(site, "cross-site" | "same-site") {
        return Err(ApiError::forbidden("requests of pages of other sites are not accepted"));
    }
    let identity = match (shown, target) {
        (Shown::Known(identity), _) => identity,
        (_, Ok(Target::Info(page))) if page.is_public() => Identity::Anonymous,
        (Shown::Gone(identity), _) => {
            return Err(ApiError::of_code(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                format!("the agent that this token is of does not exist any more ({})", identity.user()),
            ));
        }
        (Shown::Nobody, _) => return Err(ApiError::unauthorized()),
    };
    // Done with the rights of the caller, a request in the name of another would be a lie in the audit log too.
    if headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        let (user, other) =
            (identity.user(), text(headers, http::HeaderName::from_static("impersonate-user")));
        return Err(ApiError::forbidden(format!(
            "users {other:?} is forbidden: User {user:?} cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
        )));
    }
    let caller = Caller::new(&identity, peer.map(|peer| peer.remote.ip()), text(headers, header::USER_AGENT));
    if let Some(peer) = peer.filter(|_| identity != Identity::Anonymous) {
        peer.seat.prove(&caller).map_err(ApiError::too_many)?;
    }
    let kind = work(request, target.as_ref().ok());
    Ok(Admitted { identity, caller, kind })
}

/// Whose token a request carries.
#[derive(Debug)]
enum Shown {
    Nobody,
    Known(Identity),
    /// Of an agent that does not exist any more.
    Gone(Identity),
}

impl Shown {
    /// For the audit log.
    fn user(&self) -> &str {
        match self {
            Self::Nobody => Identity::Anonymous.user(),
            Self::Known(identity) | Self::Gone(identity) => identity.user(),
        }
    }
}

fn identify(guard: &Guard, headers: &HeaderMap) -> Shown {
    let sent = text(headers, header::AUTHORIZATION);
    let bearer = sent.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let identity = bearer.and_then(|(_, token)| guard.security.identify(token.trim()));
    match identity {
        None => Shown::Nobody,
        Some(Identity::Agent(agent)) if !agent.lives(&guard.api) => Shown::Gone(Identity::Agent(agent)),
        Some(identity) => Shown::Known(identity),
    }
}

/// A stream that ends with the agent: what a program that outlived its agent follows tells it nothing more.
fn while_it_lives(body: Body, agent: Arc<AgentIdentity>, api: Api) -> Body {
    let chunks = body.into_data_stream().take_while(move |_| std::future::ready(agent.lives(&api)));
    Body::from_stream(chunks)
}

fn work(request: &Request<Body>, target: Option<&Target>) -> Work {
    match target {
        Some(Target::Info(page)) if page.is_public() => Work::Free,
        Some(Target::Info(info::Page::OpenApiV2 | info::Page::OpenApi(..))) => Work::Turn(Class::List),
        Some(Target::Resource(place)) => {
            let query = Query::parse(request.uri().query().unwrap_or_default());
            match verb(request.method(), place, &query) {
                "watch" => Work::Watch,
                "list" => Work::Turn(Class::List),
                // A transcript that is followed lasts as long as a watch does.
                "get" if place.subresource.as_deref() == Some("transcript") && query.flag("follow") => {
                    Work::Watch
                }
                "get" => Work::Turn(Class::Read),
                _ => Work::Turn(Class::Write),
            }
        }
        _ if matches!(*request.method(), Method::GET | Method::HEAD) => Work::Turn(Class::Read),
        _ => Work::Turn(Class::Write),
    }
}

fn head_fits(request: &Request<Body>, limit: usize) -> ApiResult<()> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    match target + headers <= limit {
        true => Ok(()),
        false => {
            Err(ApiError::head_too_large(&format!("{} bytes, at most {limit} are allowed", target + headers)))
        }
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Is `host`, with or without a port, a loopback name or address, or the address of the connection?
/// The name or address in a host, without its port.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

fn is_this(host: &str, local: Option<IpAddr>) -> bool {
    let name = name_of(host);
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || Some(address) == local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_the_own_address_are_this_server() {
        let local = Some("10.0.0.1".parse().unwrap());
        for yes in
            ["localhost", "LOCALHOST:1", "127.0.0.1:43252", "127.9.9.9", "[::1]:80", "[::1]", "10.0.0.1:9"]
        {
            assert!(is_this(yes, local), "{yes}");
        }
        for no in
            ["evil.example", "localhost.evil.example:1", "10.0.0.2", "127.0.0.1.evil.example", ":80", "[::2]"]
        {
            assert!(!is_this(no, local), "{no}");
        }
    }
}
