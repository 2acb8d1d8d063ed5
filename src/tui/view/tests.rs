//! Screens: every view in every interesting state, at the sizes that people have.

use crate::tui::fixture::*;
use crate::tui::msg::{Action, Cause, Changes, Effect, Link, Lost, Msg, Refusal};
use crate::tui::testing::snapshot;
use crate::tui::theme::{Mode, Theme};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];

fn at_each_size(name: &str, prepare: impl Fn(&mut Steer)) {
    for (width, height) in SIZES {
        let mut steer = Steer::new(width, height);
        prepare(&mut steer);
        snapshot(&format!("screen-{name}-{width}x{height}"), &steer.screen());
    }
}

#[test]
fn a_fleet_in_every_state() {
    at_each_size("fleet", |_| {});
}

#[test]
fn a_conversation_with_a_message_on_its_way() {
    at_each_size("iteration", |steer| {
        steer.keys("j j enter");
        steer.send(Msg::Records(key("builder"), "builder.work.13".into(), records()));
        let put = vec![("m".to_owned(), message("m", "Use the index that is there.", "Delivered"))];
        steer.send(Msg::Messages(key("builder"), Changes { all: true, put, gone: vec![] }));
    });
}

#[test]
fn a_message_that_is_written() {
    at_each_size("writing", |steer| {
        steer.keys("j j enter");
        steer.send(Msg::Records(key("builder"), "builder.work.13".into(), records()));
        steer.press("i");
        steer.type_text("Please use the index that is there, and mind that names may hold wide signs: 世界.");
    });
}

#[test]
fn a_prompt_that_is_edited_and_one_that_collides() {
    at_each_size("editing", |steer| {
        steer.keys("j e");
        steer.type_text("Be brief. ");
    });
    let mut steer = Steer::new(120, 40);
    steer.keys("j e");
    steer.type_text("Be brief. ");
    let [Effect::Act(action @ Action::Edit { .. })] = &steer.press("ctrl-s")[..] else { panic!("an edit") };
    let theirs = Some("(defmethod work ()\n  \"Take the last task.\\n\\nBe thorough.\")".to_owned());
    let refusal = Refusal { text: "somebody else has changed this prompt meanwhile".into(), theirs };
    steer.send(Msg::Done { action: action.clone(), outcome: Err(refusal) });
    snapshot("screen-conflict-120x40", &steer.screen());
}

#[test]
fn without_a_master_without_agents_and_too_small() {
    let lost = Lost { cause: Cause::Cut, detail: String::new(), since: now(), attempts: 2, next: now() };
    at_each_size("disconnected", |steer| {
        steer.send(Msg::Link(Link::Down(lost.clone())));
    });
    for (width, height) in SIZES {
        let mut steer = Steer::empty(width, height);
        steer.send(listing(&[]));
        steer.send(Msg::Link(Link::Up));
        snapshot(&format!("screen-empty-{width}x{height}"), &steer.screen());
    }
    for (width, height) in [(59, 15), (60, 14), (20, 4), (5, 2), (1, 1)] {
        let steer = Steer::new(width, height);
        assert!(!steer.screen().contains("Agents"), "{width}x{height}");
    }
    snapshot("screen-too-small", &Steer::new(50, 8).screen());
}

#[test]
fn help_questions_and_pages() {
    at_each_size("help", |steer| {
        steer.press("?");
    });
    at_each_size("question", |steer| {
        steer.press("ctrl-d");
    });
    let mut steer = Steer::new(120, 40);
    steer.press("?");
    steer.type_text("iteration");
    snapshot("screen-help-search", &steer.screen());
    let mut steer = Steer::new(80, 24);
    let text =
        (0..60).map(|n| format!("line {n}: \x1b[31m{}", "long ".repeat(20))).collect::<Vec<_>>().join("\n");
    steer.send(Msg::Page { title: "agents/builder".into(), text, diff: false });
    steer.press("pgdn");
    snapshot("screen-page-80x24", &steer.screen());
}

#[test]
fn ascii_signs_are_ascii() {
    let mut steer = Steer::new(120, 40);
    steer.model.setting.ascii = true;
    steer.model.theme = Theme::new(Mode::Plain, true);
    steer.keys("j j enter");
    steer.send(Msg::Records(key("builder"), "builder.work.13".into(), records()));
    let screen = steer.screen();
    snapshot("screen-ascii-120x40", &screen);
    let odd: Vec<char> = screen.chars().filter(|c| !c.is_ascii() && *c != '│').collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn hostile_names_and_texts_stay_in_their_columns() {
    let mut steer = Steer::new(80, 24);
    let evil = "\x1b[2J\x1b]0;x\x07\u{202e}abc\r\n世界 e\u{301}👩‍👩‍👧";
    let mut rows = agents();
    rows[0].status.as_mut().unwrap().conditions[0].message = evil.into();
    steer.send(listing(&rows));
    steer.send(Msg::Agent(key("builder"), Some(Box::new(rows[0].clone()))));
    steer.press("/");
    steer.send(Msg::Paste(evil.into()));
    let screen = steer.screen();
    assert!(screen.chars().all(|c| c == '\n' || !c.is_control()), "{screen:?}");
    for line in screen.lines() {
        assert_eq!(crate::tui::text::width(line), 82, "{line}");
    }
}

#[test]
fn every_size_draws_without_a_panic() {
    for width in (1..=200).step_by(7) {
        for height in (1..=60).step_by(3) {
            let mut steer = Steer::new(width, height);
            steer.keys("j j enter i");
            steer.screen();
            steer.keys("esc ?");
            steer.screen();
        }
    }
}
