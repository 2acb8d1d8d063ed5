//! What the server says of itself: version, health, metrics, discovery, OpenAPI, and who asks.

mod review;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::discovery::{self, Aggregated};
use crate::identity::Identity;
use crate::read::encoded;
use crate::status::{ApiError, ApiResult};
use crate::write::MAX_OBJECT;
use crate::{Api, negotiate, openapi};

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Root,
    Version,
    /// Alive: `/healthz`, `/livez`.
    Live,
    /// Alive, the disk takes writes, and no loop is stuck: `/readyz`.
    Ready,
    Metrics,
    TicketRows,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    Group(String),
    Resources(String, String),
    OpenApiV2,
    OpenApiIndex,
    OpenApi(String, String),
    AccessReview,
    RulesReview,
    WhoAmI,
}

impl Page {
    pub(crate) fn parse(segments: &[&str]) -> Option<Self> {
        let owned = |text: &str| text.to_owned();
        Some(match segments {
            [] => Self::Root,
            ["version"] => Self::Version,
            ["healthz" | "livez", ..] => Self::Live,
            ["readyz", ..] => Self::Ready,
            ["metrics"] => Self::Metrics,
            ["metrics", "tickets.csv"] => Self::TicketRows,
            ["api"] => Self::CoreVersions,
            ["apis"] => Self::Groups,
            ["api", version] => Self::Resources(String::new(), owned(version)),
            ["apis", group] => Self::Group(owned(group)),
            ["apis", group, version] => Self::Resources(owned(group), owned(version)),
            ["openapi", "v2"] => Self::OpenApiV2,
            ["openapi", "v3"] => Self::OpenApiIndex,
            ["openapi", "v3", "api", version] => Self::OpenApi(String::new(), owned(version)),
            ["openapi", "v3", "apis", group, version] => Self::OpenApi(owned(group), owned(version)),
            ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] => Self::AccessReview,
            ["apis", "authorization.k8s.io", "v1", "selfsubjectrulesreviews"] => Self::RulesReview,
            ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"] => Self::WhoAmI,
            _ => return None,
        })
    }

    /// Name for metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Version => "/version",
            Self::Live => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
            Self::TicketRows => "/metrics/tickets.csv",
            Self::CoreVersions => "/api",
            Self::Groups | Self::Group(_) | Self::Resources(..) => "/apis",
            Self::OpenApiV2 | Self::OpenApiIndex | Self::OpenApi(..) => "/openapi",
            Self::AccessReview => "selfsubjectaccessreviews",
            Self::RulesReview => "selfsubjectrulesreviews",
            Self::WhoAmI => "selfsubjectreviews",
        }
    }

    /// True for questions that are asked with POST and change nothing.
    pub(crate) fn is_review(&self) -> bool {
        matches!(self, Self::AccessReview | Self::RulesReview | Self::WhoAmI)
    }

    /// May this caller see it? The numbers of the whole master are none of an agent's business.
    pub(crate) fn is_for(&self, identity: &Identity) -> bool {
        !(matches!(self, Self::Metrics | Self::TicketRows) && matches!(identity, Identity::Agent(_)))
    }

    /// True for what is answered without a token.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self, Self::Version | Self::Live | Self::Ready)
    }
}

