//! What holds for every text: no panic, one meaning, and ids that change exactly when the meaning does.

use std::collections::BTreeMap;
use std::path::Path;

use gcluster_types::sexpr::print::print;
use gcluster_types::sexpr::program::{check_agent, parse_definition};
use gcluster_types::sexpr::read::read;
use proptest::prelude::*;

use crate::{Compiled, MapLoader, compile, eval_one, eval_program};

fn program(text: &[u8]) -> Compiled {
    let library = ("lib.p".into(), b"shared:\n\tShared.\n@main.p\n".to_vec());
    compile(Path::new("main.p"), text, &MapLoader(BTreeMap::from([library])))
}

/// Digest of every agent by name.
fn digests(compiled: &Compiled) -> BTreeMap<String, String> {
    compiled.agents.iter().map(|agent| (agent.name.clone(), agent.digest.clone())).collect()
}

/// What must hold of any outcome.
fn check(compiled: &Compiled) {
    let shown = eval_program(compiled);
    let form = read(&shown).unwrap();
    assert_eq!(print(&form), shown);
    for agent in &compiled.agents {
        assert_eq!(print(&read(&agent.definition).unwrap()), agent.definition);
        assert!(eval_one(compiled, &format!("agent-{}", agent.name)).is_some());
        if compiled.errors.is_empty() {
            check_agent(&agent.definition, &agent.methods).unwrap();
        }
    }
    for text in compiled.program.methods.values() {
        assert_eq!(&print(&read(text).unwrap()), text);
        if compiled.errors.is_empty() {
            assert_eq!(&print(&parse_definition(text).unwrap().form()), text);
        }
    }
    for problem in compiled.errors.iter().chain(&compiled.warnings) {
        assert!(problem.line >= 1 && problem.column >= 1);
        assert!(problem.caret <= problem.source_line.chars().count());
        assert!(problem.to_string().starts_with(&problem.file.display().to_string()));
    }
}

const REAL: &str = include_str!("../../tests/data/lang/team.p");
const WRONG: &str = include_str!("../../tests/data/lang/error_lines.p");
const PIPELINES: &str = include_str!("../../tests/data/lang/error_pipelines.p");

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("agent-a:\n"),
        Just("\tx -> m -> loop(m)\n"),
        Just("\tloop("),
        Just("map(a, b)"),
        Just(" -> "),
        Just("label (m)"),
        Just("m(p, q):\n"),
        Just("m:\r\n"),
        Just("\tbody [p]\n"),
        Just("\n"),
        Just("\t"),
        Just("  "),
        Just("@agent-a(x, p=y)"),
        Just("@m rest\n"),
        Just("@lib.p\n"),
        Just("@"),
        Just("("),
        Just(")"),
        Just(")))(("),
        Just(","),
        Just(":"),
        Just(":\n"),
        Just(";"),
        Just("#"),
        Just("\u{feff}"),
        Just("\u{2028}é漢\u{301}"),
        Just("\r"),
        Just("\0"),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_panic_the_compiler(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&program(&bytes));
    }

    #[test]
    fn no_text_panics_the_compiler(text in any::<String>()) {
        check(&program(text.as_bytes()));
    }

    #[test]
    fn no_heap_of_pieces_panics_the_compiler(text in pieces()) {
        check(&program(text.as_bytes()));
    }

    #[test]
    fn no_damage_to_a_real_program_panics_the_compiler(
        source in prop_oneof![Just(REAL), Just(WRONG), Just(PIPELINES)],
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..4), 1..8),
    ) {
        let mut bytes = source.as_bytes().to_vec();
        for (at, byte, how) in cuts {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                2 => bytes.insert(at, b"()@:,\t"[usize::from(byte) % 6]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        check(&program(&bytes));
    }
}

/// A body of up to four lines that is prose.
fn bodies() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-z][a-z .#()é-]{0,20}!", 1..4)
}

/// Three agents over five methods: the first two share `m1`, `m4` is reached by none.
fn source(bodies: &[Vec<String>], order: &[usize], style: &Style) -> String {
    let mut blocks = vec![
        "agent-a:\n\tx -> m0 -> loop(m1)\n".to_owned(),
        "agent-b:\n\tx -> m1 -> p\n".to_owned(),
        "agent-c:\n\tloop(m3)\n".to_owned(),
        "p:\n\tx -> m2\n".to_owned(),
    ];
    for (n, lines) in bodies.iter().enumerate() {
        let mut block = format!("m{n}:\n");
        for line in lines {
            if style.comments {
                block.push_str("\t; a comment inside\n");
            }
            block.push_str(&format!("\t{line}\n"));
        }
        blocks.push(block);
    }
    let mut text = String::new();
    for n in order {
        text.push_str(&style.between);
        text.push_str(&blocks[*n]);
    }
    text.push_str(&style.between);
    let text = if style.crlf { text.replace('\n', "\r\n") } else { text };
    if style.bom { format!("\u{feff}{text}") } else { text }
}

