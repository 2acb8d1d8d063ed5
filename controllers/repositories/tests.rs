use std::path::{Path, PathBuf};
use std::process::Command;

use gcluster_types::kinds::repository::{RepositorySpec, RepositoryStatus};
use gcluster_types::{Repository, conditions};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::disk::MIB;
use super::look::{Places, Problem, Seen};
use super::plan::{Observed, plan};
use super::upstream::Pushed;
use crate::testing::FakeApi;
use crate::{Config, Context};

/// What is planned of a repository, as `TYPE=STATUS REASON: MESSAGE` lines.
struct Case {
    repository: Repository,
    seen: Result<Seen, Problem>,
    free: i64,
    workspace_bytes: i64,
    pushed: Pushed,
}

impl Case {
    fn new() -> Self {
        let spec =
            RepositorySpec { path: "/src/app".into(), base: "main".into(), ..RepositorySpec::default() };
        let seen = Seen { apart: Some((0, 0)), ..Seen::default() };
        let (free, pushed) = (100_000 * MIB, Pushed::Unknown);
        Self { repository: Repository::new("app", spec), seen: Ok(seen), free, workspace_bytes: 0, pushed }
    }

    fn plan(&self) -> RepositoryStatus {
        let places = Places::of(Path::new("/data"), &self.repository);
        plan(&Observed {
            repository: &self.repository,
            places: &places,
            seen: &self.seen,
            tips: None,
            free: Some(self.free),
            hub_bytes: Some(3 * MIB),
            workspace_bytes: self.workspace_bytes,
            pushed: self.pushed.clone(),
            now: Timestamp::from_second(1_000).unwrap(),
        })
    }

    /// One condition, and the state that it leaves for the next look.
    fn says(&mut self, kind: &str) -> String {
        let status = self.plan();
        let found = status.conditions.iter().find(|condition| condition.type_ == kind);
        let said = found.map(|c| format!("{} {}: {}", c.status, c.reason, c.message)).unwrap_or_default();
        self.repository.status = Some(status);
        assert_eq!(self.repository.status, Some(self.plan()), "the same again changes nothing");
        said
    }
}

