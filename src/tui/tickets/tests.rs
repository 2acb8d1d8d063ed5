//! The board, the list, the view of a ticket: what keys and changes do.

use std::time::Duration;

use gcluster_types::kinds::ticket::{HumanVerdict, TicketState};
use proptest::prelude::*;
use serde_json::json;

use super::fixture::*;
use super::*;
use crate::tui::filter::Filter;
use crate::tui::fixture::{Steer, key, listing, now, records};
use crate::tui::layout::Pane;
use crate::tui::model::Input;
use crate::tui::msg::{Action, Changes, Effect, Fetch, Msg, Refusal};
use crate::tui::tree::{Move, RowId};

#[test]
fn the_board_is_walked_by_columns_and_the_list_by_rows() {
    let mut steer = Steer::tickets(120, 40);
    assert_eq!(steer.chosen(), "t-7", "what needs somebody");
    steer.keys("h h h h g");
    assert_eq!(steer.chosen(), "t-2", "the first of the first column");
    steer.keys("j j j");
    assert_eq!(steer.chosen(), "t-10", "a column ends where it ends");
    steer.press("l");
    assert_eq!(steer.chosen(), "t-11", "the last of a shorter column");
    steer.keys("right right right g");
    assert_eq!(steer.chosen(), "t-7", "who needs somebody is first");
    steer.keys("l l l l");
    assert_eq!(steer.chosen(), "t-14");
    steer.keys("h h h h h h h");
    assert_eq!(steer.chosen(), "t-2");
    let mut steer = Steer::tickets(80, 24);
    steer.press("G");
    assert_eq!(steer.chosen(), "t-15");
    steer.keys("g");
    assert_eq!(steer.chosen(), "t-7", "who needs somebody is first");
    steer.keys("j j j j");
    assert_eq!(steer.chosen(), "t-8", "then what is under way");
    steer.press("l");
    assert_eq!(steer.model.pane, Pane::Detail);
    steer.press("h");
    assert_eq!(steer.model.pane, Pane::Tree);
}

#[test]
fn what_is_selected_is_kept_by_name_while_it_changes_its_column() {
    let mut steer = Steer::tickets(120, 40);
    steer.command("ticket t-4");
    steer.send(changed_ticket(&ticket("T-4", 1, "Working", "Working", &[])));
    assert_eq!(steer.chosen(), "t-4");
    assert_eq!(steer.model.ticket().map(TicketRow::lane), Some(Lane::Working));
    steer.send(Msg::Tickets(Changes { all: false, put: vec![], gone: vec!["default/t-4".into()] }));
    assert_eq!(steer.model.ticket().map(TicketRow::lane), Some(Lane::Working), "its neighbour is selected");
    steer.send(tickets(&[]));
    assert_eq!(steer.chosen(), "");
    steer.send(tickets(&backlog()));
    assert!(!steer.chosen().is_empty());
}

#[test]
fn a_panel_keeps_what_was_selected_and_is_remembered() {
    let mut steer = Steer::tickets(120, 40);
    steer.keys("j enter");
    assert_eq!(steer.press("p"), [Effect::Remember(Panel::Agents)]);
    assert!(steer.screen().contains("WORKING") && steer.screen().contains("p tickets"));
    assert_eq!(steer.model.pane, Pane::Tree);
    assert_eq!(steer.press("2"), [Effect::Remember(Panel::Tickets)]);
    assert_eq!((steer.chosen(), steer.model.pane), ("t-8", Pane::Detail));
    assert!(steer.press("2").is_empty());
    // The next time, as soon as there are tickets.
    let mut steer = Steer::empty(120, 40);
    steer.model.setting.panel = Panel::Tickets;
    steer.send(listing(&[]));
    steer.send(tickets(&[]));
    assert_eq!(steer.model.panel, Panel::Agents);
    let mut steer = Steer::empty(120, 40);
    steer.model.setting.panel = Panel::Tickets;
    steer.send(tickets(&backlog()));
    assert_eq!(steer.model.panel, Panel::Tickets);
}

