//! The terminal: taken, given back whatever happens, asked for its background.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::time::{Duration, Instant};

use base64::Engine as _;
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, KeyCode, KeyEvent,
    KeyModifiers,
};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::theme::Mode;

/// How long the terminal may take to name its background.
const ANSWER: Duration = Duration::from_millis(150);

/// Takes the terminal: raw, another screen, pastes marked, the mouse.
pub(crate) fn enter(mouse: bool) -> std::io::Result<()> {
    enable_raw_mode()?;
    let mut out = std::io::stdout();
    execute!(out, EnterAlternateScreen, EnableBracketedPaste)?;
    if mouse { execute!(out, EnableMouseCapture) } else { Ok(()) }
}

/// Gives the terminal back as it was. May be called more than once; errors are of no use to anybody.
pub(crate) fn leave() {
    let mut out = std::io::stdout();
    let _ = execute!(out, DisableMouseCapture, DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
    let _ = out.flush();
}

/// From now on a panic, of whatever task, gives the terminal back, says what happened, and ends the program: there is
/// nothing in it that could be lost, and half a screen is worse than none.
pub(crate) fn restore_after_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        leave();
        before(info);
        std::process::exit(101);
    }));
}

/// Takes or releases the mouse.
pub(crate) fn mouse(take: bool) {
    let mut out = std::io::stdout();
    let _ = if take { execute!(out, EnableMouseCapture) } else { execute!(out, DisableMouseCapture) };
}

/// Rings.
pub(crate) fn bell() {
    let mut out = std::io::stdout();
    let _ = out.write_all(b"\x07").and_then(|()| out.flush());
}

/// Copies to the clipboard of the terminal, over ssh too (OSC 52).
pub(crate) fn copy(text: &str) {
    let mut out = std::io::stdout();
    let sequence = clipboard(text, std::env::var_os("TMUX").is_some());
    let _ = out.write_all(sequence.as_bytes()).and_then(|()| out.flush());
}

/// The sequence that copies; tmux hands on only what is wrapped for it.
fn clipboard(text: &str, tmux: bool) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    let plain = format!("\x1b]52;c;{encoded}\x07");
    if tmux { format!("{plain}\x1bPtmux;\x1b{plain}\x1b\\") } else { plain }
}

/// Gives the terminal to the shell and stops this process until it is continued.
pub(crate) fn suspend(mouse: bool) -> std::io::Result<()> {
    leave();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)?;
    enter(mouse)
}

/// What the environment says about colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// The colours to begin with.
    pub(crate) mode: Mode,
    /// True when nothing may change them any more.
    pub(crate) chosen: bool,
    /// Only ASCII signs.
    pub(crate) ascii: bool,
}

/// Chooses colours and signs: what the user asked for, else the environment; `ask` asks the terminal itself.
pub(crate) fn look(
    asked: Option<Mode>,
    ascii: bool,
    variable: impl Fn(&str) -> Option<String>,
    ask: impl FnOnce() -> Option<bool>,
) -> Look {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name));
    let foreign = locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        !locale.contains("utf-8") && !locale.contains("utf8")
    });
    let ascii = ascii || foreign || set("TERM").is_some_and(|term| term == "linux");
    if let Some(mode) = asked {
        return Look { mode, chosen: true, ascii };
    }
    if set("NO_COLOR").is_some() || set("CLICOLOR").is_some_and(|value| value == "0") {
        return Look { mode: Mode::Plain, chosen: true, ascii };
    }
    let light = ask().or_else(|| {
        // `15;0`: the last number is the background; 7 and 9 to 15 are light.
        let ground: u8 = set("COLORFGBG")?.rsplit(';').next()?.parse().ok()?;
        Some(ground == 7 || (9..=15).contains(&ground))
    });
    let mode = if light == Some(true) { Mode::Light } else { Mode::Dark };
    Look { mode, chosen: false, ascii }
}

/// Asks the terminal for its background; nothing when it does not answer. Raw mode must be on.
pub(crate) fn light_background() -> Option<bool> {
    let mut tty = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
    if !tty.is_terminal() {
        return None;
    }
    // Every terminal answers the second question, so that there is an end to wait for.
    tty.write_all(b"\x1b]11;?\x07\x1b[c").ok()?;
    let end = Instant::now() + ANSWER;
    let mut answer = Vec::new();
    while !complete(&answer) {
        let left = end.checked_duration_since(Instant::now())?;
        let left = Timespec::try_from(left).ok()?;
        let mut fds = [PollFd::new(&tty, PollFlags::IN)];
        if poll(&mut fds, Some(&left)).ok()? == 0 {
            break;
        }
        let mut bytes = [0; 256];
        let count = tty.read(&mut bytes).ok()?;
        answer.extend_from_slice(bytes.get(..count)?);
    }
    background(&answer)
}