/// Answers a page.
pub(crate) async fn answer(
    api: &Api,
    page: Page,
    identity: &Identity,
    request: Request<Body>,
) -> ApiResult<Response> {
    let posted = page.is_review();
    let expected = if posted {
        request.method() == Method::POST
    } else {
        matches!(*request.method(), Method::GET | Method::HEAD)
    };
    if !expected {
        return Err(ApiError::method_not_allowed());
    }
    if !page.is_for(identity) {
        let (user, rights) = (identity.user(), identity.rights());
        return Err(ApiError::forbidden(format!(
            "User {user:?} cannot get path {:?}: {rights}",
            page.name()
        )));
    }
    let registry = &*api.registry();
    let document = match page {
        Page::Root => json!({"paths": [
            "/api", "/api/v1", "/apis", "/apis/gcluster.dev/v1alpha1", "/healthz", "/livez", "/metrics", "/metrics/tickets.csv",
            "/openapi/v2", "/openapi/v3", "/readyz", "/version",
        ]}),
        Page::Version => version(api.version()),
        Page::Live => return Ok(text("ok", "text/plain; charset=utf-8")),
        Page::Ready => {
            let stuck = api.metrics().more().and_then(|more| more.stuck());
            return match (api.store().healthy(), stuck) {
                (Ok(()), None) => Ok(text("ok", "text/plain; charset=utf-8")),
                (Ok(()), Some(stuck)) => Err(ApiError::unavailable(stuck)),
                // Without a token the reason, which may hold a path, is nobody's business.
                (Err(_), _) if *identity == Identity::Anonymous => {
                    Err(ApiError::unavailable("the disk refuses writes"))
                }
                (Err(reason), _) => Err(ApiError::unavailable(format!("the disk refuses writes: {reason}"))),
            };
        }
        Page::Metrics => {
            let metrics = api.metrics().render(api.store(), registry, api.version());
            return Ok(text(metrics, "text/plain; version=0.0.4; charset=utf-8"));
        }
        Page::TicketRows => {
            let rows = match api.metrics().more() {
                Some(more) => more.ticket_rows().await.map_err(|error| {
                    ApiError::unavailable(format!("the rows of tickets cannot be read: {error}"))
                })?,
                None => Vec::new(),
            };
            return Ok(text(rows, "text/csv; charset=utf-8; header=present"));
        }
        Page::CoreVersions | Page::Groups => {
            let core = page == Page::CoreVersions;
            if let Some(form) = aggregated(&request) {
                return discovered(&discovery::aggregated(registry, form, core), form);
            }
            if core { discovery::api(registry) } else { discovery::apis(registry) }
        }
        Page::Group(group) => discovery::group(registry, &group).ok_or_else(ApiError::no_such_path)?,
        Page::Resources(group, version) => {
            discovery::resources(registry, &group, &version).ok_or_else(ApiError::no_such_path)?
        }
        Page::OpenApiV2 => {
            let accept =
                request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
            let json = accept.is_empty() || ["json", "*/*"].iter().any(|media| accept.contains(media));
            if !json && openapi::accepts_protobuf(accept) {
                return Ok(text(openapi::v2_protobuf(registry, api.version()), openapi::PROTOBUF));
            }
            if !json {
                return Err(ApiError::not_acceptable());
            }
            openapi::v2(registry, api.version())
        }
        Page::OpenApiIndex => openapi::v3_index(registry),
        Page::OpenApi(group, version) => openapi::v3_document(registry, &group, &version, api.version())
            .ok_or_else(ApiError::no_such_path)?,
        Page::AccessReview => {
            let review = body(request).await?;
            return encoded(StatusCode::CREATED, &review::access(api, identity, review), false);
        }
        Page::RulesReview => {
            let review = body(request).await?;
            return encoded(StatusCode::CREATED, &review::rules(api, identity, &review), false);
        }
        Page::WhoAmI => return encoded(StatusCode::CREATED, &review::who(identity), false),
    };
    encoded(StatusCode::OK, &document, false)
}

async fn body(request: Request<Body>) -> ApiResult<Value> {
    let media = negotiate::content_type(request.headers());
    let (parts, body) = request.into_parts();
    let bytes = negotiate::read(body, MAX_OBJECT).await?;
    let bytes = negotiate::coding::decoded(&parts.headers, bytes, MAX_OBJECT).await?;
    negotiate::parse(&media, &bytes)
}

fn text(body: impl IntoResponse, media: &'static str) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// What kubectl checks itself against, and the version of gcluster behind it.
fn version(own: &str) -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": format!("v1.33.0+gcluster-{own}"),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// The first form of aggregated discovery that the client accepts before plain JSON.
fn aggregated(request: &Request<Body>) -> Option<Aggregated> {
    let accept = request.headers().get(header::ACCEPT)?.to_str().ok()?;
    accept.split(',').find_map(|range| {
        let wanted = range.contains("as=APIGroupDiscoveryList") && range.contains("application/json");
        let has = |version: &str| range.split(';').any(|p| p.trim() == format!("v={version}"));
        match wanted {
            true if has("v2") => Some(Aggregated::V2),
            true if has("v2beta1") => Some(Aggregated::V2beta1),
            _ => None,
        }
    })
}

fn discovered(document: &Value, form: Aggregated) -> ApiResult<Response> {
    let mut response = encoded(StatusCode::OK, document, false)?;
    let media =
        format!("application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList", form.version());
    if let Ok(value) = HeaderValue::from_str(&media) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    Ok(response)
}