#[test]
fn the_conversation_of_a_ticket_is_opened_followed_and_left() {
    let mut steer = Steer::ticket(120, 40);
    assert_eq!(steer.model.wanted().ticket, Some(key("t-5")));
    steer.press("enter");
    assert_eq!((steer.model.panel, steer.selected()), (Panel::Agents, "t-5-work-2"));
    assert!(
        steer.model.wanted().history.contains(&key("t-5-work-2")) && steer.model.wanted().ticket.is_none()
    );
    steer.worked();
    let here = RowId::Iteration(key("t-5-work-2"), "work".into(), "t-5-work-2.work.0".into());
    assert_eq!(steer.model.tree.selected(), Some(&here));
    assert!(steer.model.chase, "the next iteration is shown, too");
    steer.send(Msg::Records(key("t-5-work-2"), "t-5-work-2.work.0".into(), records()));
    assert!(steer.screen().contains("backlog first"), "{}", steer.screen());
    steer.press("q");
    assert_eq!((steer.model.panel, steer.model.pane, steer.chosen()), (Panel::Tickets, Pane::Detail, "t-5"));
    // An older agent, and back by escape.
    steer.keys("] enter");
    assert_eq!(steer.selected(), "t-5-review-1-1");
    steer.press("esc");
    assert_eq!(steer.model.panel, Panel::Tickets);
    steer.keys("[ [");
    assert!(steer.footer().contains("the first one"), "{}", steer.footer());
    // Whoever moves on in the tree is where agents are.
    steer.keys("enter tab");
    assert_eq!((steer.model.panel, steer.model.pane), (Panel::Agents, Pane::Tree));
    steer.keys("j enter esc");
    assert_eq!(steer.model.panel, Panel::Agents);
}

#[test]
fn everything_on_the_page_of_a_ticket_is_opened_by_walking_to_it() {
    let mut steer = Steer::ticket(80, 24);
    let fetched = |effects: &[Effect]| match effects {
        [Effect::Fetch(fetch)] => fetch.clone(),
        other => panic!("{other:?}"),
    };
    steer.keys("] ] ]");
    assert!(steer.footer().contains("enter diff"), "{}", steer.footer());
    assert_eq!(fetched(&steer.press("enter")), Fetch::Changes(key("t-5")));
    steer.press("]");
    assert!(steer.screen().contains("▌✗ failed  app bbbbbbbbbb"), "it is in view:\n{}", steer.screen());
    assert_eq!(fetched(&steer.press("enter")), Fetch::Check(key("app-bbbbbbbbbbbb")));
    for (plural, name) in [("reviews", "t-5-review-1"), ("merges", "t-5-merge-1"), ("workspaces", "t-5")] {
        steer.press("]");
        assert_eq!(fetched(&steer.press("enter")), Fetch::Describe(plural, key(name)));
    }
    steer.press("]");
    assert!(steer.footer().contains("the last one"), "{}", steer.footer());
    // From anywhere.
    assert_eq!(fetched(&steer.press("D")), Fetch::Changes(key("t-5")));
    assert_eq!(fetched(&steer.press("L")), Fetch::Check(key("app-bbbbbbbbbbbb")));
    // What goes away is not marked any more.
    steer.model.notice = None;
    steer.send(Msg::Story(key("t-5"), News::Workspaces(Changes { all: true, ..Changes::default() })));
    assert!(steer.footer().contains("enter conversation"), "{}", steer.footer());
}

