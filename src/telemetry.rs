//! Logs of the master: lines on standard error, as text or as JSON.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// Form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging. `GCLUSTER_LOG` takes filter directives as `RUST_LOG` does. A second call changes nothing.
pub fn init(format: LogFormat, color: bool) {
    // kube's controllers log the end of every owned object as an error; it is how deletion looks.
    let default = "info,kube_runtime=warn,kube_client=warn,hyper=warn,rustls=warn";
    let filter = std::env::var("GCLUSTER_LOG")
        .ok()
        .and_then(|text| text.parse::<EnvFilter>().ok())
        .unwrap_or_else(|| EnvFilter::new(default));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(color);
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
