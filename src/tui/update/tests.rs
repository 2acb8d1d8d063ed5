//! Journeys: keys and changes in, screens and effects out.

use gcluster_types::kinds::agent::RunPolicy;
use gcluster_types::kinds::message::Delivery;

use crate::tui::fixture::*;
use crate::tui::layout::Pane;
use crate::tui::model::Input;
use crate::tui::msg::{Action, Cause, Changes, Effect, Fetch, Link, Lost, Msg, Refusal};
use crate::tui::need::Need;
use crate::tui::tree::RowId;

fn iteration_row(number: i64) -> RowId {
    RowId::Iteration(key("builder"), "work".into(), format!("builder.work.{number}"))
}

#[test]
fn the_tree_is_walked_opened_and_closed_by_keys() {
    let mut steer = Steer::new(120, 40);
    assert_eq!(steer.model.tree.selected(), Some(&RowId::Agent(key("builder"))));
    steer.keys("j j");
    assert_eq!(steer.model.tree.selected(), Some(&iteration_row(13)));
    steer.keys("down down down down");
    assert_eq!(steer.model.tree.selected(), Some(&RowId::More(key("builder"), "work".into())));
    steer.press("enter");
    assert_eq!(steer.model.tree.selected(), Some(&iteration_row(9)), "more are shown from where one was");
    steer.press("left");
    assert_eq!(steer.model.tree.selected(), Some(&RowId::Step(key("builder"), "work".into())));
    steer.press("h");
    assert!(!steer.screen().contains("#13"), "the step is closed");
    steer.keys("h h");
    assert!(!steer.screen().contains("▾ ▸ builder"));
    steer.press("g");
    assert_eq!(steer.selected(), "writer", "what needs a person is first");
    steer.press("G");
    assert_eq!(steer.selected(), "translator");
}

#[test]
fn the_selection_is_kept_by_name_while_rows_come_and_go() {
    let mut steer = Steer::new(120, 40);
    steer.keys("j j");
    let line = |steer: &Steer| steer.screen().lines().position(|line| line.contains('▌'));
    let before = line(&steer);
    // An agent above goes away, the builder gets a new iteration.
    steer.send(Msg::Agents(Changes { all: false, put: vec![], gone: vec!["default/writer".into()] }));
    steer.send(history("builder", (0..15).map(|n| iteration("builder", n, "Running")).collect()));
    assert_eq!(steer.model.tree.selected(), Some(&iteration_row(13)));
    assert!(line(&steer).is_some_and(|now| Some(now) <= before));
    // The iteration itself goes, then its agent.
    steer.send(history("builder", vec![iteration("builder", 14, "Running")]));
    assert_eq!(steer.model.tree.selected(), Some(&RowId::Step(key("builder"), "work".into())));
    steer.send(Msg::Agents(Changes { all: false, put: vec![], gone: vec!["default/builder".into()] }));
    assert_ne!(steer.selected(), "builder");
    steer.send(listing(&[]));
    assert!(steer.model.tree.selected().is_none());
    assert!(steer.screen().contains("gcluster apply -f"));
}

#[test]
fn a_search_filters_as_one_types_and_escape_shows_all_again() {
    let mut steer = Steer::new(120, 40);
    steer.press("/");
    steer.type_text("wri");
    assert_eq!((steer.model.fleet.shown(), steer.selected()), (1, "writer"));
    // Single keys are text here.
    steer.type_text("q");
    assert_eq!(steer.model.fleet.shown(), 0);
    assert!(steer.screen().contains("Nothing matches."));
    steer.press("backspace");
    steer.press("enter");
    assert_eq!(steer.model.fleet.shown(), 1);
    assert!(steer.screen().contains("Agents 1 of 6"));
    steer.press("esc");
    assert_eq!(steer.model.fleet.shown(), 6);
    steer.press("/");
    steer.type_text("!b -l team=core");
    assert_eq!(steer.model.fleet.shown(), 3, "builder, bugfixer, and a writer without a backend are hidden");
    steer.press("esc");
    assert_eq!(steer.model.fleet.shown(), 6);
}

#[test]
fn what_a_filter_hid_is_selected_again_when_it_goes() {
    let mut steer = Steer::new(120, 40);
    let before = steer.model.tree.selected().cloned();
    assert_ne!(steer.selected(), "writer");
    for leave in [&["esc"][..], &["enter", "esc"]] {
        steer.press("/");
        steer.type_text("wri");
        assert_eq!(steer.selected(), "writer");
        leave.iter().for_each(|key| drop(steer.press(key)));
        assert_eq!(steer.model.tree.selected().cloned(), before);
    }
}

