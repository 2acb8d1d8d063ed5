//! The backlog folder with the real binary: files become tickets, exactly once, whenever the master is killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::cli::Sandbox;
use crate::support::master::{Master, object, objects, wait_object};
use crate::support::wait::wait;

/// A repository with a backlog folder, applied to the master of the sandbox.
fn repository(sandbox: &Sandbox) -> PathBuf {
    let folder = sandbox.work().join("app/.gcluster/backlog");
    fs::create_dir_all(&folder).unwrap();
    let manifest = json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Repository", "metadata": {"name": "app"},
        "spec": {"path": sandbox.work().join("app"), "backlogPool": "team"},
    });
    sandbox.write("repository.json", &manifest.to_string());
    sandbox.run(["apply", "-f", "repository.json"]).ok();
    folder
}

/// Names of what is in a folder, without folders and what is hidden.
fn files(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    let files = entries.filter_map(Result::ok).filter(|entry| entry.path().is_file());
    let names = files.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != ".lock").collect()
}

#[test]
fn a_file_in_the_folder_is_a_ticket_on_the_screen() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let folder = repository(&sandbox);
    let mut watching = sandbox.command(["get", "tickets", "-w"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let (sender, shown) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));

    let dropped = Instant::now();
    fs::write(folder.join("t-1.yaml"), "id: T-1\ntitle: Add avatars\npriority: high\n").unwrap();
    let line = wait("the ticket in the watch", || shown.try_recv().ok().filter(|line| line.contains("t-1")));
    println!("on screen after {:?}: {line}", dropped.elapsed());
    let _ = watching.kill();
    let _ = watching.wait();
    wait("the file among those that are done", || folder.join("processed/t-1.yaml").exists().then_some(()));
    let ticket = object(&sandbox, "ticket", "t-1").unwrap();
    assert_eq!((&ticket["spec"]["priority"], &ticket["spec"]["pool"]), (&json!(2), &json!("team")));
    assert_eq!(ticket["metadata"]["annotations"]["gcluster.dev/backlog-file"], "t-1.yaml");
    let events = sandbox.run(["events", "--for", "ticket/t-1"]).ok().stdout;
    assert!(events.contains("it is from t-1.yaml of the backlog of app"), "{events}");
}

#[test]
fn a_broken_file_stays_with_its_problems_beside_it_until_it_is_mended() {
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let folder = repository(&sandbox);
    fs::write(folder.join("bad.yaml"), "id: T-1\npriority: soon\ncolour: red\n").unwrap();
    let note = folder.join("bad.yaml.error.txt");
    wait("a note", || note.exists().then_some(()));
    let text = wait("its text", || fs::read_to_string(&note).ok().filter(|text| text.ends_with("itself.\n")));
    for line in
        ["bad.yaml:1:1: title: is missing", "bad.yaml:2:11: priority: must be", "bad.yaml:3:1: colour:"]
    {
        assert!(text.contains(line), "{line}\n{text}");
    }
    wait("an event", || {
        let events = sandbox.run(["events", "--for", "repository/app"]).ok().stdout;
        events.contains("BacklogFileRefused").then_some(())
    });
    assert!(objects(&sandbox, "tickets").is_empty());
    // As an editor saves: another file takes the name.
    fs::write(folder.join(".bad.yaml.swp"), "id: T-1\ntitle: fine\n").unwrap();
    fs::rename(folder.join(".bad.yaml.swp"), folder.join("bad.yaml")).unwrap();
    wait_object(&sandbox, "ticket", "t-1", "taken", |ticket| ticket["spec"]["title"] == "fine");
    wait("a folder without a note", || files(&folder).is_empty().then_some(()));
    assert_eq!(files(&folder.join("processed")), BTreeSet::from(["bad.yaml".to_owned()]));
}

#[test]
fn a_file_that_is_still_written_is_left_until_it_is_whole() {
    use std::io::Write as _;
    let sandbox = Sandbox::new();
    let _master = Master::start(&sandbox);
    let folder = repository(&sandbox);
    fs::write(folder.join("first.yaml"), "title: first\n").unwrap();
    wait_object(&sandbox, "ticket", "first", "taken, so the folder is watched", |_| true);
    let mut slow = fs::File::create(folder.join("slow.yaml")).unwrap();
    slow.write_all(b"id: slow\ntitle: half\ndescription: one").unwrap();
    fs::write(folder.join("second.yaml"), "title: second\n").unwrap();
    wait_object(&sandbox, "ticket", "second", "taken before the older one", |_| true);
    slow.write_all(b" and two\n").unwrap();
    drop(slow);
    let ticket = wait_object(&sandbox, "ticket", "slow", "taken", |_| true);
    assert_eq!(ticket["spec"]["description"], "one and two");
}

#[test]
fn a_master_that_is_killed_at_any_moment_neither_loses_nor_doubles_a_file() {
    const FILES: usize = 60;
    let sandbox = Sandbox::new();
    let mut master = Master::start(&sandbox);
    let folder = repository(&sandbox);
    let (into, mut killed) = (folder.clone(), 0_u64);
    let writer = std::thread::spawn(move || {
        for n in 0..FILES {
            fs::write(into.join(format!("f{n}.yaml")), format!("id: t-{n}\ntitle: number {n}\n")).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    while !writer.is_finished() || killed < 4 {
        // Some while into the work, another each time.
        std::thread::sleep(Duration::from_millis(150 + 37 * killed));
        master.kill();
        killed += 1;
        master = Master::start(&sandbox);
    }
    writer.join().unwrap();
    let processed = folder.join("processed");
    wait("all files among those that are done", || (files(&processed).len() == FILES).then_some(()));
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
    let names: Vec<String> = objects(&sandbox, "tickets")
        .iter()
        .map(|ticket| ticket["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    let expected: BTreeSet<String> = (0..FILES).map(|n| format!("t-{n}")).collect();
    assert_eq!(names.len(), FILES);
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), expected);
    println!("{FILES} files, {killed} times killed");
}
