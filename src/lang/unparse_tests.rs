//! What is printed compiles to the same agents, whatever they are; what P cannot say is never printed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gcluster_types::sexpr::digest::ids;
use gcluster_types::sexpr::print::print;
use gcluster_types::sexpr::program::{AGENT_PREFIX, Body, Definition, Pipeline, Step, StepCall, check_agent};
use proptest::prelude::*;

use super::{Parts, Printed, unparse};
use crate::{Compiled, CompiledAgent, FsLoader, MapLoader, compile};

fn parts(agent: &CompiledAgent) -> Parts<'_> {
    Parts { definition: &agent.definition, methods: &agent.methods, arguments: &agent.arguments }
}

fn program(text: &str) -> Compiled {
    compile(Path::new("a.p"), text.as_bytes(), &MapLoader::default())
}

/// Stable id and digest of every agent by name.
fn identities(compiled: &Compiled) -> BTreeMap<String, (String, String)> {
    let of = |a: &CompiledAgent| (a.name.clone(), (a.stable_id.clone(), a.digest.clone()));
    compiled.agents.iter().map(of).collect()
}

/// Prints all agents of a program and each by itself; both must come back as they are.
fn round(compiled: &Compiled) {
    let whole = unparse(&compiled.agents.iter().map(parts).collect::<Vec<_>>());
    assert_eq!(whole.left_out, [], "{}", whole.text);
    let again = program(&whole.text);
    assert_eq!(again.errors, [], "{}", whole.text);
    let ids = identities(compiled);
    assert_eq!(identities(&again), ids, "{}", whole.text);
    for agent in &compiled.agents {
        let printed = unparse(&[parts(agent)]);
        let again = program(&printed.text);
        assert_eq!(identities(&again).get(&agent.name), ids.get(&agent.name), "{}", printed.text);
        assert_eq!(
            unparse(&again.agents.iter().filter(|a| a.name == agent.name).map(parts).collect::<Vec<_>>()),
            printed
        );
    }
}

#[test]
fn every_program_of_the_golden_files_and_examples_comes_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut seen = 0;
    let mut open: Vec<PathBuf> = vec![root.join("tests/data/lang"), root.join("examples")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "p") {
                let compiled = compile(&path, &std::fs::read(&path).unwrap(), &FsLoader);
                if compiled.errors.is_empty() {
                    seen += compiled.agents.len();
                    round(&compiled);
                }
            }
        }
    }
    assert!(seen > 15, "{seen} agents");
}

#[test]
fn a_program_reads_as_a_person_would_write_it() {
    let source = "agent-writer(topic, tone):\n\ttopic -> outline -> all (map(items, write)) -> on (loop(improve))\n\n\
        @agent-writer(topic=the sea, tone=f(x, y) = calm)\n\noutline(topic):\n\tOutline [topic].\n\n\t\tIndented é.\n\n\
        write:\n\tWrite \"it\".\n\nimprove:\n\tinput -> check\n\ncheck:\n\t# Markdown\n\n\
        agent-plain(topic):\n\tOne prompt [topic].\n\n@agent-plain(a todo list)\n";
    let compiled = program(source);
    assert_eq!((&compiled.errors[..], compiled.agents.len()), (&[][..], 2));
    assert_eq!(unparse(&compiled.agents.iter().map(parts).collect::<Vec<_>>()).text, source);
}

#[test]
fn an_agent_that_a_step_runs_is_printed_once_and_said_to_be_one() {
    let compiled = program("agent-a:\n\tx -> agent-b\n\nagent-b(p):\n\tWork on [p].\n@agent-b(this)\n");
    round(&compiled);
    let alone = unparse(&[parts(&compiled.agents[0])]).text;
    assert!(alone.contains("; agent-b is here because a step runs it"), "{alone}");
    let both = unparse(&compiled.agents.iter().map(parts).collect::<Vec<_>>()).text;
    assert_eq!(both.matches("agent-b(p):").count(), 1, "{both}");
    assert!(both.contains("\n@agent-b(this)\n") && !both.contains(';'), "{both}");
}

