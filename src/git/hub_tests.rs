use super::*;
use crate::testing::{Checkout, git, try_git};

/// A hub of a checkout with one commit on main, and a worktree of it on `agent-1/feat-1`.
struct World {
    checkout: Checkout,
    _dir: tempfile::TempDir,
    hub: Hub,
    worktree: PathBuf,
}

const WORKER: [(&str, &str); 2] = [("GCLUSTER_WORKSPACE", "t-1"), ("GCLUSTER_BRANCH", "agent-1/feat-1")];

fn wanted() -> Wanted {
    let identity = Some(("Ada".to_owned(), "ada@example.com".to_owned()));
    Wanted { base: "main".into(), format: "sha1".into(), identity }
}

async fn world() -> World {
    let (checkout, dir) = (Checkout::new("main"), tempfile::tempdir().unwrap());
    let first = checkout.commit("a", "1");
    let hub = Hub::new(&dir.path().join("hub.git"), "test");
    hub.ensure(&wanted()).await.unwrap();
    hub.fetch_host(checkout.path().to_str().unwrap(), "main").await.unwrap();
    assert!(hub.swap("refs/heads/main", &first, None, "begin").await.unwrap());
    let worktree = dir.path().join("work");
    let path = worktree.to_str().unwrap();
    hub.git().text(["worktree", "add", "--quiet", "-b", "agent-1/feat-1", path, "main"]).await.unwrap();
    World { checkout, _dir: dir, hub, worktree }
}

impl World {
    fn tip(&self, name: &str) -> String {
        git(self.hub.path(), &["rev-parse", name])
    }

    /// Runs git as the worker, by its environment or, without one, by its place alone.
    #[track_caller]
    fn refused(&self, args: &[&str], says: &str) {
        let before = git(self.hub.path(), &["for-each-ref", "refs/heads", "refs/tags"]);
        for env in [&WORKER[..], &[]] {
            let said = try_git(&self.worktree, env, args);
            assert!(!said.ok && said.text.contains(says), "git {args:?} {env:?}: {} {}", said.ok, said.text);
        }
        assert_eq!(git(self.hub.path(), &["for-each-ref", "refs/heads", "refs/tags"]), before);
    }

    #[track_caller]
    fn allowed(&self, args: &[&str]) {
        let said = try_git(&self.worktree, &WORKER, args);
        assert!(said.ok, "git {args:?}: {}", said.text);
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.worktree.join(file), text).unwrap();
    }
}

#[tokio::test]
async fn a_hub_is_made_once_and_mended_when_somebody_changes_it() {
    let world = world().await;
    let hub = &world.hub;
    assert_eq!(hub.ensure(&wanted()).await.unwrap(), Vec::<String>::new());
    let first = world.tip("main");
    let tips = hub.tips("main").await.unwrap();
    assert_eq!(tips, Tips { base: Some(first.clone()), host: Some(first.clone()), ..Tips::default() });

    std::fs::write(hub.path().join("hooks/pre-receive"), "#!/bin/sh\nexit 0\n").unwrap();
    std::fs::remove_file(hub.path().join("hooks/post-receive")).unwrap();
    // As tools for hooks do in the checkout that they are run in.
    world.allowed(&["config", "core.hooksPath", ".husky/_"]);
    world.allowed(&["config", "gc.auto", "6700"]);
    let mut mended = hub.ensure(&wanted()).await.unwrap();
    mended.sort();
    let all = [
        "the hook post-receive",
        "the hook pre-receive",
        "the setting core.hookspath",
        "the setting gc.auto",
    ];
    assert_eq!(mended, all);
    assert_eq!(hub.ensure(&wanted()).await.unwrap(), Vec::<String>::new());
    assert_eq!(world.tip("main"), first, "nothing of it is touched");
}

