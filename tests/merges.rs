//! Merges with the real binary and real git, by masters that are killed at random moments.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agents::list;
use crate::support::cli::Sandbox;
use crate::support::master::{Master, objects, wait_object};
use crate::support::repo::Repo;

const SCRIPT: &str = "#!/bin/sh\n[ ! -e bad ] || { echo 'it is bad'; exit 1; }\n";

fn merge(ticket: &str, priority: i32, repositories: &[&Repo]) -> Value {
    let each: Vec<Value> = repositories
        .iter()
        .map(
            |repo| json!({"name": repo.name(), "branch": ticket, "base": "main", "commit": repo.tip(ticket)}),
        )
        .collect();
    json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Merge", "metadata": {"name": format!("{ticket}-merge-1")},
        "spec": {"ticket": ticket, "priority": priority, "repositories": each},
    })
}

fn apply(sandbox: &Sandbox, merges: &[Value]) {
    let file = sandbox.write("merges.json", &list(merges));
    sandbox.run(["apply".as_ref(), "-f".as_ref(), file.as_os_str()]).ok();
}

fn is_over(merge: &Value) -> bool {
    merge["status"]["phase"] == "Merged" || merge["status"]["phase"] == "Rejected"
}

/// Every commit of the base passes its test script, and none has two parents.
fn is_green_line(repo: &Repo) {
    assert_eq!(repo.git(&["rev-list", "--count", "--merges", "main"]), "0");
    for commit in repo.git(&["rev-list", "main"]).lines() {
        let files = repo.git(&["ls-tree", "--name-only", commit]);
        assert!(!files.lines().any(|file| file == "bad"), "{commit} of {} is red", repo.name());
    }
}

#[test]
fn whatever_is_killed_the_bases_stay_whole_and_every_merge_comes_to_its_stated_end() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let (app, lib) =
        (Repo::new(&sandbox, "app", SCRIPT, json!({})), Repo::new(&sandbox, "lib", SCRIPT, json!({})));
    let mut merges = Vec::new();
    // Eight that touch a file of their own in one or both repositories, two that collide, one that is red.
    for n in 0..8 {
        let (ticket, file) = (format!("t{n}"), format!("file-{n}"));
        let both = n % 2 == 0;
        app.push(&ticket, &[(&file, "x\n")]);
        if both {
            lib.push(&ticket, &[(&file, "x\n")]);
        }
        let repositories = if both { vec![&app, &lib] } else { vec![&app] };
        merges.push(merge(&ticket, 3, &repositories));
    }
    for ticket in ["first", "second"] {
        app.push(ticket, &[("shared", &format!("1\n{ticket}\n3\n"))]);
        lib.push(ticket, &[(ticket, "x\n")]);
        merges.push(merge(ticket, if ticket == "first" { 1 } else { 2 }, &[&app, &lib]));
    }
    app.push("red", &[("bad", "x\n")]);
    lib.push("red", &[("red", "x\n")]);
    merges.push(merge("red", 4, &[&lib, &app]));
    apply(&sandbox, &merges);

    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let deadline = Instant::now() + Duration::from_secs(240);
    let mut kills = 0;
    while kills < 12 && !objects(&sandbox, "merges").iter().all(is_over) {
        std::thread::sleep(Duration::from_millis(random.u64(20..900)));
        master.kill();
        kills += 1;
        assert!(Instant::now() < deadline, "too slow");
        master = Master::start(&sandbox);
    }
    let mut ends: BTreeMap<String, Value> = BTreeMap::new();
    for one in &merges {
        let name = one["metadata"]["name"].as_str().expect("name");
        ends.insert(
            name.to_owned(),
            wait_object(&sandbox, "merge", name, "its end", is_over)["status"].clone(),
        );
    }
    println!("{kills} kills");
    let reason =
        |ticket: &str| ends[&format!("{ticket}-merge-1")]["reason"].as_str().unwrap_or_default().to_owned();
    for n in 0..8 {
        let (ticket, file) = (format!("t{n}"), format!("file-{n}"));
        assert_eq!(reason(&ticket), "Merged");
        assert_eq!(app.base_file(&file).as_deref(), Some("x"));
        assert_eq!(lib.base_file(&file).is_some(), n % 2 == 0);
    }
    assert_eq!((reason("first"), reason("second")), ("Merged".into(), "Conflict".into()));
    assert_eq!(app.base_file("shared").as_deref(), Some("1\nfirst\n3"));
    assert_eq!((lib.base_file("first").is_some(), lib.base_file("second").is_some()), (true, false));
    assert_eq!((reason("red"), lib.base_file("red")), ("CheckFailed".into(), None));
    // One commit each, and nothing twice.
    assert_eq!(app.git(&["rev-list", "--count", "main"]), "10");
    assert_eq!(lib.git(&["rev-list", "--count", "main"]), "6");
    is_green_line(&app);
    is_green_line(&lib);
    for repo in [&app, &lib] {
        repo.git(&["fsck", "--no-dangling", "--connectivity-only"]);
        let locks = repo.git(&["rev-parse", "--git-path", "refs/heads/main.lock"]);
        assert!(!std::path::Path::new(&locks).exists(), "{locks}");
    }
}

#[test]
fn who_waits_says_for_whom_and_a_conflict_comes_with_a_brief() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let gate = sandbox.work().join("go");
    let script = format!("#!/bin/sh\nuntil [ -e {} ]; do sleep 0.05; done\n", gate.display());
    let app = Repo::new(&sandbox, "app", &script, json!({}));
    for ticket in ["one", "two"] {
        app.push(ticket, &[("shared", &format!("1\n{ticket}\n3\n"))]);
        apply(&sandbox, &[merge(ticket, 3, &[&app])]);
    }
    let waits =
        wait_object(&sandbox, "merge", "two-merge-1", "Queued", |o| o["status"]["reason"] == "Queued");
    assert_eq!(
        waits["status"]["message"],
        "one at a time: one-merge-1 of ticket one before it, into main of repository app"
    );
    wait_object(&sandbox, "merge", "one-merge-1", "Checking", |o| o["status"]["phase"] == "Checking");
    let wide = sandbox.run(["get", "merges", "-o", "wide"]).ok().stdout;
    assert!(wide.contains("one-merge-1 of ticket one before it"), "{wide}");
    std::fs::write(&gate, "").expect("gate");
    let rejected = wait_object(&sandbox, "merge", "two-merge-1", "its end", is_over);
    assert_eq!(rejected["status"]["reason"], "Conflict");
    let told = sandbox.run(["describe", "merge", "two-merge-1"]).ok().stdout;
    for part in ["1 file in conflict", "(Ann, ticket `one`)", "git rebase main", "## What to do"] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    // The worker does what the brief says: the branch goes in.
    let tip = app.push("three", &[("shared", "1\none\ntwo\n3\n")]);
    apply(&sandbox, &[merge("three", 3, &[&app])]);
    let merged = wait_object(&sandbox, "merge", "three-merge-1", "its end", is_over);
    assert_eq!(merged["status"]["phase"], "Merged", "{merged}");
    assert_eq!(app.tip("main"), tip, "on top already: nothing is rewritten");
}
