//! What is packed: manual pages, completions, examples, and (on request) the packages themselves.

use std::path::Path;
use std::process::Command;

use crate::support::cli::{Sandbox, binary, ran};
use crate::support::skip::{program_or_skip, say_skipped};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_verb_has_a_manual_page() {
    let sandbox = Sandbox::new();
    sandbox.run(["man", "pages"]).ok();
    let page = |name: &str| std::fs::read_to_string(sandbox.work().join("pages").join(name)).unwrap();
    let whole = page("gcluster.1");
    for verb in ["apply", "install-service", "rollout", "ticket"] {
        assert!(whole.contains(&format!("gcluster\\-{}(1)", verb.replace('-', "\\-"))), "{verb}\n{whole}");
        assert!(page(&format!("gcluster-{verb}.1")).contains(".SH OPTIONS"), "{verb}");
    }
    assert!(page("gcluster-ticket-add.1").contains("depends"));
    assert!(!sandbox.work().join("pages/gcluster-man.1").exists(), "it is for packages");
    sandbox.run(["man", "again"]).ok();
    let Some(groff) = program_or_skip("groff", "packaging: manual pages are well-formed") else { return };
    for entry in std::fs::read_dir(sandbox.work().join("pages")).unwrap() {
        let path = entry.unwrap().path();
        let again = sandbox.work().join("again").join(path.file_name().unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(again).unwrap(), "the same each time");
        let said = ran(Command::new(&groff).args(["-man", "-Tutf8", "-Kutf8", "-ww", "-z"]).arg(&path)).ok();
        assert_eq!(said.stderr, "", "{}", path.display());
    }
}

#[test]
fn the_examples_are_what_they_say() {
    let sandbox = Sandbox::new();
    let example = |name: &str| root().join("examples").join(name).display().to_string();
    let backlog = ["avatar-batch.yaml", "avatar-small.yaml", "avatar-dark.md"];
    let backlog = backlog.map(|name| example(&format!("backlog/{name}")));
    let said = sandbox.run(["validate", &backlog[0], &backlog[1], &backlog[2]]).ok();
    assert_eq!(said.stdout, "4 Ticket: no problem found\n");
    let text = std::fs::read_to_string(example("avatar.yaml")).unwrap();
    let tickets = text.split("\n---\n").filter(|document| document.contains("kind: Ticket"));
    let tickets =
        gcluster_types::tickets::read_file("yaml", &tickets.collect::<Vec<_>>().join("\n---\n")).unwrap();
    assert_eq!(tickets.len(), 6);
    let names: Vec<_> = tickets.iter().filter_map(|ticket| ticket.metadata.name.as_deref()).collect();
    for ticket in &tickets {
        assert_eq!(ticket.spec.pool.as_deref(), Some("avatar-team"));
        assert!(ticket.spec.depends_on.iter().all(|on| names.contains(&on.as_str())), "{ticket:?}");
    }
}

/// Builds nothing: packs the program under test. Takes some seconds and some space, so only where it is asked for.
#[test]
fn packages_are_made_twice_with_the_same_bytes() {
    const TEST: &str = "packaging: packages are made";
    if std::env::var_os("GCLUSTER_TEST_PACKAGES").is_none() {
        return say_skipped(TEST, "GCLUSTER_TEST_PACKAGES is not set");
    }
    let sandbox = Sandbox::new();
    let build = |dist: &str| {
        let mut command = Command::new(root().join("packaging/build"));
        command.arg("--binary").arg(binary()).arg("--dist").arg(sandbox.work().join(dist));
        ran(command.env("SOURCE_DATE_EPOCH", "1700000000")).ok()
    };
    build("one");
    build("two");
    let sums = |dist: &str| std::fs::read_to_string(sandbox.work().join(dist).join("SHA256SUMS")).unwrap();
    assert_eq!(sums("one"), sums("two"));
    let check =
        Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(sandbox.work().join("one")).status();
    assert!(check.unwrap().success());
    let Some(dpkg) = program_or_skip("dpkg-deb", TEST) else { return };
    let package = std::fs::read_dir(sandbox.work().join("one")).unwrap().map(|entry| entry.unwrap().path());
    let package =
        package.into_iter().find(|path| path.extension().is_some_and(|e| e == "deb")).expect("a package");
    let installed = sandbox.work().join("root");
    ran(Command::new(dpkg).arg("-x").arg(&package).arg(&installed)).ok();
    let version = ran(Command::new(installed.join("usr/bin/gcluster")).args(["version", "--client"])).ok();
    assert!(version.stdout.starts_with("gcluster "));
    for file in [
        "usr/lib/systemd/user/gcluster.service",
        "usr/share/man/man1/gcluster-apply.1.gz",
        "usr/share/bash-completion/completions/gcluster",
        "usr/share/doc/gcluster/copyright",
        "usr/share/doc/gcluster/examples/avatar.yaml",
    ] {
        assert!(installed.join(file).is_file(), "{file}");
    }
}
