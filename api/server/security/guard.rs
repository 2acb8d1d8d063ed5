//! The checks of every request that came over a socket.
//!
//! ```text
//! Host is loopback (or the address listened on) ─▶ Origin is absent or this server ─▶ token ─▶ routes
//! ```
//! The first two are against browsers: a page whose name was rebound to this address, a page elsewhere.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Request, header};

use super::Security;
use crate::Api;
use crate::identity::Identity;
use crate::routes::Target;
use crate::status::{ApiError, ApiResult};

/// The local address of a connection; put into each of its requests by the listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local(pub(crate) SocketAddr);

#[derive(Clone)]
struct Guard {
    api: Api,
    security: Security,
}

/// The API for callers that have to say who they are.
pub(crate) fn guarded(api: &Api, security: &Security) -> Router {
    let guard = Guard { api: api.clone(), security: security.clone() };
    api.router().layer(from_fn_with_state(guard, check))
}

async fn check(State(guard): State<Guard>, mut request: Request<Body>, next: Next) -> Response {
    match admit(&guard, &request) {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(error) => {
            tracing::debug!(path = request.uri().path(), code = error.code().as_u16(), "refused");
            error.into_response()
        }
    }
}

fn admit(guard: &Guard, request: &Request<Body>) -> ApiResult<Identity> {
    let headers = request.headers();
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => text(headers, header::HOST),
    };
    let local = request.extensions().get::<Local>().map(|local| local.0.ip());
    if !host.is_empty() && !is_this(host, local) {
        return Err(ApiError::forbidden(format!("the host {host:?} is not this server")));
    }
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if authority.is_none_or(|authority| authority != host) {
            return Err(ApiError::forbidden(format!("requests of the origin {origin:?} are not accepted")));
        }
    }
    let sent = text(headers, header::AUTHORIZATION);
    let token = sent.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    if let Some(identity) = token.and_then(|(_, token)| guard.security.identify(token.trim())) {
        return Ok(identity);
    }
    match Target::parse(&guard.api, request.uri().path()) {
        Ok(Target::Info(page)) if page.is_public() => Ok(Identity::Anonymous),
        _ => Err(ApiError::unauthorized()),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Is `host`, with or without a port, a loopback name or address, or the address of the connection?
fn is_this(host: &str, local: Option<IpAddr>) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
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
