//! The one table of paths: every request becomes a [`Target`], every target is answered by one function.
//!
//! ```text
//! /api/v1/…  /apis/GROUP/VERSION/…   [namespaces/NS/] PLURAL [/NAME [/SUBRESOURCE]]
//! ```

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::audit::Wrote;
use crate::identity::{Asked, Identity};
use crate::kinds::Kind;
use crate::negotiate::{self, Accepted, coding};
use crate::query::{Query, decode};
use crate::selector::Selector;
use crate::status::{self, ApiError, ApiResult};
use crate::write::{self, Change, MAX_BUNDLE, MAX_OBJECT, Patch, Write, Written};
use crate::{Api, crd, info, read, scale, transcript};

/// What a path names.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Objects of a kind.
    Resource(Place),
    /// Anything else that the server says of itself.
    Info(info::Page),
}

/// The target of a request, put into it by whoever had to know it first.
#[derive(Clone, Debug)]
pub(crate) struct Parsed(pub(crate) ApiResult<Target>);

/// Objects of a kind, one of them, or a part of one.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) kind: Arc<Kind>,
    /// None: all namespaces, or the kind has none.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    /// Reads a path.
    pub(crate) fn parse(api: &Api, path: &str) -> ApiResult<Self> {
        let segments: Vec<String> =
            path.split('/').filter(|s| !s.is_empty()).map(|segment| decode(segment, false)).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let place = match segments.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => place(api, "", version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => place(api, group, version, rest),
            _ => None,
        };
        place
            .map(Self::Resource)
            .or_else(|| info::Page::parse(&segments).map(Self::Info))
            .ok_or_else(ApiError::no_such_path)
    }
}

fn place(api: &Api, group: &str, version: &str, rest: &[&str]) -> Option<Place> {
    let find = |plural: &str| api.registry().by_resource(group, version, plural).cloned();
    if let ["namespaces", namespace, plural, tail @ ..] = rest
        && let Some(kind) = find(plural).filter(|kind| kind.namespaced)
    {
        return tail_of(kind, Some((*namespace).to_owned()), tail);
    }
    let [plural, tail @ ..] = rest else { return None };
    let kind = find(plural)?;
    if kind.namespaced && !tail.is_empty() {
        return None;
    }
    tail_of(kind, None, tail)
}

fn tail_of(kind: Arc<Kind>, namespace: Option<String>, tail: &[&str]) -> Option<Place> {
    let owned = |text: &&str| Some((*text).to_owned());
    let (name, subresource) = match tail {
        [] => (None, None),
        [name] => (owned(name), None),
        [name, subresource] => {
            kind.subresource(subresource)?;
            (owned(name), owned(subresource))
        }
        _ => return None,
    };
    Some(Place { kind, namespace, name, subresource })
}

/// Kubernetes' verb for a request.
pub(crate) fn verb(method: &Method, place: &Place, query: &Query) -> &'static str {
    let one = place.name.is_some();
    match *method {
        Method::GET if one => "get",
        Method::GET if query.flag("watch") => "watch",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if one => "delete",
        Method::DELETE => "deletecollection",
        _ => "",
    }
}

/// The API as a router; whoever calls it is trusted unless an [`Identity`] was put into the request.
pub(crate) fn router(api: Api) -> axum::Router {
    axum::Router::new().fallback(handle).with_state(api)
}

