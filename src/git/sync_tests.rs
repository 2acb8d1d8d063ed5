use super::*;
use crate::hub::Wanted;
use crate::testing::{Checkout, git};

/// A checkout, its hub, and another clone that stands for workers.
struct World {
    checkout: Checkout,
    dir: tempfile::TempDir,
    hub: Hub,
    source: Source,
}

impl World {
    async fn new() -> Self {
        Self::of(Checkout::new("main")).await
    }

    async fn of(checkout: Checkout) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let first = checkout.commit("a", "1");
        let hub = Hub::new(&dir.path().join("hub.git"), "test");
        let source = Source::Local(checkout.path());
        let format = source.tip("main").await.unwrap().format().to_owned();
        hub.ensure(&Wanted { base: "main".into(), format, identity: None }).await.unwrap();
        hub.fetch_host(&source.address(), "main").await.unwrap();
        hub.swap("refs/heads/main", &first, None, "begin").await.unwrap();
        git(dir.path(), &["clone", "--quiet", "hub.git", "worker"]);
        git(&dir.path().join("worker"), &["config", "user.name", "Bob"]);
        git(&dir.path().join("worker"), &["config", "user.email", "bob@example.com"]);
        Self { checkout, dir, hub, source }
    }

    /// A commit in the hub, on a branch that begins at its base.
    async fn merged(&self, branch: &str, file: &str) -> String {
        let worker = self.dir.path().join("worker");
        git(&worker, &["fetch", "--quiet", "origin"]);
        git(&worker, &["checkout", "--quiet", "--detach", "origin/main"]);
        std::fs::write(worker.join(file), file).unwrap();
        git(&worker, &["add", "--all"]);
        git(&worker, &["commit", "--quiet", "-m", file]);
        let commit = git(&worker, &["rev-parse", "HEAD"]);
        let hub = self.hub.path().to_str().unwrap();
        let staging = format!("HEAD:refs/heads/staging-{file}");
        git(&worker, &["push", "--quiet", hub, &staging]);
        let reference = format!("refs/heads/{branch}");
        let old = self.hub.commit(&reference).await.unwrap();
        assert!(self.hub.swap(&reference, &commit, old.as_deref(), "merge").await.unwrap());
        self.hub.git().text(["branch", "-D", &format!("staging-{file}")]).await.unwrap();
        commit
    }

    async fn pull(&self) -> Pulled {
        pull(&self.hub, &self.source, "main").await.unwrap()
    }

    async fn push(&self, branch: &str) -> Pushed {
        push(&self.hub, &self.source, branch).await.unwrap()
    }
}

#[tokio::test]
async fn commits_of_the_user_come_in_forwards_only() {
    let world = World::new().await;
    assert_eq!(world.pull().await, Pulled::UpToDate);
    world.checkout.commit("a", "2");
    let third = world.checkout.commit("a", "3");
    assert_eq!(world.pull().await, Pulled::Moved { commits: 2, to: third.clone() });
    assert_eq!(world.hub.commit("main").await.unwrap(), Some(third.clone()));
    let merged = world.merged("main", "b").await;
    assert_eq!(world.pull().await, Pulled::NothingNew(1));
    let own = world.checkout.commit("a", "4");
    let standing = Standing { hub: merged.clone(), host: own, apart: Some((1, 1)) };
    assert_eq!(world.pull().await, Pulled::Diverged(standing));
    assert_eq!(world.hub.commit("main").await.unwrap(), Some(merged));
    // What is said to do then.
    let hub = world.hub.path().to_str().unwrap().to_owned();
    world.checkout.git(&["pull", "--quiet", "--rebase", &hub, "main"]);
    assert!(matches!(world.pull().await, Pulled::Moved { commits: 1, .. }));
    assert_eq!(world.push("main").await, Pushed::UpToDate);
}

#[tokio::test]
async fn commits_of_the_hub_go_out_and_nothing_uncommitted_is_touched() {
    let world = World::new().await;
    let path = world.checkout.path();
    assert_eq!(world.push("main").await, Pushed::UpToDate);
    let merged = world.merged("main", "b").await;
    // Something is not committed: nothing happens.
    std::fs::write(path.join("a"), "mine").unwrap();
    let checkout = std::fs::canonicalize(&path).unwrap();
    assert_eq!(world.push("main").await, Pushed::Dirty(checkout.clone()));
    assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "mine");
    assert!(!path.join("b").exists());
    world.checkout.git(&["checkout", "--quiet", "a"]);
    // A file that git does not know is in the way: git refuses, and says which.
    std::fs::write(path.join("b"), "untracked").unwrap();
    let refused = push(&world.hub, &world.source, "main").await.unwrap_err().to_string();
    assert!(refused.contains("would be overwritten"), "{refused}");
    assert_eq!(std::fs::read_to_string(path.join("b")).unwrap(), "untracked");
    std::fs::remove_file(path.join("b")).unwrap();
    std::fs::write(path.join("c"), "untracked, in nobody's way").unwrap();
    let moved = Pushed::Moved { commits: Some(1), checkout: Some(checkout) };
    assert_eq!(world.push("main").await, moved);
    assert_eq!(std::fs::read_to_string(path.join("b")).unwrap(), "b");
    assert_eq!(world.checkout.git(&["rev-parse", "main"]), merged);
    std::fs::remove_file(path.join("c")).unwrap();

    // Elsewhere checked out: only the branch moves.
    world.checkout.git(&["checkout", "--quiet", "-b", "own"]);
    world.merged("main", "d").await;
    assert_eq!(world.push("main").await, Pushed::Moved { commits: Some(1), checkout: None });
    assert!(!path.join("d").exists());
    // Branches of tickets.
    let branch = world.merged("agent-1/feat-1", "e").await;
    assert_eq!(world.push("agent-1/feat-1").await, Pushed::Created);
    assert_eq!(world.push("agent-1/feat-1").await, Pushed::UpToDate);
    assert_eq!(world.checkout.git(&["rev-parse", "agent-1/feat-1"]), branch);
    assert_eq!(branches(&world.source).await.unwrap()["agent-1/feat-1"], branch);
    // Both have moved.
    world.checkout.git(&["checkout", "--quiet", "main"]);
    let own = world.checkout.commit("a", "own");
    world.merged("main", "f").await;
    assert_eq!(world.push("main").await, Pushed::Diverged);
    assert_eq!(world.checkout.git(&["rev-parse", "main"]), own);
}

