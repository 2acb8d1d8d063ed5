//! Every colour and every sign of the terminal interface, in one place.
//!
//! Colour is never the only sign: whatever has a colour here has a glyph or a word of its own beside it. Each
//! glyph has an ASCII twin of the same width, so a layout does not depend on the set.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

/// For which background the colours are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Light text on dark.
    #[default]
    Dark,
    /// Dark text on light.
    Light,
    /// White on black, nothing dimmed.
    HighContrast,
    /// No colour at all (`NO_COLOR`): bold, dim, underlined and reversed only.
    Plain,
}

impl Mode {
    /// The mode of a name as people write it: `dark`, `light`, `high-contrast`, `plain`.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "dark" => Self::Dark,
            "light" => Self::Light,
            "high-contrast" | "contrast" => Self::HighContrast,
            "plain" | "none" => Self::Plain,
            _ => return None,
        })
    }

    /// The name that [`Mode::parse`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::HighContrast => "high-contrast",
            Self::Plain => "plain",
        }
    }
}

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Which colours these are.
    pub mode: Mode,
    /// Ordinary text, and the ground of every view.
    pub text: Style,
    /// Less important: thinking, results of tools, ages.
    pub dim: Style,
    /// Headings, names, emphasis.
    pub strong: Style,
    /// What can be acted on, the focused border, links.
    pub accent: Style,
    /// It went well.
    pub good: Style,
    /// It needs an eye.
    pub warn: Style,
    /// It went wrong.
    pub bad: Style,
    /// The selected row; patched over the row's own style.
    pub selected: Style,
    /// Inline code and fenced code.
    pub code: Style,
    /// Borders and rules.
    pub border: Style,
    /// What a search found; patched over the text's own style.
    pub hit: Style,
    /// What a person wrote: prompts and messages.
    pub person: Style,
    /// The signs.
    pub glyphs: Glyphs,
}

impl Theme {
    /// The theme for a background, with Unicode or ASCII signs.
    pub fn new(mode: Mode, ascii: bool) -> Self {
        let glyphs = if ascii { Glyphs::ASCII } else { Glyphs::UNICODE };
        let plain = Style::new();
        let color = |index: u8| Style::new().fg(Color::Indexed(index));
        match mode {
            Mode::Dark => Self {
                mode,
                text: plain,
                dim: color(245),
                strong: plain.add_modifier(Modifier::BOLD),
                accent: color(75),
                good: color(114),
                warn: color(221),
                bad: color(203),
                selected: plain.bg(Color::Indexed(237)).add_modifier(Modifier::BOLD),
                code: color(180),
                border: color(240),
                hit: color(16).bg(Color::Indexed(221)),
                person: color(176),
                glyphs,
            },
            Mode::Light => Self {
                mode,
                text: plain,
                dim: color(242),
                strong: plain.add_modifier(Modifier::BOLD),
                accent: color(25),
                good: color(28),
                warn: color(130),
                bad: color(160),
                selected: plain.bg(Color::Indexed(253)).add_modifier(Modifier::BOLD),
                code: color(94),
                border: color(247),
                hit: color(16).bg(Color::Indexed(221)),
                person: color(90),
                glyphs,
            },
            Mode::HighContrast => {
                let on_black = |index: u8| color(index).bg(Color::Indexed(16));
                let white = on_black(231);
                let bold = |style: Style| style.add_modifier(Modifier::BOLD);
                Self {
                    mode,
                    text: white,
                    dim: white,
                    strong: bold(white),
                    accent: bold(on_black(51)),
                    good: bold(on_black(46)),
                    warn: bold(on_black(226)),
                    bad: bold(on_black(210)),
                    selected: bold(color(16).bg(Color::Indexed(231))),
                    code: on_black(229),
                    border: white,
                    hit: bold(color(16).bg(Color::Indexed(226))),
                    person: bold(on_black(219)),
                    glyphs,
                }
            }
            Mode::Plain => {
                let with = |modifier: Modifier| plain.add_modifier(modifier);
                Self {
                    mode,
                    text: plain,
                    dim: with(Modifier::DIM),
                    strong: with(Modifier::BOLD),
                    accent: with(Modifier::BOLD),
                    good: plain,
                    warn: with(Modifier::BOLD),
                    bad: with(Modifier::BOLD | Modifier::UNDERLINED),
                    selected: with(Modifier::REVERSED),
                    code: plain,
                    border: with(Modifier::DIM),
                    hit: with(Modifier::REVERSED | Modifier::UNDERLINED),
                    person: with(Modifier::BOLD),
                    glyphs,
                }
            }
        }
    }
}

impl Default for Theme {
    fn default() -> Self {
        Self::new(Mode::Dark, false)
    }
}

