//! Envelopes: one JSON object a line.
//!
//! ```text
//! {"type":"steer_inject","id":7,"payload":{…}}          request; `id` is optional, a number or a text
//! {"type":"steer_inject_response","id":7,"payload":{…}} its answer
//! {"type":"error","id":7,"request":"steer_inject","payload":{"kind":"Status",…}}
//! ```

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::status::{ApiError, ApiResult};

/// Longest `id`, in bytes as it is written.
const MAX_ID: usize = 256;

/// A request as it was read. The payload is still text.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// What is asked for.
    pub(crate) request: String,
    /// What the client calls it.
    pub(crate) id: Option<Value>,
    payload: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    r#type: Option<Value>,
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    payload: Option<Box<RawValue>>,
}

impl Envelope {
    /// Reads a line. A refusal comes with the id where there is one, to be answered under it.
    pub(crate) fn read(line: &[u8]) -> Result<Self, (Option<Value>, ApiError)> {
        let text = std::str::from_utf8(line)
            .map_err(|error| (None, ApiError::bad_request(format!("the line is not UTF-8: {error}"))))?;
        let wire: Wire = serde_json::from_str(text).map_err(|error| {
            let why = format!("the line is no envelope {{\"type\": …, \"payload\": …}}: {error}");
            (None, ApiError::bad_request(why))
        })?;
        let short = |id: &Value| (id.is_number() || id.is_string()) && id.to_string().len() <= MAX_ID;
        let id = match wire.id {
            Some(id) if !short(&id) => {
                let why = format!("id: must be a number or a text of at most {MAX_ID} bytes");
                return Err((None, ApiError::bad_request(why)));
            }
            id => id,
        };
        match wire.r#type {
            Some(Value::String(request)) if !request.is_empty() => {
                Ok(Self { request, id, payload: wire.payload })
            }
            Some(_) => Err((id, ApiError::bad_request("type: must be a text"))),
            None => Err((id, ApiError::bad_request("type: Required value"))),
        }
    }

    /// The same without its payload, to be answered later.
    pub(crate) fn named(&self) -> Self {
        Self { request: self.request.clone(), id: self.id.clone(), payload: None }
    }

    /// The payload as what it has to be; no payload is an empty one.
    pub(crate) fn payload<T: DeserializeOwned>(&self) -> ApiResult<T> {
        let text = self.payload.as_deref().map_or("{}", RawValue::get);
        // Serde reads a struct from a list too, which nobody means here.
        let parsed = if text.starts_with('{') {
            serde_json::from_str(text).map_err(|error| error.to_string())
        } else {
            Err("it must be an object".to_owned())
        };
        parsed.map_err(|why| ApiError::bad_request(format!("the payload of {}: {why}", self.request)))
    }

    /// The line that answers the request.
    pub(crate) fn answer(&self, kind: &str, payload: &Value) -> Bytes {
        line(kind, self.id.as_ref(), payload)
    }

    /// The line that refuses the request, with a Status.
    pub(crate) fn refuse(&self, status: &Value) -> Bytes {
        let mut envelope = json!({"type": "error", "request": self.request, "payload": status});
        if let Some(id) = &self.id {
            envelope["id"] = id.clone();
        }
        format!("{envelope}\n").into()
    }
}

/// An envelope as a line.
pub(crate) fn line(kind: &str, id: Option<&Value>, payload: &Value) -> Bytes {
    match id {
        Some(id) => format!("{}\n", json!({"type": kind, "id": id, "payload": payload})).into(),
        None => format!("{}\n", json!({"type": kind, "payload": payload})).into(),
    }
}

/// A refusal that answers no request that could be read.
pub(crate) fn error(id: Option<&Value>, status: &Value) -> Bytes {
    line("error", id, status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &[u8]) -> String {
        Envelope::read(line).unwrap_err().1.to_string()
    }

    #[test]
    fn what_is_no_envelope_says_why() {
        assert!(refusal(b"{\"type\":\xff\"}").contains("UTF-8"));
        assert!(refusal(b"{\"type\": \"x\"").contains("no envelope"));
        assert!(refusal(b"[1]").contains("no envelope") || refusal(b"[1]").contains("type"));
        assert!(refusal(b"{\"payload\":{}}").contains("type: Required"));
        assert!(refusal(b"{\"type\":1}").contains("must be a text"));
        assert!(refusal(b"{\"type\":\"x\",\"id\":{}}").contains("id:"));
        assert!(refusal(b"{\"type\":\"x\0\"}").contains("no envelope"));
        let deep = format!("{{\"type\":\"x\",\"id\":{}", "[".repeat(100_000));
        assert!(refusal(deep.as_bytes()).contains("no envelope"));
    }

    #[test]
    fn an_answer_carries_the_id_of_its_request() {
        let envelope = Envelope::read(b" {\"id\":\"a\",\"type\":\"ping\"}\r").unwrap();
        assert_eq!(envelope.answer("pong", &json!({})), "{\"id\":\"a\",\"payload\":{},\"type\":\"pong\"}\n");
        let (id, _) = Envelope::read(b"{\"id\":3}").unwrap_err();
        assert_eq!(id, Some(json!(3)));
    }

    #[test]
    fn a_payload_of_another_type_names_the_request() {
        #[derive(Deserialize, Debug)]
        #[serde(deny_unknown_fields)]
        struct Empty {}
        for payload in ["[]", "3", "\"x\"", "null", "{\"a\":1}"] {
            let text = format!("{{\"type\":\"t\",\"payload\":{payload}}}");
            let read = Envelope::read(text.as_bytes()).unwrap().payload::<Empty>();
            // Null is no payload.
            assert_eq!(read.is_ok(), payload == "null", "{payload}: {read:?}");
        }
    }
}