#[tokio::test]
async fn a_repository_behind_an_address_is_pulled_from_and_pushed_to() {
    let world = World::new().await;
    let there = world.dir.path().join("there.git");
    git(
        world.dir.path(),
        &["clone", "--quiet", "--bare", world.checkout.path().to_str().unwrap(), "there.git"],
    );
    let far = Source::of(&format!("file://{}", there.display()));
    assert_eq!(push(&world.hub, &far, "main").await.unwrap(), Pushed::UpToDate);
    let merged = world.merged("main", "b").await;
    assert_eq!(
        push(&world.hub, &far, "main").await.unwrap(),
        Pushed::Moved { commits: None, checkout: None }
    );
    assert_eq!(git(&there, &["rev-parse", "main"]), merged);
    world.merged("topic", "c").await;
    assert_eq!(push(&world.hub, &far, "topic").await.unwrap(), Pushed::Created);
    assert_eq!(pull(&world.hub, &far, "main").await.unwrap(), Pulled::UpToDate);
    let own = world.checkout.commit("a", "2");
    world.checkout.git(&["push", "--quiet", "--force", there.to_str().unwrap(), "HEAD:main"]);
    assert_eq!(push(&world.hub, &far, "main").await.unwrap(), Pushed::Diverged);
    assert_eq!(git(&there, &["rev-parse", "main"]), own);
    assert!(matches!(pull(&world.hub, &far, "main").await.unwrap(), Pulled::Diverged(_)));
}

#[tokio::test]
async fn those_who_fetch_the_same_at_once_are_not_in_each_others_way() {
    let world = World::new().await;
    for round in 0..5 {
        let newest = world.checkout.commit("a", &format!("round {round}"));
        let fetch = || standing(&world.hub, &world.source, "main");
        let (one, two, three, four) = tokio::join!(fetch(), fetch(), fetch(), fetch());
        for each in [one, two, three, four] {
            assert_eq!(each.unwrap().host, newest);
        }
    }
}

#[tokio::test]
async fn a_repository_with_longer_names_of_objects_is_like_any_other() {
    let world = World::of(Checkout::with(&["init", "--quiet", "-b", "main", "--object-format=sha256"])).await;
    let second = world.checkout.commit("a", "2");
    assert_eq!(second.len(), 64);
    let moved = Pulled::Moved { commits: 1, to: second.clone() };
    assert_eq!(pull(&world.hub, &world.source, "main").await.unwrap(), moved);
    let (git, path) = (world.hub.git(), world.dir.path().join("tree"));
    crate::worktree::add(&git, &path, "agent-1/feat-1", "main").await.unwrap();
    std::fs::write(path.join("a"), "3").unwrap();
    let commit =
        ["-c", "user.name=Bob", "-c", "user.email=bob@example.com", "commit", "--quiet", "-am", "work"];
    git.at(&path).text(commit).await.unwrap();
    std::fs::write(path.join("new"), "x").unwrap();
    let (salvage, saves) = ("refs/gcluster/salvage/default/t", "refs/gcluster/saves/default/t");
    crate::saves::save(&git, &path, "agent-1/feat-1", saves).await.unwrap();
    let taken = crate::take(&git, &path, "agent-1/feat-1", salvage, saves).await.unwrap().unwrap();
    crate::worktree::remove(&git, &path).await.unwrap();
    git.text(["update-ref", "-d", "refs/heads/agent-1/feat-1"]).await.unwrap();
    crate::restore(&git, &path, "agent-1/feat-1", &taken.commit).await.unwrap();
    assert_eq!(git.at(&path).text(["status", "--porcelain"]).await.unwrap(), "?? new");
    assert_eq!(push(&world.hub, &world.source, "agent-1/feat-1").await.unwrap(), Pushed::Created);
    let landed = crate::rebase(&git, &second, &taken.tip, "Land", crate::Shape::One).await.unwrap();
    assert_eq!(landed, crate::Rebased::Done { tip: taken.tip, commits: 1 });
}
