use super::*;
use crate::tui::testing::{rows, screen, snapshot, styled_rows};
use crate::tui::theme::Mode;
use gcluster_types::kinds::message::Delivery;
use proptest::prelude::*;
use ratatui::buffer::Buffer;

fn record(second: u64, rest: &str) -> Record {
    let (minute, second) = (second / 60, second % 60);
    let line = format!(r#"{{"at":"2026-01-02T03:{minute:02}:{second:02}.000000Z",{rest}}}"#);
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn text(text: &str) -> String {
    format!(r#""type":"text","text":{}"#, serde_json::to_string(text).unwrap())
}

fn answer(id: &str, text: &str, failed: bool) -> String {
    format!(
        r#""type":"toolResult","id":"{id}","text":{},"isError":{failed}"#,
        serde_json::to_string(text).unwrap()
    )
}

fn call(id: &str, name: &str, detail: &str) -> String {
    let [name, detail] = [name, detail].map(|text| serde_json::to_string(text).unwrap());
    format!(r#""type":"toolUse","id":"{id}","name":{name},"detail":{detail}"#)
}

fn filled(records: &[String]) -> Conversation {
    let mut conversation = Conversation::new();
    for (number, rest) in records.iter().enumerate() {
        conversation.push(number as u64, &record(number as u64 * 7, rest));
    }
    conversation
}

fn whole() -> Vec<String> {
    let long: String = (1..=40).map(|n| format!("test parser::case_{n} ... ok\n")).collect();
    let diff = "diff --git a/x.rs b/x.rs\n--- a/x.rs\n+++ b/x.rs\n@@ -1,2 +1,2 @@\n-fn old() {}\n+fn new() {}\n fn same() {}";
    vec![
        r#""type":"prompt","text":"Work on the first open task of the backlog.\nRun the tests before you finish, and say in one sentence what you did.""#.into(),
        r#""type":"thinking","text":"Where to begin?\nThe backlog names the tasks in order.""#.into(),
        text("I will look at the **backlog**, then:\n\n1. write a `test`\n2. make it pass"),
        call("t1", "Bash", "ls backlog"),
        r#""type":"usage","tokens":{"input":12000,"output":345,"total":12345},"costUSD":0.05"#.into(),
        answer("t1", "001-login.md\n002-search.md", false),
        call("t2", "Bash", "cargo test --workspace"),
        call("t3", "Read", "src/größe_日本.rs"),
        answer("t2", &long, false),
        answer("t3", "no such file", true),
        r#""type":"message","from":"anna","text":"tests first, please","name":"m-1""#.into(),
        call("t4", "Edit", "src/x.rs"),
        answer("t4", diff, false),
        r#""type":"notice","text":"retrying after a lost connection""#.into(),
        r#""type":"hologram","x":1"#.into(),
        text("Done.\n\n```rust\nfn new() {}\n```"),
        r#""type":"usage","tokens":{"output":800,"total":800},"costUSD":0.01"#.into(),
        r#""type":"output","text":"Done.\n\n```rust\nfn new() {}\n```""#.into(),
        r#""type":"end","phase":"Succeeded","reason":"Completed""#.into(),
    ]
}

fn pending(id: &str, text: &str, state: PendingState) -> PendingMessage {
    let delivery = if text.contains("next") { Delivery::Queue } else { Delivery::Steer };
    PendingMessage { id: id.into(), from: "ben".into(), text: text.into(), delivery, state }
}

fn view(conversation: &mut Conversation, width: u16, height: u16, theme: &Theme) -> Buffer {
    conversation.layout(width, height, theme);
    screen(width, height, |area, buffer| conversation.draw(area, buffer, theme))
}

fn shown(conversation: &mut Conversation, width: u16, height: u16) -> String {
    rows(&view(conversation, width, height, &Theme::default()))
}

#[test]
fn a_whole_iteration_is_readable_at_every_size() {
    let theme = Theme::default();
    for (width, height) in [(60, 15), (80, 24), (120, 40), (200, 60)] {
        let mut conversation = filled(&whole());
        let end = view(&mut conversation, width, height, &theme);
        conversation.scroll(Scroll::Top);
        let top = view(&mut conversation, width, height, &theme);
        let text = format!("top\n{}\nend\n{}", rows(&top), rows(&end));
        snapshot(&format!("conversation-{width}x{height}"), &text);
    }
}

#[test]
fn styles_say_what_a_record_is_and_signs_say_it_without_colour() {
    let theme = Theme::default();
    let mut conversation = filled(&whole());
    snapshot("conversation-styles", &styled_rows(&view(&mut conversation, 100, 66, &theme), &theme));
    let plain = Theme::new(Mode::Plain, true);
    snapshot("conversation-plain-ascii", &rows(&view(&mut conversation, 80, 66, &plain)));
}

#[test]
fn folds_open_and_close_one_by_one_and_all_together() {
    let mut conversation = filled(&whole());
    let folded = shown(&mut conversation, 80, 60);
    assert!(folded.contains("… +36 lines (o)") && !folded.contains("case_40"), "{folded}");
    let row = folded.lines().position(|line| line.contains("case_1 ")).unwrap();
    assert!(conversation.toggle_fold_at(row as u16));
    conversation.scroll(Scroll::Top);
    let open = shown(&mut conversation, 80, 100);
    assert!(open.contains("case_40") && !open.contains("+36 lines"), "{open}");
    conversation.toggle_fold_all();
    assert_eq!(shown(&mut conversation, 80, 60), folded);
    assert!(conversation.toggle_fold(), "the last foldable one in view");
    assert!(shown(&mut conversation, 80, 100).contains("case_40"));
    conversation.toggle_fold();
    conversation.toggle_fold_all();
    assert!(shown(&mut conversation, 80, 100).contains("case_40"));
    assert!(!conversation.toggle_fold_at(999));
}

#[test]
fn thinking_times_and_wrapping_can_be_switched() {
    let mut conversation = filled(&whole());
    conversation.toggle_thinking();
    conversation.toggle_times();
    let text = shown(&mut conversation, 80, 60);
    assert!(text.contains("✻ Where to begin? … +1 line (o)") && !text.contains("+21"), "{text}");
    conversation.toggle_thinking();
    assert!(shown(&mut conversation, 80, 60).contains("The backlog names"));
    let mut long = filled(&[call("t", "Read", ""), answer("t", &format!("{} end", "x".repeat(100)), false)]);
    assert!(shown(&mut long, 60, 5).contains("end"));
    assert!(long.is_following());
    long.toggle_wrap();
    assert!(long.is_following(), "another look of the end is still the end");
    let start = shown(&mut long, 60, 5);
    assert!(!start.contains("end") && start.contains("⎿"), "{start}");
    long.scroll(Scroll::Columns(60));
    assert!(!long.scroll_sideways(0));
    assert!(shown(&mut long, 60, 5).contains("end"));
}

#[test]
fn a_call_without_an_answer_has_another_sign() {
    let mut conversation = filled(&[call("t", "Bash", "sleep 60")]);
    assert!(shown(&mut conversation, 40, 3).contains("○ Bash(sleep 60)"));
    conversation.push(1, &record(60, &answer("t", "", false)));
    let text = shown(&mut conversation, 80, 3);
    assert!(
        text.contains("● Bash(sleep 60)") && text.contains("(no output)") && text.contains("60s"),
        "{text}"
    );
    // What a reconnect brings a second time is there already.
    conversation.push(1, &record(60, &answer("t", "", false)));
    assert_eq!((shown(&mut conversation, 80, 3), conversation.len()), (text, 2));
}

#[test]
fn following_pauses_on_the_way_up_and_resumes_at_the_end() {
    let mut conversation = filled(&(0..50).map(|n| text(&format!("record {n}"))).collect::<Vec<_>>());
    let end = shown(&mut conversation, 40, 10);
    assert!(end.contains("record 49") && conversation.is_following() && conversation.unseen() == 0);
    conversation.scroll(Scroll::Lines(-6));
    let paused = shown(&mut conversation, 40, 10);
    assert!(!conversation.is_following());
    assert_eq!(conversation.unseen(), 3);
    assert!(paused.contains("↓ 3 more"), "{paused}");
    // What arrives does not move what is being read.
    for number in 50..60 {
        conversation.push(number, &record(number * 7, &text("later")));
    }
    conversation.set_pending(vec![pending("m", "hello", PendingState::Sending)]);
    let text =
        |rows: &str| rows.lines().take(9).map(|row| row.chars().take(38).collect()).collect::<Vec<String>>();
    assert_eq!(text(&shown(&mut conversation, 40, 10)), text(&paused));
    assert_eq!(conversation.unseen(), 14);
    conversation.scroll(Scroll::Pages(1));
    assert!(!conversation.is_following());
    conversation.scroll(Scroll::Bottom);
    assert!(conversation.is_following());
    conversation.scroll(Scroll::Top);
    assert!(shown(&mut conversation, 40, 10).contains("record 0"));
    conversation.scroll(Scroll::Lines(i64::MAX));
    assert!(conversation.is_following());
    conversation.scroll(Scroll::Lines(i64::MIN));
    conversation.scroll(Scroll::Lines(10));
    assert!(!conversation.is_following());
}

#[test]
fn a_resize_keeps_the_record_that_is_read() {
    let mut conversation =
        filled(&(0..80).map(|n| text(&format!("record {n} {}", "word ".repeat(60)))).collect::<Vec<_>>());
    shown(&mut conversation, 100, 20);
    conversation.scroll(Scroll::Lines(-100));
    let before = shown(&mut conversation, 100, 20);
    let first = before
        .lines()
        .find(|line| line.contains("record"))
        .unwrap()
        .split_whitespace()
        .nth(2)
        .unwrap()
        .to_owned();
    for width in [60, 200, 33, 100] {
        assert!(
            shown(&mut conversation, width, 20).contains(&format!("record {first} ")),
            "{first} at {width}"
        );
    }
}

#[test]
fn a_message_moves_from_below_into_the_conversation_with_its_receipts() {
    let mut conversation = filled(&[text("working")]);
    let states = [
        pending("m-1", "use the parser", PendingState::Sending),
        pending("m-2", "next time write the test first", PendingState::Pending),
        pending("m-3", "no", PendingState::Failed("the agent\nis gone".into())),
        pending("m-4", "late", PendingState::Expired),
    ];
    conversation.set_pending(states.to_vec());
    let theme = Theme::default();
    let waiting = styled_rows(&view(&mut conversation, 60, 15, &theme), &theme);
    let message = r#""type":"message","from":"ben","text":"use the parser","name":"m-1""#;
    conversation.push(1, &record(3, message));
    let delivered = rows(&view(&mut conversation, 60, 15, &theme));
    assert_eq!(delivered.matches("use the parser").count(), 1);
    conversation.set_pending(vec![pending("m-1", "use the parser", PendingState::Acknowledged)]);
    let acknowledged = rows(&view(&mut conversation, 60, 15, &theme));
    snapshot("conversation-messages", &format!("{waiting}\n{delivered}\n{acknowledged}"));
}

#[test]
fn a_search_goes_from_hit_to_hit_opens_folds_and_counts() {
    let mut conversation = filled(&whole());
    let theme = Theme::default();
    view(&mut conversation, 60, 15, &theme);
    assert!(conversation.search("case_33"));
    let found = view(&mut conversation, 60, 15, &theme);
    assert!(rows(&found).contains("case_33"), "{}", rows(&found));
    assert!(styled_rows(&found, &theme).contains("!!!!!!!"));
    assert_eq!(conversation.hits(), Some(Hits { current: 1, total: 1, complete: true }));
    assert!(conversation.search("backlog"));
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(conversation.search.as_ref().unwrap().current.unwrap());
        assert!(conversation.next_hit());
    }
    assert_eq!(seen[0], seen[4], "four rows hold it, then it begins again");
    assert!(conversation.prev_hit() && conversation.prev_hit());
    assert_eq!(conversation.search.as_ref().unwrap().current, Some(seen[3]));
    assert!(!conversation.search("no such words"));
    assert!(!conversation.next_hit());
    assert!(!conversation.search(""));
    assert_eq!(conversation.hits(), None);
}

#[test]
fn the_focus_goes_from_record_to_record_and_says_what_is_copied() {
    let mut conversation = filled(&whole());
    shown(&mut conversation, 80, 24);
    conversation.scroll(Scroll::Top);
    shown(&mut conversation, 80, 24);
    conversation.scroll(Scroll::Records(1));
    assert!(conversation.selected_text().starts_with("Work on the first"));
    conversation.scroll(Scroll::Records(3));
    assert_eq!(conversation.selected_text(), "Bash(ls backlog)");
    conversation.scroll(Scroll::Records(-1));
    assert!(conversation.selected_text().starts_with("I will look"));
    conversation.scroll(Scroll::Bottom);
    assert!(conversation.whole_text().contains("test parser::case_40"));
    assert!(conversation.selected_text().contains("Succeeded"));
}

#[test]
fn output_of_an_agent_cannot_leave_its_place() {
    let hostile = "\u{1b}[2J\u{1b}]0;title\u{7}wiped \u{202e}reversed\u{202c} \t tab\r\nשלום עולם 👩\u{200d}👩\u{200d}👧 日本語";
    let mut conversation = filled(&[
        text(hostile),
        call("t", hostile, hostile),
        answer("t", hostile, true),
        format!(r#""type":"message","from":{h},"text":{h}"#, h = serde_json::to_string(hostile).unwrap()),
    ]);
    snapshot("conversation-hostile", &shown(&mut conversation, 60, 20));
}

#[test]
fn nothing_at_all_and_no_room_at_all_are_drawn() {
    let mut conversation = Conversation::new();
    assert_eq!(conversation.unseen(), 0);
    assert!(
        !conversation.toggle_fold() && !conversation.search("x") && conversation.selected_text().is_empty()
    );
    for scroll in [
        Scroll::Top,
        Scroll::Lines(-3),
        Scroll::Pages(2),
        Scroll::Records(1),
        Scroll::Records(-1),
        Scroll::Bottom,
    ] {
        conversation.scroll(scroll);
        view(&mut conversation, 0, 0, &Theme::default());
    }
    let mut conversation = filled(&whole());
    for (width, height) in [(0, 0), (1, 1), (2, 5), (5, 2), (9, 3), (13, 1), (80, 0), (0, 24), (300, 100)] {
        for scroll in [Scroll::Top, Scroll::Lines(3), Scroll::Bottom] {
            conversation.scroll(scroll);
            view(&mut conversation, width, height, &Theme::default());
        }
    }
}

#[test]
fn a_long_transcript_is_laid_out_only_where_it_is_seen() {
    let mut conversation = Conversation::new();
    let records = whole();
    for number in 0..50_000_u64 {
        conversation.push(number, &record(number % 3000, &records[number as usize % 16]));
    }
    let theme = Theme::default();
    view(&mut conversation, 120, 40, &theme);
    conversation.scroll(Scroll::Lines(-10_000));
    view(&mut conversation, 120, 40, &theme);
    conversation.scroll(Scroll::Top);
    view(&mut conversation, 120, 40, &theme);
    let kept = conversation.items.iter().filter(|item| item.rows.is_some()).count();
    assert!(kept <= KEPT_PARTS, "{kept}");
    // A frame of 50,000 records costs what a frame of fifty costs: it does not depend on their number.
    let started = std::time::Instant::now();
    for _ in 0..20 {
        view(&mut conversation, 120, 40, &theme);
    }
    assert!(started.elapsed().as_millis() < 2_000, "{:?} for 20 frames", started.elapsed());
}

#[test]
fn a_huge_record_is_laid_out_in_parts() {
    let huge: String = (0..60_000).map(|n| format!("{n} some words of an answer\n")).collect();
    let mut conversation = filled(&[call("t", "Bash", "cat"), answer("t", &huge, false), text(&huge)]);
    conversation.toggle_fold_all();
    assert!(conversation.items.len() > 200);
    assert!(shown(&mut conversation, 80, 24).contains("59999 some words"));
    conversation.scroll(Scroll::Lines(-5_000));
    let far = shown(&mut conversation, 80, 24);
    assert!(far.contains("│● 54") || far.contains("│  5497"), "{far}");
    conversation.scroll(Scroll::Top);
    conversation.search("59990 some");
    while conversation.is_searching() {
        conversation.layout(80, 24, &Theme::default());
    }
    assert_eq!(conversation.hits(), Some(Hits { current: 1, total: 2, complete: true }));
    assert!(shown(&mut conversation, 80, 24).contains("59990 some words"));
    conversation.search("33333 some");
    while conversation.is_searching() {
        conversation.layout(80, 24, &Theme::default());
    }
    assert!(shown(&mut conversation, 80, 24).contains("33333 some words"));
}

fn any_record() -> impl Strategy<Value = String> {
    let words = "([a-z]{1,12}( |\n)){0,40}|\\PC{0,40}";
    (0..9, words, 0..4_u8).prop_map(|(kind, words, id)| {
        let quoted = serde_json::to_string(&words).unwrap();
        match kind {
            0 => format!(r#""type":"prompt","text":{quoted}"#),
            1 => format!(r#""type":"thinking","text":{quoted}"#),
            2 => call(&id.to_string(), "Bash", &words),
            3 => answer(&id.to_string(), &words, id == 0),
            4 => format!(r#""type":"message","from":"a","text":{quoted},"name":"m{id}""#),
            5 => format!(r#""type":"notice","text":{quoted}"#),
            6 => r#""type":"usage","tokens":{"total":5}"#.to_owned(),
            7 => r#""type":"end","phase":"Failed","reason":"X","error":"no\nway""#.to_owned(),
            _ => text(&words),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn scrolling_row_by_row_shows_what_one_long_view_shows(
        records in proptest::collection::vec(any_record(), 1..14),
        width in 12_u16..90,
        height in 3_u16..12,
    ) {
        let mut conversation = filled(&records);
        let all = shown(&mut conversation, width, 400);
        // The last column holds the scroll bar, and notes may lie over the last row.
        let cells = |row: &str| row.trim_matches('│').trim_end_matches([' ', '┃', '│']).to_owned();
        let all: Vec<String> = all.lines().map(cells).collect();
        conversation.layout(width, height, &Theme::default());
        conversation.scroll(Scroll::Top);
        for start in 0..100 {
            let part = shown(&mut conversation, width, height);
            for (row, line) in part.lines().take(usize::from(height) - 1).enumerate() {
                prop_assert_eq!(cells(line), all[start + row].clone(), "row {} from {}", row, start);
            }
            if conversation.is_following() {
                break;
            }
            conversation.scroll(Scroll::Lines(1));
        }
    }

    #[test]
    fn no_order_of_keys_and_records_breaks_the_view(
        steps in proptest::collection::vec((0..14, any_record(), -30_i64..30), 1..40),
    ) {
        let mut conversation = Conversation::new();
        for (number, (step, rest, by)) in steps.iter().enumerate() {
            match step {
                0 => conversation.scroll(Scroll::Lines(*by)),
                1 => conversation.scroll(Scroll::Pages(*by)),
                2 => conversation.scroll(Scroll::Records(*by)),
                3 => conversation.toggle_fold_all(),
                4 => { conversation.toggle_fold(); }
                5 => { conversation.search("a"); }
                6 => { conversation.prev_hit(); }
                7 => conversation.toggle_thinking(),
                8 => conversation.toggle_wrap(),
                9 => conversation.set_pending(vec![pending(&format!("m{}", by.rem_euclid(4)), "x y", PendingState::Pending)]),
                10 => { conversation.toggle_fold_at(by.unsigned_abs() as u16); }
                _ => conversation.push(number as u64, &record(number as u64, rest)),
            }
            let (width, height) = (by.unsigned_abs() as u16 * 4, by.unsigned_abs() as u16);
            view(&mut conversation, width, height, &Theme::default());
            prop_assert!(conversation.unseen() <= conversation.count());
        }
    }
}
