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

#[test]
fn objects_are_read_with_every_problem_by_line_and_field() {
    let text = "apiVersion: gcluster.dev/v1alpha1\nkind: Ticket\nmetadata: {name: t-1, labels: {team: web}}\n\
        spec:\n  title: Add avatars\n  dependsOn: [t-0]\n  estimateMinutes: 5\n---\n---\n\
        kind: List\nitems:\n- {apiVersion: gcluster.dev/v1alpha1, kind: Ticket, metadata: {name: t-2}, spec: {title: x}}\n";
    let read_yaml = |text: &str| read_file("yaml", text);
    let tickets = read_yaml(text).unwrap();
    assert_eq!(tickets.iter().filter_map(|t| t.metadata.name.as_deref()).collect::<Vec<_>>(), ["t-1", "t-2"]);
    assert_eq!((tickets[0].spec.priority, &tickets[0].spec.depends_on[..]), (3, &["t-0".to_owned()][..]));
    assert_eq!(tickets[0].metadata.labels.as_ref().unwrap()["team"], "web");

    let wrong = "apiVersion: v1\nkind: Ticket\nmetadata:\n  name: T 1\nspec:\n  title: ''\n  priority: 0\n  colour: red\n  \
        locks: ui\n---\nkind: Agent\nspec: {title: x}\n";
    let told: Vec<String> = read_yaml(wrong).unwrap_err().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    1:13: apiVersion: must be gcluster.dev/v1alpha1
    4:9: metadata.name: must be lower-case letters, digits, '-' and '.'
    6:10: spec.title: must not be empty
    7:13: spec.priority: must be at least 1, the highest
    8:3: spec.colour: there is no such field; a ticket has decision, dependsOn, description, estimateMinutes, locks, pool, priority, repositories, state, tags, ticketID, title
    9:10: spec.locks: invalid type: string "ui", expected a sequence
    11:1: apiVersion: is missing; it must be gcluster.dev/v1alpha1
    11:1: metadata.name: is missing
    11:7: kind: must be Ticket
    "#);
}

#[test]
fn markdown_is_a_ticket_with_its_text_as_description() {
    let one = |text: &str| read_file("md", text).map(|mut tickets| tickets.remove(0));
    let ticket = one("---\nid: T-7\npriority: high\n---\n\n# Add avatars\n\nRound ones.\n\n- a\n").unwrap();
    assert_eq!((ticket.metadata.name.as_deref(), ticket.spec.title.as_str()), (Some("t-7"), "Add avatars"));
    assert_eq!((ticket.spec.priority, ticket.spec.description.as_str()), (2, "Round ones.\n\n- a"));
    let bare = one("# Say \"hello\": now\nIn all languages.\n").unwrap();
    assert_eq!(
        (bare.spec.title.as_str(), bare.metadata.name.as_deref()),
        ("Say \"hello\": now", Some("say-hello-now"))
    );
    let titled = one("---\r\ntitle: x\r\n---\r\n# Heading\r\n").unwrap();
    assert_eq!((titled.spec.title.as_str(), titled.spec.description.as_str()), ("x", "# Heading"));
    let told = |text: &str| one(text).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        told("---\nid: x\npriority: soon\n---\n# y\n")[0].split(" must").next(),
        Some("3:11: priority:")
    );
    assert!(told("---\nid: x\n---\nno heading\n")[0].starts_with("4:1: title: is missing"));
    assert!(
        told("---\ntitle: x\ndescription: a\n---\nb\n")[0].starts_with("5:1: description: is told twice")
    );
    assert!(told("---\ntitle: [\n")[0].contains("this is not YAML"));
    assert!(told("")[0].starts_with("1:1: title: is missing"));
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(text in "(---\n|# |title: |apiVersion: |kind: Ticket\n|spec:|  |\n|\\[|\\{|a|: |x|\"|\u{feff}){0,16}") {
        for extension in ["md", "yaml", "json"] {
            let _ = read_file(extension, &text);
        }
    }

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
