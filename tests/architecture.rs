//! The house rules, read off the sources: who may import whom, how long a file may be, what must not be forgotten.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, as a path from the root.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(file: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(file.as_ref())).unwrap()
}

/// The code of a file: without comments and without the tests at its end.
fn code(file: &Path) -> String {
    let text = read(file);
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test(file: &Path) -> bool {
    file.ends_with("tests.rs")
        || file.components().any(|c| ["tests", "benches"].iter().any(|d| c.as_os_str() == *d))
}

/// Panics with every file below `folder` whose code holds one of the words, except the allowed ones.
fn none_says(folder: &str, words: &[&str], allowed: &[&str]) {
    let mut found = Vec::new();
    for file in rust_files(folder) {
        let name = file.display().to_string();
        if is_test(&file) || allowed.iter().any(|a| name.starts_with(a)) {
            continue;
        }
        let code = code(&file);
        found.extend(words.iter().filter(|w| code.contains(**w)).map(|w| format!("{name} says `{w}`")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn types_do_no_input_or_output() {
    none_says("api/types", &["tokio", "axum", "std::fs", "std::net", "std::process", "SystemTime::now"], &[]);
}

#[test]
fn the_store_knows_neither_kinds_nor_http() {
    none_says("api/store", &["gcluster_types", "axum", "http::", "kube::"], &[]);
}

#[test]
fn the_database_is_named_in_one_place() {
    for folder in ["api", "controllers", "src"] {
        none_says(folder, &["rusqlite"], &["api/store/engine/disk"]);
    }
}

#[test]
fn the_server_knows_no_controller_and_no_language() {
    none_says("api/server", &["gcluster_controllers", "gcluster_lang"], &[]);
}

#[test]
fn controllers_reach_the_api_only_through_a_client() {
    none_says("controllers", &["gcluster_store", "gcluster_server", "axum"], &["controllers/persistence"]);
}

#[test]
fn controllers_never_call_each_other() {
    let loops = [
        "revision",
        "executor",
        "collector",
        "persistence",
        "tickets",
        "repositories",
        "workspaces",
        "checks",
        "reviews",
        "merges",
        "forecast",
        "backlog",
        "metrics",
    ];
    for one in loops {
        let others: Vec<String> =
            loops.iter().filter(|o| **o != one).map(|o| format!("crate::{o}::")).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        none_says(&format!("controllers/{one}"), &others, &[]);
    }
}

#[test]
fn only_the_wiring_joins_store_server_and_controllers() {
    let words = ["gcluster_store", "gcluster_server", "gcluster_controllers"];
    none_says("src", &words, &["src/serve", "src/lang"]);
}

#[test]
fn the_terminal_interface_is_a_client_of_the_api_and_nothing_else() {
    let words = ["crate::cli::", "crate::serve", "gcluster_lang", "tokio::process", "std::process::Command"];
    none_says("src/tui", &words, &[]);
}

#[test]
fn rendering_knows_no_terminal_and_no_client() {
    none_says("src/render", &["kube::Client", "crossterm", "ratatui", "std::io::stdout"], &[]);
}

#[test]
fn no_file_grows_past_what_a_reader_takes_in() {
    let long: Vec<String> = ["api", "controllers", "src", "tests"]
        .iter()
        .flat_map(|folder| rust_files(folder))
        .filter_map(|file| {
            let lines = read(&file).lines().count();
            (lines > 620).then(|| format!("{}: {lines} lines", file.display()))
        })
        .collect();
    assert!(long.is_empty(), "split these:\n{}", long.join("\n"));
}

#[test]
fn every_test_file_is_part_of_the_suite() {
    let main = read("tests/main.rs");
    for entry in std::fs::read_dir(root().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|e| e == "rs") && stem != "main" {
            assert!(main.contains(&format!("mod {stem};")), "tests/main.rs does not name {stem}");
        }
    }
}

#[test]
fn every_kind_and_every_verb_is_specified() {
    let objects = read("specs/objects.md");
    for crd in gcluster_types::kinds::crds() {
        let kind = &crd.spec.names.kind;
        assert!(objects.contains(&format!("## {kind}")), "specs/objects.md has no section {kind}");
    }
    let cli = read("specs/cli.md");
    for file in rust_files("src/cli") {
        let text = read(&file);
        let verb = file.file_stem().unwrap().to_string_lossy().into_owned();
        if text.contains("clap::Args") || text.contains("#[derive(Args") {
            assert!(cli.contains(&verb), "specs/cli.md does not speak of {verb} ({})", file.display());
        }
    }
}

#[test]
fn files_that_documents_name_exist() {
    for document in ["README.md", "ARCHITECTURE.md"] {
        let text = read(document);
        for word in text.split(|c: char| c.is_whitespace() || "()`[],;".contains(c)) {
            let path = word.trim_end_matches(['.', ':']);
            let known = ["api/", "controllers/", "src/", "specs/", "tests/", "examples/", "snapshots/"];
            if known.iter().any(|k| path.starts_with(k)) && !path.contains(['*', '<', '{', '…']) {
                assert!(root().join(path).exists(), "{document} names {path}, which does not exist");
            }
        }
    }
}
