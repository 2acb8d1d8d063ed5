//! Content codings: bodies of requests that come as gzip, and large answers that go out so.
//!
//! An answer is compressed when the client takes gzip, its size is known beforehand and it is large. Streams, a watch
//! above all, have no size and are never touched.

use std::io::{Read as _, Write as _};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::status::{ApiError, ApiResult};

/// Least size of an answer that is compressed, as in Kubernetes.
const LEAST: u64 = 128 << 10;

/// The body of a request as it was before its `Content-Encoding`.
///
/// # Errors
/// 413 when it grows past the limit, 415 for codings other than gzip, 400 for what is no gzip.
pub(crate) async fn decoded(headers: &HeaderMap, body: Bytes, limit: usize) -> ApiResult<Bytes> {
    let coding = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").trim());
    match coding {
        None | Some("" | "identity") => return Ok(body),
        Some("gzip" | "x-gzip") => {}
        Some(other) => {
            return Err(ApiError::unsupported_media_type(format!(
                "the body of the request has the unknown Content-Encoding {other:?}: only gzip is read"
            )));
        }
    }
    let inflating = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        MultiGzDecoder::new(&*body).take(most).read_to_end(&mut out).map(|_| out)
    });
    match inflating.await {
        Ok(Ok(out)) if out.len() > limit => Err(ApiError::too_large(limit)),
        Ok(Ok(out)) => Ok(out.into()),
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the request body is not valid gzip: {error}"))),
        Err(error) => Err(ApiError::internal(error.to_string())),
    }
}

/// Does the client take gzip?
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|part| {
        let mut words = part.split(';').map(str::trim);
        let coding = words.next().unwrap_or_default();
        let refused = words.filter_map(|word| word.strip_prefix("q=")).any(|q| q.parse() == Ok(0.0_f32));
        (coding.eq_ignore_ascii_case("gzip") || coding == "*") && !refused
    })
}

/// The answer, compressed when that is worth it. Only for clients that take it.
pub(crate) async fn encoded(response: Response) -> Response {
    let large = response.body().size_hint().exact().is_some_and(|size| size >= LEAST);
    if !large || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // It has a size, so it is in memory already: nothing is waited for.
    let Ok(collected) = body.collect().await else { return Response::from_parts(parts, Body::empty()) };
    let plain = collected.to_bytes();
    let kept = plain.clone();
    let compressing = tokio::task::spawn_blocking(move || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
        encoder.write_all(&plain).and_then(|()| encoder.finish())
    });
    parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let Ok(Ok(small)) = compressing.await else { return Response::from_parts(parts, Body::from(kept)) };
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(small))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_when_it_is_named_and_not_refused() {
        for (text, takes) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0, br", false),
            ("br", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, text.parse().unwrap());
            assert_eq!(takes_gzip(&headers), takes, "{text}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