#[test]
fn what_is_said_of_a_repository() {
    let mut case = Case::new();
    let mut told = vec![case.says(conditions::READY)];
    for apart in [(1, 0), (0, 12), (2, 3)] {
        case.seen = Ok(Seen { apart: Some(apart), ..Seen::default() });
        told.push(case.says(conditions::READY));
    }
    case.seen = Err(Problem { reason: "PathMissing", message: "/src/app is not there: put it back".into() });
    told.push(case.says(conditions::READY));
    let status = case.repository.status.clone().unwrap();
    assert_eq!((status.ahead, status.behind), (Some(2), Some(3)), "what was seen last stays");
    told.push(case.says("DiskSpace"));
    case.free = 2_000 * MIB;
    told.push(case.says("DiskSpace"));
    case.free = 2_060 * MIB;
    told.push(case.says("DiskSpace"));
    case.free = 2_200 * MIB;
    told.push(case.says("DiskSpace"));
    (case.workspace_bytes, case.repository.spec.max_workspaces_mib) = (300 * MIB, Some(256));
    told.push(case.says("DiskSpace"));
    told.push(case.repository.status.clone().unwrap().size.unwrap());
    told.push(case.says("UpstreamPushed"));
    case.repository.spec.upstream = Some("origin".into());
    for pushed in [
        Pushed::Running,
        Pushed::Failed { attempts: 2, why: "no route to host".into() },
        Pushed::Done("1".repeat(40)),
    ] {
        case.pushed = pushed;
        told.push(case.says("UpstreamPushed"));
    }
    case.repository.spec.upstream = None;
    told.push(case.says("UpstreamPushed"));
    insta::assert_snapshot!(told.join("\n"), @r"
    True Ready: the hub and the checkout have the same main
    True Ready: main of the hub has 1 commit that the checkout lacks; `gcluster sync push` brings them
    True Ready: main of the hub lacks 12 commits of the checkout; `gcluster sync pull` brings them
    True Ready: main has gone two ways, with 2 commits in the hub and 3 commits in the checkout; `gcluster sync status` says what to do
    False PathMissing: /src/app is not there: put it back
    True Enough: there is room for new workspaces
    False DiskFull: 2000 MiB are left on the disk of /data/repositories/app/hub.git, and spec.minFreeMiB wants 2048: no new workspace is made until something is deleted (`gcluster get workspaces,salvages`)
    False DiskFull: 2060 MiB are left on the disk of /data/repositories/app/hub.git, and spec.minFreeMiB wants 2048: no new workspace is made until something is deleted (`gcluster get workspaces,salvages`)
    True Enough: there is room for new workspaces
    False WorkspacesTooLarge: its workspaces take 300 MiB, and spec.maxWorkspacesMiB allows 256 MiB: no new one is made until one is gone (`gcluster get workspaces` says why each is kept)
    303 MiB

    False Pushing: main is being pushed to origin
    False PushFailed: main could not be pushed to origin (2 times), it is tried again: no route to host
    True Pushed: origin has main as the hub has it
    ");
}

/// A user's checkout, an API in memory and the controller on both.
struct World {
    dir: tempfile::TempDir,
    api: FakeApi,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut world = Self { dir, api: FakeApi::new(), running: None };
        std::fs::create_dir(world.checkout()).unwrap();
        world.git(&["init", "--quiet", "-b", "main"]);
        world.git(&["config", "user.name", "Ada"]);
        world.git(&["config", "user.email", "ada@example.com"]);
        world.commit("one");
        world.run();
        world
    }

    fn run(&mut self) {
        let config = Config::new("rehearsal", self.dir.path().join("data/runs"));
        let ctx = Context::new(self.api.client(), [], config);
        self.running = Some(tokio::spawn(super::run(ctx)));
    }

    fn kill(&mut self) {
        self.running.take().unwrap().abort();
    }

    fn checkout(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    fn hub(&self) -> PathBuf {
        self.dir.path().join("data/repositories/default/app/hub.git")
    }

    fn try_git(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("git")
            .args(args)
            .current_dir(self.checkout())
            .env_remove("GCLUSTER_WORKSPACE")
            .env_remove("GCLUSTER_CONTROLLER")
            .output()
            .unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
    }

    #[track_caller]
    fn git(&self, args: &[&str]) -> String {
        self.try_git(args).unwrap_or_else(|said| panic!("git {args:?}: {said}"))
    }

    fn commit(&self, text: &str) -> String {
        std::fs::write(self.checkout().join("file"), text).unwrap();
        self.git(&["add", "file"]);
        self.git(&["commit", "--quiet", "-m", text]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn in_hub(&self, args: &[&str]) -> String {
        let hub = format!("--git-dir={}", self.hub().display());
        self.git(&[&[hub.as_str()], args].concat())
    }

    fn apply(&self, spec: Value) {
        self.api.apply(
            "repositories",
            json!({"metadata": {"name": "app", "namespace": "default"}, "spec": spec}),
        );
    }

    fn apply_app(&self) {
        self.apply(json!({"path": self.checkout(), "base": "main"}));
    }

    /// Waits until the status satisfies `check` and gives it.
    async fn status(&self, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        let repository = || self.api.get("repositories", "app").map(|mut found| found["status"].take());
        self.api.wait(what, |_| repository().filter(|status| check(status))).await
    }

    async fn condition(&self, kind: &str, reason: &str) -> String {
        let find = |status: &Value| {
            let all = status["conditions"].as_array().cloned().unwrap_or_default();
            all.into_iter().find(|condition| condition["type"] == kind && condition["reason"] == reason)
        };
        let status = self.status(&format!("{kind} {reason}"), |status| find(status).is_some()).await;
        find(&status).unwrap()["message"].as_str().unwrap().to_owned()
    }

    fn reasons(&self) -> Vec<String> {
        self.api.all("events").iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_is_made_and_follows_hub_and_checkout() {
    let mut world = World::start().await;
    world.apply_app();
    let first = world.git(&["rev-parse", "HEAD"]);
    let status = world.status("a hub", |status| status["ahead"] == 0 && status["size"].is_string()).await;
    assert_eq!(
        (status["baseCommit"].as_str(), status["hub"].as_str()),
        (Some(&*first), world.hub().to_str())
    );
    // Sooner than the clock would: file events.
    let second = world.commit("two");
    let status = world.status("the new commit", |status| status["behind"] == 1).await;
    assert_eq!(
        (status["hostCommit"].as_str(), status["baseCommit"].as_str()),
        (Some(&*second), Some(&*first))
    );
    world.in_hub(&["update-ref", "refs/heads/main", &second, &first]);
    world
        .status("the merge", |status| status["behind"] == 0 && status["baseCommit"] == second.as_str())
        .await;
    world
        .api
        .wait("origin/main of workers", |_| {
            (world.in_hub(&["rev-parse", "refs/remotes/origin/main"]) == second).then_some(())
        })
        .await;
    // Nobody of gcluster did that, which its reflog would say.
    let moved = |api: &FakeApi| {
        let events = api.all("events").into_iter();
        events
            .filter(|event| event["reason"] == "BaseMoved")
            .find_map(|event| event["note"].as_str().map(str::to_owned))
    };
    let note = world.api.wait("the event", moved).await;
    assert!(
        note.starts_with(&format!("main of the hub was moved to {} (without a word) by", &second[..12])),
        "{note}"
    );
    // Whatever somebody does to the hub, it is mended.
    world.in_hub(&["config", "core.hooksPath", "/dev/null"]);
    world
        .api
        .wait("the hooks", |world_api| {
            world_api.all("events").iter().any(|event| event["reason"] == "HubMended").then_some(())
        })
        .await;
    assert!(world.in_hub(&["config", "core.hooksPath"]).ends_with("/hub.git/hooks"));
    world.kill();
    std::fs::remove_dir_all(world.hub().join("hooks")).unwrap();
    world.run();
    world
        .api
        .wait("the hooks again", |_| world.hub().join("hooks/post-receive").is_file().then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_push_is_checked_once_also_when_nobody_was_there() {
    let mut world = World::start().await;
    world.apply_app();
    world.status("a hub", |status| status["ahead"] == 0).await;
    let hub = world.hub().display().to_string();
    let first = world.commit("pushed");
    world.git(&["push", "--quiet", &hub, "HEAD:refs/heads/topic"]);
    let name = format!("app-{}", &first[..12]);
    let check = world.api.wait("the check", |api| api.get("checks", &name)).await;
    let expected = json!({"repository": "app", "commit": first, "ref": "refs/heads/topic", "quick": false, "requestedBy": "push"});
    assert_eq!(check["spec"], expected);
    let inbox = world.hub().join("gcluster/inbox");
    let is_empty = |inbox: &Path| std::fs::read_dir(inbox).unwrap().next().is_none().then_some(());
    world.api.wait("an empty inbox", |_| is_empty(&inbox)).await;

    // The master is killed before the note is gone, and others push meanwhile.
    world.kill();
    let second = world.commit("pushed while nobody ran");
    world.git(&["push", "--quiet", &hub, "HEAD:refs/heads/topic", "HEAD:refs/heads/other"]);
    std::fs::write(inbox.join("1-1"), format!("{} {first} refs/heads/topic\n", "0".repeat(40))).unwrap();
    std::fs::write(inbox.join("broken"), [0xff, 0, b'\n']).unwrap();
    world.run();
    world.api.wait("the second check", |api| api.get("checks", &format!("app-{}", &second[..12]))).await;
    world
        .api
        .wait("the notes to go", |_| (std::fs::read_dir(&inbox).unwrap().count() <= 1).then_some(()))
        .await;
    assert_eq!(world.api.all("checks").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_what_to_do_and_mends_itself() {
    let world = World::start().await;
    world.apply(json!({"path": world.dir.path().join("elsewhere"), "base": "main"}));
    let said = world.condition("Ready", "PathMissing").await;
    assert!(
        said.ends_with("elsewhere is not there: put it back, or set spec.path to where it is now"),
        "{said}"
    );
    world.apply(json!({"path": world.dir.path(), "base": "main"}));
    let said = world.condition("Ready", "NotARepository").await;
    assert!(said.contains("is not a git repository: set spec.path to the top of a checkout"), "{said}");
    world.apply(json!({"path": world.checkout(), "base": "trunk"}));
    let said = world.condition("Ready", "BaseMissing").await;
    assert!(said.contains("has no branch trunk: set spec.base"), "{said}");
    world.git(&["branch", "trunk"]);
    world.condition("Ready", "Ready").await;
    // A path that came to mean another repository.
    world.git(&["checkout", "--quiet", "--orphan", "fresh"]);
    world.commit("nothing in common");
    world.git(&["branch", "-f", "trunk"]);
    let said = world.condition("Ready", "Unrelated").await;
    assert!(said.contains("no commit in common"), "{said}");
    assert!(world.reasons().iter().any(|reason| reason == "PathMissing"), "{:?}", world.reasons());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_repository_waits_and_what_is_only_in_its_hub_stays() {
    let world = World::start().await;
    world.apply_app();
    world.status("a hub", |status| status["ahead"] == 0).await;
    let workspace = json!({"metadata": {"name": "t-1", "namespace": "default"},
        "spec": {"branch": "b", "repositories": [{"name": "app"}]}});
    world.api.apply("workspaces", workspace);
    world.api.delete("repositories", "app");
    let said = world.condition("Ready", "Terminating").await;
    assert_eq!(said, "it is deleted when its workspaces are gone: t-1");
    let hub = world.hub().display().to_string();
    world.commit("unmerged");
    world.git(&["push", "--quiet", &hub, "HEAD:refs/heads/topic"]);
    world.api.delete("workspaces", "t-1");
    let is_gone = |api: &FakeApi| api.get("repositories", "app").is_none().then_some(());
    world.api.wait("the repository to go", is_gone).await;
    let kept = world.api.all("events").into_iter().find(|event| event["reason"] == "HubKept").unwrap();
    let note = kept["note"].as_str().unwrap();
    assert!(note.contains("branches that are not merged (topic)") && note.contains(&hub), "{note}");

    // Made again, it takes up the hub as it was left; merged, it may go.
    world.apply_app();
    world.status("the hub again", |status| status["behind"] == 1).await;
    assert_eq!(world.in_hub(&["rev-parse", "topic"]), world.git(&["rev-parse", "HEAD"]));
    let old = world.in_hub(&["rev-parse", "main"]);
    world.in_hub(&["update-ref", "refs/heads/main", "refs/heads/topic", &old]);
    world.status("the merge", |status| status["behind"] == 0).await;
    world.api.delete("repositories", "app");
    world.api.wait("the repository to go", is_gone).await;
    assert!(!world.hub().exists() && world.checkout().join("file").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_base_is_pushed_upstream_after_each_merge_until_it_is_there() {
    let world = World::start().await;
    let upstream = world.dir.path().join("upstream.git");
    world.git(&["remote", "add", "company", upstream.to_str().unwrap()]);
    world.apply(json!({"path": world.checkout(), "base": "main", "upstream": "company"}));
    let said = world.condition("UpstreamPushed", "PushFailed").await;
    assert!(said.starts_with("main could not be pushed to company, it is tried again: git push"), "{said}");
    world.git(&["init", "--quiet", "--bare", upstream.to_str().unwrap()]);
    // Another commit is tried at once.
    let second = world.commit("two");
    world.status("the commit", |status| status["behind"] == 1).await;
    let first = world.in_hub(&["rev-parse", "main"]);
    world.in_hub(&["update-ref", "refs/heads/main", &second, &first]);
    assert_eq!(world.condition("UpstreamPushed", "Pushed").await, "company has main as the hub has it");
    let there = format!("--git-dir={}", upstream.display());
    assert_eq!(world.git(&[&there, "rev-parse", "main"]), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_is_tidied_while_nobody_works() {
    let world = World::start().await;
    world.apply_app();
    world.status("a hub", |status| status["ahead"] == 0).await;
    let hub = gcluster_git::Hub::new(&world.hub(), "test");
    assert!(!super::tidy::tidy(hub.clone()).await, "there is nothing to tidy");
    let mut tree = String::new();
    for n in 0..600 {
        let blob = format!("{n:040}");
        std::fs::write(world.checkout().join("blob"), &blob).unwrap();
        let blob = world.in_hub(&["hash-object", "-w", "blob"]);
        tree.push_str(&format!("100644 blob {blob}\tfile-{n}\n"));
    }
    let tree = hub.git().fed(["mktree"], tree.as_bytes()).await.unwrap();
    let commit = hub.git().text(["commit-tree", &tree, "-m", "many"]).await.unwrap();
    assert!(hub.swap("refs/heads/topic", &commit, None, "gcluster: test").await.unwrap());
    assert!(super::tidy::tidy(hub.clone()).await);
    assert!(world.in_hub(&["count-objects", "-v"]).starts_with("count: 0\n"));
    assert_eq!(world.in_hub(&["rev-parse", "topic"]), commit);

    let mut repository = Repository::new("app", RepositorySpec::default());
    repository.metadata.namespace = Some("default".into());
    let ticket = |phase: &str| json!({"metadata": {"name": "t-1", "namespace": "default"}, "spec": {"title": "x"}, "status": {"phase": phase}});
    for (phase, idle) in [("Ready", true), ("Working", false), ("Merging", false), ("Merged", true)] {
        world.api.apply("tickets", ticket(phase));
        let found = super::tidy::is_idle(&world.api.client(), &repository).await.unwrap();
        assert_eq!(found, idle, "{phase}");
    }
}