/// The signs. Every one is a single column wide, in both sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// True for the ASCII set.
    pub ascii: bool,
    /// Before what an agent says or does.
    pub bullet: &'static str,
    /// Before a tool's answer.
    pub result: &'static str,
    /// Before a prompt, and of an input line.
    pub prompt: &'static str,
    /// Before thinking.
    pub thinking: &'static str,
    /// Before a message of a person.
    pub message: &'static str,
    /// Before a notice.
    pub notice: &'static str,
    /// Frames of the sign of what is running.
    pub spinner: &'static [&'static str],
    /// Running, where nothing may move.
    pub running: &'static str,
    /// Ended well; delivered and confirmed.
    pub done: &'static str,
    /// Ended badly.
    pub failed: &'static str,
    /// Ended from outside.
    pub interrupted: &'static str,
    /// Not begun; not delivered.
    pub pending: &'static str,
    /// Delivered, not yet confirmed.
    pub delivered: &'static str,
    /// Held by a person.
    pub paused: &'static str,
    /// Held by a usage limit.
    pub throttled: &'static str,
    /// Needs a person.
    pub attention: &'static str,
    /// Alive with nothing to do.
    pub idle: &'static str,
    /// An open branch or fold.
    pub expanded: &'static str,
    /// A closed branch or fold.
    pub collapsed: &'static str,
    /// Something was cut here.
    pub ellipsis: &'static str,
    /// Between facts in one line.
    pub dot: &'static str,
    /// From one thing to another.
    pub arrow: &'static str,
    /// More above.
    pub up: &'static str,
    /// More below.
    pub down: &'static str,
    /// The selected row, beside its colour.
    pub selector: &'static str,
    /// Item of an unordered list.
    pub item: &'static str,
    /// Left edge of a quotation.
    pub quote: &'static str,
    /// A line that was broken in the middle goes on here.
    pub wrapped: &'static str,
    /// Horizontal rule.
    pub rule: &'static str,
    /// Vertical rule.
    pub vertical: &'static str,
    /// Crossing of rules in a table.
    pub cross: &'static str,
    /// Between a mean and its deviation.
    pub plus_minus: &'static str,
    /// The part of a scroll bar that is in view.
    pub thumb: &'static str,
    /// The rest of a scroll bar.
    pub track: &'static str,
    /// A box that is not ticked.
    pub unticked: &'static str,
    /// A box that is ticked.
    pub ticked: &'static str,
    /// Two changes that do not fit together.
    pub conflict: &'static str,
}

impl Glyphs {
    /// For terminals with a Unicode font.
    pub const UNICODE: Self = Self {
        ascii: false,
        bullet: "●",
        result: "⎿",
        prompt: "❯",
        thinking: "✻",
        message: "»",
        notice: "·",
        spinner: &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"],
        running: "▸",
        done: "✓",
        failed: "✗",
        interrupted: "■",
        pending: "○",
        delivered: "◐",
        paused: "‖",
        throttled: "◔",
        attention: "!",
        idle: "·",
        expanded: "▾",
        collapsed: "▸",
        ellipsis: "…",
        dot: "·",
        arrow: "→",
        up: "↑",
        down: "↓",
        selector: "▌",
        item: "•",
        quote: "▎",
        wrapped: "↳",
        rule: "─",
        vertical: "│",
        cross: "┼",
        plus_minus: "±",
        thumb: "┃",
        track: "│",
        unticked: "☐",
        ticked: "☑",
        conflict: "≠",
    };

    /// For the rest.
    pub const ASCII: Self = Self {
        ascii: true,
        bullet: "*",
        result: "|",
        prompt: ">",
        thinking: "~",
        message: ">",
        notice: ".",
        spinner: &["|", "/", "-", "\\"],
        running: ">",
        done: "+",
        failed: "x",
        interrupted: "#",
        pending: "o",
        delivered: "=",
        paused: "=",
        throttled: "%",
        attention: "!",
        idle: ".",
        expanded: "v",
        collapsed: ">",
        ellipsis: "~",
        dot: "-",
        arrow: ">",
        up: "^",
        down: "v",
        selector: ">",
        item: "-",
        quote: "|",
        wrapped: "\\",
        rule: "-",
        vertical: "|",
        cross: "+",
        plus_minus: "~",
        thumb: "#",
        track: "|",
        unticked: "o",
        ticked: "x",
        conflict: "%",
    };

    /// The spinner's frame at a time, in milliseconds of any clock; it turns ten times a second.
    pub fn spin(&self, milliseconds: u64) -> &'static str {
        let frames = self.spinner;
        let at = usize::try_from(milliseconds / 100).unwrap_or(0) % frames.len().max(1);
        frames.get(at).copied().unwrap_or(self.running)
    }

    /// Characters for a block's border.
    pub fn border(&self) -> border::Set<'static> {
        if !self.ascii {
            return border::ROUNDED;
        }
        border::Set {
            top_left: "+",
            top_right: "+",
            bottom_left: "+",
            bottom_right: "+",
            vertical_left: "|",
            vertical_right: "|",
            horizontal_top: "-",
            horizontal_bottom: "-",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr as _;

    fn all(glyphs: &Glyphs) -> Vec<String> {
        // The derived form names every field; its quoted parts are the signs.
        let text = format!("{glyphs:?}").replace("\"\\\\\"", "\"\u{1}\"");
        text.split('"').skip(1).step_by(2).map(|glyph| glyph.replace('\u{1}', "\\")).collect()
    }

    #[test]
    fn every_glyph_is_one_column_wide_in_both_sets() {
        for set in [Glyphs::UNICODE, Glyphs::ASCII] {
            assert!(all(&set).len() > 30);
            for glyph in all(&set) {
                assert_eq!(glyph.width(), 1, "{glyph:?}");
                assert_eq!(glyph.is_ascii(), set.ascii || glyph == "!", "{glyph:?}");
            }
        }
    }

    #[test]
    fn without_colour_there_is_no_colour() {
        let theme = Theme::new(Mode::Plain, false);
        let styles = format!("{theme:?}");
        assert!(!styles.contains("Indexed") && !styles.contains("Some("), "{styles}");
        assert_ne!(theme.selected, theme.text);
        assert_ne!(theme.bad, theme.good);
    }

    #[test]
    fn modes_read_back_by_name_and_the_spinner_turns() {
        for mode in [Mode::Dark, Mode::Light, Mode::HighContrast, Mode::Plain] {
            assert_eq!(Mode::parse(mode.name()), Some(mode));
        }
        assert_eq!(Mode::parse("mauve"), None);
        let glyphs = Glyphs::UNICODE;
        assert_ne!(glyphs.spin(0), glyphs.spin(100));
        assert_eq!(glyphs.spin(0), glyphs.spin(1000));
    }
}
