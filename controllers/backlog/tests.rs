//! Files in any order, changed and renamed meanwhile, and a master that is killed at any step: each ticket once.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use gcluster_types::Ticket;
use kube::{Api, Client};
use proptest::prelude::*;
use serde_json::json;
use tokio::time::Instant;

use super::disk::{Folder, Listing, NOT_TAKEN};
use super::intake::{Intake, Taken, Target};
use super::names;
use super::settle::{Looks, Stamp};
use crate::testing::{FakeApi, Life};

/// A folder in memory that goes away after some steps, as a disk does for a process that is killed.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default, Debug)]
struct State {
    files: BTreeMap<String, (u64, Vec<u8>)>,
    processed: BTreeMap<String, Vec<u8>>,
    /// Changes that are left, and whether the last takes effect.
    left: Option<(usize, bool)>,
    inodes: u64,
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A person writes a file, under its name or in place of what is there.
    fn write(&self, name: &str, text: &str) {
        let mut state = self.state();
        state.inodes += 1;
        let inode = state.inodes;
        state.files.insert(name.to_owned(), (inode, text.as_bytes().to_vec()));
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        if let Some((left, last_counts)) = state.left {
            state.left = Some((left.saturating_sub(1), last_counts));
            if left == 0 || left == 1 && !last_counts {
                return Err(io::Error::other("killed"));
            }
        }
        act(&mut state)
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Folder for Fake {
    fn list(&self) -> io::Result<Listing> {
        let state = self.state();
        let mut listing = Listing::default();
        for (name, (inode, bytes)) in &state.files {
            if let Some(name) = names::put_aside(name) {
                listing.aside.push(name.to_owned());
            } else if let Some(name) = names::noted(name) {
                listing.noted.push(name.to_owned());
            } else if names::sort(name) != names::Sort::Ignored {
                let stamp = Stamp { inode: *inode, size: bytes.len() as u64, modified: i128::from(*inode) };
                listing.files.push((name.clone(), stamp));
            }
        }
        Ok(listing)
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.state().files.get(name).map(|(_, bytes)| bytes.clone()))
    }

    fn read_aside(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.read(&names::aside(name))
    }

    fn put_aside(&self, name: &str) -> io::Result<bool> {
        self.change(|state| {
            let file = state.files.remove(name);
            Ok(file.map(|file| assert!(state.files.insert(names::aside(name), file).is_none())).is_some())
        })
    }

    fn put_back(&self, name: &str) -> io::Result<()> {
        self.change(|state| {
            let file = state.files.remove(&names::aside(name)).ok_or_else(gone)?;
            let free = (1..).map(|n| names::numbered(name, n)).find(|name| !state.files.contains_key(name));
            state.files.insert(free.unwrap(), file);
            Ok(())
        })
    }

    fn finish(&self, name: &str) -> io::Result<()> {
        self.change(|state| {
            let (_, bytes) = state.files.remove(&names::aside(name)).ok_or_else(gone)?;
            let free =
                (1..).map(|n| names::numbered(name, n)).find(|name| !state.processed.contains_key(name));
            state.processed.insert(free.unwrap(), bytes);
            Ok(())
        })
    }

    fn note(&self, name: &str, text: &str) -> io::Result<bool> {
        self.change(|state| {
            let old = state.files.insert(names::note(name), (0, text.as_bytes().to_vec()));
            Ok(old.is_none_or(|(_, old)| old != text.as_bytes()))
        })
    }

    fn remove_note(&self, name: &str) -> io::Result<()> {
        self.change(|state| {
            state.files.remove(&names::note(name));
            Ok(())
        })
    }
}

/// A master's part in it: two looks, far enough apart for every file to count as whole. False when it was killed.
async fn live(folder: &Fake, client: Client, life: Option<&Life>) -> bool {
    let target = Target { namespace: "default".into(), repository: "app".into(), pool: Some("team".into()) };
    let mut intake = Intake::new(folder.clone(), Api::<Ticket>::namespaced(client, "default"), target);
    let (mut looks, mut all) = (Looks::default(), Vec::new());
    let killed = async {
        match life {
            None => std::future::pending().await,
            Some(life) => {
                while !life.dead.load(std::sync::atomic::Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
            }
        }
    };
    let looked = async {
        let start = Instant::now();
        for n in 0..4 {
            if intake.pass(&mut looks, start + Duration::from_secs(n * 20), &mut all).await.is_err() {
                return false;
            }
        }
        true
    };
    tokio::select! {
        alive = looked => alive,
        () = killed => false,
    }
}

fn text(ticket: u8, version: u8) -> String {
    format!("id: t-{ticket}\ntitle: version {version}\n")
}

#[derive(Debug, Clone)]
enum Step {
    /// Ticket and version, into the file of this number.
    Write(u8, u8, u8),
    Rename(u8, u8),
    Remove(u8),
    /// The ticket is done with, and deleted.
    Delete(u8),
    /// A master that is killed after this many changes of the folder, or writes; or not at all.
    Live(Option<(usize, bool)>, Option<(usize, bool)>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = || proptest::option::of((1_usize..6, any::<bool>()));
    let step = prop_oneof![
        3 => (0_u8..3, 0_u8..3, 0_u8..3).prop_map(|(t, v, f)| Step::Write(t, v, f)),
        1 => (0_u8..3, 0_u8..3).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (0_u8..3).prop_map(Step::Remove),
        1 => (0_u8..3).prop_map(Step::Delete),
        4 => (end(), end()).prop_map(|(folder, api)| Step::Live(folder, api)),
    ];
    proptest::collection::vec(step, 1..16)
}

async fn check(steps: Vec<Step>) {
    let (api, folder) = (FakeApi::new(), Fake::default());
    // Contents that nobody has taken away again, as often as they were written.
    let mut there: Vec<String> = Vec::new();
    // Tickets that were deleted when nothing in the folder spoke of them any more.
    let mut deleted: BTreeSet<u8> = BTreeSet::new();
    let drop_one = |there: &mut Vec<String>, file: Option<(u64, Vec<u8>)>| {
        let Some((_, bytes)) = file else { return };
        let place = there.iter().position(|text| text.as_bytes() == bytes).expect("it was written");
        there.swap_remove(place);
    };
    for step in steps {
        match step {
            Step::Write(ticket, version, file) => {
                let name = format!("f{file}.yaml");
                let old = folder.state().files.get(&name).cloned();
                drop_one(&mut there, old);
                folder.write(&name, &text(ticket, version));
                there.push(text(ticket, version));
                deleted.remove(&ticket);
            }
            Step::Rename(from, to) if from != to => {
                let mut state = folder.state();
                if let Some(file) = state.files.remove(&format!("f{from}.yaml")) {
                    let old = state.files.insert(format!("f{to}.yaml"), file);
                    drop_one(&mut there, old);
                }
            }
            Step::Rename(..) => {}
            Step::Remove(file) => {
                let old = folder.state().files.remove(&format!("f{file}.yaml"));
                drop_one(&mut there, old);
            }
            Step::Delete(ticket) => {
                let id = format!("id: t-{ticket}\n");
                let speaks = |(name, (_, bytes)): (&String, &(u64, Vec<u8>))| {
                    names::noted(name).is_none() && String::from_utf8_lossy(bytes).contains(&id)
                };
                if !folder.state().files.iter().any(speaks) {
                    deleted.insert(ticket);
                }
                if api.get("tickets", &format!("t-{ticket}")).is_some() {
                    api.delete("tickets", &format!("t-{ticket}"));
                }
            }
            Step::Live(in_folder, in_api) => {
                let (client, life) = api.mortal_client();
                if let Some((writes, last_counts)) = in_api {
                    life.end_with(writes, last_counts);
                }
                folder.state().left = in_folder;
                live(&folder, client, Some(&life)).await;
                folder.state().left = None;
            }
        }
    }
    assert!(live(&folder, api.client(), None).await, "nobody kills the last one");

    let state = folder.state();
    let mut found: Vec<String> = Vec::new();
    let mut left: Vec<&str> = Vec::new();
    for (name, (_, bytes)) in &state.files {
        assert!(names::put_aside(name).is_none(), "left aside: {name}");
        match names::noted(name) {
            Some(noted) => assert!(state.files.contains_key(noted), "a note about nothing: {name}"),
            None => {
                left.push(name);
                found.push(String::from_utf8_lossy(bytes).into_owned());
            }
        }
    }
    for name in left {
        let (_, note) =
            state.files.get(&names::note(name)).unwrap_or_else(|| panic!("{name} without a note"));
        assert!(String::from_utf8_lossy(note).contains(NOT_TAKEN));
    }
    found.extend(state.processed.values().map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
    found.sort();
    there.sort();
    assert_eq!(found, there, "nothing is lost and nothing doubled");
    let tickets: BTreeSet<String> =
        api.all("tickets").iter().map(|t| t["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    for ticket in &deleted {
        assert!(!tickets.contains(&format!("t-{ticket}")), "t-{ticket} came back from the dead");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn each_file_is_taken_once_whatever_happens(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(steps));
    }
}

/// What one look says of the files.
async fn take(folder: &Fake, api: &FakeApi) -> BTreeMap<String, Taken> {
    let target = Target { namespace: "default".into(), repository: "app".into(), pool: None };
    let mut intake = Intake::new(folder.clone(), Api::<Ticket>::namespaced(api.client(), "default"), target);
    let (mut looks, mut all) = (Looks::default(), Vec::new());
    let start = Instant::now();
    intake.pass(&mut looks, start, &mut all).await.unwrap();
    intake.pass(&mut looks, start + Duration::from_secs(5), &mut all).await.unwrap();
    all.into_iter().collect()
}

#[tokio::test]
async fn a_file_becomes_a_ticket_and_a_broken_one_a_note_that_goes_when_it_is_mended() {
    let (api, folder) = (FakeApi::new(), Fake::default());
    folder.write("a.yaml", "id: T-1\ntitle: Add avatars\n---\ntitle: Two in one file\n");
    folder.write("b.yaml", "id: T-3\npriority: soon\ncolour: red\n");
    folder.write("c.md", "---\nid: T-4\n---\n# Say hello\nIn French.\n");
    folder.write("notes.txt", "x");
    let taken = take(&folder, &api).await;
    assert!(matches!(&taken["a.yaml"], Taken::Done(tickets) if tickets.len() == 2), "{taken:?}");
    let Taken::Refused(Some(told)) = &taken["b.yaml"] else { panic!("{taken:?}") };
    assert_eq!(told, "b.yaml:1:1: title: is missing: what the ticket is about, in one line (and 2 more)");
    assert!(matches!(&taken["notes.txt"], Taken::Refused(Some(told)) if told.contains(".yaml")), "{taken:?}");
    let ticket = api.get("tickets", "t-1").unwrap();
    assert_eq!(ticket["metadata"]["annotations"]["gcluster.dev/backlog-file"], "a.yaml");
    assert_eq!(ticket["spec"]["repositories"], json!(["app"]), "not for a pool of another repository");
    assert_eq!(api.get("tickets", "t-4").unwrap()["spec"]["description"], "In French.");
    let note = String::from_utf8(folder.state().files["b.yaml.error.txt"].1.clone()).unwrap();
    insta::assert_snapshot!(note, @r#"
    b.yaml was not taken by gcluster: 3 problems.

    b.yaml:1:1: title: is missing: what the ticket is about, in one line
    b.yaml:2:11: priority: must be a whole number from 1, the highest, or critical, high, normal or low, and is "soon"
    b.yaml:3:1: colour: there is no such field; a ticket has id, title, description, priority, locks, dependencies, estimate_min, tags, pool, state

    Mend the file and save it, or take it away; this note goes by itself.
    "#);

    folder.write("b.yaml", "id: T-3\ntitle: fine\n");
    take(&folder, &api).await;
    let files: Vec<String> = folder.state().files.keys().cloned().collect();
    assert_eq!(files, ["notes.txt", "notes.txt.error.txt"]);
    assert!(api.get("tickets", "t-3").is_some());
}

#[tokio::test]
async fn the_same_id_replaces_what_nobody_touched_and_is_refused_otherwise() {
    let (api, folder) = (FakeApi::new(), Fake::default());
    folder.write("a.yaml", "id: T-1\ntitle: old\nlocks: [ui]\n");
    take(&folder, &api).await;
    folder.write("a.yaml", "id: T-1\ntitle: new\n");
    take(&folder, &api).await;
    let ticket = api.get("tickets", "t-1").unwrap();
    assert_eq!((&ticket["spec"]["title"], &ticket["spec"]["locks"]), (&json!("new"), &json!(null)));
    assert_eq!(folder.state().processed.keys().collect::<Vec<_>>(), ["a-2.yaml", "a.yaml"]);

    api.apply("tickets", json!({"metadata": {"name": "t-1"}, "status": {"phase": "Working", "round": 1}}));
    folder.write("a.yaml", "id: T-1\ntitle: newest\n");
    let taken = take(&folder, &api).await;
    let Taken::Refused(Some(told)) = &taken["a.yaml"] else { panic!("{taken:?}") };
    assert!(told.contains("is working already") && told.contains("another id"), "{told}");
    assert_eq!(api.get("tickets", "t-1").unwrap()["spec"]["title"], "new");
    // Words that change nothing are no change.
    folder.write("a.yaml", "# once more\nid: T-1\ntitle: new\n");
    assert!(matches!(&take(&folder, &api).await["a.yaml"], Taken::Done(_)));
}

#[tokio::test]
async fn what_an_api_refuses_stays_with_its_words() {
    let (api, folder) = (FakeApi::new(), Fake::default());
    let manifest = "apiVersion: gcluster.dev/v1alpha1\nkind: Ticket\nmetadata: {name: x, namespace: other}\nspec: {title: y}\n";
    folder.write("a.yaml", manifest);
    folder.state().files.insert("b.yaml".into(), (99, b"title: \xff\n".to_vec()));
    let taken = take(&folder, &api).await;
    let told = |name: &str| match &taken[name] {
        Taken::Refused(Some(told)) => told.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(told("a.yaml"), "ticket x is for namespace other, and those of this folder come into default");
    assert_eq!(told("b.yaml"), "b.yaml:1: this is not UTF-8");
    assert!(api.all("tickets").is_empty());
}

#[tokio::test]
async fn what_cannot_be_taken_keeps_nothing_else_back_and_is_told_once() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let at = |name: &str| dir.path().join(name);
    let disk = super::disk::Disk::hold(dir.path()).unwrap();
    for n in 0..200 {
        std::fs::write(at(&format!("t-{n}.yaml")), format!("id: t-{n}\ntitle: x\n")).unwrap();
    }
    std::fs::create_dir(at("folder.yaml")).unwrap();
    std::os::unix::fs::symlink("gone", at("link.yaml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("device.yaml")).unwrap();
    // A note cannot be written about this one.
    std::fs::write(at("wrong.yaml"), "colour: red\n").unwrap();
    std::fs::create_dir(at("wrong.yaml.error.txt")).unwrap();
    std::fs::write(at("outside"), "id: linked\ntitle: x\n").unwrap();
    std::os::unix::fs::symlink(at("outside"), at("linked.yaml")).unwrap();
    std::fs::write(at("huge.yaml"), vec![b'#'; super::disk::LARGEST + 1]).unwrap();

    let target = Target { namespace: "default".into(), repository: "app".into(), pool: None };
    let mut intake = Intake::new(disk, Api::<Ticket>::namespaced(api.client(), "default"), target);
    let (mut looks, mut all) = (Looks::default(), Vec::new());
    let start = Instant::now();
    for pass in 0..4 {
        intake.pass(&mut looks, start + Duration::from_secs(pass * 20), &mut all).await.unwrap();
    }
    assert_eq!(api.all("tickets").len(), 201);
    assert_eq!(std::fs::read_dir(at("processed")).unwrap().count(), 202, "and the lock");
    let mut told: Vec<String> = all
        .iter()
        .filter_map(|(name, taken)| match taken {
            Taken::Refused(Some(why)) | Taken::Strange(why) => Some(format!("{name}: {why}")),
            _ => None,
        })
        .collect();
    told.sort_unstable();
    insta::assert_snapshot!(told.join("\n"), @r"
    device.yaml: it is no file
    folder.yaml: it is no file
    huge.yaml: it is larger than 1024 KiB
    link.yaml: it is a link that leads nowhere
    outside: the name of a ticket ends in .yaml, .yml, .json or .md
    wrong.yaml: wrong.yaml:1:1: colour: there is no such field; a ticket has id, title, description, priority, locks, dependencies, estimate_min, tags, pool, state (and 1 more)
    ");
}