#[test]
fn what_lies_over_the_rest_outlives_another_size() {
    let mut steer = Steer::ticket(120, 40);
    steer.press("s");
    steer.send(Msg::Resize(80, 24));
    assert!(steer.screen().contains("Stop T-5?"), "{}", steer.screen());
    steer.press("n");
    let text = (0..60).fold("Why:  ".to_owned(), |text, n| format!("{text} word{n:02}"));
    steer.send(Msg::Page { title: "ticket/t-5".into(), text: text.clone(), diff: false });
    let whole = |steer: &Steer| (0..60).all(|n| steer.screen().contains(&format!("word{n:02}")));
    assert!(whole(&steer), "it is wrapped:\n{}", steer.screen());
    steer.send(Msg::Resize(60, 20));
    assert!(whole(&steer), "{}", steer.screen());
    assert_eq!(steer.press("c"), [Effect::Copy(text)], "as it came");
}

#[test]
fn keys_that_would_do_nothing_are_not_offered() {
    let offered = |name: &str| {
        let mut steer = Steer::tickets(200, 60);
        steer.command(&format!("ticket {name}"));
        steer.footer()
    };
    for (name, there, not) in [
        ("t-7", vec!["c approve", "b send back", "s stop", "z hold", "D diff"], vec!["continue"]),
        ("t-14", vec!["c continue", "b send back"], vec!["stop", "hold"]),
        ("t-10", vec!["c continue", "z open"], vec!["approve"]),
        ("t-1", vec!["b send back", "s stop", "z hold"], vec!["c "]),
        ("t-12", vec!["s stop"], vec!["approve", "continue"]),
        ("t-13", vec!["enter open", "D diff"], vec!["approve", "send back", "stop", "hold"]),
        ("t-15", vec!["enter open"], vec!["approve", "send back", "stop", "hold"]),
    ] {
        let footer = offered(name);
        for word in there {
            assert!(footer.contains(word), "{name}: {word} in {footer}");
        }
        for word in not {
            assert!(!footer.contains(word), "{name}: {word} not in {footer}");
        }
    }
    // However narrow, the key that tells of all others is there.
    for width in [60, 80, 100] {
        assert!(Steer::ticket(width, 24).footer().contains("? keys"), "{width}");
    }
}

#[test]
fn nothing_is_said_of_a_ticket_that_is_not_its_own() {
    let mut steer = Steer::ticket(120, 40);
    let mut one = told();
    for change in &mut one.status.as_mut().unwrap().changes {
        change.commits = 0;
    }
    steer.send(Msg::Story(key("t-5"), News::Ticket(Some(Box::new(one)))));
    assert!(steer.model.wanted().checks.is_empty(), "its tip is a commit of the base");
    assert!(steer.screen().contains("no commit yet"), "{}", steer.screen());
    // Whom it waits for, and who waits for it.
    let before = |names: &[&str]| ("/spec/dependsOn", json!(names));
    steer.send(changed_ticket(&ticket("T-5", 3, "Waiting", "Dependencies", &[before(&["t-13", "t-99"])])));
    steer.send(changed_ticket(&ticket("T-11", 3, "Waiting", "Dependencies", &[before(&["t-5"])])));
    let screen = steer.screen();
    for words in ["t-13 (merged), t-99 (not there)", "Wanted by   t-11"] {
        assert!(screen.contains(words), "{words}:\n{screen}");
    }
}

fn decided(effects: &[Effect]) -> Option<(&str, HumanVerdict, &str)> {
    match effects {
        [Effect::Act(Action::Decide { ticket, verdict, text })] => Some((ticket.name(), *verdict, text)),
        _ => None,
    }
}

#[test]
fn what_waits_for_a_person_is_approved_at_once_and_what_does_not_after_a_question() {
    let mut steer = Steer::tickets(120, 40);
    steer.command("ticket t-7");
    assert_eq!(decided(&steer.press("c")), Some(("t-7", HumanVerdict::Approve, "")));
    steer.command("ticket t-8");
    assert!(steer.press("c").is_empty());
    assert!(steer.screen().contains("Its review is not over"));
    assert!(steer.press("enter").is_empty(), "enter is no yes");
    assert_eq!(decided(&steer.press("y")), Some(("t-8", HumanVerdict::Approve, "")));
    steer.command("ticket t-14");
    assert!(steer.footer().contains("c continue"), "{}", steer.screen());
    assert_eq!(decided(&steer.press("c")), Some(("t-14", HumanVerdict::SendBack, "")));
    steer.command("ticket t-10");
    assert_eq!(steer.press("c"), [Effect::Act(Action::Want(key("t-10"), TicketState::Open))]);
    for name in ["t-1", "t-4", "t-13", "t-12"] {
        steer.command(&format!("ticket {name}"));
        assert!(steer.press("c").is_empty() && steer.model.overlay.is_none(), "{name}");
        assert!(steer.footer().contains("nothing to approve"), "{}", steer.footer());
    }
}

