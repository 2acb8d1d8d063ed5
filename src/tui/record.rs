//! Recording what happens, one message a line, and playing it back: for bug reports and tests.
//!
//! ```text
//! {"gcluster":"steer","version":1,"size":[120,40],"setting":{…}}
//! {"ms":12,"msg":{"Agents":{…}}}
//! ```
//!
//! Tokens and values of environment variables are no part of any message.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::msg::Msg;
use crate::exit::{Failure, Result};

/// Version of the form.
const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    gcluster: String,
    version: u32,
    /// Columns and rows at the beginning.
    pub(crate) size: (u16, u16),
    /// Where the master was.
    pub(crate) address: String,
    /// The namespace; `None` for all.
    pub(crate) namespace: Option<String>,
    /// The time at the beginning.
    pub(crate) at: k8s_openapi::jiff::Timestamp,
}

impl Head {
    /// The head of a recording that begins now.
    pub(crate) fn new(size: (u16, u16), address: &str, namespace: Option<&str>) -> Self {
        Self {
            gcluster: "steer".into(),
            version: VERSION,
            size,
            address: address.to_owned(),
            namespace: namespace.map(str::to_owned),
            at: k8s_openapi::jiff::Timestamp::now(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Entry {
    ms: u64,
    msg: Msg,
}

/// A recording that is written.
#[derive(Debug)]
pub(crate) struct Recorder {
    file: BufWriter<File>,
    begun: Instant,
}

impl Recorder {
    /// Begins one. The file is for its owner only: it holds what agents said.
    pub(crate) fn create(path: &Path, head: &Head) -> Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let cannot = |error| Failure::failed(format!("cannot record to {}: {error}", path.display()));
        let options =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let mut recorder = Self { file: BufWriter::new(options.map_err(cannot)?), begun: Instant::now() };
        recorder.line(head).map_err(cannot)?;
        Ok(recorder)
    }

    /// Writes a message. A disk that is full ends the recording, not the work.
    pub(crate) fn take(&mut self, msg: &Msg) {
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let msg = match msg {
            // A whole object may hold what nobody else is to see.
            Msg::Page { title, .. } => {
                Msg::Page { title: title.clone(), text: "This is not recorded.".into(), diff: false }
            }
            other => other.clone(),
        };
        let _ = self.line(&Entry { ms, msg });
    }

    /// Brings everything to the file.
    pub(crate) fn flush(&mut self) {
        let _ = self.file.flush();
    }

    fn line(&mut self, value: &impl Serialize) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.file, value)?;
        self.file.write_all(b"\n")
    }
}

/// A recording that is played.
#[derive(Debug)]
pub(crate) struct Replay {
    /// How it began.
    pub(crate) head: Head,
    /// Messages with the time after the beginning.
    pub(crate) messages: Vec<(Duration, Msg)>,
}

impl Replay {
    /// Reads a recording. A last line that is cut off, as after a kill, is left out.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let cannot = |what: String| Failure::failed(format!("cannot replay {}: {what}", path.display()));
        let file = File::open(path).map_err(|error| cannot(error.to_string()))?;
        let mut lines = BufReader::new(file).lines();
        let first = lines.next().transpose().map_err(|error| cannot(error.to_string()))?.unwrap_or_default();
        let head: Head = serde_json::from_str(&first)
            .map_err(|_| cannot("it was not made by `gcluster steer --record`".into()))?;
        if head.gcluster != "steer" || head.version != VERSION {
            return Err(cannot(format!(
                "its form has version {}, this program knows {VERSION}",
                head.version
            )));
        }
        let mut messages = Vec::new();
        for line in lines {
            let line = line.map_err(|error| cannot(error.to_string()))?;
            let Ok(entry) = serde_json::from_str::<Entry>(&line) else { break };
            messages.push((Duration::from_millis(entry.ms), entry.msg));
        }
        Ok(Self { head, messages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fleet::{AgentRow, Key};
    use crate::tui::msg::Changes;
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    #[test]
    fn what_was_recorded_is_played_and_a_torn_line_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let key = Msg::Key(KeyEvent::new(KeyCode::Char('ä'), KeyModifiers::ALT));
        let row = AgentRow { key: Key::new("d", "a"), cost: 0.1, ..AgentRow::default() };
        let agents =
            Msg::Agents(Changes { all: true, put: vec![("d/a".into(), row)], gone: vec!["x".into()] });
        let mut recorder = Recorder::create(&path, &Head::new((80, 24), "h:1", Some("d"))).unwrap();
        recorder.take(&key);
        recorder.take(&agents);
        recorder.take(&Msg::Page { title: "t".into(), text: "SECRET=1".into(), diff: false });
        recorder.flush();
        drop(recorder);
        let replay = Replay::open(&path).unwrap();
        assert_eq!((replay.head.size, replay.head.address.as_str()), ((80, 24), "h:1"));
        assert_eq!(
            replay.messages.iter().take(2).map(|(_, msg)| msg.clone()).collect::<Vec<_>>(),
            [key, agents]
        );
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("SECRET"));
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        assert_eq!(Replay::open(&path).unwrap().messages.len(), 2);
        std::fs::write(&path, "{}").unwrap();
        assert!(Replay::open(&path).unwrap_err().message.contains("--record"));
    }
}
