//! Every program in `tests/data/lang` and what becomes of it, as people see it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::{Compiled, FsLoader, MapLoader, compile, eval_one, eval_program};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn compiled(name: &str) -> Compiled {
    let dir = root().join("tests/data/lang");
    let bytes = std::fs::read(dir.join(name)).unwrap();
    let mut files = MapLoader::default();
    let mut open = vec![dir.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.0.insert(path.strip_prefix(&dir).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    compile(Path::new(name), &bytes, &files)
}

/// The forms, the agents with ids and closure, and every problem.
fn shown(compiled: &Compiled) -> String {
    let mut out = eval_program(compiled);
    for agent in &compiled.agents {
        let place = format!("{}:{}", agent.file.display(), agent.line);
        let _ = write!(out, "\n\n== {} ({}) at {place}\n", agent.name, agent.object_name);
        let _ = write!(out, "id {:.8} digest {:.8}", agent.stable_id, agent.digest);
        for text in agent.methods.values() {
            let _ = write!(out, "\n{text}");
        }
        for (name, value) in &agent.arguments {
            let _ = write!(out, "\n[{name}] = {value}");
        }
    }
    for problem in compiled.errors.iter().chain(&compiled.warnings) {
        let _ = write!(out, "\n\n{problem}");
    }
    out
}

macro_rules! golden {
    ($($name:ident),+ $(,)?) => {$(
        #[test]
        fn $name() {
            let text = shown(&compiled(concat!(stringify!($name), ".p")));
            insta::with_settings!({
                snapshot_path => root().join("snapshots/lang"),
                prepend_module_to_snapshot => false,
                omit_expression => true,
            }, {
                insta::assert_snapshot!(stringify!($name), text);
            });
        }
    )+};
}

golden!(
    arguments,
    blank_lines,
    characters,
    comments_only,
    crlf,
    diamond,
    empty,
    error_agents,
    error_encoding,
    error_imports,
    error_lines,
    error_pipelines,
    error_recursion,
    execution,
    nested,
    prose,
    shadowing,
    team,
);

#[test]
fn every_program_of_the_folder_has_a_snapshot() {
    for entry in std::fs::read_dir(root().join("tests/data/lang")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "p") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let snapshot = root().join(format!("snapshots/lang/{name}.snap"));
            assert!(snapshot.exists(), "{} is compiled by no test", path.display());
        }
    }
}

#[test]
fn one_form_is_found_by_its_name() {
    let compiled = compiled("nested.p");
    let one = |name| eval_one(&compiled, name).unwrap_or_default();
    assert_eq!(one("leaf").lines().skip(1).collect::<Vec<_>>(), ["(defmethod leaf ()", "  \"Leaf.\")"]);
    assert!(one("outer").contains("(defagent \"outer\"") && one("outer").starts_with("; id="));
    assert_eq!(one("outer"), one("agent-outer"));
    assert!(one("agent-helper").contains("(defagent \"helper\""));
    assert!(one("conversational").contains("(defmethod conversational ()"));
    assert_eq!(eval_one(&compiled, "nobody"), None);
}

#[test]
fn eval_warns_where_apply_refuses() {
    let program = |text: &str| compile(Path::new("a.p"), text.as_bytes(), &MapLoader::default());
    let undefined = program("agent-a:\n\tx -> nope\n\nsome text\n");
    assert_eq!(undefined.errors.len(), 1);
    let (errors, warnings) = undefined.problems_for_eval();
    assert_eq!((errors.len(), warnings.len()), (0, 1));
    assert!(warnings[0].to_string().starts_with("a.p:2:7: warning: no method is named `nope`"));
    assert!(eval_program(&undefined).contains("(step \"nope\" (call nope))"));
    let broken = program("agent-a:\n\tloop(\n");
    assert_eq!(broken.problems_for_eval().0.len(), 1);
}

#[test]
fn imports_are_read_from_the_file_system_too() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("lib")).unwrap();
    std::fs::write(dir.path().join("lib/m.p"), "m:\n\tx\n").unwrap();
    let path = dir.path().join("main.p");
    let good = compile(&path, b"@lib/m.p\n@lib/../lib/m.p\nagent-a:\n\tloop(m)\n", &FsLoader);
    assert_eq!((good.errors.len(), good.program.files.len(), good.agents[0].methods.len()), (0, 2, 1));
    let bad = compile(&path, b"\n  @lib/none.p\n@lib.p", &FsLoader);
    let places: Vec<_> = bad.errors.iter().map(|e| (e.line, e.column)).collect();
    assert_eq!(places, [(2, 4), (3, 2)]);
}

/// The first fenced block of a language in the specification.
fn block(specification: &str, language: &str) -> String {
    let start = format!("```{language}\n");
    let from = specification.find(&start).unwrap() + start.len();
    let length = specification[from..].find("\n```").unwrap();
    specification[from..from + length].to_owned()
}

#[test]
fn the_example_of_the_specification_holds() {
    let specification = std::fs::read_to_string(root().join("specs/p-lang-spec.md")).unwrap();
    let source = block(&specification, "p");
    let compiled = compile(Path::new("writer.p"), source.as_bytes(), &MapLoader::default());
    assert_eq!((&compiled.errors[..], &compiled.warnings[..]), (&[][..], &[][..]));
    assert_eq!(eval_program(&compiled), block(&specification, "lisp"));
    let agent = &compiled.agents[0];
    let mut closure = vec![agent.definition.clone()];
    closure.extend(agent.methods.values().cloned());
    closure.extend(gcluster_types::sexpr::digest::arguments_form(&agent.arguments));
    assert_eq!(closure.join("\n\n"), block(&specification, "closure"));
    let ids = format!("stable id  {}\ndigest     {}", agent.stable_id, agent.digest);
    assert_eq!(ids, block(&specification, "ids"));
}