async fn handle(State(api): State<Api>, mut request: Request<Body>) -> Response {
    let started = Instant::now();
    let identity = request.extensions().get::<Identity>().cloned().unwrap_or(Identity::Master);
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let path = request.uri().path().to_owned();
    let gzip = request.method() == Method::GET && coding::takes_gzip(request.headers());
    let parsed = request.extensions_mut().remove::<Parsed>();
    let target = parsed.map_or_else(|| Target::parse(&api, &path), |Parsed(target)| target);
    let (verb, resource, result) = match target {
        Err(error) => ("", String::new(), Err(error)),
        Ok(Target::Info(page)) => {
            let name = page.name();
            ("get", name.to_owned(), info::answer(&api, page, &identity, request).await)
        }
        Ok(Target::Resource(place)) => {
            let verb = verb(request.method(), &place, &query);
            let resource = place.kind.qualified();
            let deprecation = place.kind.custom.deprecation.clone();
            let result = match permit(&identity, verb, &place) {
                Ok(()) => resource_answer(&api, &identity, verb, place, &query, request).await,
                Err(error) => Err(error),
            };
            let result = match deprecation {
                Some(text) => result.and_then(|response| warned(response, &[text.to_string()])),
                None => result,
            };
            (verb, resource, result)
        }
    };
    let mut response = result.unwrap_or_else(IntoResponse::into_response);
    if gzip {
        response = coding::encoded(response).await;
    }
    api.metrics().request(verb, &resource, response.status().as_u16());
    tracing::debug!(
        verb,
        path,
        user = identity.user(),
        code = response.status().as_u16(),
        micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

/// Refuses what a caller may not do, and says what it may.
fn permit(identity: &Identity, verb: &str, place: &Place) -> ApiResult<()> {
    let asked = Asked {
        verb,
        group: &place.kind.group,
        resource: &place.kind.plural,
        subresource: place.subresource.as_deref().unwrap_or_default(),
        namespace: place.namespace.as_deref(),
        name: place.name.as_deref().unwrap_or_default(),
    };
    if identity.may(&asked) || verb.is_empty() {
        return Ok(());
    }
    let kind = &place.kind;
    let name = asked.name;
    let scope = match &place.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".into(),
    };
    let why = format!(
        "User {:?} cannot {verb} resource {:?} in API group {:?} {scope}: {}",
        identity.user(),
        asked.named(),
        kind.group,
        identity.rights()
    );
    Err(ApiError::forbidden_object(kind, name, &why))
}

async fn resource_answer(
    api: &Api,
    identity: &Identity,
    verb: &'static str,
    place: Place,
    query: &Query,
    request: Request<Body>,
) -> ApiResult<Response> {
    let Place { kind, namespace, name, subresource } = place;
    let allowed = match subresource.as_deref().and_then(|name| kind.subresource(name)) {
        Some(subresource) => subresource.verbs.contains(&verb),
        None => kind.allows(verb),
    };
    // Something is created in a namespace, and under the name in its body.
    let addressed = verb != "create"
        || subresource.is_some()
        || (name.is_none() && (namespace.is_some() || !kind.namespaced));
    let nameless = name.is_none() && matches!(verb, "update" | "patch");
    if !allowed || !addressed || nameless {
        return Err(ApiError::method_not_allowed());
    }
    let (parts, body) = request.into_parts();
    let ns = namespace.as_deref().unwrap_or_default();
    let object_name = name.as_deref().unwrap_or_default();
    if subresource.as_deref() == Some("transcript") {
        return match verb {
            "get" => transcript::read(api, &kind, ns, object_name, query),
            _ => {
                let limit = transcript::MAX_APPEND;
                let lines = negotiate::read(body, limit).await?;
                let lines = coding::decoded(&parts.headers, lines, limit).await?;
                transcript::append(api, &kind, ns, object_name, query, lines).await
            }
        };
    }
    let accepted = negotiate::accept(&parts.headers, query)?;
    if subresource.as_deref() == Some("scale") {
        let headers = &parts.headers;
        let (namespace, name) = (ns, object_name);
        let request = scale::Request { kind: &kind, verb, namespace, name, query, headers, accepted };
        return scale::answer(api, request, body).await;
    }
    match verb {
        "get" => return read::get(api, &kind, ns, object_name, accepted),
        "list" => return read::list(api, &kind, namespace.as_deref(), query, accepted),
        "watch" => return read::watch(api, &kind, namespace.as_deref(), query, accepted, identity),
        _ => {}
    }
    let is_bundle = kind.plural == "bundles" && kind.verbs == ["create"];
    let limit = if is_bundle { MAX_BUNDLE } else { MAX_OBJECT };
    let bytes = coding::decoded(&parts.headers, negotiate::read(body, limit).await?, limit).await?;
    let mut write = Write::new(&kind, ns, object_name, subresource.as_deref(), query, &parts.headers)?;
    let dry_run = write.dry_run;
    let media = negotiate::content_type(&parts.headers);
    match verb {
        "create" if is_bundle => {
            let (body, twice) = negotiate::parse_strictly(&media, &bytes)?;
            write.duplicates = twice;
            let (answer, warnings) = write::bundle(api, write, body, query.flag("force")).await?;
            let items = answer["results"].as_array();
            if !dry_run && items.into_iter().flatten().any(|item| item["kind"] == crd::KIND) {
                crd::settle_soon(api).await?;
            }
            let mut response = read::encoded(StatusCode::OK, &answer, accepted.yaml)?;
            response.extensions_mut().insert(Wrote::of(&answer));
            warned(response, &warnings)
        }
        "create" => {
            let (mut object, twice) = negotiate::parse_strictly(&media, &bytes)?;
            write.duplicates = twice;
            let remarks = match identity {
                Identity::Agent(agent) => {
                    agent.may_speak(api)?;
                    agent.admit(&kind, &mut object)?
                }
                _ => Vec::new(),
            };
            let mut done = write::create(api, write, object).await?;
            done.warnings.extend(remarks);
            written(&kind, crd::settled(api, &kind, dry_run, done).await?, accepted)
        }
        "update" => {
            let (object, twice) = negotiate::parse_strictly(&media, &bytes)?;
            write.duplicates = twice;
            let done = write::update(api, write, object).await?;
            written(&kind, crd::settled(api, &kind, dry_run, done).await?, accepted)
        }
        "patch" => {
            let named = query.has("fieldManager");
            let patch = Patch::parse(&mut write, &media, &bytes, query.flag("force"), named)?;
            let done = write::patch(api, write, patch).await?;
            written(&kind, crd::settled(api, &kind, dry_run, done).await?, accepted)
        }
        _ => {
            let body = match bytes.is_empty() {
                true => Value::Null,
                false => negotiate::parse(&media, &bytes)?,
            };
            let options = write::DeleteOptions::parse(&body, query)?;
            if verb == "delete" {
                let done = write::delete(api, write, options).await?;
                let done = crd::settled(api, &kind, dry_run, done).await?;
                if done.change != Change::Deleted {
                    return read::answer(&kind, StatusCode::OK, &done.object, accepted);
                }
                let uid = done.object["metadata"]["uid"].as_str().unwrap_or_default();
                let answer = status::deleted(&kind, object_name, uid);
                return read::encoded(StatusCode::OK, &answer, accepted.yaml);
            }
            let selector = Selector::parse(&kind, query.get("labelSelector"), query.get("fieldSelector"))?;
            let items =
                write::delete_collection(api, write, namespace.as_deref(), &selector, options).await?;
            if kind.is_definition() {
                crd::settle_soon(api).await?;
            }
            let answer = json!({
                "apiVersion": kind.api_version(), "kind": kind.list_kind, "items": items,
                "metadata": {"resourceVersion": api.store().revision().to_string()},
            });
            read::encoded(StatusCode::OK, &answer, accepted.yaml)
        }
    }
}

fn written(kind: &Kind, written: Written, accepted: Accepted) -> ApiResult<Response> {
    let code = if written.change == Change::Created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = match written.bytes {
        Some(bytes) if read::plain(kind, accepted) => read::raw_json(code, bytes),
        _ => read::answer(kind, code, &written.object, accepted)?,
    };
    response.extensions_mut().insert(Wrote::of(&written.object));
    warned(response, &written.warnings)
}

/// Adds `Warning` headers, few enough for every client's header limit.
fn warned(mut response: Response, warnings: &[String]) -> ApiResult<Response> {
    for text in warnings.iter().take(16) {
        let plain: String = text.chars().filter(|c| !c.is_control()).take(256).collect();
        let quoted = plain.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    Ok(response)
}
