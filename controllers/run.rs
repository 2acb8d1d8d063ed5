//! All loops of the API's clients, started and ended together.

use std::time::Duration;

use crate::agents::Agents;
use crate::checks::Checks;
use crate::executor::{Executor, iterations, messages};
use crate::workspaces::Workspaces;
use crate::{Context, collector, repositories, revision, tickets};

/// Longest time that recording the end of all iterations takes, beyond the grace of their programs.
const RECORDING: Duration = Duration::from_secs(3);
/// Longest time that a master takes over what runs before it ends that.
const TAKING_OVER: Duration = Duration::from_secs(3);

/// Runs all controllers until `shutdown`, then ends every iteration with grace, all at the same time, and
/// returns when their ends are recorded, within about ten seconds.
pub async fn run(ctx: Context, shutdown: impl Future<Output = ()> + Send) {
    let agents = Agents::new(ctx.client.clone());
    let iterations = iterations();
    let messages = messages();
    let executor = Executor::new(ctx.clone(), agents.clone(), iterations.clone(), messages.clone());
    let checks = Checks::new(ctx.clone());
    let workspaces = Workspaces::new(ctx.clone());
    let limit = ctx.config.shutdown_grace + RECORDING;
    let pulse = ctx.pulse.clone();
    let seen = iterations.clone();
    let loops = async {
        tokio::join!(
            pulse.turns(),
            pulse.keep("agents", || agents.follow()),
            pulse.keep("revision", || revision::run(ctx.clone(), &agents, seen)),
            pulse.keep("executor", || executor.run()),
            pulse.keep("collector", || collector::run(ctx.clone(), &agents, iterations, messages)),
            pulse.keep("tickets", || tickets::run(ctx.clone())),
            pulse.keep("workspaces", || workspaces.run()),
            pulse.keep("checks", || checks.run()),
            pulse.keep("repositories", || repositories::run(ctx.clone())),
            pulse.keep("backlog", || crate::backlog::run(ctx.clone())),
            pulse.keep("reviews", || crate::reviews::run(ctx.clone())),
            pulse.keep("merges", || crate::merges::run(ctx.clone())),
            pulse.keep("forecast", || crate::forecast::run(ctx.clone())),
            pulse.keep("metrics", || crate::metrics::run(ctx.clone())),
            pulse.keep("notify", || crate::notify::run(ctx.clone())),
        );
    };
    tokio::select! {
        () = loops => tracing::error!("the controllers ended by themselves"),
        // A stop right after the start has to end what the master before has left, too.
        () = async { shutdown.await; executor.taken_over(TAKING_OVER).await } => {}
    }
    tokio::join!(executor.close(limit), checks.close(limit), workspaces.close(limit));
}
