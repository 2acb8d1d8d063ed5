//! Hubs of repositories with the real binary, real git and real hooks: made, pushed to, mended, kept over kills.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::git::Checkout;
use crate::support::master::{Master, object, objects, wait_object};
use crate::support::wait::wait;

fn apply(sandbox: &Sandbox, checkout: &Checkout, more: Value) -> Value {
    let mut manifest = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Repository",
        "metadata": {"name": "app"}, "spec": {"path": checkout.path(), "base": "main"}});
    for (key, value) in more.as_object().expect("fields") {
        manifest["spec"][key] = value.clone();
    }
    sandbox.write("app.json", &manifest.to_string());
    sandbox.run(["apply", "-f", "app.json"]).ok();
    ready(sandbox, "app")
}

fn ready(sandbox: &Sandbox, name: &str) -> Value {
    wait_object(sandbox, "repository", name, "to be ready", |o| {
        condition(o, "Ready").is_some_and(|c| c["status"] == "True")
    })
}

fn condition(object: &Value, kind: &str) -> Option<Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind).cloned()
}

fn hub(repository: &Value) -> PathBuf {
    PathBuf::from(repository["status"]["hub"].as_str().expect("a hub"))
}

fn inbox(hub: &Path) -> usize {
    std::fs::read_dir(hub.join("gcluster/inbox")).expect("inbox").count()
}

#[test]
fn a_push_by_hand_becomes_one_check_over_kills_of_the_master() {
    let (sandbox, checkout) = (Sandbox::new(), Checkout::new());
    let mut master = Master::start(&sandbox);
    let repository = apply(&sandbox, &checkout, json!({}));
    let hub = hub(&repository);
    let first = checkout.head();
    assert_eq!(repository["status"]["baseCommit"], first.as_str());
    assert_eq!(repository["metadata"]["finalizers"], json!(["gcluster.dev/repository"]));
    let table = sandbox.run(["get", "repositories"]).ok().stdout;
    assert!(
        table.contains("READY") && table.lines().nth(1).is_some_and(|row| row.contains("True")),
        "{table}"
    );

    let address = hub.to_str().expect("path").to_owned();
    let mut pushed = Vec::new();
    for round in 0..6 {
        let commit = checkout.commit("file", &round.to_string());
        // Killed before, or while it sees to the push, or not at all.
        if round % 3 == 1 {
            master.kill();
        }
        checkout.git(&["push", "--quiet", &address, "HEAD:refs/heads/topic"]);
        if round % 3 == 2 {
            master.kill();
        }
        if round % 3 > 0 {
            master = Master::start(&sandbox);
        }
        pushed.push(commit);
    }
    for commit in &pushed {
        let name = format!("app-{}", &commit[..12]);
        let check = wait(&name, || object(&sandbox, "check", &name));
        assert_eq!(
            (&check["spec"]["ref"], &check["spec"]["requestedBy"]),
            (&"refs/heads/topic".into(), &"push".into())
        );
    }
    wait("all notes to be seen to", || (inbox(&hub) == 0).then_some(()));
    assert_eq!(objects(&sandbox, "checks").len(), pushed.len());
    for (args, says) in [
        (&["push", &address, "HEAD:main"][..], "gcluster sync pull"),
        (&["push", "--force", &address, "HEAD~2:refs/heads/topic"], "would lose commits"),
        (&["push", &address, ":refs/heads/topic"], "has commits that are not merged"),
    ] {
        let said = checkout.try_git(args).expect_err("refused");
        assert!(said.contains(says), "{said}");
    }
    assert_eq!(checkout.in_repository(&hub, &["rev-parse", "topic"]), pushed[5]);
    assert_eq!(checkout.in_repository(&hub, &["rev-parse", "main"]), first);
}

#[test]
fn the_hub_is_mended_and_problems_are_told_with_what_to_do() {
    let (sandbox, checkout) = (Sandbox::new(), Checkout::new());
    let master = Master::start(&sandbox);
    let hub = hub(&apply(&sandbox, &checkout, json!({"minFreeMiB": 1_i64 << 40})));
    let full = wait_object(&sandbox, "repository", "app", "no space", |o| {
        condition(o, "DiskSpace").is_some_and(|c| c["reason"] == "DiskFull")
    });
    let said = condition(&full, "DiskSpace").expect("condition")["message"].clone();
    assert!(said.as_str().is_some_and(|said| said.contains("spec.minFreeMiB wants 1099511627776")), "{said}");
    std::fs::write(hub.join("hooks/pre-receive"), "#!/bin/sh\n").expect("hook");
    checkout.in_repository(&hub, &["config", "core.hooksPath", "/nowhere"]);
    wait("the hooks to be mended", || {
        let hook = std::fs::read_to_string(hub.join("hooks/pre-receive")).ok()?;
        (hook.contains("gcluster")
            && checkout.in_repository(&hub, &["config", "core.hooksPath"]) != "/nowhere")
            .then_some(())
    });
    let events = || sandbox.run(["events", "--for", "repository/app"]).ok().stdout;
    wait("the event", || events().contains("HubMended").then_some(()));

    let elsewhere = checkout.path().with_file_name("moved");
    std::fs::rename(checkout.path(), &elsewhere).expect("rename");
    let gone = wait_object(&sandbox, "repository", "app", "its path to be missed", |o| {
        condition(o, "Ready").is_some_and(|c| c["reason"] == "PathMissing")
    });
    let said = condition(&gone, "Ready").expect("condition")["message"].clone();
    assert!(said.as_str().is_some_and(|said| said.contains("set spec.path to where it is now")), "{said}");
    std::fs::rename(&elsewhere, checkout.path()).expect("rename");
    ready(&sandbox, "app");

    // Gone, with its hub: everything of that is in the checkout.
    sandbox.run(["delete", "repository", "app"]).ok();
    assert!(!hub.exists() && checkout.path().join(".git").exists());
    drop(master);
}