#[derive(Debug, Clone)]
struct Style {
    between: String,
    comments: bool,
    crlf: bool,
    bom: bool,
}

fn styles() -> impl Strategy<Value = Style> {
    let between =
        prop_oneof![Just(""), Just("\n"), Just("\n\n; a comment\n\n"), Just("# a comment\n  \n\t\n")];
    (between, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(between, comments, crlf, bom)| Style {
        between: between.to_owned(),
        comments,
        crlf,
        bom,
    })
}

proptest! {
    #[test]
    fn layout_changes_no_id(
        bodies in prop::collection::vec(bodies(), 5),
        order in Just((0..9usize).collect::<Vec<_>>()).prop_shuffle(),
        one in styles(),
        two in styles(),
    ) {
        let plain: Vec<usize> = (0..9).collect();
        let first = program(source(&bodies, &plain, &one).as_bytes());
        let second = program(source(&bodies, &order, &two).as_bytes());
        prop_assert!(first.errors.is_empty(), "{:?}", first.errors);
        prop_assert_eq!(digests(&first), digests(&second));
    }

    #[test]
    fn a_changed_method_changes_the_digest_of_exactly_the_agents_that_reach_it(
        bodies in prop::collection::vec(bodies(), 5),
        method in 0usize..5,
        line in any::<prop::sample::Index>(),
        style in styles(),
    ) {
        let order: Vec<usize> = (0..9).collect();
        let before = program(source(&bodies, &order, &style).as_bytes());
        let mut changed = bodies.clone();
        let lines = &mut changed[method];
        let line = line.index(lines.len());
        lines[line].push('?');
        let after = program(source(&changed, &order, &style).as_bytes());
        let reached_by: &[&str] = [&["a"][..], &["a", "b"], &["b"], &["c"], &[]][method];
        for (one, two) in before.agents.iter().zip(&after.agents) {
            prop_assert_eq!(&one.stable_id, &two.stable_id);
            prop_assert_eq!(one.digest != two.digest, reached_by.contains(&one.name.as_str()), "{}", one.name);
        }
    }
}

/// Texts that would take hours if any part of the compiler took the square of their length.
#[test]
fn no_shape_of_text_is_slow() {
    let size = 300_000;
    let chain: String = (0..size / 20).map(|n| format!("p{n}:\n\tx -> p{}\n", n + 1)).collect();
    let ring = format!("{chain}p{}:\n\tx -> p0\n", size / 20);
    let names: String = (0..size / 20).map(|n| format!("agent-n{n}:\n\tx -> nn{n}\n@agent-m{n}\n")).collect();
    let many: String = (0..size / 6).map(|n| format!("a{n},")).collect();
    let texts = [
        "@".repeat(size),
        "@a ".repeat(size / 3),
        "(".repeat(size),
        "@a(".repeat(size / 3),
        "@a()".repeat(size / 4),
        "@a((),".repeat(size / 6),
        format!("@a({})", ",".repeat(size)),
        "\n".repeat(size),
        "x:\n".repeat(size / 3),
        "\tx\n".repeat(size / 3),
        " \n\t\n".repeat(size / 4),
        "m:\n\tx\n".repeat(size / 6),
        format!("m:\n\tx{}\n", " -> m".repeat(size / 5)),
        format!("m:\n\tx{}\n", " -> nope".repeat(size / 8)),
        format!("m:\n{}\n", "\t-> m\n".repeat(size / 6)),
        format!("m({}x):\n\tx\n", "x,".repeat(size / 2)),
        format!("agent-m({many}x):\n\tx\n@agent-m({})\n", many.replace(',', "=1,")),
        format!("agent-m:\n\tx -> p0\n{chain}"),
        format!("agent-m:\n\tx -> p0\n{ring}"),
        names,
        "\u{1}\u{2028}".repeat(size / 4),
    ];
    for text in texts {
        let start = std::time::Instant::now();
        let compiled = program(text.as_bytes());
        let _ = eval_program(&compiled);
        let taken = start.elapsed();
        assert!(taken.as_secs() < 20, "{taken:?} for {:?}…", text.chars().take(40).collect::<String>());
    }
}
