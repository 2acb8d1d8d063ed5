//! From a command line to a screen and back: checks everything that can be refused before the terminal is touched.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;

use super::app::{self, Left, Source};
use super::model::{Model, Setting};
use super::record::{Head, Recorder, Replay};
use super::terminal::{self, Look};
use super::theme::Mode;
use super::tickets::Panel;
use crate::client::{Connection, JSON};
use crate::exit::{Failure, Kind, Result};

/// The file with the name of the panel that was shown last.
const MEMORY: &str = "steer.panel";

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The file that the agents come from; only for what is said.
    pub file: Option<String>,
    /// The namespace; `None` for all.
    pub namespace: Option<String>,
    /// Colours; else what the terminal says.
    pub theme: Option<Mode>,
    /// Only signs of ASCII.
    pub ascii: bool,
    /// Nothing may be changed.
    pub readonly: bool,
    /// Where to record what happens.
    pub record: Option<PathBuf>,
    /// The folder in which it is kept which panel was shown last; nowhere when it is not there.
    pub memory: Option<PathBuf>,
}

/// Shows a master. Returns when the user leaves.
///
/// # Errors
/// The master does not answer (exit 3), standard output is no terminal (exit 2), the recording cannot be written.
pub async fn live(connection: Connection, options: Options) -> Result {
    drawable()?;
    if !connection.answers().await {
        return Err(Failure::unreachable(&connection.address));
    }
    // A token that may not look is refused here, in words, rather than on an empty screen.
    connection.get("/apis/gcluster.dev/v1alpha1/namespaces/default/agents?limit=1", JSON).await?;
    let record = match &options.record {
        Some(path) => {
            let head = Head::new(size()?, &connection.address, options.namespace.as_deref());
            Some(Recorder::create(path, &head)?)
        }
        None => None,
    };
    let address = connection.address.clone();
    show(Source::Live(connection), address, &options, record, Timestamp::now()).await
}

/// Plays a recording, `speed` times as fast as it was. Returns when the user leaves.
///
/// # Errors
/// The file is no recording, or standard output is no terminal (exit 2).
pub async fn replay(path: PathBuf, speed: f64, options: Options) -> Result {
    drawable()?;
    let replay = Replay::open(&path)?;
    let options = Options { namespace: replay.head.namespace.clone(), readonly: true, ..options };
    let (address, at) = (format!("{} (replay)", replay.head.address), replay.head.at);
    show(Source::Replay(replay, speed), address, &options, None, at).await
}

/// Keeps which panel is shown. It is a convenience: where it cannot be kept, the agents are shown first.
pub(super) fn remember(setting: &Setting, panel: Panel) {
    if let Some(file) = &setting.memory {
        let _ = std::fs::write(file, panel.name());
    }
}

fn recalled(file: &Path) -> Panel {
    let name = std::fs::read_to_string(file).ok();
    if name.is_some_and(|name| name.trim() == Panel::Tickets.name()) { Panel::Tickets } else { Panel::Agents }
}

/// Refuses a standard output that nothing can be drawn on.
fn drawable() -> Result {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::usage("steer needs a terminal: standard input and output must be one")
            .hint("`gcluster get agents -w` and `gcluster logs AGENT -f` write to pipes and files"));
    }
    if std::env::var("TERM").is_ok_and(|term| term == "dumb") {
        return Err(Failure::usage("steer cannot draw on this terminal (TERM=dumb)")
            .hint("`gcluster get agents -w` and `gcluster logs AGENT -f` need no such terminal"));
    }
    Ok(())
}

fn size() -> Result<(u16, u16)> {
    crossterm::terminal::size()
        .map_err(|error| Failure::failed(format!("cannot learn the size of this terminal: {error}")))
}

async fn show(
    source: Source,
    address: String,
    options: &Options,
    record: Option<Recorder>,
    now: Timestamp,
) -> Result {
    let memory = options.memory.as_ref().filter(|_| matches!(source, Source::Live(_)));
    let memory = memory.map(|folder| folder.join(MEMORY));
    let size = size()?;
    terminal::restore_after_panics();
    terminal::enter(true).map_err(|error| {
        terminal::leave();
        Failure::failed(format!("cannot take this terminal: {error}"))
    })?;
    let variable = |name: &str| std::env::var(name).ok();
    let look: Look = terminal::look(options.theme, options.ascii, variable, terminal::light_background);
    let setting = Setting {
        address,
        namespace: options.namespace.clone(),
        file: options.file.clone(),
        readonly: options.readonly,
        ascii: look.ascii,
        theme_chosen: look.chosen,
        panel: memory.as_deref().map_or_else(Panel::default, recalled),
        memory,
    };
    let model = Model::new(setting, look.mode, size, now);
    let ended = app::run(model, source, record).await;
    terminal::leave();
    match ended? {
        Left::Quit => Ok(()),
        Left::Signal => Err(Failure::new(Kind::Interrupted, "")),
    }
}
