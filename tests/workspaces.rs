//! Workspaces with the real binary and real git: made, removed, killed over, and brought back as they were.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::http::{request, token};
use crate::support::master::{Master, object, objects, wait_object};
use crate::support::processes::with_environment;
use crate::support::wait::wait;

const MANIFEST: &str = "
apiVersion: gcluster.dev/v1alpha1
kind: Repository
metadata: {name: app}
spec: {path: PATH, base: main, minFreeMiB: 0}
---
apiVersion: gcluster.dev/v1alpha1
kind: Workspace
metadata: {name: t-1}
spec:
  branch: agent-1/feat-1
  repositories: [{name: app}]
  copy: [.env]
  setup: [SETUP]
  teardown: ['echo $GCLUSTER_WORKSPACE >> ../../../torn-down']
";

#[track_caller]
fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    let command = command.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]);
    let output = command.args(args).current_dir(dir).output().expect("git");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A repository of a user, and a workspace of it that is ready.
fn ready(sandbox: &Sandbox, setup: &str) -> PathBuf {
    let checkout = sandbox.work().join("app");
    std::fs::create_dir_all(&checkout).unwrap();
    git(&checkout, &["init", "--quiet", "-b", "main"]);
    for (name, text) in [("a", "1\n"), ("b", "2\n"), ("c", "3\n"), (".gitignore", "*.log\n.env\n")] {
        std::fs::write(checkout.join(name), text).unwrap();
    }
    git(&checkout, &["add", "--all"]);
    git(&checkout, &["commit", "--quiet", "-m", "first"]);
    std::fs::write(checkout.join(".env"), "SECRET=1\n").unwrap();
    let text = MANIFEST.replace("PATH", &checkout.display().to_string()).replace("SETUP", setup);
    sandbox.write("objects.yaml", &text);
    sandbox.run(["apply", "-f", "objects.yaml"]).ok();
    let is_ready = |o: &Value| o["status"]["phase"] == "Ready";
    let workspace = wait_object(sandbox, "workspace", "t-1", "ready", is_ready);
    PathBuf::from(workspace["status"]["path"].as_str().unwrap())
}

