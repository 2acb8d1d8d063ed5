//! The line protocol, with whatever bytes come.

use serde_json::{Value, json};

use super::requests::with_served;
use super::source::Source;

const TYPES: [&str; 8] = [
    "auth",
    "ping",
    "apply_request",
    "steer_subscribe",
    "steer_inject",
    "steer_edit_prompt",
    "shutdown_notice",
    "nonsense",
];

/// Every line that is answered is an envelope, a refusal holds a Status that is no internal error, and after anything at all a
/// `ping` is answered on another connection.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let mut said = Vec::new();
    for number in 0..source.below(5) {
        let mut envelope = json!({"type": source.pick(&TYPES), "id": number});
        let mut payload = source.object(2);
        for name in [
            "agent",
            "text",
            "token",
            "objects",
            "agents",
            "method",
            "namespace",
            "delivery",
            "resourceVersion",
        ] {
            if source.below(3) == 1 {
                let value = match source.below(4) {
                    0 => json!("a"),
                    1 => json!("steer"),
                    2 => json!(["a", "b"]),
                    _ => source.json(2),
                };
                payload.insert(name.to_owned(), value);
            }
        }
        envelope["payload"] = payload.into();
        said.extend(envelope.to_string().bytes().chain([b'\n']));
    }
    said.extend(source.rest().into_bytes());
    with_served(|served| {
        let heard = served.speak(&said);
        for line in heard.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            let envelope: Value = serde_json::from_slice(line).expect("every line is JSON");
            let kind = envelope["type"].as_str().expect("every envelope has a type");
            if kind == "error" {
                let status = &envelope["payload"];
                assert!(status["message"].is_string() && status["reason"].is_string(), "{envelope}");
                assert!(status["code"].as_u64().is_some_and(|code| (400..500).contains(&code)), "{envelope}");
            }
        }
        let pong = served.speak(b"{\"type\":\"ping\",\"id\":7}\n");
        let pong: Value = serde_json::from_slice(&pong).expect("one answer");
        assert_eq!((&pong["type"], &pong["id"]), (&json!("pong"), &json!(7)));
    });
}
