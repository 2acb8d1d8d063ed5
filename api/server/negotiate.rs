//! What a client sends and what it wants back.

pub(crate) mod coding;
mod strict;

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use crate::protobuf;
use crate::query::Query;
use crate::status::{ApiError, ApiResult};
use crate::table::IncludeObject;

/// Longest time that the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The objects themselves.
    Object,
    /// A `meta.k8s.io/v1` Table.
    Table(IncludeObject),
    /// Metadata alone.
    Metadata,
}

/// The form of an answer and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) form: Form,
    pub(crate) yaml: bool,
}

/// Takes the first media type of `Accept` that can be served.
///
/// # Errors
/// 406 when there is none.
pub(crate) fn accept(headers: &HeaderMap, query: &Query) -> ApiResult<Accepted> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.trim().is_empty() {
        return Ok(Accepted { form: Form::Object, yaml: false });
    }
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let (mut kind, mut group, mut version) = ("", "", "");
        for (name, value) in parts.filter_map(|p| p.split_once('=')) {
            match name.trim() {
                "as" => kind = value.trim(),
                "g" => group = value.trim(),
                "v" => version = value.trim(),
                _ => {}
            }
        }
        let yaml = match media {
            "application/json" | "*/*" | "application/*" | "text/html" => false,
            "application/yaml" | "text/yaml" => true,
            _ => continue,
        };
        let known = group == "meta.k8s.io" && version == "v1";
        let form = match kind {
            "" => Form::Object,
            "Table" if known => {
                let include = IncludeObject::parse(query.get("includeObject")).ok_or_else(|| {
                    ApiError::bad_request(format!(
                        "includeObject: Unsupported value: {:?}: supported values: \"None\", \"Metadata\", \"Object\"",
                        query.get("includeObject")
                    ))
                })?;
                Form::Table(include)
            }
            "PartialObjectMetadata" | "PartialObjectMetadataList" if known => Form::Metadata,
            _ => continue,
        };
        return Ok(Accepted { form, yaml });
    }
    Err(ApiError::not_acceptable())
}

/// Reads a whole body.
///
/// # Errors
/// 413 above the limit, 400 when the client breaks off, 408 when it takes too long.
pub(crate) async fn read(body: Body, limit: usize) -> ApiResult<Bytes> {
    let Ok(read) = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await else {
        return Err(ApiError::request_timeout(BODY_TIMEOUT));
    };
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ApiError::too_large(limit)),
        Err(error) => Err(ApiError::bad_request(format!("the request body could not be read: {error}"))),
    }
}

/// Media type of a body, lower case, without parameters; JSON when nothing is said.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase() {
        empty if empty.is_empty() => "application/json".into(),
        media => media,
    }
}

/// Reads an object from a body: JSON, YAML, or protobuf of a built-in kind.
///
/// # Errors
/// 415 for other media types, 400 for what cannot be read.
pub(crate) fn parse(content_type: &str, bytes: &[u8]) -> ApiResult<Value> {
    parse_strictly(content_type, bytes).map(|(value, _)| value)
}

/// The same, with the paths of the keys that come twice.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_strictly(content_type: &str, bytes: &[u8]) -> ApiResult<(Value, Vec<String>)> {
    let text = match content_type {
        "application/json" => return json(bytes),
        media if media.ends_with("+json") => return json(bytes),
        protobuf::MEDIA_TYPE => return protobuf::decode(bytes).map(|object| (object, Vec::new())),
        "application/yaml" | "text/yaml" | "application/x-yaml" | "application/apply-patch+yaml" => bytes,
        _ => {
            return Err(ApiError::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
    };
    // JSON is what nearly every client sends under the YAML types too, and is read a good deal faster.
    if let Ok(read) = json(text) {
        return Ok(read);
    }
    strict::read(serde_yaml::Deserializer::from_slice(text))
        .map_err(|error| ApiError::bad_request(format!("the body is not valid YAML: {error}")))
}

fn json(bytes: &[u8]) -> ApiResult<(Value, Vec<String>)> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    strict::read(&mut reader)
        .and_then(|read| reader.end().map(|()| read))
        .map_err(|error| ApiError::bad_request(format!("the body is not valid JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept_header: &str) -> ApiResult<Accepted> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept_header.parse().unwrap());
        accept(&headers, &Query::default())
    }

    #[test]
    fn the_first_form_that_can_be_served_is_taken() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(kubectl).unwrap().form, Form::Table(IncludeObject::Metadata));
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json").unwrap().form, Form::Object);
        assert_eq!(
            form("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").unwrap().form,
            Form::Metadata
        );
        assert!(form("application/yaml").unwrap().yaml);
        assert_eq!(form("application/vnd.kubernetes.protobuf").unwrap_err().code(), 406);
        assert_eq!(form("application/json;as=Chart;g=meta.k8s.io;v=v1").unwrap_err().code(), 406);
    }
}
