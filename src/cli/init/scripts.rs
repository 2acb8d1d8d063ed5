//! The test script that `init` writes, by what is in the repository.

use std::path::Path;

/// A script, and what it does in a few words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) text: String,
    pub(super) runs: String,
}

/// How one sort of project is tested.
struct Sort {
    name: &'static str,
    /// Before anything else.
    prepare: &'static str,
    /// What is worth knowing before each merge.
    quick: &'static str,
    /// Everything.
    full: &'static str,
}

/// The script for a repository.
pub(super) fn of(top: &Path) -> Script {
    let has = |file: &str| top.join(file).exists();
    let says = |file: &str, word: &str| {
        std::fs::read_to_string(top.join(file)).is_ok_and(|text| text.contains(word))
    };
    let mut sorts = Vec::new();
    if has("Cargo.toml") {
        let quick = "cargo check --workspace --all-targets";
        sorts.push(Sort { name: "cargo", prepare: "", quick, full: "cargo test --workspace" });
    }
    if has("go.mod") {
        sorts.push(Sort { name: "go", prepare: "", quick: "go vet ./...", full: "go test ./..." });
    }
    if has("package.json") {
        let prepare = match (has("package-lock.json"), has("yarn.lock"), has("pnpm-lock.yaml")) {
            (true, ..) => "npm ci --no-audit --no-fund",
            (_, true, _) => "yarn install --frozen-lockfile",
            (_, _, true) => "pnpm install --frozen-lockfile",
            _ => "npm install --no-audit --no-fund",
        };
        let full = if says("package.json", "\"test\"") { "npm test" } else { "npm run build --if-present" };
        sorts.push(Sort { name: "npm", prepare, quick: "npm run lint --if-present", full });
    }
    if ["pyproject.toml", "setup.py", "requirements.txt", "tox.ini"].iter().any(|file| has(file)) {
        let uses_pytest =
            ["pyproject.toml", "requirements.txt", "tox.ini", "setup.cfg", "requirements-dev.txt"]
                .iter()
                .any(|file| says(file, "pytest"))
                || has("pytest.ini")
                || has("conftest.py");
        let full = if uses_pytest { "python3 -m pytest -q" } else { "python3 -m unittest discover" };
        sorts.push(Sort { name: "python", prepare: "", quick: "python3 -m compileall -q .", full });
    }
    // A Makefile beside another build often only wraps it.
    if sorts.is_empty() && (has("Makefile") || has("makefile")) {
        let target = |name: &str| {
            ["Makefile", "makefile"].iter().any(|file| {
                std::fs::read_to_string(top.join(file))
                    .is_ok_and(|text| text.lines().any(|line| line.starts_with(&format!("{name}:"))))
            })
        };
        let full = if target("check") { "make check" } else { "make test" };
        sorts.push(if target("check") || target("test") {
            Sort { name: "make", prepare: "", quick: "make", full }
        } else {
            Sort { name: "make", prepare: "", quick: "make", full: "" }
        });
    }
    script(&sorts)
}

fn script(sorts: &[Sort]) -> Script {
    let lines = |of: fn(&Sort) -> &'static str, indent: &str| {
        let lines = sorts.iter().map(of).filter(|line| !line.is_empty());
        lines.map(|line| format!("{indent}{line}\n")).collect::<String>()
    };
    let mut text = "#!/bin/sh\n\
        # Tests a commit: exit code 0 means that it is good. gcluster runs it in a clean checkout of each commit that is\n\
        # delivered, and with --quick before each merge. It runs as well by hand.\n\
        set -eu\n\
        cd \"$(dirname \"$0\")\"\n\n"
        .to_owned();
    if sorts.is_empty() {
        text += "# Nothing is tested yet: put your commands here.\n\
            echo 'ci.sh: nothing is tested yet' >&2\n\
            if [ \"${1:-}\" = --quick ]; then\n    exit 0\nfi\n";
        return Script { text, runs: "tests nothing yet: put your commands into it".to_owned() };
    }
    text += &lines(|sort| sort.prepare, "");
    text += &lines(|sort| sort.quick, "");
    let full = lines(|sort| sort.full, "");
    if !full.is_empty() {
        text += "if [ \"${1:-}\" = --quick ]; then\n    exit 0\nfi\n";
        text += &full;
    }
    let names: Vec<&str> = sorts.iter().map(|sort| sort.name).collect();
    let all: Vec<&str> =
        sorts.iter().flat_map(|sort| [sort.quick, sort.full]).filter(|line| !line.is_empty()).collect();
    Script {
        text,
        runs: format!("is for {}: {}; look whether that is all", names.join(" and "), all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The script of a repository with these files, and whether a shell can read it.
    fn made(files: &[(&str, &str)]) -> Script {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let script = of(dir.path());
        let file = dir.path().join("ci.sh");
        std::fs::write(&file, &script.text).unwrap();
        assert!(std::process::Command::new("sh").arg("-n").arg(&file).status().unwrap().success());
        script
    }

    #[test]
    fn what_is_there_decides_what_is_run() {
        assert!(made(&[("Cargo.toml", "")]).text.contains("\ncargo check --workspace --all-targets\nif ["));
        let both =
            made(&[("package.json", "{\"scripts\": {\"test\": \"x\"}}"), ("requirements.txt", "pytest\n")]);
        assert!(both.text.contains("npm install") && both.text.contains("npm test\npython3 -m pytest -q\n"));
        assert!(both.runs.starts_with("is for npm and python: "), "{}", both.runs);
        assert!(made(&[("package.json", "{}"), ("yarn.lock", "")]).text.contains("yarn install --frozen"));
        assert!(made(&[("setup.py", "")]).text.contains("unittest discover"));
        assert!(made(&[("go.mod", "")]).text.contains("go vet ./...\n"));
        assert!(made(&[("Makefile", "all:\n\ncheck: all\n")]).text.contains("make\nif"));
        assert!(made(&[("Makefile", "all:\n"), ("Cargo.toml", "")]).text.contains("cargo test"));
        assert!(!made(&[("Makefile", "all:\n")]).text.contains("--quick ]"));
        assert!(made(&[]).runs.starts_with("tests nothing yet"));
    }
}
