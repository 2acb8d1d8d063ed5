use super::*;
use crate::tui::testing::{rows, screen, snapshot, styled_rows};
use crate::tui::theme::Theme;
use proptest::prelude::*;

fn press(editor: &mut Editor, keys: &str) -> Vec<EditorEvent> {
    keys.split_whitespace()
        .map(|key| {
            let mut modifiers = KeyModifiers::NONE;
            let mut name = key;
            loop {
                let (bit, rest) = match name {
                    n if n.starts_with("ctrl-") => (KeyModifiers::CONTROL, &n[5..]),
                    n if n.starts_with("alt-") => (KeyModifiers::ALT, &n[4..]),
                    n if n.starts_with("shift-") => (KeyModifiers::SHIFT, &n[6..]),
                    _ => break,
                };
                modifiers |= bit;
                name = rest;
            }
            let code = match name {
                "enter" => KeyCode::Enter,
                "esc" => KeyCode::Esc,
                "left" => KeyCode::Left,
                "right" => KeyCode::Right,
                "up" => KeyCode::Up,
                "down" => KeyCode::Down,
                "home" => KeyCode::Home,
                "end" => KeyCode::End,
                "pgup" => KeyCode::PageUp,
                "pgdn" => KeyCode::PageDown,
                "bs" => KeyCode::Backspace,
                "del" => KeyCode::Delete,
                "tab" => KeyCode::Tab,
                "space" => KeyCode::Char(' '),
                other => KeyCode::Char(other.chars().next().unwrap()),
            };
            editor.handle(KeyEvent::new(code, modifiers))
        })
        .collect()
}

/// The text with the cursor as `|` and the other end of the selection as `^`.
fn seen(editor: &Editor) -> String {
    let mut text = editor.text();
    let mut marks = vec![(editor.cursor, '|')];
    marks.extend(editor.mark.map(|mark| (mark, '^')));
    marks.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    for (at, sign) in marks {
        text.insert(at, sign);
    }
    text
}

fn after(text: &str, keys: &str) -> String {
    let mut editor = Editor::new(text);
    press(&mut editor, keys);
    seen(&editor)
}

#[test]
fn keys_do_what_they_do_in_every_text_box() {
    let rows = [
        ("", "a b enter ctrl-j tab", "ab\n\n\t|"),
        ("one two", "left left bs", "one |wo"),
        ("one two", "home del ctrl-d", "|e two"),
        ("one two.three", "ctrl-left alt-b alt-left", "one |two.three"),
        ("one two", "home ctrl-right alt-f", "one two|"),
        ("one two", "ctrl-w ctrl-y ctrl-y", "one twotwo|"),
        ("one two", "home alt-d alt-d", "|"),
        ("one\ntwo", "ctrl-u bs ctrl-a ctrl-k", "|"),
        ("one\ntwo", "up ctrl-k", "one|two"),
        ("日本\nabcd", "up left down", "日本\nab|cd"),
        ("long line\nx\nlong line", "left up up", "long lin|e\nx\nlong line"),
        ("abc", "shift-left shift-left", "a|bc^"),
        ("abc", "shift-left shift-left x", "ax|"),
        ("abc", "shift-home left", "|abc"),
        ("abc", "shift-ctrl-left alt-w end ctrl-y", "abcabc|"),
        ("abc", "alt-a del", "|"),
        ("one\ntwo", "up up", "|one\ntwo"),
        ("one\ntwo", "home up down down", "one\ntwo|"),
        ("e\u{301}👩\u{200d}👩\u{200d}👧", "bs bs", "|"),
        ("👩\u{200d}👩\u{200d}👧x", "left left", "|👩\u{200d}👩\u{200d}👧x"),
        ("a", "ctrl-z alt-x ctrl-alt-@", "a@|"),
        ("ab", "ctrl-home ctrl-end pgup pgdn", "ab|"),
    ];
    for (text, keys, expected) in rows {
        assert_eq!(after(text, keys), expected, "{text:?} {keys}");
    }
}

#[test]
fn typing_is_taken_back_by_the_word_and_made_again() {
    let mut editor = Editor::new("");
    press(&mut editor, "a b c space d e f");
    press(&mut editor, "ctrl-_");
    assert_eq!(editor.text(), "abc");
    press(&mut editor, "alt-z alt-z");
    assert_eq!(editor.text(), "");
    press(&mut editor, "alt-Z alt-shift-z");
    assert_eq!(seen(&editor), "abc def|");
    editor.insert("\r\npasted\rlines");
    assert_eq!(editor.text(), "abc def\npasted\nlines");
    press(&mut editor, "ctrl-/");
    assert_eq!(editor.text(), "abc def");
    press(&mut editor, "x");
    assert_eq!(press(&mut editor, "alt-Z"), [EditorEvent::Ignored], "what was typed since has replaced it");
}

#[test]
fn submitting_and_cancelling_follow_the_box() {
    let mut message = Editor::new("").submitting(Submit::Enter);
    use EditorEvent::{Cancel, Changed, Confirm, Ignored, Moved, Submit as Done};
    assert_eq!(
        press(&mut message, "a alt-enter shift-enter ctrl-j left right right enter ctrl-s esc"),
        [Changed, Changed, Changed, Changed, Moved, Moved, Ignored, Done, Ignored, Cancel]
    );
    let mut prompt = Editor::new("text").submitting(Submit::CtrlS);
    assert_eq!(press(&mut prompt, "esc"), [Cancel]);
    assert_eq!(
        press(&mut prompt, "x enter ctrl-s esc left esc esc"),
        [Changed, Changed, Done, Confirm, Moved, Confirm, Cancel]
    );
    assert!(prompt.is_dirty());
    prompt.set_clean();
    assert_eq!(press(&mut prompt, "esc"), [Cancel]);
    prompt.set_text("new");
    assert!(!prompt.is_dirty());
    assert_eq!(press(&mut prompt, "alt-z"), [Ignored]);
}