#[tokio::test]
async fn a_worker_moves_its_own_branch_and_no_other() {
    let world = world().await;
    let main = world.tip("main");
    world.write("b", "2");
    world.allowed(&["add", "b"]);
    world.allowed(&["commit", "--quiet", "-m", "two"]);
    world.allowed(&["commit", "--quiet", "--amend", "-m", "two again"]);
    world.write("b", "3");
    world.refused(&["stash"], "stashes are shared by all workspaces");
    assert_eq!(std::fs::read_to_string(world.worktree.join("b")).unwrap(), "3", "it is still there");
    world.allowed(&["commit", "--quiet", "-a", "-m", "three"]);
    world.allowed(&["reset", "--quiet", "--hard", "HEAD~1"]);
    world.allowed(&["push", "origin", "HEAD"]);
    world.allowed(&["fetch", "origin"]);
    world.refused(&["branch", "-f", "main", "HEAD"], "refs/heads/main may not be changed from here");
    world.refused(&["update-ref", "refs/heads/main", "HEAD"], "gcluster: ");
    world.refused(&["update-ref", "-d", "refs/heads/main"], "gcluster: ");
    world.refused(&["checkout", "-b", "another"], "commit on agent-1/feat-1");
    world.refused(&["tag", "v1"], "refs/tags/v1 may not be changed from here");
    world.refused(&["update-ref", "-d", "refs/heads/agent-1/feat-1"], "cannot be deleted or renamed");
    world.refused(&["branch", "-m", "mine"], "gcluster: ");
    world.refused(&["update-ref", "refs/gcluster/salvage/x", "HEAD"], "gcluster: ");
    world.refused(&["worktree", "add", "-b", "more", "../more"], "gcluster: ");
    // The base moves on; the worker builds on it.
    let newer = world.checkout.commit("c", "1");
    world.hub.fetch_host(world.checkout.path().to_str().unwrap(), "main").await.unwrap();
    assert!(world.hub.swap("refs/heads/main", &newer, Some(&main), "merge").await.unwrap());
    for env in [&WORKER[..], &[]] {
        let said = try_git(&world.worktree, env, &["rebase", "--quiet", "--force-rebase", "main"]);
        assert!(said.ok, "{env:?}: {}", said.text);
    }
    assert_eq!(git(&world.worktree, &["symbolic-ref", "HEAD"]), "refs/heads/agent-1/feat-1");
    assert_eq!(world.tip("agent-1/feat-1~1"), newer);
    // A commit on the base is refused even where it is checked out.
    world.allowed(&["checkout", "--quiet", "main"]);
    world.write("d", "1");
    world.allowed(&["add", "d"]);
    world.refused(&["commit", "-m", "on main"], "gcluster: ");
    assert_eq!(world.tip("main"), newer);
}

#[tokio::test]
async fn pushes_are_accepted_forwards_and_written_down() {
    let world = world().await;
    let hub = world.hub.path().to_str().unwrap();
    let inbox = || {
        let mut lines: Vec<String> = std::fs::read_dir(world.hub.inbox())
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        lines.sort();
        lines.concat()
    };
    let push = |env: &[(&str, &str)], args: &[&str]| {
        try_git(&world.checkout.path(), env, &[&["push", "--quiet", hub], args].concat())
    };
    let second = world.checkout.commit("a", "2");
    let said = push(&[], &["HEAD:refs/heads/topic"]);
    assert!(said.ok, "{}", said.text);
    assert_eq!(inbox(), format!("{} {second} refs/heads/topic\n", "0".repeat(40)));
    for (env, args, says) in [
        (&[][..], &["HEAD:main"][..], "gcluster sync pull"),
        (&[], &["+HEAD:main"], "nobody pushes to main"),
        (&[], &[":main"], "nobody pushes to main"),
        (&[], &["+HEAD~1:refs/heads/topic"], "by force to topic would lose commits"),
        (&[], &[":topic"], "topic has commits that are not merged"),
        (&[], &["HEAD:refs/gcluster/salvage/x"], "none of the refs that may be pushed"),
        (&[], &["HEAD:refs/heads/agent-1/feat-1"], "checked out"),
        (&WORKER, &["HEAD:refs/heads/topic2"], "may push to agent-1/feat-1 only"),
        (&WORKER, &["HEAD:refs/tags/v1"], "may push to agent-1/feat-1 only"),
    ] {
        let said = push(env, args);
        assert!(!said.ok && said.text.contains(says), "push {args:?}: {}", said.text);
    }
    assert_eq!(inbox().lines().count(), 1);
    assert!(push(&[], &["HEAD~1:refs/heads/old", "HEAD:refs/tags/v1"]).ok);
    assert!(push(&[], &[":old"]).ok, "a branch that is merged may go");
    assert_eq!((world.tip("topic"), world.tip("v1")), (second.clone(), second));
}

#[tokio::test]
async fn a_ref_is_swapped_only_from_what_it_was() {
    let world = world().await;
    let (first, second) = (world.tip("main"), world.checkout.commit("a", "2"));
    world.hub.fetch_host(world.checkout.path().to_str().unwrap(), "main").await.unwrap();
    assert_eq!(world.hub.apart(&first, &second).await.unwrap(), Some((0, 1)));
    assert!(!world.hub.swap("refs/heads/main", &second, Some(&second[..40]), "x").await.unwrap());
    assert!(!world.hub.swap("refs/heads/main", &second, None, "x").await.unwrap());
    assert!(world.hub.swap("refs/heads/main", &second, Some(&first), "x").await.unwrap());
    assert_eq!(world.tip("main"), second);
    let gone = "1".repeat(40);
    assert!(world.hub.swap("refs/heads/main", &gone, Some(&second), "x").await.is_err());
    let branches = world.hub.branches("main").await.unwrap();
    assert_eq!(branches, [("agent-1/feat-1".to_owned(), first)]);
    let other = Checkout::new("main");
    let stranger = other.commit("z", "1");
    world.hub.fetch_host(other.path().to_str().unwrap(), "main").await.unwrap();
    assert_eq!(world.hub.apart(&second, &stranger).await.unwrap(), None);
}
