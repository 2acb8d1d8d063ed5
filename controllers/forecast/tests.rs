//! The forecast on the API in memory with real git.

use std::collections::{BTreeMap, BTreeSet};

use gcluster_types::{Repository, Ticket, Workspace};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::merges::Memory;
use super::plan::{Clash, Group, groups, overlap, sentence};
use crate::mirror::Key;
use crate::testing::FakeApi;
use crate::testing_git::Hub;
use crate::{Config, Context};

fn repository(hub: &Hub) -> Value {
    json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Repository", "metadata": {"name": "app"},
        "spec": {"path": "/somewhere"}, "status": {"hub": hub.path(), "baseCommit": hub.tip("main")},
    })
}

fn ticket(name: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Ticket", "metadata": {"name": name},
        "spec": {"title": name}, "status": {"phase": phase, "workspace": name},
    })
}

fn workspace(name: &str, start: &str, commit: &str) -> Value {
    json!({
        "apiVersion": "gcluster.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": name},
        "spec": {"branch": name, "repositories": [{"name": "app"}]},
        "status": {"phase": "Ready", "repositories": [{"name": "app", "start": start, "commit": commit}]},
    })
}

fn told(api: &FakeApi, name: &str) -> Option<String> {
    let ticket = api.get("tickets", name)?;
    let conditions = ticket["status"]["conditions"].as_array()?.clone();
    let found = conditions.iter().find(|one| one["type"] == "ConflictPredicted")?;
    assert_eq!(found["status"], "True");
    Some(found["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn both_tickets_are_told_of_a_conflict_until_it_is_over() {
    let (hub, api) = (Hub::new(), FakeApi::new());
    let start = hub.commit("main", &[("shared", "1\n2\n3\n"), ("other", "x\n")]);
    let branch = |name: &str, files: &[(&str, &str)]| {
        hub.branch(name, &start);
        hub.commit(name, files)
    };
    let one = branch("one", &[("shared", "1\none\n3\n")]);
    let two = branch("two", &[("shared", "1\ntwo\n3\n")]);
    let three = branch("three", &[("other", "y\n")]);
    api.apply("repositories", repository(&hub));
    for (name, commit) in [("one", &one), ("two", &start), ("three", &three)] {
        api.apply("tickets", ticket(name, "Working"));
        api.apply("workspaces", workspace(name, &start, commit));
    }
    let run = || {
        tokio::spawn(super::run(Context::new(api.client(), [], Config::new("rehearsal", "/nowhere/runs"))))
    };
    let task = run();
    // The second one commits.
    api.apply("workspaces", workspace("two", &start, &two));
    let said = api.wait("the first to be told", |api| told(api, "one")).await;
    assert_eq!(said, "a conflict is to be expected with ticket two in shared (repository app)");
    let said = api.wait("the second to be told", |api| told(api, "two")).await;
    assert_eq!(said, "a conflict is to be expected with ticket one in shared (repository app)");
    assert_eq!(told(&api, "three"), None);
    // A master that begins anew tells nobody a second time.
    task.abort();
    let events = api.all("events").len();
    assert_eq!(events, 2);
    let task = run();
    // The first one lands: now it is the base that the second one collides with.
    hub.git(&["update-ref", "refs/heads/main", &one]);
    api.apply("repositories", repository(&hub));
    api.apply("tickets", ticket("one", "Merged"));
    let at_base = |api: &FakeApi| told(api, "two").filter(|said| said.contains("main"));
    let said = api.wait("the base", at_base).await;
    assert_eq!(said, "a conflict is to be expected with main as it is now in shared (repository app)");
    api.wait("the first to be free of it", |api| told(api, "one").is_none().then_some(())).await;
    assert_eq!(api.all("events").len(), events + 1);
    // The second one gives way.
    let two = hub.commit("two", &[("shared", "1\none\n3\n")]);
    api.apply("workspaces", workspace("two", &start, &two));
    api.wait("the end of it", |api| told(api, "two").is_none().then_some(())).await;
    task.abort();
}

#[tokio::test]
async fn only_what_moved_and_can_collide_is_tried() {
    let hub = Hub::new();
    let start = hub.commit("main", &[("shared", "1\n2\n3\n")]);
    let names: Vec<String> = (0..12).map(|n| format!("t{n}")).collect();
    let mut tickets: BTreeMap<Key, Ticket> = BTreeMap::new();
    let mut workspaces: BTreeMap<Key, Workspace> = BTreeMap::new();
    let key = |name: &str| ("default".to_owned(), name.to_owned());
    for (n, name) in names.iter().enumerate() {
        hub.branch(name, &start);
        // The first three change one file, the others one each of their own.
        let file = if n < 3 { "shared".to_owned() } else { format!("f{n}") };
        let commit = hub.commit(name, &[(&file, &format!("{name}\n"))]);
        tickets.insert(key(name), serde_json::from_value(ticket(name, "Checking")).unwrap());
        workspaces.insert(key(name), serde_json::from_value(workspace(name, &start, &commit)).unwrap());
    }
    let app: Repository = serde_json::from_value(repository(&hub)).unwrap();
    let look = |workspaces: &BTreeMap<Key, Workspace>| {
        let tickets = tickets.iter().map(|(key, one)| (key.clone(), one)).collect();
        let workspaces = workspaces.iter().map(|(key, one)| (key.clone(), one)).collect();
        groups(&tickets, &workspaces, &BTreeMap::from([(key("app"), &app)]))
    };
    let objects = hub.git(&["count-objects"]);
    let mut memory = Memory::default();
    learn(&mut memory, &look(&workspaces)).await;
    // Three pairs of the first three, and each branch with its base.
    assert_eq!(memory.tried, 3 + 12);
    assert_eq!(memory.known.values().filter(|files| !files.is_empty()).count(), 3);
    learn(&mut memory, &look(&workspaces)).await;
    assert_eq!(memory.tried, 15, "nothing moved");
    assert_eq!(hub.git(&["count-objects"]), objects, "what is only tried leaves nothing");
    let moved = hub.commit("t5", &[("shared", "t5\n")]);
    workspaces.insert(key("t5"), serde_json::from_value(workspace("t5", &start, &moved)).unwrap());
    learn(&mut memory, &look(&workspaces)).await;
    assert_eq!(memory.tried, 15 + 3 + 1, "one branch moved");
    assert_eq!(memory.known.values().filter(|files| !files.is_empty()).count(), 6);
    workspaces.clear();
    learn(&mut memory, &look(&workspaces)).await;
    assert!(memory.known.is_empty());
}

/// Looks until everything is known.
async fn learn(memory: &mut Memory, groups: &BTreeMap<Key, Group>) {
    loop {
        let learned = memory.learn(groups).await;
        assert!(!learned.failed);
        if !learned.more {
            return;
        }
    }
}

#[test]
fn a_ticket_that_collides_with_many_is_told_of_some_by_name() {
    let clash = |n: usize| Clash {
        with: Some(format!("t{n}")),
        repository: "app".into(),
        base: "main".into(),
        files: vec!["x".repeat(200); 9],
    };
    let all: Vec<Clash> = (0..300).map(clash).collect();
    let told = sentence(&all);
    assert!(told.ends_with("; and 290 more") && told.len() < 32_768, "{} bytes", told.len());
}

proptest! {
    #[test]
    fn paths_overlap_when_one_is_the_other_or_a_folder_of_it(
        one in proptest::collection::btree_set("[ab](/[ab]){0,3}", 0..4),
        other in proptest::collection::btree_set("[ab](/[ab]){0,3}", 0..4),
    ) {
        let meet = |a: &String, b: &String| {
            a == b || a.starts_with(&format!("{b}/")) || b.starts_with(&format!("{a}/"))
        };
        let expected = one.iter().any(|a| other.iter().any(|b| meet(a, b)));
        let one: BTreeSet<String> = one;
        prop_assert_eq!(overlap(&one, &other), expected);
    }
}