#[test]
fn a_message_is_seen_from_sending_to_acknowledgement() {
    let mut steer = Steer::new(120, 40);
    steer.keys("j j enter");
    steer.send(Msg::Records(key("builder"), "builder.work.13".into(), records()));
    steer.press("i");
    steer.type_text("Use the index, q");
    let effects = steer.press("enter");
    let [Effect::Act(Action::Send(draft))] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((draft.text.as_str(), draft.delivery), ("Use the index, q", Delivery::Steer));
    assert!(steer.screen().contains("Use the index, q") && steer.screen().contains("sending"));
    for (phase, word) in
        [("Pending", "pending"), ("Delivered", "delivered"), ("Acknowledged", "acknowledged")]
    {
        let put = vec![(draft.name.clone(), message(&draft.name, "Use the index, q", phase))];
        steer.send(Msg::Messages(key("builder"), Changes { all: false, put, gone: vec![] }));
        assert!(steer.screen().contains(word), "{word}\n{}", steer.screen());
        assert!(steer.model.outbox.is_empty(), "the one of the API is shown, and only that");
    }
    assert!(steer.footer().contains("builder.work.13 has read your message"));
}

#[test]
fn a_message_that_is_refused_comes_back_into_the_box() {
    let mut steer = Steer::new(120, 40);
    steer.press("space");
    steer.type_text("hello");
    let [Effect::Act(action @ Action::Send(draft))] = &steer.press("ctrl-q")[..] else { panic!("a message") };
    assert_eq!((draft.delivery, draft.iteration.clone()), (Delivery::Queue, None));
    let outcome = Err(Refusal { text: "this token may only read".into(), theirs: None });
    steer.send(Msg::Done { action: action.clone(), outcome });
    assert!(steer.footer().contains("not sent: this token may only read"));
    steer.press("i");
    let Some(Input::Message(message)) = &steer.model.input else { panic!("the box") };
    assert_eq!(message.editor.text(), "hello");
    assert_eq!(steer.press("ctrl-x").len(), 1);
}

#[test]
fn escape_leaves_a_box_and_keeps_what_was_written() {
    let mut steer = Steer::new(120, 40);
    steer.press("i");
    steer.type_text("half a tho");
    steer.press("esc");
    assert!(steer.model.input.is_none());
    steer.keys("down i");
    let Some(Input::Message(message)) = &steer.model.input else { panic!("the box") };
    assert_eq!(message.editor.text(), "half a tho");
    steer.press("enter");
    steer.press("i");
    assert!(steer.press("enter").is_empty(), "nothing is not sent");
}

#[test]
fn an_edited_prompt_is_saved_against_what_was_edited() {
    let mut steer = Steer::new(120, 40);
    steer.keys("j e");
    steer.type_text("Rest. ");
    assert!(steer.screen().contains("Rest. Take the first open task."));
    let effects = steer.press("ctrl-s");
    let [Effect::Act(action @ Action::Edit { before, prompt, method, .. })] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(method.as_deref(), Some("work"));
    assert!(before.contains("\"Take the first") && prompt.starts_with("Rest. Take"));
    // Typing while it is saved changes nothing that would be lost.
    steer.type_text("x");
    let outcome = Ok("builder has a new prompt".to_owned());
    steer.send(Msg::Done { action: action.clone(), outcome });
    assert!(steer.model.input.is_none() && steer.footer().contains("new prompt"));
}

#[test]
fn an_edit_that_collides_shows_both_texts_and_loses_neither() {
    let mut steer = Steer::new(120, 40);
    steer.keys("j e");
    steer.type_text("Mine. ");
    let [Effect::Act(action)] = &steer.press("ctrl-s")[..] else { panic!("an edit") };
    let theirs = "(defmethod work ()\n  \"Theirs entirely.\")".to_owned();
    let refusal = Refusal {
        text: "somebody else has changed this prompt meanwhile".into(),
        theirs: Some(theirs.clone()),
    };
    steer.send(Msg::Done { action: action.clone(), outcome: Err(refusal) });
    let screen = steer.screen();
    assert!(screen.contains("Mine. Take the first") && screen.contains("Theirs entirely."), "{screen}");
    // Saving again means: over what was just shown, and nothing else.
    let [Effect::Act(Action::Edit { before, .. })] = &steer.press("ctrl-s")[..] else { panic!("an edit") };
    assert_eq!(*before, theirs);
    steer.press("esc");
    steer.press("e");
    let Some(Input::Prompt(edit)) = &steer.model.input else { panic!("the editor") };
    assert!(edit.editor.text().starts_with("Mine. "), "the text is kept");
}