#[test]
fn a_ticket_is_sent_back_with_a_text_which_is_kept_until_it_is_taken() {
    let mut steer = Steer::ticket(80, 24);
    steer.press("b");
    assert!(steer.press("enter").is_empty(), "nothing is not sent");
    steer.type_text("Round, q");
    steer.press("esc");
    assert!(steer.model.input.is_none());
    steer.press("b");
    let effects = steer.press("enter");
    assert_eq!(decided(&effects), Some(("t-5", HumanVerdict::SendBack, "Round, q")));
    let [Effect::Act(action)] = &effects[..] else { panic!("{effects:?}") };
    let outcome = Err(Refusal { text: "this token may only read".into(), theirs: None });
    steer.send(Msg::Done { action: action.clone(), outcome });
    assert!(steer.footer().contains("not sent back"), "{}", steer.footer());
    steer.press("b");
    let Some(Input::SendBack(back)) = &steer.model.input else { panic!("the box") };
    assert_eq!(back.editor.text(), "Round, q");
    steer.press("esc");
    steer.command("ticket t-13");
    steer.press("b");
    assert!(steer.model.input.is_none() && steer.footer().contains("write a new ticket"));
}

#[test]
fn stopping_cancelling_and_deleting_ask_and_holding_does_not() {
    let mut steer = Steer::tickets(120, 40);
    steer.command("ticket t-3");
    for (letter, action) in [
        ("s", Action::Decide { ticket: key("t-3"), verdict: HumanVerdict::Stop, text: String::new() }),
        ("X", Action::Want(key("t-3"), TicketState::Cancelled)),
        ("ctrl-d", Action::DeleteTicket(key("t-3"))),
    ] {
        assert!(steer.press(letter).is_empty(), "{letter}");
        assert!(steer.screen().contains("Kept: "), "{letter}");
        assert!(steer.press("n").is_empty());
        steer.press(letter);
        assert_eq!(steer.press("y"), [Effect::Act(action)], "{letter}");
    }
    assert_eq!(steer.press("z"), [Effect::Act(Action::Want(key("t-3"), TicketState::Held))]);
    steer.command("ticket t-10");
    assert_eq!(steer.press("z"), [Effect::Act(Action::Want(key("t-10"), TicketState::Open))]);
    steer.command("ticket t-13");
    for letter in ["s", "X", "z"] {
        assert!(steer.press(letter).is_empty() && steer.model.overlay.is_none(), "{letter}");
    }
}

#[test]
fn a_demonstration_changes_nothing() {
    let mut steer = Steer::tickets(120, 40);
    steer.model.setting.readonly = true;
    steer.command("ticket t-7");
    for letter in ["c", "b", "s", "z", "X", "ctrl-d"] {
        assert!(steer.press(letter).is_empty() && steer.model.overlay.is_none(), "{letter}");
        assert!(steer.model.input.is_none() && steer.footer().contains("--readonly"), "{letter}");
    }
    steer.press("enter");
    assert!(steer.press("i").is_empty() && steer.model.input.is_none());
}

