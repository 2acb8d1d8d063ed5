//! Merges on the API in memory with real git, killed at every write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use gcluster_types::{Check, Merge, Repository};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::plan::{Act, Seen, plan};
use crate::testing::{FakeApi, Life};
use crate::testing_git::Hub;
use crate::{Config, Context};

/// Hubs by name, and an API that has a Repository for each.
struct World {
    api: FakeApi,
    hubs: BTreeMap<&'static str, Hub>,
}

impl World {
    fn new(names: &[&'static str]) -> World {
        let world =
            World { api: FakeApi::new(), hubs: names.iter().map(|name| (*name, Hub::new())).collect() };
        for (name, hub) in &world.hubs {
            world.api.apply(
                "repositories",
                json!({
                    "apiVersion": "gcluster.dev/v1alpha1", "kind": "Repository", "metadata": {"name": name},
                    "spec": {"path": "/somewhere"}, "status": {"hub": hub.path()},
                }),
            );
        }
        world
    }

    fn hub(&self, name: &str) -> &Hub {
        &self.hubs[name]
    }

    fn start(&self, client: kube::Client) -> JoinHandle<()> {
        tokio::spawn(super::run(Context::new(client, [], Config::new("rehearsal", "/nowhere/runs"))))
    }

    /// A master that is killed by its own `writes`th write.
    fn start_mortal(&self, writes: usize, last_counts: bool) -> (JoinHandle<()>, Life) {
        let (client, life) = self.api.mortal_client();
        life.end_with(writes, last_counts);
        (self.start(client), life)
    }

    /// Every check that comes passes, unless the commit has a file `bad`.
    fn tester(&self) -> JoinHandle<()> {
        let api = self.api.clone();
        let hubs: BTreeMap<String, std::path::PathBuf> =
            self.hubs.iter().map(|(name, hub)| ((*name).to_owned(), hub.path())).collect();
        tokio::spawn(async move {
            loop {
                for check in api.all("checks") {
                    if check["status"]["phase"].is_string() {
                        continue;
                    }
                    let commit = check["spec"]["commit"].as_str().unwrap();
                    let hub = &hubs[check["spec"]["repository"].as_str().unwrap()];
                    let files = crate::testing_git::git(hub, &["ls-tree", "--name-only", commit]);
                    let is_bad = files.lines().any(|file| file == "bad");
                    let status = match is_bad {
                        true => {
                            json!({"phase": "Failed", "message": "./ci.sh ended with 1: it is bad", "output": "it is bad"})
                        }
                        false => json!({"phase": "Passed"}),
                    };
                    let name = &check["metadata"]["name"];
                    api.apply("checks", json!({"metadata": {"name": name}, "status": status}));
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
    }

    fn merge(&self, ticket: &str, priority: i32, repositories: &[&str]) -> String {
        let name = format!("{ticket}-merge-1");
        let each = repositories.iter().map(|repository| {
            json!({"name": repository, "branch": ticket, "base": "main", "commit": self.hub(repository).tip(ticket)})
        });
        let each: Vec<Value> = each.collect();
        self.api.apply(
            "merges",
            json!({
                "apiVersion": "gcluster.dev/v1alpha1", "kind": "Merge", "metadata": {"name": name},
                "spec": {"ticket": ticket, "priority": priority, "repositories": each},
            }),
        );
        name
    }

    async fn ended(&self, name: &str) -> Value {
        let is_over = |status: &Value| status["phase"] == "Merged" || status["phase"] == "Rejected";
        let at = |api: &FakeApi| api.get("merges", name).map(|one| one["status"].clone()).filter(is_over);
        self.api.wait(&format!("the end of {name}"), at).await
    }

    fn text(&self, repository: &str, file: &str) -> String {
        self.hub(repository).git(&["cat-file", "blob", &format!("refs/heads/main:{file}")])
    }

    fn is_line(&self, repository: &str) -> bool {
        self.hub(repository).git(&["rev-list", "--merges", "--count", "main"]) == "0"
    }
}

/// A branch with one commit that begins at the base as it is.
fn branch(hub: &Hub, name: &str, files: &[(&str, &str)]) {
    hub.branch(name, "main");
    hub.commit(name, files);
}

#[tokio::test]
async fn branches_land_one_after_the_other_and_those_that_cannot_say_why() {
    let world = World::new(&["app"]);
    let hub = world.hub("app");
    hub.commit("main", &[("shared", "1\n2\n3\n")]);
    branch(hub, "good", &[("shared", "1\ngood\n3\n")]);
    branch(hub, "clash", &[("shared", "1\nclash\n3\n")]);
    branch(hub, "red", &[("bad", "x\n")]);
    branch(hub, "same", &[("shared", "1\ngood\n3\n")]);
    branch(hub, "moved", &[("moved", "x\n")]);
    let names = ["good", "clash", "red", "same", "moved"].map(|ticket| world.merge(ticket, 1, &["app"]));
    hub.commit("moved", &[("moved", "y\n")]);
    // The others say whom they wait for while the first one's check has not ended.
    let master = world.start(world.api.client());
    let first = "clash-merge-1";
    let at = |api: &FakeApi| (api.get("merges", first)?["status"]["phase"] == "Checking").then_some(());
    world.api.wait("the first to be tested", at).await;
    let waits =
        |api: &FakeApi| api.get("merges", "same-merge-1")?["status"]["message"].as_str().map(str::to_owned);
    let waits = world.api.wait("what it waits for", waits).await;
    assert_eq!(
        waits,
        "one at a time: clash-merge-1 of ticket clash and 3 more before it, into main of repository app"
    );
    let tester = world.tester();
    let mut ends = BTreeMap::new();
    for name in &names {
        ends.insert(name.as_str(), world.ended(name).await);
    }
    let told = |name: &str| {
        format!("{}: {}", ends[name]["reason"].as_str().unwrap(), ends[name]["message"].as_str().unwrap())
    };
    // All were there first; the names decide: clash, good, moved, red, same.
    let tip = hub.tip("main");
    assert_eq!(told("clash-merge-1"), format!("Merged: main of repository app is at {}", &tip[..10]));
    assert_eq!(
        told("good-merge-1"),
        "Conflict: good does not go together with main of repository app in shared (with ticket clash)"
    );
    let brief = ends["good-merge-1"]["brief"].as_str().unwrap().replace(&tip[..10], "TIP");
    let brief = without_ids(&brief);
    insta::assert_snapshot!(brief, @r"
    ## Merge conflict in repository `app`

    Branch `good` does not go together with `main` any more (TIP).

    Files in conflict: `shared`

    Commits of the other side that touched them:

    - `TIP` Change shared (Ann, ticket `clash`)

    `shared` (above `=======` is `main`):

    ``````
    @@ line 1 @@
    1
    <<<<<<< OURS
    clash
    =======
    good
    >>>>>>> THEIRS
    3
    ``````

    ## What to do

    1. `git rebase main` in the workspace of each of these repositories (`git merge main` is fine, too).
    2. Resolve each conflict so that both changes do what they were made for; do not drop the other side's.
    3. Run the tests, commit everything, and finish. The branch is checked and merged again.
    ");
    assert_eq!(ends["good-merge-1"]["repositories"][0]["conflicts"], json!(["shared"]));
    assert!(told("moved-merge-1").starts_with("BranchMoved: moved in repository app is at "));
    assert_eq!(told("red-merge-1"), "CheckFailed: on top of main of app: ./ci.sh ended with 1: it is bad");
    assert!(ends["red-merge-1"]["brief"].as_str().unwrap().contains("``````\nit is bad\n``````"));
    assert!(told("same-merge-1").starts_with("Conflict: "));
    // By content it is there already once the same change is.
    branch(hub, "again", &[("new", "n\n")]);
    branch(hub, "twin", &[("new", "n\n")]);
    for (name, reason) in [("again", "Merged"), ("twin", "AlreadyMerged")] {
        assert_eq!(world.ended(&world.merge(name, 1, &["app"])).await["reason"], reason);
    }
    assert!(world.is_line("app"));
    master.abort();
    tester.abort();
}

/// The marks of a conflict name commits.
fn without_ids(text: &str) -> String {
    let line = |line: &str| {
        let mark = |mark: &str, word: &str| line.starts_with(mark).then(|| format!("{mark} {word}"));
        mark("<<<<<<<", "OURS").or_else(|| mark(">>>>>>>", "THEIRS")).unwrap_or_else(|| line.to_owned())
    };
    let lines: Vec<String> = text.lines().map(line).collect();
    lines.join("\n") + "\n"
}

#[tokio::test]
async fn a_base_that_moves_meanwhile_is_rebased_onto_again_and_nothing_is_lost() {
    let world = World::new(&["app"]);
    let hub = world.hub("app");
    branch(hub, "topic", &[("topic", "t\n")]);
    let name = world.merge("topic", 1, &["app"]);
    hub.commit("main", &[("early", "e\n")]);
    let master = world.start(world.api.client());
    let at = |api: &FakeApi| (api.get("merges", &name)?["status"]["phase"] == "Checking").then_some(());
    world.api.wait("the check", at).await;
    hub.commit("main", &[("late", "l\n")]);
    let tester = world.tester();
    let status = world.ended(&name).await;
    assert_eq!((&status["phase"], &status["retries"]), (&json!("Merged"), &json!(1)));
    for (file, text) in [("early", "e"), ("late", "l"), ("topic", "t")] {
        assert_eq!(world.text("app", file), text);
    }
    assert_eq!(status["repositories"][0]["rebased"], json!(hub.tip("main")));
    assert!(world.is_line("app"));
    master.abort();
    tester.abort();
}

#[tokio::test]
async fn a_master_that_is_killed_at_any_write_leaves_nothing_half_merged() {
    let mut merged = 0;
    for writes in 1..=8 {
        for last_counts in [false, true] {
            let world = World::new(&["app", "lib"]);
            for name in ["app", "lib"] {
                branch(world.hub(name), "topic", &[("topic", "t\n")]);
                world.hub(name).commit("main", &[("early", "e\n")]);
            }
            let before: Vec<String> = ["app", "lib"].map(|name| world.hub(name).tip("main")).into();
            let name = world.merge("topic", 1, &["app", "lib"]);
            let tester = world.tester();
            let (master, life) = world.start_mortal(writes, last_counts);
            // It is killed, or has done it before.
            let over = |api: &FakeApi| {
                let phase = api.get("merges", &name)?["status"]["phase"].clone();
                (life.dead.load(Ordering::SeqCst) || phase == "Merged").then_some(())
            };
            world.api.wait("its end", over).await;
            master.abort();
            let _ = master.await;
            let now: Vec<String> = ["app", "lib"].map(|name| world.hub(name).tip("main")).into();
            let moved = now.iter().zip(&before).filter(|(now, before)| now != before).count();
            assert!(moved == 0 || moved == 2, "half merged after {writes} writes");
            let master = world.start(world.api.client());
            let status = world.ended(&name).await;
            assert_eq!(status["phase"], "Merged", "{status}");
            for (at, name) in ["app", "lib"].iter().enumerate() {
                assert_eq!(world.text(name, "topic"), "t");
                assert_eq!(world.hub(name).git(&["rev-list", "--count", "main"]), "3", "once, and on top");
                assert_eq!(status["repositories"][at]["rebased"], json!(world.hub(name).tip("main")));
            }
            merged += 1;
            master.abort();
            tester.abort();
        }
    }
    assert_eq!(merged, 16);
}

/// A journal as a master leaves it that is killed between moving one base and the other.
fn half_landed(world: &World) -> String {
    for name in ["app", "lib"] {
        world.hub(name).commit("main", &[("shared", "1\n2\n3\n")]);
        branch(world.hub(name), "topic", &[("shared", "1\ntopic\n3\n")]);
    }
    let name = world.merge("topic", 1, &["app", "lib"]);
    let step = |name: &str| {
        let hub = world.hub(name);
        json!({"name": name, "onto": hub.tip("main"), "rebased": hub.tip("topic"), "check": format!("{name}-x-quick")})
    };
    let status = json!({"phase": "Landing", "reason": "Landing", "repositories": [step("app"), step("lib")]});
    world.api.apply("merges", json!({"metadata": {"name": name}, "status": status}));
    world.hub("app").git(&["update-ref", "refs/heads/main", &world.hub("app").tip("topic")]);
    name
}

#[tokio::test]
async fn what_landed_in_one_repository_only_is_finished_by_the_next_master() {
    let world = World::new(&["app", "lib"]);
    let name = half_landed(&world);
    let master = world.start(world.api.client());
    assert_eq!(world.ended(&name).await["phase"], "Merged");
    assert_eq!(
        (world.text("app", "shared"), world.text("lib", "shared")),
        ("1\ntopic\n3".into(), "1\ntopic\n3".into())
    );
    master.abort();

    // The other base moved in between, and it still goes together; somebody built on the one that landed.
    let world = World::new(&["app", "lib"]);
    let name = half_landed(&world);
    world.hub("app").commit("main", &[("built-on-it", "x\n")]);
    world.hub("lib").commit("main", &[("elsewhere", "x\n")]);
    let (master, tester) = (world.start(world.api.client()), world.tester());
    let status = world.ended(&name).await;
    assert_eq!((&status["phase"], &status["retries"]), (&json!("Merged"), &json!(1)));
    assert_eq!(
        (world.text("app", "shared"), world.text("lib", "shared")),
        ("1\ntopic\n3".into(), "1\ntopic\n3".into())
    );
    assert_eq!((world.text("app", "built-on-it"), world.text("lib", "elsewhere")), ("x".into(), "x".into()));
    master.abort();
    tester.abort();
}

#[tokio::test]
async fn a_merge_that_git_cannot_do_keeps_no_other_from_landing() {
    let world = World::new(&["app", "lib"]);
    for name in ["app", "lib"] {
        branch(world.hub(name), "stuck", &[("stuck", "s\n")]);
    }
    branch(world.hub("app"), "good", &[("good", "g\n")]);
    let stuck = world.merge("stuck", 1, &["app", "lib"]);
    let mut spec = world.api.get("merges", &stuck).unwrap()["spec"].clone();
    spec["repositories"][1]["base"] = "nowhere".into();
    world.api.apply("merges", json!({"metadata": {"name": stuck}, "spec": spec}));
    let (master, tester) = (world.start(world.api.client()), world.tester());
    let told = |api: &FakeApi| {
        let status = api.get("merges", &stuck)?["status"].clone();
        status["message"].as_str()?.contains("no branch nowhere; it is tried again").then_some(status)
    };
    world.api.wait("why it is stuck", told).await;
    let good = world.merge("good", 9, &["app"]);
    assert_eq!(world.ended(&good).await["phase"], "Merged");
    // It is in the queue, where a person can take it out.
    let queued = |api: &FakeApi| (api.get("merges", &stuck)?["status"]["phase"] == "Queued").then_some(());
    world.api.wait("it to be queued again", queued).await;
    world.hub("lib").branch("nowhere", "main");
    assert_eq!(world.ended(&stuck).await["phase"], "Merged");
    master.abort();
    tester.abort();
}

#[tokio::test]
async fn a_merge_that_is_deleted_while_no_master_runs_is_in_all_of_its_repositories_or_in_none() {
    let mut landed = 0;
    for (writes, last_counts) in (3..=8).flat_map(|writes| [(writes, false), (writes, true)]) {
        let world = World::new(&["app", "lib"]);
        for name in ["app", "lib"] {
            branch(world.hub(name), "topic", &[("topic", "t\n")]);
            world.hub(name).commit("main", &[("early", "e\n")]);
        }
        let name = world.merge("topic", 1, &["app", "lib"]);
        let tester = world.tester();
        let (master, life) = world.start_mortal(writes, last_counts);
        let over = |api: &FakeApi| {
            let is_over = api.get("merges", &name)?["status"]["phase"] == "Merged";
            (life.dead.load(Ordering::SeqCst) || is_over).then_some(())
        };
        world.api.wait("its end", over).await;
        master.abort();
        let _ = master.await;
        // What a kill between two moves leaves.
        let merge = world.api.get("merges", &name).unwrap();
        if merge["status"]["phase"] == "Landing" {
            let rebased = merge["status"]["repositories"][0]["rebased"].as_str().unwrap();
            world.hub("app").git(&["update-ref", "refs/heads/main", rebased]);
            landed += 1;
        }
        world.api.delete("merges", &name);
        let master = world.start(world.api.client());
        let gone = |api: &FakeApi| api.get("merges", &name).is_none().then_some(());
        world.api.wait("it to be gone", gone).await;
        let has = |name: &str| world.hub(name).git(&["ls-tree", "--name-only", "main"]).contains("topic");
        assert_eq!(has("app"), has("lib"), "half merged after {writes} writes");
        master.abort();
        tester.abort();
    }
    assert!(landed > 1, "it was never between the two");
}

#[tokio::test]
async fn what_landed_in_one_repository_is_taken_back_when_the_other_has_no_place_for_it_any_more() {
    for kill in [None, Some(1), Some(2), Some(3), Some(4)] {
        let world = World::new(&["app", "lib"]);
        let name = half_landed(&world);
        world.hub("app").commit("main", &[("built-on-it", "x\n")]);
        world.hub("lib").commit("main", &[("shared", "1\nother\n3\n")]);
        if let Some(writes) = kill {
            let (master, life) = world.start_mortal(writes, writes % 2 == 0);
            let dead = |api: &FakeApi| {
                let phase = api.get("merges", &name)?["status"]["phase"].clone();
                (life.dead.load(Ordering::SeqCst) || phase == "Rejected").then_some(())
            };
            world.api.wait("its end", dead).await;
            master.abort();
            let _ = master.await;
        }
        let master = world.start(world.api.client());
        let status = world.ended(&name).await;
        let free = |api: &FakeApi| {
            let finalizers = api.get("merges", &name)?["metadata"]["finalizers"].as_array().map(Vec::len);
            (finalizers.unwrap_or_default() == 0).then_some(())
        };
        world.api.wait("it to be let go", free).await;
        assert_eq!((&status["phase"], &status["reason"]), (&json!("Rejected"), &json!("Conflict")));
        assert_eq!(
            (world.text("app", "shared"), world.text("lib", "shared")),
            ("1\n2\n3".into(), "1\nother\n3".into())
        );
        assert_eq!(world.text("app", "built-on-it"), "x", "what others did stays");
        assert_eq!(world.hub("app").git(&["log", "-1", "--format=%s", "main"]), "Take back topic-merge-1");
        assert_eq!(world.hub("app").git(&["rev-list", "--count", "main"]), "5", "it was taken back once");
        assert!(status["repositories"].as_array().unwrap().iter().all(|step| step["landed"] == false));
        master.abort();
    }
}

fn decided(merges: &[Merge], checks: &[Check]) -> String {
    let app: Repository = serde_json::from_value(json!({
        "metadata": {"name": "app"}, "spec": {"path": "/x"}, "status": {"hub": "/hub"},
    }))
    .unwrap();
    let lib = Repository { status: None, ..app.clone() };
    let key = |name: &str| ("default".to_owned(), name.to_owned());
    let (acts, live) =
        (BTreeMap::from([(key("app"), &app), (key("web"), &app), (key("lib"), &lib)]), BTreeSet::new());
    let checks = checks.iter().map(|check| (key(check.metadata.name.as_deref().unwrap()), check)).collect();
    let seen =
        Seen { merges: merges.iter().collect(), repositories: acts, checks, live: &live, resting: &live };
    let told = plan(&seen).into_iter().map(|(key, act)| match act {
        Act::Go => format!("{} goes on", key.1),
        Act::Release => format!("{} is let go", key.1),
        Act::Back { message } => format!("{} goes back: {message}", key.1),
        Act::Wait { reason, message } => format!("{} waits: {reason}: {message}", key.1),
    });
    told.collect::<Vec<_>>().join("\n")
}

fn typed(ticket: &str, priority: i32, repositories: &[&str], status: Value) -> Merge {
    let each = repositories
        .iter()
        .map(|name| json!({"name": name, "branch": ticket, "base": "main", "commit": "c"}));
    let each: Vec<Value> = each.collect();
    serde_json::from_value(json!({
        "metadata": {"name": format!("{ticket}-merge-1"), "namespace": "default", "uid": ticket},
        "spec": {"ticket": ticket, "priority": priority, "repositories": each}, "status": status,
    }))
    .unwrap()
}

#[test]
fn one_at_a_time_for_each_base_and_the_smaller_priority_first() {
    let checking = json!({"phase": "Checking", "repositories": [{"name": "web", "check": "web-1-quick"}]});
    let all = [
        typed("low", 3, &["app"], json!({})),
        typed("high", 1, &["app"], json!({})),
        typed("both", 2, &["app", "web"], json!({})),
        typed("other", 3, &["web"], json!({})),
        typed("begun", 9, &["web"], checking),
        typed("early", 1, &["lib"], json!({})),
        typed("done", 1, &["app"], json!({"phase": "Merged"})),
    ];
    let check: Check = serde_json::from_value(json!({
        "metadata": {"name": "web-1-quick"}, "spec": {"repository": "web", "commit": "c"}, "status": {"phase": "Running"},
    }))
    .unwrap();
    insta::assert_snapshot!(decided(&all, std::slice::from_ref(&check)), @r"
    begun-merge-1 waits: Checking: the rebased commits are tested: web-1-quick (running)
    early-merge-1 waits: NotReady: repository lib has no hub yet
    high-merge-1 goes on
    both-merge-1 waits: Queued: one at a time: begun-merge-1 of ticket begun before it, into main of repository web
    low-merge-1 waits: Queued: one at a time: high-merge-1 of ticket high and one more before it, into main of repository app
    other-merge-1 waits: Queued: one at a time: begun-merge-1 of ticket begun and one more before it, into main of repository web
    ");
    let passed = Check { status: serde_json::from_value(json!({"phase": "Passed"})).unwrap(), ..check };
    assert!(decided(&all, &[passed]).starts_with("begun-merge-1 goes on\n"));
    assert!(
        decided(&all, &[]).starts_with("begun-merge-1 goes on\n"),
        "its check is gone: it is asked for again"
    );
}

#[test]
fn a_merge_that_lacks_a_repository_keeps_nobody_else_from_merging() {
    let step = |landed: bool| json!([{"name": "app", "onto": "a", "rebased": "b", "landed": landed}, {"name": "gone"}]);
    let rebasing = |landed| json!({"phase": "Rebasing", "reason": "Rebasing", "repositories": step(landed)});
    let mut all = vec![
        typed("first", 1, &["app", "gone"], json!({})),
        typed("begun", 2, &["app", "gone"], rebasing(false)),
        typed("next", 3, &["app"], json!({})),
    ];
    insta::assert_snapshot!(decided(&all, &[]), @r"
    begun-merge-1 goes back: there is no repository gone
    first-merge-1 waits: NotReady: there is no repository gone
    next-merge-1 goes on
    ");
    // A half that has landed is another matter: it is finished first, if that can be.
    all.push(typed("half", 9, &["app", "gone"], rebasing(true)));
    assert!(decided(&all, &[]).contains("next-merge-1 waits: Queued: one at a time: half-merge-1"));
    // Whoever deletes it has no use for it; without the repository it can come to no end.
    for merge in &mut all {
        merge.metadata.finalizers = Some(vec![gcluster_types::labels::MERGE_FINALIZER.to_owned()]);
        merge.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    }
    insta::assert_snapshot!(decided(&all, &[]), @r"
    begun-merge-1 is let go
    half-merge-1 is let go
    first-merge-1 is let go
    next-merge-1 is let go
    ");
}
