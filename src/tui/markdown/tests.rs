use super::*;
use crate::tui::testing::{snapshot, styled_lines};
use proptest::prelude::*;

const EVERYTHING: &str = "# The plan\nWe go **step by step**, with `cargo test` after *each*.\nThe line break stays.\n\n\
## Steps\n1. First, a longer item that has to be wrapped because it does not fit on one row of the view\n2. Second\n   - nested `item`\n   - [x] done, [ ] not\n     > quoted in a list\n3. Third\n\n\
- [x] ticked\n- [ ] not ticked\n\n\
> A quotation\n> of two lines\n>\n> > and a deeper one\n\n\
```rust\nfn main() {\n    println!(\"a very long line of code that is not wrapped by words but cut hard\");\n}\n```\n\n\
```diff\n--- a/x.rs\n+++ b/x.rs\n@@ -1 +1 @@\n-old\n+new\n same\n```\n\n\
| Test | Result | Time |\n|:--|:-:|--:|\n| parses everything that is in the examples | **ok** | 1.2s |\n| größe | ✗ | 12s |\n\n\
See [the book](https://example.org/book) or <https://example.org>, ~~not this~~.\n\n---\n\n<b>html</b> is text.\n";

#[test]
fn everything_that_markdown_knows_is_readable_at_every_width() {
    let theme = Theme::default();
    for columns in [30, 60, 100] {
        let lines = render(EVERYTHING, columns, &theme);
        snapshot(&format!("markdown-{columns}"), &styled_lines(&lines, columns, &theme));
    }
}

#[test]
fn without_colour_and_without_unicode_all_signs_remain() {
    let theme = Theme::new(Mode::Plain, true);
    let lines = render(EVERYTHING, 60, &theme);
    snapshot("markdown-plain-ascii", &styled_lines(&lines, 60, &theme));
}

fn text_of(text: &str, columns: u16) -> Vec<String> {
    render(text, columns, &Theme::default()).iter().map(line_text).collect()
}

#[test]
fn what_is_still_being_written_is_shown_as_far_as_it_is() {
    let whole = EVERYTHING;
    for (at, _) in whole.char_indices() {
        let lines = text_of(&whole[..at], 40);
        assert!(lines.iter().all(|line| width(line) <= 40), "{:?}", &whole[..at]);
    }
    assert_eq!(text_of("```rust\nfn ma", 40), ["  fn ma"]);
    assert_eq!(text_of("some **bol", 40), ["some **bol"]);
    assert_eq!(text_of("| a | b |\n|--", 40), ["| a | b |", "|--"]);
    assert_eq!(text_of("[text](http://exa", 40), ["[text](http://exa"]);
}

#[test]
fn what_is_not_markdown_stays_as_it_is() {
    assert_eq!(text_of("", 10), Vec::<String>::new());
    assert_eq!(text_of("a * b * c < d & e_f_g", 40), ["a * b * c < d & e_f_g"]);
    assert_eq!(text_of("<div>\n  x\n</div>", 40), ["<div>", "  x", "</div>"]);
    assert_eq!(text_of("&#27;[2J &lt;", 40), ["␛[2J <"]);
}

#[test]
fn spacing_follows_the_lists() {
    assert_eq!(text_of("a\n- b\n- c\n\nd", 20), ["a", "", "• b", "• c", "", "d"]);
    assert_eq!(text_of("- b\n\n- c\n", 20), ["• b", "", "• c"]);
    assert_eq!(text_of("- a\n  - b\n- c", 20), ["• a", "  • b", "• c"]);
    assert_eq!(text_of("-\n- x", 20), ["• ", "• x"]);
    assert_eq!(text_of("- ```\n  code\n  ```", 20), ["•   code"]);
    assert_eq!(text_of("9. a\n10. b", 20), ["9. a", "10. b"]);
}

#[test]
fn hostile_nesting_is_cut_off_in_time() {
    let started = std::time::Instant::now();
    for text in
        [">".repeat(20_000), "- ".repeat(5_000), "*".repeat(20_000), "[".repeat(20_000), "`".repeat(20_001)]
    {
        assert!(text_of(&text, 40).iter().all(|line| width(line) <= 40));
    }
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn code_in_an_item_fits_a_view_of_six_columns() {
    for line in text_of("1.      日本", 6) {
        assert!(width(&line) <= 6, "{line:?}");
    }
}

proptest! {
    #[test]
    fn no_line_is_wider_than_the_view(
        text in "([ a-c*_`>#|\\[\\]()!&;:-]|日|👩|\n|\n\n|```|\\| *|- |1\\. |\u{1b}\\[|\u{202e}){0,60}",
        columns in 1_u16..50,
    ) {
        let theme = Theme::default();
        for line in render(&text, columns, &theme) {
            let text = line_text(&line);
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
            // Below that no prefix and no wide character fits.
            prop_assert!(columns < 6 || width(&text) <= usize::from(columns), "{:?}", text);
        }
    }

    #[test]
    fn every_letter_of_a_text_is_shown(words in proptest::collection::vec("[a-z]{1,12}", 1..20), columns in 8_u16..60) {
        let text = words.join(" ");
        let solid: String = text_of(&text, columns).concat().chars().filter(|c| !c.is_whitespace()).collect();
        prop_assert_eq!(solid, words.concat());
    }
}
