//! What the board, the list and the view of a ticket look like.

use super::fixture::*;
use super::*;
use crate::tui::fixture::{Steer, key};
use crate::tui::msg::Msg;
use crate::tui::testing::snapshot;
use crate::tui::theme::{Mode, Theme};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];

fn at_each_size(name: &str, make: impl Fn(u16, u16) -> Steer) {
    for (width, height) in SIZES {
        snapshot(&format!("screen-{name}-{width}x{height}"), &make(width, height).screen());
    }
}

#[test]
fn a_backlog_in_every_state() {
    at_each_size("tickets", Steer::tickets);
}

#[test]
fn the_story_of_a_ticket() {
    at_each_size("ticket", Steer::ticket);
    let mut steer = Steer::ticket(120, 40);
    steer.keys("G");
    snapshot("screen-ticket-end-120x40", &steer.screen());
}

#[test]
fn a_ticket_that_is_sent_back_and_the_questions_before_something_ends() {
    at_each_size("send-back", |width, height| {
        let mut steer = Steer::ticket(width, height);
        steer.press("b");
        steer.type_text("Make it round, please, also where the name holds wide signs.");
        steer
    });
    let mut steer = Steer::tickets(80, 24);
    steer.command("ticket t-3");
    steer.press("s");
    snapshot("screen-ticket-stop-80x24", &steer.screen());
    let mut steer = Steer::tickets(120, 40);
    steer.press("?");
    snapshot("screen-tickets-help-120x40", &steer.screen());
}

#[test]
fn without_tickets_nothing_speaks_of_them_and_an_empty_board_says_how_to_add_one() {
    let mut steer = Steer::new(200, 60);
    assert!(!steer.screen().to_lowercase().contains("ticket"));
    steer.press("?");
    assert!(!steer.screen().to_lowercase().contains("ticket"), "{}", steer.screen());
    steer.keys("esc 2");
    assert!(steer.screen().contains("Reading the tickets"));
    steer.send(tickets(&[]));
    assert!(steer.screen().contains("gcluster ticket add"), "{}", steer.screen());
    assert!(steer.press("enter").is_empty() && steer.model.pane == Pane::Tree);
    for letter in
        ["c", "b", "s", "z", "X", "ctrl-d", "y", "d", "E", "C", "h", "l", "j", "G", "i", "[", "]", "D", "L"]
    {
        assert!(steer.press(letter).is_empty(), "{letter}");
        assert!(steer.model.input.is_none() && steer.model.overlay.is_none(), "{letter}");
    }
}

#[test]
fn ascii_signs_are_ascii() {
    let mut steer = Steer::tickets(120, 40);
    let mut rows = backlog();
    rows.retain(|ticket| !ticket.spec.title.contains('世'));
    steer.send(tickets(&rows));
    steer.model.setting.ascii = true;
    steer.model.theme = Theme::new(Mode::Plain, true);
    let screen = steer.screen();
    let odd: Vec<char> = screen.chars().filter(|c| !c.is_ascii() && *c != '│').collect();
    assert!(odd.is_empty(), "{odd:?}\n{screen}");
    assert!(screen.contains("rv1"), "{screen}");
}

#[test]
fn every_row_has_the_width_of_the_screen_whatever_the_texts_hold() {
    let evil = "\x1b[2J\x1b]0;x\x07\u{202e}abc\r\n世界 e\u{301}👩‍👩‍👧";
    for (width, height) in SIZES {
        let mut steer = Steer::ticket(width, height);
        let mut one = told();
        one.spec.title = evil.into();
        one.spec.ticket_id = Some(evil.into());
        one.spec.description = evil.into();
        one.status.as_mut().unwrap().message = Some(evil.into());
        one.status.as_mut().unwrap().reason = Some(evil.into());
        steer.send(changed_ticket(&one));
        steer.send(Msg::Story(key("t-5"), News::Ticket(Some(Box::new(one)))));
        for keys in ["g", "esc", "/"] {
            steer.press(keys);
            let screen = steer.screen();
            assert!(screen.chars().all(|c| c == '\n' || !c.is_control()), "{screen:?}");
            for line in screen.lines() {
                assert_eq!(crate::tui::text::width(line), usize::from(width) + 2, "{line}");
            }
        }
    }
}

#[test]
fn every_size_draws_without_a_panic() {
    for width in (1..=200).step_by(29) {
        for height in (1..=60).step_by(7) {
            let mut steer = Steer::ticket(width, height);
            for keys in ["g", "b", "esc", "esc", "?", "esc", "l", "G"] {
                steer.press(keys);
                steer.screen();
            }
        }
    }
}

#[test]
fn a_diff_lies_over_the_rest_in_colours() {
    let mut steer = Steer::ticket(80, 24);
    let text = "# app: 1 commit of agent-2/feat-t-5\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old \x1b[31m\n+new\n kept\n";
    steer.send(Msg::Page { title: "changes of t-5".into(), text: text.into(), diff: true });
    snapshot("screen-diff-80x24", &steer.styled());
    steer.press("q");
    assert!(steer.model.overlay.is_none());
}
