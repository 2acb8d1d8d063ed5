//! The README's first command, as a new user runs it: from a file to agents at work.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::support::cli::Sandbox;
use crate::support::master::{object, objects, signal};
use crate::support::wait::wait;

/// A port that was free a moment ago.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn up_starts_a_master_applies_the_team_shows_it_and_leaves_it_at_work() {
    let sandbox = Sandbox::new();
    let team = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/team.p");
    let address = free_address();
    let mut command = sandbox.command(["up", "-f", team.to_str().unwrap(), "--addr", &address]);
    // Without the claude CLI, whatever this machine has.
    command.env("PATH", sandbox.work()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = String::new();
    let agents = ["builder", "bugfixer", "release-manager"];
    // Each agent's conversation is shown behind its name.
    while !agents.iter().all(|a| seen.lines().any(|l| l.contains(a) && l.contains("rehearsal"))) {
        seen += &lines.next().unwrap_or_else(|| panic!("up ended early:\n{seen}")).unwrap();
        seen.push('\n');
    }
    for agent in agents {
        assert!(seen.contains(&format!("{agent} created")), "{seen}");
    }

    signal(child.id(), "INT");
    let status = wait("up to end", || child.try_wait().unwrap());
    assert!(status.success() || status.code() == Some(130), "{status:?}");
    let rest: String = lines.map_while(Result::ok).collect();
    let stderr = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(stderr.contains("npm install"), "it says how to install claude:\n{stderr}");
    assert!((rest + &stderr).contains("gcluster down"), "it says how to stop the master:\n{stderr}");
    assert_eq!(objects(&sandbox, "agents").len(), 3);
    wait("the team to work on", || object(&sandbox, "iteration", "bugfixer.fix.1"));

    sandbox.run(["down"]).ok();
    assert_eq!(sandbox.run(["get", "agents"]).code, 3);
    sandbox.run(["down"]).ok();
}
