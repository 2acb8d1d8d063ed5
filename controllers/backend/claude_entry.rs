//! Transcript entries from the messages of `claude`: content blocks, tool calls and their telling detail.

use gcluster_types::transcript::Entry;
use serde_json::Value;

/// Longest detail of a tool call, in characters.
const DETAIL: usize = 100;

/// Text of a content that is a string or a list of blocks.
pub(crate) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<String> = blocks
                .iter()
                .map(|block| match (block["text"].as_str(), block["type"].as_str()) {
                    (Some(text), _) => text.to_owned(),
                    (None, kind) => format!("[{}]", kind.unwrap_or("unknown")),
                })
                .collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// A `tool_use` block.
pub(crate) fn tool_use(block: &Value) -> Entry {
    let name = block["name"].as_str().unwrap_or("unknown");
    Entry::ToolUse { id: string(&block["id"]), name: name.to_owned(), detail: detail(name, &block["input"]) }
}

/// A `tool_result` block.
pub(crate) fn tool_result(block: &Value) -> Entry {
    Entry::ToolResult {
        id: string(&block["tool_use_id"]),
        text: text_of(&block["content"]),
        is_error: block["is_error"].as_bool().unwrap_or(false),
    }
}

pub(crate) fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The argument that tells most about a call, one line, shortened.
fn detail(tool: &str, input: &Value) -> String {
    let keys: &[&str] = match tool {
        "Bash" => &["description", "command"],
        "Read" | "Write" | "Edit" | "MultiEdit" => &["file_path"],
        "NotebookEdit" => &["notebook_path"],
        "Glob" | "Grep" => &["pattern"],
        "WebFetch" => &["url"],
        "WebSearch" => &["query"],
        "Agent" | "Task" => &["description"],
        "Skill" => &["skill"],
        _ => &[],
    };
    let named = keys.iter().find_map(|key| input[*key].as_str());
    let first = || input.as_object().and_then(|input| input.values().find_map(Value::as_str));
    one_line(named.or_else(first).unwrap_or_default(), DETAIL)
}

/// White space runs become one space, the rest is cut behind `limit` characters.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_detail_of_a_call_is_its_most_telling_argument() {
        assert_eq!(detail("Bash", &json!({"command": "ls -l", "description": "List"})), "List");
        assert_eq!(detail("Bash", &json!({"command": "ls\n  -l"})), "ls -l");
        assert_eq!(detail("Read", &json!({"limit": 3, "file_path": "/a/b"})), "/a/b");
        assert_eq!(detail("mcp__x__y", &json!({"n": 1, "q": "word"})), "word");
        assert_eq!(detail("Nothing", &json!(null)), "");
        assert_eq!(detail("Grep", &json!({"pattern": "ü".repeat(200)})).chars().count(), DETAIL + 1);
    }

    #[test]
    fn content_is_text_or_blocks() {
        assert_eq!(text_of(&json!("a")), "a");
        assert_eq!(text_of(&json!([{"type": "text", "text": "a"}, {"type": "image"}])), "a\n[image]");
        assert_eq!(text_of(&json!(null)), "");
    }
}