#[test]
fn agents_that_need_two_methods_of_one_name_are_not_mixed() {
    let one = program("agent-a:\n\tloop(m)\nm:\n\tOne.\n");
    let two = program("agent-b:\n\tloop(m)\nm:\n\tTwo.\n");
    let printed = unparse(&[parts(&one.agents[0]), parts(&two.agents[0]), parts(&one.agents[0])]);
    assert_eq!(
        printed.text,
        "agent-a:\n\tloop(m)\n\nm:\n\tOne.\n\n\
         ; the agent \"b\" is left out: its method \"m\" is another one than that of \"a\"\n\n\
         ; the agent \"a\" is left out: a program has one agent of a name, and this name is printed above\n"
    );
    assert_eq!(printed.left_out.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(identities(&program(&printed.text)), identities(&one));
}

#[test]
fn what_p_cannot_say_is_told_and_not_printed() {
    let table = [
        ("x\n", "ends with an empty line"),
        ("", "empty"),
        ("a\n \nb", "line 2 holds nothing but blanks"),
        ("a\n  ; b", "line 2 begins with `;`"),
        ("a -> b", "read as a pipeline"),
        ("loop(it\nagain", "read as a pipeline"),
    ];
    for (text, why) in table {
        let definition = print(&agent("a", Body::Prompt(text.into())).form());
        let printed = one(&definition, &BTreeMap::new());
        assert!(
            printed.text.starts_with("; the agent \"a\" is left out: ") && printed.text.contains(why),
            "{}",
            printed.text
        );
        assert_eq!((printed.left_out.len(), program(&printed.text).agents.len()), (1, 0));
    }
    let body = || Body::Prompt("Use [k].".into());
    for (value, why) in
        [("a\nb", "several lines"), (" a", "blank"), ("a, b", "comma"), ("(", "close"), (")", "open")]
    {
        let printed = one(&print(&agent("a", body()).form()), &BTreeMap::from([("k".into(), value.into())]));
        assert!(printed.text.contains(why) && program(&printed.text).agents.is_empty(), "{}", printed.text);
    }
    let odd = one(&print(&agent("a b\nc", body()).form()), &BTreeMap::new());
    assert_eq!(odd.text.lines().count(), 1, "{}", odd.text);
}

fn agent(name: &str, body: Body) -> Definition {
    let params = Vec::new();
    Definition { agent_name: Some(name.into()), name: format!("{AGENT_PREFIX}{name}"), params, body }
}

fn one(definition: &str, arguments: &BTreeMap<String, String>) -> Printed {
    unparse(&[Parts { definition, methods: &BTreeMap::new(), arguments }])
}

/// Names of several scripts, and words that mean something to P.
const NAMES: [&str; 7] = ["m", "größe", "漢字", "loop", "map", "agent-b", "a_1"];

fn names() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z(\\[\\]\"\\\\#;@:é漢\t\r \u{1}-]{0,12}(\n[a-z(\\[\\]\"\\\\#;@:é漢\t\r \u{1}-]{0,12}){0,4}",
        1 => any::<String>(),
        1 => prop::sample::select(&["a -> m", "loop(m)", "map(a, m", "@lib.p x", "name(a):", "\r"][..]).prop_map(str::to_owned),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (prop_oneof![4 => names(), 1 => texts()], names(), names(), 0..4).prop_map(
        |(label, method, reference, kind)| {
            let kind = match kind {
                0 => StepCall::Map { reference, method },
                1 => StepCall::Loop { method },
                _ => StepCall::Call { method },
            };
            Step { label, kind }
        },
    );
    prop::collection::vec(step, 1..4)
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        texts().prop_map(Body::Prompt),
        (prop::option::of(names()), steps())
            .prop_map(|(input, steps)| Body::Pipeline(Pipeline { input, steps })),
    ]
}

/// Any agent that the API would take: its forms need not have been P ever.
fn agents() -> impl Strategy<Value = (String, BTreeMap<String, String>, BTreeMap<String, String>)> {
    let methods = prop::collection::vec((prop::collection::vec(names(), 0..3), body()), NAMES.len());
    let arguments = prop::collection::btree_map(names(), texts(), 0..3);
    (prop::sample::select(&["a", "b", "é", "x y"][..]), body(), methods, arguments).prop_map(
        |(name, own, methods, arguments)| {
            let own = agent(name, own);
            let all: BTreeMap<String, String> = NAMES
                .iter()
                .zip(methods)
                .map(|(name, (params, body))| {
                    let method = Definition { agent_name: None, name: (*name).into(), params, body };
                    ((*name).to_owned(), print(&method.form()))
                })
                .collect();
            let reached = gcluster_types::sexpr::program::reachable(&own, &all).unwrap_or_default();
            let methods = all.into_iter().filter(|(name, _)| reached.contains(name)).collect();
            (print(&own.form()), methods, arguments)
        },
    )
}

/// Sources with everything in them, of which most compile.
fn sources() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        3 => "[a-z\\[\\]\"\\\\#é漢 -]{0,16}",
        1 => prop::sample::select(&["; comment", "", "\t\t", "loop(m)", "a -> m -> loop(größe)", "map(a, m)", "\r", "x -> l (map(i, p))"][..]).prop_map(str::to_owned),
    ];
    let lines = || prop::collection::vec(line.clone(), 1..4);
    let block = (
        prop::sample::select(&["agent-a", "agent-b(p)", "agent-Cé_1", "m", "größe(p, q)", "p"][..]),
        lines(),
        any::<bool>(),
    )
        .prop_map(|(header, lines, crlf)| {
            let text = format!("{header}:\n{}", lines.iter().map(|l| format!("\t{l}\n")).collect::<String>());
            if crlf { text.replace('\n', "\r\n") } else { text }
        });
    let arguments =
        prop::sample::select(&["", "@agent-b(f(x, y) = z)\n", "@agent-b(p=)\n", "@agent-b(==)\n"][..]);
    (prop::collection::vec(block, 1..7), arguments)
        .prop_map(|(blocks, arguments)| blocks.concat() + arguments)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whatever_compiles_comes_back_as_it_was(source in sources()) {
        let compiled = program(&source);
        if compiled.errors.is_empty() {
            round(&compiled);
        }
    }

    #[test]
    fn any_agents_are_printed_exactly_or_left_out(agents in prop::collection::vec(agents(), 1..4)) {
        let given: Vec<Parts<'_>> = agents
            .iter()
            .map(|(definition, methods, arguments)| Parts { definition, methods, arguments })
            .collect();
        let printed = unparse(&given);
        let compiled = program(&printed.text);
        prop_assert!(compiled.errors.is_empty(), "{}", printed.text);
        for (index, (definition, methods, arguments)) in agents.iter().enumerate() {
            if printed.left_out.iter().any(|(left, _)| *left == index) {
                continue;
            }
            prop_assert!(check_agent(definition, methods).is_ok());
            let (stable_id, digest) = ids(definition, methods, arguments);
            let found = compiled.agents.iter().find(|agent| agent.definition == *definition);
            let found = found.map(|agent| (agent.stable_id.clone(), agent.digest.clone()));
            prop_assert_eq!(found, Some((stable_id, digest)), "{}", printed.text);
        }
        let never = "would not compile to the same";
        prop_assert!(!printed.left_out.iter().any(|(_, why)| why.contains(never)), "{:?}", printed.left_out);
    }
}
