//! Messages in words.

use gcluster_types::Message;
use gcluster_types::kinds::message::{Delivery, MessagePhase};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::fields::{Fields, table};
use super::{age, event, visible};

/// The text of `describe message`.
pub fn describe(message: &Message, events: &[Value], now: Timestamp) -> String {
    let (spec, status) = (&message.spec, message.status.clone().unwrap_or_default());
    let mut fields = Fields::new();
    fields.add("Name", name(message));
    fields.add("Namespace", message.metadata.namespace.as_deref().unwrap_or_default());
    fields.add("Agent", spec.agent.as_str()).maybe("Meant for", spec.iteration.as_deref());
    fields.maybe("From", spec.from.as_deref());
    fields.add("Delivery", delivery(spec.delivery));
    let moment = |at: Timestamp| format!("{} ago ({})", age::since(at, now), at.strftime("%H:%M:%S%.3f UTC"));
    fields.maybe("Created", message.metadata.creation_timestamp.as_ref().map(|at| moment(at.0)));
    fields.add("Phase", format!("{:?}", status.phase)).maybe("How", status.how);
    fields.maybe("Iteration", status.iteration);
    fields.maybe("Delivered", status.delivered_at.map(|at| moment(at.0)));
    fields.maybe("Acknowledged", status.acknowledged_at.map(|at| moment(at.0)));
    fields.add("Text", spec.text.trim_end());
    fields.render(0) + &event::section(events, now, 12)
}

/// One line on what became of a message.
pub fn line(message: &Message) -> String {
    let status = message.status.clone().unwrap_or_default();
    let how = status.how.map(|how| format!(": {}", visible(&how))).unwrap_or_default();
    format!("message {} {}{how}\n", name(message), format!("{:?}", status.phase).to_lowercase())
}

/// Those of the messages that did not come to their end, in the order of arrival, as a section of `describe agent`.
/// Empty when there are none.
pub fn section(messages: &[Message], now: Timestamp) -> String {
    let status = |message: &Message| message.status.clone().unwrap_or_default();
    let mut open: Vec<&Message> =
        messages.iter().filter(|message| !status(message).phase.is_terminal()).collect();
    if open.is_empty() {
        return String::new();
    }
    open.sort_by_key(|message| (status(message).arrival.unwrap_or(i64::MAX), name(message).to_owned()));
    let rows = open.into_iter().map(|message| {
        let now_or_before = |at: Timestamp| age::since(at, now);
        let created = message.metadata.creation_timestamp.as_ref().map(|at| now_or_before(at.0));
        let phase = match status(message).phase {
            MessagePhase::Pending => "Pending",
            _ => "Delivered",
        };
        let cells = [
            name(message).to_owned(),
            phase.to_owned(),
            created.unwrap_or_else(|| "-".into()),
            message.spec.from.clone().unwrap_or_else(|| "-".into()),
            status(message).how.unwrap_or_else(|| "-".into()),
        ];
        cells.iter().map(|cell| visible(cell).replace('\n', " ")).collect()
    });
    format!("Messages:\n{}", table(&["MESSAGE", "PHASE", "AGE", "FROM", "HOW"], rows.collect(), 2))
}

fn name(message: &Message) -> &str {
    message.metadata.name.as_deref().unwrap_or_default()
}

fn delivery(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Steer => "Steer: into the running turn",
        Delivery::Queue => "Queue: in front of the next prompt",
        Delivery::Interrupt => "Interrupt: the running turn ends and goes on with it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(name: &str, status: Value) -> Message {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"agent": "builder", "text": "Use tabs.\nNot spaces.\n", "from": "ann"},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_message_tells_how_far_it_has_come() {
        let now: Timestamp = "2026-01-02T03:05:05Z".parse().unwrap();
        let given = message(
            "builder-x2k9f",
            json!({"phase": "Acknowledged", "iteration": "builder.work.3", "how": "into the running turn of builder.work.3",
                "deliveredAt": "2026-01-02T03:04:05.012000Z", "acknowledgedAt": "2026-01-02T03:04:35.500000Z"}),
        );
        crate::testing::snapshot("describe-message", &describe(&given, &[], now));
        assert_eq!(
            line(&given),
            "message builder-x2k9f acknowledged: into the running turn of builder.work.3\n"
        );
        assert_eq!(line(&message("m", json!({}))), "message m pending\n");
        assert_eq!(section(std::slice::from_ref(&given), now), "");
        let waiting = |name, arrival| {
            message(name, json!({"phase": "Pending", "arrival": arrival, "how": "queued: it waits"}))
        };
        let text = section(&[given, waiting("b", 9), waiting("a", 10)], now);
        let b = "  b         Pending   60s   ann    queued: it waits\n";
        assert!(text.starts_with("Messages:\n  MESSAGE") && text.contains(b), "{text}");
        assert!(text.find("  b  ") < text.find("  a  "), "{text}");
    }
}