#[test]
fn commands_for_agents_do_not_reach_an_agent_that_is_not_seen() {
    let mut steer = Steer::tickets(120, 40);
    for line in ["stop", "pause", "start", "restart", "edit", "messages"] {
        assert!(steer.command(line).is_empty(), "{line}");
        assert!(steer.footer().contains("concerns an agent"), "{line}: {}", steer.footer());
    }
    assert!(matches!(&steer.command("yaml")[..], [Effect::Fetch(Fetch::Yaml("tickets", _))]));
    assert!(matches!(&steer.command("describe")[..], [Effect::Fetch(Fetch::Describe("tickets", _))]));
    steer.command("delete");
    assert!(steer.screen().contains("Delete T-7?"));
    steer.press("esc");
    steer.command("go builder");
    assert_eq!((steer.model.panel, steer.selected()), (Panel::Agents, "builder"));
    steer.command("tickets");
    assert_eq!(steer.model.panel, Panel::Tickets);
    steer.command("ticket nothing");
    assert!(steer.footer().contains("no ticket"));
}

#[test]
fn a_message_reaches_the_agent_that_is_marked() {
    let mut steer = Steer::ticket(120, 40);
    steer.press("i");
    steer.type_text("Mind the edge.");
    assert!(steer.screen().contains("to t-5-work-2"), "{}", steer.screen());
    let effects = steer.press("enter");
    let [Effect::Act(Action::Send(draft))] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((draft.agent.name(), draft.text.as_str()), ("t-5-work-2", "Mind the edge."));
}

#[test]
fn the_bell_rings_once_when_tickets_newly_need_somebody() {
    let mut steer = Steer::tickets(120, 40);
    let needs = |id: &str| changed_ticket(&ticket(id, 1, "Reviewing", "NeedsHuman", &[]));
    assert_eq!(steer.send(needs("T-8")), [Effect::Bell]);
    assert!(steer.send(needs("T-8")).is_empty(), "it is known");
    assert!(steer.send(needs("T-9")).is_empty(), "it has just rung");
    steer.model.now = now().checked_add(Duration::from_secs(60)).unwrap();
    assert!(steer.send(tickets(&backlog())).is_empty(), "a new listing tells of nothing new");
    assert_eq!(steer.send(changed_ticket(&ticket("T-3", 1, "Failed", "Attempts", &[]))), [Effect::Bell]);
    steer.model.now = now().checked_add(Duration::from_secs(120)).unwrap();
    assert!(
        steer.send(changed_ticket(&ticket("T-6", 1, "Failed", "Stopped", &[]))).is_empty(),
        "a person did it"
    );
    assert!(steer.send(changed_ticket(&ticket("T-5", 1, "Merged", "Merged", &[]))).is_empty());
    steer.press("B");
    assert!(steer.send(needs("T-11")).is_empty());
    // A decision that is on its way needs nobody.
    let decision = json!({"verdict": "Approve", "at": "2026-01-02T03:59:00Z"});
    let row = TicketRow::of(&ticket("T-1", 1, "Reviewing", "NeedsHuman", &[("/spec/decision", decision)]));
    assert!(!row.needs() && row.decided);
}

#[test]
fn a_search_filters_tickets_and_leaves_agents_alone() {
    let mut steer = Steer::tickets(120, 40);
    steer.press("/");
    steer.type_text("login !t-11");
    assert_eq!(steer.model.backlog.shown(), 2, "{}", steer.screen());
    assert!(steer.footer().contains("2 found"), "{}", steer.footer());
    assert_eq!(steer.model.fleet.shown(), steer.model.fleet.len());
    steer.press("enter");
    assert!(steer.screen().contains("Tickets 2 of 15"));
    steer.press("esc");
    assert_eq!(steer.model.backlog.shown(), 15);
    for (text, shown) in
        [("needshuman", 1), ("-l team=core", 15), ("-l team!=core", 0), ("builders failed", 1)]
    {
        steer.model.backlog.filter_by(Filter::parse(text));
        assert_eq!(steer.model.backlog.shown(), shown, "{text}");
    }
}

