//! Transcript records: what an iteration said and did, one JSON object per line.
//!
//! ```text
//! {"at":"2026-01-02T03:04:05.678901Z","type":"text","text":"I will look at the backlog."}
//! ```
//!
//! A transcript is append-only and is addressed by record number from 0. Readers skip types that they do
//! not know.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::{Deserialize, Serialize};

use crate::kinds::agent::TokenTotals;
use crate::kinds::iteration::Phase;

/// One line of a transcript.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Record {
    /// When it was received.
    pub at: MicroTime,
    /// What it is.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a record holds.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Entry {
    /// The whole prompt; always the first record.
    Prompt {
        /// The text.
        text: String,
    },
    /// Text of the agent.
    Text {
        /// The text.
        text: String,
    },
    /// Thinking of the agent.
    Thinking {
        /// The text.
        text: String,
    },
    /// A tool was called.
    ToolUse {
        /// The backend's id of the call.
        id: String,
        /// Name of the tool.
        name: String,
        /// Its most telling argument, one line, shortened.
        detail: String,
    },
    /// A tool answered.
    ToolResult {
        /// The id of the call.
        id: String,
        /// What it answered, possibly shortened by the backend.
        text: String,
        /// True when the tool failed.
        #[serde(default)]
        is_error: bool,
    },
    /// Guidance by a person or another agent reached the agent.
    Message {
        /// Who sent it.
        from: String,
        /// The text.
        text: String,
        /// Name of the Message object; absent where the agent's program was told by somebody else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Something that the backend or gcluster has to say: a retry, a model change, an unknown event.
    Notice {
        /// The text.
        text: String,
    },
    /// What was used up since the previous record of this type.
    Usage {
        /// Tokens.
        tokens: TokenTotals,
        /// US dollars; absent where the backend knows no price.
        #[serde(default, rename = "costUSD", skip_serializing_if = "Option::is_none")]
        cost_usd: Option<f64>,
    },
    /// The whole output: what the next step is given.
    Output {
        /// The text.
        text: String,
    },
    /// The iteration ended; always the last record.
    End {
        /// How.
        phase: Phase,
        /// Why, in one CamelCase word.
        reason: String,
        /// What went wrong, if anything did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A record of a type that this version does not know.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_written_and_an_unknown_type_is_tolerated() {
        let line =
            r#"{"at":"2026-01-02T03:04:05.678901Z","type":"toolUse","id":"t1","name":"Bash","detail":"ls"}"#;
        let record: Record = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), line);
        let odd = r#"{"at":"2026-01-02T03:04:05.678901Z","type":"hologram","x":1}"#;
        assert_eq!(serde_json::from_str::<Record>(odd).unwrap().entry, Entry::Unknown);
    }
}
