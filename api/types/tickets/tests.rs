use super::*;
use crate::kinds::ticket::TicketState;
use proptest::prelude::*;

fn problems(text: &str) -> Vec<String> {
    read(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_ticket_is_read_as_teams_write_it() {
    let tickets = read(
        "id: T-12\ntitle: Add avatars\ndescription: |\n  Round ones.\n  With initials.\npriority: 1\n\
         locks: [db, ui]\ndependencies:\n  - T-7\n  - t_8\nestimate_min: 90\ntags: web\n",
    )
    .unwrap();
    let [ticket] = &tickets[..] else { panic!("{tickets:?}") };
    assert_eq!(ticket.metadata.name.as_deref(), Some("t-12"));
    assert_eq!(ticket.spec.ticket_id.as_deref(), Some("T-12"));
    assert_eq!((ticket.spec.title.as_str(), ticket.spec.priority), ("Add avatars", 1));
    assert_eq!(ticket.spec.description, "Round ones.\nWith initials.\n");
    assert_eq!(ticket.spec.locks, ["db", "ui"]);
    assert_eq!(ticket.spec.depends_on, ["t-7", "t-8"]);
    assert_eq!(ticket.spec.estimate_minutes, Some(90.0));
    assert_eq!(ticket.spec.tags, ["web"]);
}

#[test]
fn a_title_is_enough_and_a_file_may_hold_many() {
    let names = |text: &str| -> Vec<String> {
        read(text).unwrap().into_iter().filter_map(|ticket| ticket.metadata.name).collect()
    };
    assert_eq!(names("title: Fix the login, please!"), ["fix-the-login-please"]);
    assert_eq!(names("title: one\n---\n---\ntitle: two\n"), ["one", "two"]);
    assert_eq!(names("- {id: 1, title: one}\n- {id: 1.10, title: two}\n"), ["1", "1-10"]);
    assert_eq!(names("tickets:\n- title: one\n- title: two\n"), ["one", "two"]);
    let held = read("{title: x, state: held, priority: High}").unwrap();
    assert_eq!((held[0].spec.state, held[0].spec.priority), (TicketState::Held, 2));
}

#[test]
fn every_problem_is_told_with_its_line_and_field() {
    let text =
        "id: ___\npriority: 0\nlocks: {a: b}\nestimate_min: soon\ncolour: red\n---\n- title: ''\n- 7\n";
    insta::assert_snapshot!(problems(text).join("\n"), @r#"
    1:1: title: is missing: what the ticket is about, in one line
    1:5: id: the name "___" holds no ASCII letter or digit, so no object name can be made of it
    2:11: priority: must be a whole number from 1, the highest, or critical, high, normal or low, and is "0"
    3:8: locks: must be a list of texts, and is a mapping
    4:15: estimate_min: must be a number of minutes, and is "soon"
    5:1: colour: there is no such field; a ticket has id, title, description, priority, locks, dependencies, estimate_min, tags, pool, state
    7:10: title: must be one line of text
    8:3: must be a ticket: fields such as `title: …`, and is "7"
    "#);
}

#[test]
fn what_is_no_ticket_is_said_in_one_sentence() {
    let told = |text: &str| problems(text).join("\n");
    assert_eq!(
        told("title: [\n"),
        "2:1: this is not YAML: while parsing a node, did not find expected node content"
    );
    assert_eq!(told("# nothing\n"), "1:1: no ticket is here; one needs at least `title: …`");
    let no_name = "is missing, and no name can be made of the title: give the ticket an id, such as T-12";
    assert_eq!(told("title: 日本\n"), format!("1:1: id: {no_name}"));
    let twice = "- {id: A, title: x}\n- {id: a, title: y}\n";
    assert_eq!(told(twice), "2:8: id: the ticket \"a\" is there already, in line 1");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "([ \\-\n:{}\\[\\],&*!|>'\"#a-c]|id|title|priority|locks|tickets|1|- ){0,40}") {
        let _ = read(&text);
    }

    #[test]
    fn a_written_ticket_is_read_back(
        title in "[A-Za-z0-9][A-Za-z0-9 '\":#-]{0,40}", priority in 1_i32..99, locks in proptest::collection::vec("[a-z]{1,5}", 0..3),
    ) {
        let text = serde_json::json!({"id": "T-1", "title": title, "priority": priority, "locks": locks}).to_string();
        let tickets = read(&text).unwrap();
        prop_assert_eq!(&tickets[0].spec.title, title.trim());
        prop_assert_eq!(tickets[0].spec.priority, priority);
        prop_assert!(tickets[0].spec.locks.iter().all(|lock| locks.contains(lock)));
    }
}