#[test]
fn what_loses_something_asks_first_and_says_what_is_kept() {
    let mut steer = Steer::new(120, 40);
    assert!(steer.press("ctrl-d").is_empty());
    let screen = steer.screen();
    assert!(screen.contains("Delete builder?") && screen.contains("Kept:"), "{screen}");
    assert!(steer.press("enter").is_empty(), "enter is no answer");
    assert!(steer.press("n").is_empty());
    steer.press("ctrl-d");
    assert_eq!(steer.press("y"), [Effect::Act(Action::Delete(key("builder")))]);
    steer.press("b");
    assert!(steer.model.overlay.is_none() || steer.footer().contains("older"), "nothing is chosen yet");
    steer.keys("enter [ b");
    assert!(steer.screen().contains("Take builder back to revision 1?"));
    assert_eq!(steer.press("y"), [Effect::Act(Action::Rollback(key("builder"), "builder-1".into()))]);
}

#[test]
fn agents_are_paused_started_stopped_and_restarted() {
    let mut steer = Steer::new(120, 40);
    let run = |name: &str, run| [Effect::Act(Action::Run(key(name), run))];
    assert_eq!(steer.press("z"), run("builder", RunPolicy::Paused));
    assert_eq!(steer.press("s"), run("builder", RunPolicy::Stopped));
    assert_eq!(steer.press("r"), [Effect::Act(Action::Restart(key("builder")))]);
    assert_eq!(steer.command("pause writer"), run("writer", RunPolicy::Paused));
    steer.command("go release-manager");
    assert_eq!(steer.press("z"), run("release-manager", RunPolicy::Running));
    assert!(steer.command("stop nobody").is_empty());
    assert!(steer.footer().contains("no agent \"nobody\""));
}

#[test]
fn read_only_changes_nothing_and_says_so() {
    let mut steer = Steer::new(120, 40);
    steer.model.setting.readonly = true;
    for name in ["z", "s", "r", "ctrl-d", "i", "space", "e"] {
        assert!(steer.press(name).is_empty(), "{name}");
        assert!(steer.footer().contains("--readonly"), "{name}");
        assert!(steer.model.input.is_none() && steer.model.overlay.is_none(), "{name}");
    }
    for line in ["pause", "delete builder", "message", "edit", "restart"] {
        assert!(steer.command(line).is_empty(), "{line}");
    }
    assert!(steer.screen().contains("read-only"));
    assert_eq!(steer.press("y"), [Effect::Fetch(Fetch::Yaml("agents", key("builder")))]);
}

#[test]
fn leaving_is_always_one_key_away_and_escape_never_leaves() {
    let mut steer = Steer::new(120, 40);
    assert!(steer.keys("esc esc esc").is_empty());
    for open in ["/", ":", "i", "e", "?", "ctrl-d"] {
        steer.press(open);
        assert_eq!(steer.press("ctrl-c"), [Effect::Quit], "{open}");
        steer.press("esc");
    }
    steer.keys("j enter");
    assert!(steer.press("q").is_empty(), "one step back first");
    assert_eq!(steer.model.pane, Pane::Tree);
    assert_eq!(steer.press("q"), [Effect::Quit]);
    assert_eq!(steer.command("q"), [Effect::Quit]);
    let mut small = Steer::new(20, 5);
    assert_eq!(small.press("q"), [Effect::Quit]);
}

#[test]
fn a_lost_connection_is_said_and_everything_stays_readable() {
    let mut steer = Steer::new(120, 40);
    steer.keys("j j enter");
    steer.send(Msg::Records(key("builder"), "builder.work.13".into(), records()));
    let lost =
        |cause| Link::Down(Lost { cause, detail: String::new(), since: now(), attempts: 1, next: now() });
    steer.send(Msg::Link(lost(Cause::Stopped)));
    assert!(steer.screen().contains("The master was stopped."));
    steer.send(Msg::Link(lost(Cause::Cut)));
    let screen = steer.screen();
    assert!(screen.contains("The connection broke") && screen.contains("I write its test."), "{screen}");
    let mut low = Steer::new(60, 15);
    low.send(Msg::Link(lost(Cause::Cut)));
    assert!(low.screen().contains("▌▾ ▸ builder"), "what is selected stays in view\n{}", low.screen());
    steer.keys("esc k k k g");
    assert_eq!(steer.selected(), "writer");
    // The same records again, and one more: each is there once.
    let mut again = records();
    let last = again.last().unwrap().1.clone();
    again.push((5, last));
    steer.send(Msg::Records(key("builder"), "builder.work.13".into(), again));
    assert_eq!(steer.model.talks[0].conversation.len(), 6);
    // The new listing replaces the old one at once: no moment without agents.
    steer.send(listing(&agents()[..2]));
    steer.send(Msg::Link(Link::Up));
    assert_eq!(steer.model.fleet.len(), 2);
    assert!(steer.footer().contains("connected again"));
}