/// Some of everything that a worker can leave behind.
fn work(path: &Path) {
    std::fs::write(path.join("a"), "1\nmore\n").unwrap();
    git(path, &["commit", "--quiet", "-am", "work"]);
    std::fs::write(path.join("b"), "staged\n").unwrap();
    git(path, &["add", "b"]);
    std::fs::write(path.join("b"), b"staged, and changed again\r\n\0").unwrap();
    std::fs::remove_file(path.join("c")).unwrap();
    std::fs::create_dir_all(path.join("new dir")).unwrap();
    std::fs::write(path.join("new dir/\u{fc}n\nï"), "odd\n").unwrap();
    std::fs::write(path.join("run.sh"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(path.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("nowhere", path.join("link")).unwrap();
}

/// Every file byte for byte, and what git says of them.
fn state(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut state = BTreeMap::new();
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            let name = format!("{} {:o}", path.display(), meta.permissions().mode());
            if entry.file_name() == ".git" {
            } else if meta.is_dir() {
                open.push(path);
            } else if meta.is_symlink() {
                state.insert(name, std::fs::read_link(&path).unwrap().display().to_string().into_bytes());
            } else {
                state.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    for args in [
        &["ls-files", "-z", "--stage"][..],
        &["status", "--porcelain=v2", "-z", "-uall"],
        &["rev-parse", "HEAD", "refs/heads/agent-1/feat-1"],
        &["branch", "--show-current"],
    ] {
        state.insert(format!("git {args:?}"), git(path, args).into_bytes());
    }
    state
}

fn wait_gone(sandbox: &Sandbox) {
    wait("the workspace to go", || object(sandbox, "workspace", "t-1").is_none().then_some(()));
}

#[test]
fn a_workspace_is_removed_and_undeleted_byte_for_byte() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let path = ready(&sandbox, "echo $GCLUSTER_BRANCH > set-up.log");
    assert_eq!(std::fs::read_to_string(path.join("set-up.log")).unwrap(), "agent-1/feat-1\n");
    assert_eq!(std::fs::read_to_string(path.join(".env")).unwrap(), "SECRET=1\n");
    work(&path);
    let before = state(&path);
    let shown = sandbox.run(["get", "workspaces"]).ok().stdout;
    assert!(shown.contains("it belongs to no ticket"), "{shown}");
    sandbox.run(["delete", "workspace", "t-1"]).ok();
    assert!(!path.exists());
    assert_eq!(std::fs::read_to_string(sandbox.data().join("torn-down")).unwrap(), "t-1\n");
    let hub = sandbox.data().join("repositories/default/app/hub.git");
    assert_eq!(git(&hub, &["for-each-ref", "--format=%(refname)", "refs/heads/agent-1"]), "");

    let list = sandbox.run(["undelete"]).ok().stdout;
    assert!(list.contains("1 commit, 5 files"), "{list}");
    let back = sandbox.run(["undelete", "workspace", "t-1"]).ok().stdout;
    assert!(back.starts_with("workspace t-1 is back with 1 commit, 5 files: /"), "{back}");
    assert_eq!(state(&path), before);
    let twice = sandbox.run(["undelete", "workspace", "t-1"]);
    assert!(twice.code == 5 && twice.stderr.contains("there is a workspace t-1 already"), "{}", twice.stderr);
    assert_eq!(sandbox.run(["undelete", "workspace", "nobody"]).code, 4);

    // What is kept goes with its Salvage, and only then.
    sandbox.run(["delete", "workspace", "t-1"]).ok();
    for salvage in objects(&sandbox, "salvages") {
        sandbox.run(["delete", "salvage", salvage["metadata"]["name"].as_str().unwrap()]).ok();
    }
    assert_eq!(git(&hub, &["for-each-ref", "--format=%(refname)", "refs/gcluster/salvage"]), "");
    let nothing = sandbox.run(["undelete"]).ok();
    assert!(nothing.stderr.contains("Nothing can be brought back"), "{}", nothing.stderr);
}

#[test]
fn a_master_that_is_killed_in_the_middle_of_a_removal_loses_nothing() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let path = ready(&sandbox, "echo ok");
    work(&path);
    let before = state(&path);
    for delay in [0, 10, 25, 45, 70, 100, 140, 200] {
        sandbox.run(["delete", "workspace", "t-1", "--wait=false"]).ok();
        std::thread::sleep(Duration::from_millis(delay));
        master.kill();
        master = Master::start(&sandbox);
        wait_gone(&sandbox);
        assert!(!path.exists(), "after {delay} ms");
        sandbox.run(["undelete", "workspace", "t-1"]).ok();
        assert_eq!(state(&path), before, "killed after {delay} ms");
    }
}

#[test]
fn set_up_commands_do_not_outlive_their_workspace_or_a_killed_master() {
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let path = ready(&sandbox, "'[ ! -e ../hang ] || { touch ../hung; setsid sleep 1000 & sleep 1000; }'");
    std::fs::write(path.parent().unwrap().join("hang"), "").unwrap();
    let uid_of = |o: &Value| o["metadata"]["uid"].as_str().unwrap().to_owned();
    let mark = || {
        object(&sandbox, "workspace", "t-1")
            .map(|o| format!("GCLUSTER_ITERATION_UID={}", uid_of(&o)))
            .unwrap()
    };
    sandbox.run(["delete", "workspace", "t-1"]).ok();
    sandbox.run(["apply", "-f", "objects.yaml"]).ok();
    wait("the command to run", || path.parent().unwrap().join("hung").exists().then_some(()));
    let mark = mark();
    let first = wait("its processes", || Some(with_environment(&mark)).filter(|all| all.len() >= 3));
    master.kill();
    let _master = Master::start(&sandbox);
    // The next master ends them and begins again.
    wait("the old processes to end", || {
        let now = with_environment(&mark);
        (!now.is_empty() && first.iter().all(|old| !now.contains(old))).then_some(())
    });
    sandbox.run(["delete", "workspace", "t-1"]).ok();
    assert_eq!(with_environment(&mark), Vec::<u32>::new());
}

#[test]
fn a_deleted_ticket_comes_back_as_it_was() {
    let sandbox = Sandbox::new();
    let master = Master::start(&sandbox);
    sandbox.run(["ticket", "add", "Add avatars", "-p", "critical", "--id", "t-1", "--tag", "ui"]).ok();
    // As the ticket controller does when a worker takes it.
    let held = r#"{"metadata": {"finalizers": ["gcluster.dev/ticket"]}}"#;
    let path = "/apis/gcluster.dev/v1alpha1/namespaces/default/tickets/t-1";
    let auth = format!("Bearer {}", token(&sandbox));
    let headers = [("Authorization", auth.as_str()), ("Content-Type", "application/merge-patch+json")];
    let answer = request(master.address(), "PATCH", path, &headers, held.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let spec = object(&sandbox, "ticket", "t-1").unwrap()["spec"].clone();
    sandbox.run(["delete", "ticket", "t-1"]).ok();
    let list = sandbox.run(["undelete", "ticket"]).ok().stdout;
    assert!(list.contains("the ticket, which was "), "{list}");
    let back = sandbox.run(["undelete", "ticket", "t-1"]).ok().stdout;
    assert!(back.starts_with("ticket t-1 is back; it was "), "{back}");
    assert_eq!(object(&sandbox, "ticket", "t-1").unwrap()["spec"], spec);
}

const SEVERAL: &str = "
apiVersion: gcluster.dev/v1alpha1
kind: Repository
metadata: {name: app}
spec: {path: APP, base: main, minFreeMiB: 0}
---
apiVersion: gcluster.dev/v1alpha1
kind: Repository
metadata: {name: lib}
spec: {path: LIB, base: main, minFreeMiB: 0}
---
apiVersion: gcluster.dev/v1alpha1
kind: Workspace
metadata: {name: t-1, annotations: {gcluster.dev/observe: LOOK}}
spec:
  branch: agent-1/feat-1
  repositories: [{name: app}, {name: lib}]
  firstPort: 4100
  ports: 5
";

#[test]
fn several_repositories_are_worked_on_synced_removed_and_brought_back_together() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let checkouts = ["app", "lib"].map(|name| sandbox.work().join(name));
    for checkout in &checkouts {
        std::fs::create_dir_all(checkout).unwrap();
        git(checkout, &["init", "--quiet", "-b", "main"]);
        for (name, text) in [("a", "1\n"), ("b", "2\n"), ("c", "3\n")] {
            std::fs::write(checkout.join(name), text).unwrap();
        }
        git(checkout, &["add", "--all"]);
        git(checkout, &["commit", "--quiet", "-m", "first"]);
    }
    let [app, lib] = checkouts.each_ref().map(|path| path.display().to_string());
    let apply = |look: &str| {
        let text = SEVERAL.replace("APP", &app).replace("LIB", &lib).replace("LOOK", look);
        sandbox.write("several.yaml", &text);
        sandbox.run(["apply", "-f", "several.yaml"]).ok();
    };
    apply("'1'");
    let made = wait_object(&sandbox, "workspace", "t-1", "ready", |o| o["status"]["phase"] == "Ready");
    let folder = PathBuf::from(made["status"]["path"].as_str().unwrap());
    for name in ["app", "lib"] {
        work(&folder.join(name));
    }
    let before = ["app", "lib"].map(|name| state(&folder.join(name)));
    apply("'2'");
    let saves = || {
        let text = sandbox.run(["undelete", "workspace", "t-1", "--saves"]).ok().stdout;
        let rows = text.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect());
        let rows: Vec<Vec<String>> = rows.collect();
        // NUMBER, four words of when, REPOSITORY, FILES, COMMIT.
        let of =
            |name: &str| rows.iter().find(|row| row[5] == name && row[6] == "5").map(|row| row[0].clone());
        of("app").zip(of("lib"))
    };
    wait("a save of both", saves);

    // Branches of one name in both, and commits of the user in one.
    let told = sandbox.run(["sync", "status", "-o", "json"]).ok().stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    for n in 0..2 {
        assert_eq!((&told[n]["ahead"], &told[n]["behind"]), (&Value::from(0), &Value::from(0)), "{told}");
        let branch = &told[n]["branches"][0];
        assert_eq!(
            (&branch["branch"], &branch["ahead"]),
            (&"agent-1/feat-1".into(), &Value::from(1)),
            "{told}"
        );
    }
    sandbox.run(["sync", "push", "--branches"]).ok();
    for (checkout, name) in checkouts.iter().zip(["app", "lib"]) {
        assert_eq!(
            git(checkout, &["rev-parse", "agent-1/feat-1"]),
            git(&folder.join(name), &["rev-parse", "HEAD"])
        );
    }
    std::fs::write(checkouts[1].join("d"), "4\n").unwrap();
    git(&checkouts[1], &["add", "d"]);
    git(&checkouts[1], &["commit", "--quiet", "-m", "second"]);
    let pulled = sandbox.run(["sync", "pull", "-o", "json"]).ok().stdout;
    let pulled: Value = serde_json::from_str(&pulled).unwrap();
    assert_eq!(
        (&pulled[0]["result"], &pulled[1]["result"]),
        (&"UpToDate".into(), &"Moved".into()),
        "{pulled}"
    );

    let shown = sandbox.run(["describe", "workspace", "t-1"]).ok().stdout;
    for part in [&format!("cd {}", folder.display()), "4100-4104", "10 files not committed", "--saves"] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let list = sandbox.run(["get", "workspaces"]).ok().stdout;
    assert!(list.contains("KiB") && list.contains("it belongs to no ticket"), "{list}");

    sandbox.run(["delete", "workspace", "t-1"]).ok();
    assert!(!folder.exists());
    // What was saved meanwhile is kept, too.
    let (_, number) = saves().expect("a save of both");
    let out = sandbox.work().join("looked-at");
    let out = out.to_str().unwrap();
    sandbox.run(["undelete", "workspace", "t-1", "--save", &number, "--to", out]).ok();
    assert_eq!(std::fs::read(Path::new(out).join("b")).unwrap(), b"staged, and changed again\r\n\0");
    assert!(Path::new(out).join("run.sh").exists() && !Path::new(out).join("c").exists());
    assert_eq!(sandbox.run(["undelete", "workspace", "t-1", "--save", &number, "--to", out]).code, 5);
    assert_eq!(sandbox.run(["undelete", "workspace", "t-1", "--save", "9", "--to", "x"]).code, 4);

    let back = sandbox.run(["undelete", "workspace", "t-1"]).ok().stdout;
    assert!(back.starts_with("workspace t-1 is back with 2 commits, 10 files: /"), "{back}");
    assert_eq!(["app", "lib"].map(|name| state(&folder.join(name))), before);
}