#[test]
fn init_prepares_a_repository_that_apply_takes_as_it_is() {
    let (sandbox, checkout) = (Sandbox::new(), Checkout::new());
    let outside = sandbox.run(["init"]);
    assert_eq!(outside.code, 1);
    assert!(outside.stderr.contains("is not in a git repository"), "{}", outside.stderr);
    checkout.commit("Makefile", "check:\n\ttrue\n");
    let within = |args: &[&str]| crate::support::cli::ran(sandbox.command(args).current_dir(checkout.path()));
    let made = within(&["init", "--name", "app"]).ok();
    for text in
        ["gcluster.yaml written", "ci.sh written", "ci.sh is for make", "gcluster up -d -f gcluster.yaml"]
    {
        assert!(made.stdout.contains(text), "{text}\n{}", made.stdout);
    }
    assert!(checkout.path().join(".gcluster/backlog").is_dir());
    assert!(
        crate::support::cli::ran(std::process::Command::new("sh").arg(checkout.path().join("ci.sh"))).code
            == 0
    );
    let again = within(&["init"]).ok();
    assert!(again.stdout.contains("gcluster.yaml is there already and stays as it is"), "{}", again.stdout);
    checkout.git(&["add", "--all"]);
    checkout.git(&["commit", "--quiet", "-m", "prepared"]);
    assert_eq!(checkout.git(&["status", "--porcelain"]), "");

    let _master = Master::start(&sandbox);
    // From anywhere: the path counts from the file.
    let manifest = checkout.path().join("gcluster.yaml");
    sandbox.run(["apply", "-f", manifest.to_str().expect("path")]).ok();
    let repository = ready(&sandbox, "app");
    let top = std::fs::canonicalize(checkout.path()).expect("path");
    assert_eq!(repository["spec"]["path"].as_str(), top.to_str());
    assert!(object(&sandbox, "workerpool", "app-workers").is_some());
    // Without a path: where one is.
    sandbox.write(
        "none.yaml",
        "apiVersion: gcluster.dev/v1alpha1\nkind: Repository\nmetadata: {name: other}\nspec: {}\n",
    );
    let file = sandbox.work().join("none.yaml");
    let outside = sandbox.run(["apply", "-f", "none.yaml"]);
    assert!(outside.code == 1 && outside.stderr.contains("names no path"), "{}", outside.stderr);
    within(&["apply", "-f", file.to_str().expect("path")]).ok();
    assert_eq!(ready(&sandbox, "other")["spec"]["path"].as_str(), top.to_str());
}

#[test]
fn a_git_that_is_missing_or_too_old_is_named_with_the_version_that_is_needed() {
    use std::os::unix::fs::PermissionsExt as _;
    let (sandbox, checkout) = (Sandbox::new(), Checkout::new());
    let programs = sandbox.work().join("programs");
    std::fs::create_dir(&programs).expect("directory");
    let fake = |said: &str| {
        let (new, file) = (programs.join("git.new"), programs.join("git"));
        std::fs::write(&new, format!("#!/bin/sh\necho git version {said}\n")).expect("file");
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).expect("mode");
        std::fs::rename(&new, &file).expect("rename");
    };
    let path = std::env::var("PATH").expect("PATH");
    let _master = Master::start_with(&sandbox, &["--backend", "rehearsal"], |command| {
        command.env("PATH", programs.as_os_str());
    });
    let manifest = json!({"apiVersion": "gcluster.dev/v1alpha1", "kind": "Repository",
        "metadata": {"name": "app"}, "spec": {"path": checkout.path(), "base": "main"}});
    sandbox.write("app.json", &manifest.to_string());
    sandbox.run(["apply", "-f", "app.json"]).ok();
    let says = |reason: &str| {
        let found = wait_object(&sandbox, "repository", "app", reason, |o| {
            condition(o, "Ready").is_some_and(|c| c["reason"] == reason)
        });
        condition(&found, "Ready").expect("condition")["message"].as_str().expect("text").to_owned()
    };
    let missing = says("GitMissing");
    assert!(missing.contains("install git 2.38 or newer"), "{missing}");
    fake("2.30.1");
    let old = says("GitTooOld");
    assert!(old.contains("git is 2.30, which is too old: 2.38 or newer is needed"), "{old}");
    let real =
        std::env::split_paths(&path).map(|dir| dir.join("git")).find(|file| file.is_file()).expect("git");
    std::fs::remove_file(programs.join("git")).expect("remove");
    std::os::unix::fs::symlink(real, programs.join("git")).expect("link");
    ready(&sandbox, "app");
}