#[test]
fn the_bell_rings_once_when_an_agent_newly_needs_somebody() {
    let mut steer = Steer::new(120, 40);
    let mut needy = agents().remove(5);
    needy.metadata.name = Some("builder".into());
    assert_eq!(steer.send(changed(&needy)), [Effect::Bell]);
    assert_eq!(steer.model.fleet.count(Need::You), 2);
    assert!(steer.send(changed(&needy)).is_empty(), "it needs somebody still");
    assert!(steer.send(listing(&[needy.clone()])).is_empty(), "a new listing brings no news of it");
    steer.press("B");
    steer.send(listing(&agents()));
    assert!(steer.send(changed(&needy)).is_empty(), "silence was asked for");
}

#[test]
fn a_followed_agent_is_shown_from_iteration_to_iteration() {
    let mut steer = Steer::new(120, 40);
    steer.keys("j j enter f");
    let rows = vec![iteration("builder", 13, "Succeeded"), iteration("builder", 14, "Running")];
    let put = rows.into_iter().map(|row| (format!("default/{}", row.name), row)).collect();
    steer.send(Msg::History(key("builder"), Changes { all: false, put, gone: vec![] }));
    assert_eq!(steer.model.tree.selected(), Some(&iteration_row(14)));
    // Whoever moves away looks at that, and is not taken along.
    steer.keys("esc down");
    let put = vec![("default/x".to_owned(), iteration("builder", 15, "Running"))];
    steer.send(Msg::History(key("builder"), Changes { all: false, put, gone: vec![] }));
    assert_eq!(steer.model.tree.selected(), Some(&iteration_row(13)));
}

#[test]
fn what_is_followed_is_what_is_looked_at() {
    let mut steer = Steer::new(120, 40);
    let wanted = steer.model.wanted();
    assert_eq!((wanted.agent, wanted.transcript, wanted.history.len()), (Some(key("builder")), None, 6));
    steer.keys("j j");
    let wanted = steer.model.wanted();
    assert_eq!(wanted.transcript, Some((key("builder"), "builder.work.13".into())));
    steer.command("ns staging");
    let wanted = steer.model.wanted();
    assert_eq!((wanted.namespace.as_deref(), wanted.agent, wanted.history.len()), (Some("staging"), None, 0));
}

#[test]
fn the_command_line_completes_and_remembers() {
    let mut steer = Steer::new(120, 40);
    steer.press(":");
    steer.type_text("pau");
    steer.press("tab");
    steer.type_text("bu");
    steer.press("tab");
    assert!(steer.footer().contains(":pause bugfixer") && steer.footer().contains("pause builder"));
    steer.press("tab");
    assert_eq!(steer.press("enter"), [Effect::Act(Action::Run(key("builder"), RunPolicy::Paused))]);
    steer.press(":");
    steer.press("up");
    assert!(steer.footer().contains(":pause builder"));
    steer.press("esc");
    steer.command("puase");
    assert!(steer.footer().contains("do you mean :pause?"));
}

#[test]
fn pasted_keys_are_text_and_never_commands() {
    let mut steer = Steer::new(120, 40);
    assert!(steer.send(Msg::Paste("q\nz\n".into())).is_empty());
    steer.press("i");
    assert!(steer.send(Msg::Paste("one\r\ntwo".into())).is_empty(), "a pasted line end sends nothing");
    let Some(Input::Message(message)) = &steer.model.input else { panic!("the box") };
    assert_eq!(message.editor.text(), "one\ntwo");
}

#[test]
fn the_mouse_selects_opens_and_scrolls() {
    use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
    let mut steer = Steer::new(120, 40);
    let mouse =
        |kind, column, row| Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
    let row = steer.screen().lines().position(|line| line.contains("researcher")).unwrap() as u16;
    steer.send(mouse(MouseEventKind::Down(MouseButton::Left), 10, row));
    assert_eq!(steer.selected(), "researcher");
    let again = steer.screen().lines().position(|line| line.contains("researcher  ")).unwrap() as u16;
    assert_eq!(row, again, "a click moves nothing");
    steer.send(mouse(MouseEventKind::Down(MouseButton::Left), 10, row));
    assert_eq!(steer.model.pane, Pane::Detail, "a second click opens");
    steer.send(mouse(MouseEventKind::ScrollDown, 10, 5));
    assert_ne!(steer.selected(), "writer");
    assert_eq!(steer.press("m"), [Effect::Mouse(false)]);
}