/// True when the answer to the second question is there.
fn complete(answer: &[u8]) -> bool {
    answer
        .windows(3)
        .position(|three| three == b"\x1b[?")
        .is_some_and(|at| answer.iter().skip(at).any(|b| *b == b'c'))
}

/// Reads `…]11;rgb:ffff/ffff/ffff…`; true for a light ground.
fn background(answer: &[u8]) -> Option<bool> {
    let text = String::from_utf8_lossy(answer);
    let (_, colours) = text.split_once("]11;rgb:")?;
    let mut parts = colours.split('/').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_hexdigit).collect();
        let largest = 16f64.powi(i32::try_from(digits.len()).ok()?) - 1.0;
        u32::from_str_radix(&digits, 16).ok().map(|value| f64::from(value) / largest)
    });
    let (red, green, blue) = (parts.next()??, parts.next()??, parts.next()??);
    Some(0.299 * red + 0.587 * green + 0.114 * blue > 0.5)
}

/// Drops the keys that an answer of the terminal seems to be when it comes too late.
#[derive(Debug, Default)]
pub(crate) struct LateAnswer {
    since: Option<Instant>,
}

impl LateAnswer {
    /// True when this key is a piece of such an answer. `]` with Alt begins one, BEL or a backslash with Alt ends
    /// it, and no answer takes longer than a moment.
    pub(crate) fn swallows(&mut self, key: &KeyEvent, now: Instant) -> bool {
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        if let Some(since) = self.since {
            if now.duration_since(since) > Duration::from_millis(60) {
                self.since = None;
            } else {
                let end = (key.code == KeyCode::Char('g') && key.modifiers.contains(KeyModifiers::CONTROL))
                    || (key.code == KeyCode::Char('\\') && alt);
                if end {
                    self.since = None;
                }
                return true;
            }
        }
        if key.code == KeyCode::Char(']') && alt {
            self.since = Some(now);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)], answer: Option<bool>) -> Look {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        look(None, false, variable, || answer)
    }

    #[test]
    fn the_user_then_the_environment_then_the_terminal_decide_about_colours() {
        assert_eq!(of(&[], Some(true)).mode, Mode::Light);
        assert_eq!(of(&[], None).mode, Mode::Dark);
        assert_eq!(of(&[("COLORFGBG", "0;15")], None).mode, Mode::Light);
        assert_eq!(of(&[("COLORFGBG", "0;15")], Some(false)).mode, Mode::Dark);
        assert_eq!(of(&[("NO_COLOR", "1")], Some(true)).mode, Mode::Plain);
        assert_eq!(of(&[("NO_COLOR", "")], None).mode, Mode::Dark);
        assert!(look(Some(Mode::HighContrast), false, |_| None, || Some(true)).chosen);
    }

    #[test]
    fn signs_are_ascii_where_the_locale_is_not_utf_8() {
        assert!(of(&[("LANG", "C")], None).ascii);
        assert!(!of(&[("LC_ALL", "de_DE.UTF-8"), ("LANG", "C")], None).ascii);
        assert!(!of(&[("LANG", "C.utf8")], None).ascii);
        assert!(!of(&[], None).ascii);
    }

    #[test]
    fn answers_about_the_background_are_read_in_every_length() {
        assert_eq!(background(b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62c"), Some(true));
        assert_eq!(background(b"\x1b]11;rgb:1e/1e/2e\x07"), Some(false));
        assert_eq!(background(b"\x1b[?62;22c"), None);
        assert!(complete(b"\x1b[?62;22c") && !complete(b"\x1b]11;rgb:c/c/c\x07"));
    }

    #[test]
    fn a_late_answer_is_no_key_and_a_person_is() {
        let mut late = LateAnswer::default();
        let now = Instant::now();
        let press = |c, modifiers| KeyEvent::new(KeyCode::Char(c), modifiers);
        assert!(late.swallows(&press(']', KeyModifiers::ALT), now));
        for c in "11;rgb:1e/1e/2e".chars() {
            assert!(late.swallows(&press(c, KeyModifiers::NONE), now));
        }
        assert!(late.swallows(&press('\\', KeyModifiers::ALT), now));
        assert!(!late.swallows(&press('r', KeyModifiers::NONE), now));
        assert!(late.swallows(&press(']', KeyModifiers::ALT), now));
        assert!(!late.swallows(&press('r', KeyModifiers::NONE), now + Duration::from_secs(1)));
    }

    #[test]
    fn the_clipboard_sequence_carries_any_text_safely() {
        assert_eq!(clipboard("a\x1b\n", false), "\x1b]52;c;YRsK\x07");
        assert!(clipboard("x", true).contains("\x1bPtmux;\x1b\x1b]52;"));
    }
}