#[test]
fn the_checks_that_are_followed_are_those_of_the_tips_and_of_the_merge() {
    let steer = Steer::ticket(120, 40);
    let names: Vec<String> = steer.model.wanted().checks.iter().map(|key| key.name().to_owned()).collect();
    assert_eq!(
        names,
        ["app-bbbbbbbbbbbb", "app-bbbbbbbbbbbb-quick", "docs-dddddddddddd", "docs-dddddddddddd-quick"]
    );
}

#[test]
fn the_mouse_selects_and_opens_cards() {
    use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
    let mut steer = Steer::tickets(120, 40);
    let at = steer.screen().lines().position(|line| line.contains("T-7")).unwrap() as u16;
    let column = 1 + 4 * 17;
    steer.press("h");
    let click = |steer: &mut Steer, row: u16| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        steer.send(Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }))
    };
    click(&mut steer, at + 1);
    assert_eq!((steer.chosen(), steer.model.pane), ("t-7", Pane::Tree));
    click(&mut steer, at);
    assert_eq!(steer.model.pane, Pane::Detail);
    let kind = MouseEventKind::ScrollDown;
    steer.send(Msg::Mouse(MouseEvent { kind, column: 2, row: 5, modifiers: KeyModifiers::NONE }));
    assert_ne!(steer.chosen(), "t-7");
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8, bool),
    Gone(u8),
    Filter(bool),
    Go(i8),
    Sideways(bool),
    Narrow(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..40, 0u8..10, any::<bool>()).prop_map(|(n, phase, needs)| Step::Put(n, phase, needs)),
        1 => (0u8..40).prop_map(Step::Gone),
        1 => any::<bool>().prop_map(Step::Filter),
        2 => (-9i8..9).prop_map(Step::Go),
        2 => any::<bool>().prop_map(Step::Sideways),
        1 => any::<bool>().prop_map(Step::Narrow),
    ]
}

proptest! {
    #[test]
    fn what_is_selected_is_always_there_and_in_view(steps in prop::collection::vec(step(), 1..80)) {
        const PHASES: [&str; 10] = ["Waiting", "Ready", "Working", "Checking", "Reviewing", "Approved", "Merging",
            "Merged", "Failed", "Cancelled"];
        let (mut backlog, mut desk, mut view) = (Backlog::default(), Desk::default(), View::Board(3));
        for step in steps {
            match step {
                Step::Put(n, phase, needs) => {
                    let reason = if needs { "NeedsHuman" } else { "x" };
                    let id = format!("T-{n}");
                    backlog.put(TicketRow::of(&ticket(&id, 1 + i32::from(n % 3), PHASES[usize::from(phase)], reason, &[])));
                }
                Step::Gone(n) => drop(backlog.remove(&key(&format!("t-{n}")))),
                Step::Filter(on) => backlog.filter_by(Filter::parse(if on { "avatars" } else { "" })),
                Step::Go(by) => desk.go(&backlog, Move::By(isize::from(by)), view),
                Step::Sideways(right) => desk.sideways(&backlog, right, view),
                Step::Narrow(narrow) => view = if narrow { View::List(5) } else { View::Board(3) },
            }
            desk.settle(&backlog, view);
            let needing = backlog.in_order().filter(|(_, row)| row.needs()).count();
            prop_assert!(!backlog.filter().is_empty() || needing == backlog.needing());
            prop_assert_eq!(Lane::ALL.iter().map(|lane| backlog.count(*lane)).sum::<usize>(), backlog.shown());
            let Some(selected) = desk.selected() else {
                prop_assert_eq!(backlog.shown(), 0);
                continue;
            };
            prop_assert!(backlog.is_shown(selected));
            let seen = match view {
                View::Board(cards) => {
                    let lane = backlog.get(selected).map(TicketRow::lane).unwrap_or_default();
                    desk.cards(&backlog, lane, cards).iter().any(|row| row.key == *selected)
                }
                View::List(rows) => desk.window(&backlog, rows).iter().any(
                    |row| matches!(row, desk::ListRow::Ticket(row) if row.key == *selected)),
            };
            prop_assert!(seen, "{selected:?} is in view of {view:?}");
        }
    }
}
