//! `gcluster steer`: every agent on one screen, and a hand on each of them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Globals;
use super::output::print;
use crate::exit::{Failure, Result};
use crate::tui::start::{self, Options};
use crate::tui::theme::Mode;

/// See every agent at work and correct any of them, in a terminal interface
///
/// `?` shows the keys of what you look at. Leaving changes nothing: agents keep running.
#[derive(Args, Debug, Default)]
pub(crate) struct SteerArgs {
    /// The file that your agents come from; nothing is applied
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Agents of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Change nothing: for shared screens and demonstrations
    #[arg(long)]
    readonly: bool,
    /// Colours [default: what the terminal's background asks for]
    #[arg(long, value_enum, value_name = "NAME")]
    theme: Option<Theme>,
    /// Draw with ASCII signs only
    #[arg(long)]
    ascii: bool,
    /// Write everything that happens to a file, for bug reports
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    record: Option<PathBuf>,
    /// Play such a file; no master is needed
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with = "record")]
    replay: Option<PathBuf>,
    /// How many times faster than it was to play
    #[arg(long, value_name = "FACTOR", default_value = "1", requires = "replay", value_parser = factor)]
    speed: Option<f64>,
}

/// Colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Theme {
    /// For dark backgrounds.
    Dark,
    /// For light backgrounds.
    Light,
    /// White on black, nothing dimmed.
    HighContrast,
    /// No colours, as with NO_COLOR.
    Plain,
}

impl From<Theme> for Mode {
    fn from(theme: Theme) -> Self {
        match theme {
            Theme::Dark => Mode::Dark,
            Theme::Light => Mode::Light,
            Theme::HighContrast => Mode::HighContrast,
            Theme::Plain => Mode::Plain,
        }
    }
}

fn factor(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("use a number above 0, such as 4".into()),
    }
}

/// Does `gcluster steer`.
pub(crate) async fn run(globals: &Globals, args: SteerArgs) -> Result {
    if let Some(file) = args.file.as_deref().filter(|file| !file.exists()) {
        return Err(Failure::usage(format!("there is no file {}", file.display()))
            .hint("steer shows what the master runs: it needs no file"));
    }
    let mut options = Options {
        file: args.file.as_ref().map(|file| file.display().to_string()),
        namespace: None,
        theme: args.theme.map(Mode::from),
        ascii: args.ascii,
        readonly: args.readonly,
        record: args.record,
        memory: globals.data_dir().ok(),
    };
    if let Some(path) = args.replay {
        return start::replay(path, args.speed.unwrap_or(1.0), options).await;
    }
    let connection = globals.connect().await?;
    options.namespace = (!args.all_namespaces).then(|| connection.namespace.clone());
    start::live(connection, options).await?;
    print("Agents keep running; `gcluster steer` comes back to them, `gcluster down` stops the master.\n")
}

/// Ends `gcluster up` on a terminal.
pub(crate) async fn after_up(globals: &Globals, file: Option<PathBuf>) -> Result {
    run(globals, SteerArgs { file: file.filter(|file| file.exists()), ..SteerArgs::default() }).await
}
