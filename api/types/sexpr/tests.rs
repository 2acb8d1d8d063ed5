use std::collections::BTreeMap;

use proptest::prelude::*;

use super::digest::{digest, ids, stable_id};
use super::print::{print, print_program, quote};
use super::program::{
    Body, Definition, Pipeline, ProgramError, Step, StepCall, check_agent, parse_definition, reachable,
};
use super::read::{MAX_DEPTH, Problem, read, read_all};
use super::unicode::{is_printable, is_word};
use super::*;

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[test]
fn strings_are_escaped_as_go_quotes_them() {
    let table = [
        ("plain text", r#""plain text""#),
        ("a\"b\\c", r#""a\"b\\c""#),
        ("\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
        ("\0\x1b\x7f", r#""\x00\x1b\x7f""#),
        ("é ü 漢字 🦀 ∑ €", r#""é ü 漢字 🦀 ∑ €""#),
        ("e\u{301}", "\"e\u{301}\""),
        ("\u{80}\u{9f}\u{a0}\u{ad}", r#""\u0080\u009f\u00a0\u00ad""#),
        ("\u{200b}\u{200d}\u{2028}\u{2029}\u{3000}\u{feff}", r#""\u200b\u200d\u2028\u2029\u3000\ufeff""#),
        ("\u{e000}\u{f8ff}\u{378}\u{ffff}", r#""\ue000\uf8ff\u0378\uffff""#),
        ("\u{fffd}", "\"\u{fffd}\""),
        ("\u{e0001}\u{f0000}\u{10ffff}", r#""\U000e0001\U000f0000\U0010ffff""#),
        ("'`$", r#""'`$""#),
    ];
    for (text, quoted) in table {
        assert_eq!(quote(text), quoted, "{text:?}");
        assert_eq!(read(quoted), Ok(Form::str(text)));
    }
}

#[test]
fn names_hold_letters_and_digits_of_any_script() {
    assert!("aZ09-_éя漢ก٣".chars().all(is_word));
    assert!(!". :/@½²\u{301}\u{200d}🦀".chars().any(is_word));
    assert!(is_printable('\u{1f980}') && !is_printable('\u{e0001}') && is_printable(' '));
}

#[test]
fn each_form_has_its_layout() {
    let canonical = [
        "(defmethod plan (task n)\n  \"Plan [task].\\nIn [n] steps.\")",
        "(defmethod plan ()\n  \"x\")",
        "(defpipeline p (task)\n  (pipeline task\n    (step \"a\" (call a))\n    (step \"b\" (map items b))\n    (step \"c\" (loop c))))",
        "(defagent \"x\"\n  \"body\")",
        "(defagent \"x\"\n  (pipeline\n    (step \"l\" (loop m))))",
        "(defagent \"x\"\n  (pipeline input\n    (step \"l\" (loop m))))",
        "(import \"path.p\")",
        "(text \"some \\\"text\\\"\")",
        "(invoke name)",
        "(invoke name \"a\" :key \"v\")",
        "(invoke name :trailing \"rest\")",
        "(program)",
        "(program\n  ; id=a49670fb\n  (text \"a\")\n\n  ; id=4d71d2b5\n  (defmethod m ()\n    \"x\"))",
    ];
    for text in canonical {
        let form = read(text).unwrap();
        assert_eq!(print(&form), text);
    }
    assert_eq!(print_program([]), "(program)");
    assert_eq!(print_program(["(text \"a\")", "(defmethod m ()\n  \"x\")"]), canonical[12]);
}

#[test]
fn ids_are_pinned() {
    let pinned = [
        ("(text \"a\")", "a49670fba3904f0889969315c38142f811394992c289a7e02afeda63923e66dc"),
        (
            "(defmethod plan (task)\n  \"Plan [task].\")",
            "bfeb2eaba62dbf87e6675a385a013b5b69f92fdf469f2ef2a2ec4116ec219398",
        ),
        (
            "(defagent \"x\"\n  (pipeline\n    (step \"l\" (loop m))))",
            "d74b0be1db892974c9a9a08b67f581e12be9c8ad328556a77d809a779f28d677",
        ),
        (
            "(defagent \"größe\"\n  \"a\\tb\\u00a0c\")",
            "5227ed05a0bbe8654489a8cd11e49d4e9b6f64d8a3060fc07b03c31df35459af",
        ),
        (
            "(invoke name \"a\" :key \"v\")",
            "5637e3699a3f973960102706726b8ccf7a58fccbac5cb87126d02f8f5b04a825",
        ),
    ];
    for (text, id) in pinned {
        assert_eq!(stable_id(text), id, "{text}");
    }
}

#[test]
fn the_digest_covers_methods_and_arguments() {
    let agent = "(defagent \"x\"\n  (pipeline\n    (step \"l\" (loop m))))";
    let m = "(defmethod m ()\n  \"x\")";
    let none = BTreeMap::new();
    assert_eq!(digest(agent, &none, &none), stable_id(agent));
    let methods = texts([("m", m), ("b", "(defmethod b ()\n  \"y\")")]);
    let whole = format!("{agent}\n\n(defmethod b ()\n  \"y\")\n\n{m}");
    assert_eq!(digest(agent, &methods, &none), stable_id(&whole));
    let arguments = texts([("z", "1"), ("a", "say \"hi\"")]);
    let whole = format!("{whole}\n\n(arguments :a \"say \\\"hi\\\"\" :z \"1\")");
    assert_eq!(ids(agent, &methods, &arguments), (stable_id(agent), stable_id(&whole)));
}

#[test]
fn unreadable_text_is_answered_with_its_place() {
    let deep = "(".repeat(100_000);
    let table: [(&str, usize, usize, Problem); 13] = [
        ("", 1, 1, Problem::Empty),
        (" ; only a comment", 1, 18, Problem::Empty),
        ("(a", 1, 1, Problem::OpenList),
        ("(a)\n)", 2, 1, Problem::Trailing),
        (")", 1, 1, Problem::StrayClose),
        ("(é \"a", 1, 4, Problem::OpenString),
        ("\"a\nb\"", 1, 1, Problem::OpenString),
        ("\"a\\", 1, 3, Problem::Escape),
        ("\"\\q\"", 1, 2, Problem::Escape),
        ("\"\\u12\"", 1, 2, Problem::Escape),
        ("\"\\ud800\"", 1, 2, Problem::NoCharacter),
        ("(a : b)", 1, 4, Problem::EmptyKeyword),
        (&deep, 1, MAX_DEPTH + 1, Problem::TooDeep),
    ];
    for (text, line, column, problem) in table {
        let error = read(text).unwrap_err();
        assert_eq!((error.line, error.column, error.problem), (line, column, problem), "{text:.20}");
    }
    assert_eq!(read("\"\\xff\"").unwrap_err().problem, Problem::NoCharacter);
    assert_eq!(read_all("a ; x\n(b)").unwrap().len(), 2);
}

#[test]
fn definitions_are_read_as_types() {
    let text = "(defpipeline p (task)\n  (pipeline task\n    (step \"a\" (call m))\n    (step \"b\" (map items n))\n    (step \"c\" (loop q))))";
    let step = |label: &str, kind| Step { label: label.into(), kind };
    let definition = Definition {
        agent_name: None,
        name: "p".into(),
        params: vec!["task".into()],
        body: Body::Pipeline(Pipeline {
            input: Some("task".into()),
            steps: vec![
                step("a", StepCall::Call { method: "m".into() }),
                step("b", StepCall::Map { reference: "items".into(), method: "n".into() }),
                step("c", StepCall::Loop { method: "q".into() }),
            ],
        }),
    };
    assert_eq!(parse_definition(text), Ok(definition.clone()));
    assert_eq!(print(&definition.form()), text);
    assert_eq!(definition.called().collect::<Vec<_>>(), ["m", "n", "q"]);
}

#[test]
fn malformed_definitions_are_refused() {
    let refused = [
        "(defmethod a \"x\")",
        "(defmethod a () (pipeline (step \"l\" (call m))))",
        "(defmethod a.b () \"x\")",
        "(defmethod a (p.q) \"x\")",
        "(defpipeline a () \"x\")",
        "(defpipeline a () (pipeline))",
        "(defpipeline a () (pipeline i))",
        "(defpipeline a () (pipeline i (step l (call m))))",
        "(defpipeline a () (pipeline i (step \"l\" (run m))))",
        "(defpipeline a () (pipeline i (step \"l\" (call m n))))",
        "(defpipeline a () (pipeline i (step \"l\" (loop m)) (step \"k\" (call m))))",
        "(defagent x \"y\")",
        "(text \"a\")",
        "()",
        "word",
        "(",
    ];
    for text in refused {
        assert!(parse_definition(text).is_err(), "{text}");
    }
}

#[test]
fn an_agent_is_checked_as_a_whole() {
    let agent = "(defagent \"x\"\n  (pipeline\n    (step \"l\" (loop p))))";
    let p = "(defpipeline p ()\n  (pipeline i\n    (step \"m\" (call m))))";
    let m = "(defmethod m ()\n  \"x\")";
    let good = texts([("p", p), ("m", m)]);
    let definition = check_agent(agent, &good).unwrap();
    assert_eq!(reachable(&definition, &good).unwrap().into_iter().collect::<Vec<_>>(), ["m", "p"]);
    let missing = texts([("p", p)]);
    assert_eq!(reachable(&definition, &missing).unwrap().len(), 2);
    assert_eq!(
        check_agent(agent, &missing),
        Err(ProgramError::Undefined { caller: "p".into(), method: "m".into() })
    );
    let extra = texts([("p", p), ("m", m), ("n", "(defmethod n ()\n  \"x\")")]);
    assert_eq!(check_agent(agent, &extra), Err(ProgramError::Unreached("n".into())));
    let wrong_key = texts([("p", p), ("m", m), ("k", m)]);
    assert!(matches!(check_agent(agent, &wrong_key), Err(ProgramError::Key { .. })));
    let back = "(defpipeline m ()\n  (pipeline i\n    (step \"p\" (call p))))";
    let ring = ["p", "m", "p"].map(str::to_owned).to_vec();
    assert_eq!(check_agent(agent, &texts([("p", p), ("m", back)])), Err(ProgramError::Recursion(ring)));
    let loose = "(defmethod m () \"x\")";
    assert_eq!(
        check_agent(agent, &texts([("p", p), ("m", loose)])),
        Err(ProgramError::NotCanonical("m".into()))
    );
    assert!(matches!(check_agent(m, &BTreeMap::new()), Err(ProgramError::Kind { .. })));
    assert!(matches!(check_agent(agent, &texts([("p", agent)])), Err(ProgramError::Kind { .. })));
}

fn forms() -> impl Strategy<Value = Form> {
    let word = prop_oneof![
        "[a-zA-Zéя漢0-9_-]{1,8}",
        Just("program".to_owned()),
        Just("pipeline".to_owned()),
        Just("defmethod".to_owned()),
        Just("defagent".to_owned()),
        Just("step".to_owned()),
    ];
    let leaf = prop_oneof![
        word.clone().prop_map(Form::Symbol),
        word.prop_map(Form::Keyword),
        any::<String>().prop_map(Form::Str),
        "[ -~\n\t\u{7f}-\u{a1}\u{2027}-\u{202f}]{0,40}".prop_map(Form::Str),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| prop::collection::vec(inner, 0..6).prop_map(Form::List))
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(form in forms()) {
        let text = print(&form);
        prop_assert_eq!(read(&text), Ok(form));
        prop_assert!(!text.ends_with('\n'));
    }

    #[test]
    fn a_quoted_string_stays_on_one_line(text in any::<String>()) {
        let quoted = quote(&text);
        prop_assert!(quoted.chars().all(is_printable));
        prop_assert_eq!(read(&quoted), Ok(Form::Str(text)));
    }

    #[test]
    fn no_text_panics_the_reader(text in "[()\":; \\\\a-z0-9uxU\n\u{80}-\u{100}]{0,60}", any in any::<String>()) {
        for text in [&text, &any] {
            if let Ok(forms) = read_all(text) {
                for form in forms {
                    prop_assert_eq!(read(&print(&form)), Ok(form));
                }
            }
            let _ = parse_definition(text);
        }
    }
}