#[test]
fn a_long_text_wraps_scrolls_and_shows_the_cursor() {
    let theme = Theme::default();
    let text = "A prompt with words that wrap at the edge of the box.\n\n\tindented, 日本語 and 👩\u{200d}👩\u{200d}👧\nhidden \u{202e}mark and \u{1b} escape\naverylongwordthatdoesnotfitintoonerowofthebox\nlast";
    let mut editor = Editor::new(text);
    let mut out = String::new();
    for (width, height) in [(30, 12), (30, 4), (12, 6)] {
        let mut at = None;
        let buffer = screen(width, height, |area, buffer| at = editor.render(area, buffer, &theme));
        out.push_str(&format!("{width}x{height} cursor {at:?}\n{}\n", rows(&buffer)));
    }
    press(&mut editor, "pgup shift-up shift-left");
    let buffer = screen(30, 6, |area, buffer| assert!(editor.render(area, buffer, &theme).is_some()));
    out.push_str(&styled_rows(&buffer, &theme));
    let empty = Editor::default().with_placeholder("write to builder");
    let buffer = screen(12, 1, |area, buffer| assert!(empty.render(area, buffer, &theme).is_some()));
    out.push_str(&format!("\n{}", styled_rows(&buffer, &theme)));
    snapshot("editor", &out);
    for (width, height) in [(0, 0), (1, 1), (2, 1), (1, 5)] {
        screen(width, height, |area, buffer| {
            assert_eq!(editor.render(area, buffer, &theme).is_some(), width * height > 0);
        });
    }
}

#[test]
fn a_click_puts_the_cursor_on_what_is_there() {
    let mut editor = Editor::new("abc\n日本語");
    screen(10, 3, |area, buffer| assert!(editor.render(area, buffer, &Theme::default()).is_some()));
    editor.click(3, 1);
    assert_eq!(seen(&editor), "abc\n日|本語");
    editor.click(90, 0);
    assert_eq!(seen(&editor), "abc|\n日本語");
    editor.click(0, 90);
    assert_eq!(seen(&editor), "abc\n|日本語");
}

/// What an editor is, in the plainest words: characters and a place among them.
#[derive(Clone, Debug, Default)]
struct Plain {
    chars: Vec<char>,
    at: usize,
}

impl Plain {
    fn step(&mut self, key: &str) {
        match key {
            "left" => self.at = self.at.saturating_sub(1),
            "right" => self.at = (self.at + 1).min(self.chars.len()),
            "home" => self.at = self.chars[..self.at].iter().rposition(|c| *c == '\n').map_or(0, |at| at + 1),
            "end" => self.at += self.chars[self.at..].iter().take_while(|c| **c != '\n').count(),
            "bs" if self.at > 0 => {
                self.at -= 1;
                self.chars.remove(self.at);
            }
            "del" if self.at < self.chars.len() => {
                self.chars.remove(self.at);
            }
            "bs" | "del" => {}
            key => {
                let c = match key {
                    "enter" => '\n',
                    "space" => ' ',
                    key => key.chars().next().unwrap(),
                };
                self.chars.insert(self.at, c);
                self.at += 1;
            }
        }
    }
}

const KEYS: &[&str] = &[
    "left",
    "right",
    "home",
    "end",
    "bs",
    "del",
    "enter",
    "space",
    "a",
    "日",
    "up",
    "down",
    "alt-z",
    "alt-Z",
    "ctrl-w",
    "ctrl-k",
    "shift-left",
    "shift-down",
    "ctrl-right",
    "pgup",
    "ctrl-u",
    "ctrl-y",
    "tab",
];

proptest! {
    #[test]
    fn it_does_what_the_plain_model_does(keys in proptest::collection::vec(proptest::sample::select(&KEYS[..10]), 0..60)) {
        let mut editor = Editor::new("");
        let mut plain = Plain::default();
        for key in &keys {
            press(&mut editor, key);
            plain.step(key);
        }
        let text: String = plain.chars.iter().collect();
        prop_assert_eq!(editor.text(), text.clone());
        prop_assert_eq!(editor.cursor, plain.chars[..plain.at].iter().map(|c| c.len_utf8()).sum::<usize>());
        while press(&mut editor, "alt-z") != [EditorEvent::Ignored] {}
        prop_assert_eq!(editor.text(), "");
        while press(&mut editor, "alt-Z") != [EditorEvent::Ignored] {}
        prop_assert_eq!(editor.text(), text);
    }

    #[test]
    fn no_keys_break_it_and_no_character_is_hidden(
        text in "[ a-z日👩\u{200d}\u{301}\n\t\u{202e}]{0,40}",
        keys in proptest::collection::vec(proptest::sample::select(KEYS), 0..40),
        width in 0_u16..20,
        height in 0_u16..6,
    ) {
        let theme = Theme::default();
        let mut editor = Editor::new(&text);
        for key in &keys {
            press(&mut editor, key);
            let mut at = None;
            screen(width, height, |area, buffer| at = editor.render(area, buffer, &theme));
            prop_assert!(editor.cursor == editor.settle(editor.cursor));
            prop_assert!(at.is_none_or(|at| at.x < width && at.y < height));
        }
        let rows = editor.rows(usize::from(width));
        let solid: String = rows.iter().map(|row| &editor.text[row.clone()]).collect();
        prop_assert_eq!(solid, editor.text().replace('\n', ""));
    }
}
