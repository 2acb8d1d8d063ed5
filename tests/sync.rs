//! `gcluster sync` with the real binary: commits of the user into the hub, what was merged back into the checkout.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::cli::{Ran, Sandbox};
use crate::support::git::Checkout;
use crate::support::master::{Master, wait_object};

struct World {
    sandbox: Sandbox,
    checkout: Checkout,
    _master: Master,
    hub: PathBuf,
}

impl World {
    fn new() -> Self {
        let (sandbox, checkout) = (Sandbox::new(), Checkout::new());
        let master = Master::start(&sandbox);
        let manifest = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Repository",
            "metadata": {"name": "app"}, "spec": {"path": checkout.path(), "base": "main"}});
        sandbox.write("app.json", &manifest.to_string());
        sandbox.run(["apply", "-f", "app.json"]).ok();
        let made = wait_object(&sandbox, "repository", "app", "a hub", |o| o["status"]["ahead"] == 0);
        let hub = PathBuf::from(made["status"]["hub"].as_str().expect("hub"));
        Self { sandbox, checkout, _master: master, hub }
    }

    /// What a merge does: a commit on top of the hub's base, which is then moved to it.
    fn merge(&self, text: &str) -> String {
        let hub = |args: &[&str]| self.checkout.in_repository(&self.hub, args);
        let old = hub(&["rev-parse", "main"]);
        let tree = hub(&["rev-parse", "main^{tree}"]);
        let new = hub(&["commit-tree", &tree, "-p", &old, "-m", text]);
        hub(&["update-ref", "refs/heads/main", &new, &old]);
        new
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.sandbox.run(args)
    }

    fn wait(&self, what: &str, check: impl Fn(&Value) -> bool) {
        wait_object(&self.sandbox, "repository", "app", what, |o| check(&o["status"]));
    }

    fn main(&self) -> String {
        self.checkout.in_repository(&self.hub, &["rev-parse", "main"])
    }
}

#[test]
fn commits_go_both_ways_forwards_only() {
    let world = World::new();
    let status = world.run(&["sync", "status"]).ok().stdout;
    assert!(status.contains("the same"), "{status}");
    let second = world.checkout.commit("file", "2");
    let status = world.run(&["sync", "status"]).ok().stdout;
    assert!(status.contains("1 commit to pull") && status.contains("gcluster sync pull app"), "{status}");
    world.wait("the new commit", |status| status["behind"] == 1);

    // Who begins workers now would begin them from an old state.
    let warned = world.run(&["apply", "-f", "app.json"]).ok().stderr;
    assert!(
        warned.contains("the hub of app lacks 1 commit of your checkout; `gcluster sync pull`"),
        "{warned}"
    );
    let refused = world.run(&["up", "-d", "-f", "app.json"]);
    assert!(refused.code == 1 && refused.stderr.contains("gcluster up --force"), "{}", refused.stderr);
    world.run(&["up", "-d", "--force", "-f", "app.json"]).ok();

    let pulled = world.run(&["sync", "pull"]).ok().stdout;
    assert_eq!(pulled, format!("app: 1 commit pulled, main of the hub is at {}\n", &second[..12]));
    assert_eq!(world.main(), second);
    world.wait("the pull", |status| status["behind"] == 0 && status["baseCommit"] == second.as_str());
    let merged = world.merge("a ticket");
    world.wait("the merge", |status| status["ahead"] == 1);
    // Uncommitted work is in the way: nothing is touched.
    std::fs::write(world.checkout.path().join("file"), "mine").expect("file");
    let dirty = world.run(&["sync", "push", "app"]);
    assert!(
        dirty.code == 1 && dirty.stderr.contains("with changes that are not committed"),
        "{}",
        dirty.stderr
    );
    assert_eq!(std::fs::read_to_string(world.checkout.path().join("file")).expect("file"), "mine");
    world.checkout.git(&["checkout", "--quiet", "file"]);
    let pushed = world.run(&["sync", "push", "app"]).ok().stdout;
    assert!(pushed.starts_with("app: main: 1 commit pushed, with the files in "), "{pushed}");
    assert_eq!(world.checkout.head(), merged);
    world.wait("both the same", |status| status["ahead"] == 0 && status["behind"] == 0);
}

#[test]
fn what_went_two_ways_is_joined_as_the_message_says() {
    let world = World::new();
    world.merge("a ticket");
    world.checkout.commit("file", "own");
    let before = world.main();
    let refused = world.run(&["sync", "pull"]);
    assert_eq!((refused.code, world.main()), (1, before));
    let command =
        refused.stderr.lines().find_map(|line| line.split("then pull: ").nth(1)).expect("a command");
    assert!(world.run(&["sync", "push"]).code == 1);
    let git = command.split(" && ").next().expect("git").trim_start_matches("git ");
    let words: Vec<&str> = git.split(' ').map(|word| word.trim_matches('\'')).collect();
    world.checkout.git(&words);
    world.run(&["sync", "pull"]).ok();
    assert_eq!(world.main(), world.checkout.head());
}

#[test]
fn branches_of_tickets_come_into_the_checkout_when_asked_for() {
    let world = World::new();
    let hub = world.hub.to_str().expect("path");
    let commit = world.checkout.commit("file", "work");
    world.checkout.git(&["push", "--quiet", hub, "HEAD:refs/heads/agent-1/feat-1"]);
    world.checkout.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let status = world.run(&["sync", "status", "app"]).ok().stdout;
    let row = status.lines().find(|line| line.contains("agent-1/feat-1")).expect("a row");
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["app", "agent-1/feat-1", "-", "1", "-"]);
    let pushed = world.run(&["sync", "push", "--branches"]).ok().stdout;
    assert!(pushed.contains("agent-1/feat-1 is in the checkout now"), "{pushed}");
    assert_eq!(world.checkout.git(&["rev-parse", "agent-1/feat-1"]), commit);
    assert_eq!(world.run(&["sync", "pull", "nobody"]).code, 4);
    let worker =
        crate::support::cli::ran(world.sandbox.command(["sync", "pull"]).env("GCLUSTER_WORKSPACE", "t-1"));
    assert!(worker.code == 1 && worker.stderr.contains("not moved from a workspace"), "{}", worker.stderr);
}
