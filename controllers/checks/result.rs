//! What came of a script: words for people, the end of its output, a log of bounded size.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};

/// Of a log that is longer than twice this, so much is kept of its beginning and of its end.
const KEPT: u64 = 8 << 20;
/// How much of the end of the output is part of the status, in bytes.
const OUTPUT: usize = 8 << 10;
/// How many failing lines are quoted in a message.
const LINES: usize = 3;

/// What came out of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: bool,
    /// One of those that `status.reason` names.
    pub(crate) reason: &'static str,
    /// How it ended, in one sentence without what the script said.
    pub(crate) message: String,
    pub(crate) exit_code: Option<i32>,
}

impl Outcome {
    /// The script was not run, or not to its end.
    pub(crate) fn failed(reason: &'static str, message: impl Into<String>) -> Outcome {
        Outcome { passed: false, reason, message: message.into(), exit_code: None }
    }

    /// There is nothing to run.
    pub(crate) fn no_script(program: &str) -> Outcome {
        let message = format!("the commit has no {program}: there is nothing to test");
        Outcome { passed: true, reason: "NoScript", message, exit_code: None }
    }

    /// There is nothing to run, because the commit saw to that.
    pub(crate) fn script_removed(program: &str, base: &str) -> Outcome {
        let message = format!("it takes {program} away, with which {base} is tested: put it back");
        Outcome::failed("ScriptRemoved", message)
    }

    /// The script ended by itself.
    pub(crate) fn of_exit(
        command: &str,
        status: Option<std::process::ExitStatus>,
        took: Duration,
    ) -> Outcome {
        use std::os::unix::process::ExitStatusExt;
        let took = seconds(took);
        let Some(status) = status else {
            return Outcome::failed("CannotStart", format!("{command} ended, and nobody saw how"));
        };
        let exit_code = status.code();
        match (exit_code, status.signal()) {
            (Some(0), _) => {
                let message = format!("{command} passed in {took}");
                Outcome { passed: true, reason: "Passed", message, exit_code }
            }
            (Some(code), _) => {
                let message = format!("{command} ended with exit code {code} after {took}");
                Outcome { passed: false, reason: "ExitCode", message, exit_code }
            }
            (None, signal) => {
                let signal = signal.map_or("a signal".to_owned(), |number| format!("signal {number}"));
                Outcome::failed("Signal", format!("{command} was ended by {signal} after {took}"))
            }
        }
    }

    /// The sentence, and of a red one the lines that say why.
    pub(crate) fn sentence(&self, output: &str) -> String {
        let lines = if self.passed { Vec::new() } else { failing_lines(output) };
        match lines.is_empty() {
            true => self.message.clone(),
            false => format!("{}: {}", self.message, lines.join(" · ")),
        }
    }
}

fn seconds(took: Duration) -> String {
    match took.as_secs() {
        0..60 => format!("{:.1} s", took.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Those lines of an output that say what went wrong, as far as that can be told; else the last one.
pub(crate) fn failing_lines(output: &str) -> Vec<String> {
    const SIGNS: [&str; 8] =
        ["fail", "error", "panicked", "assert", "not ok", "fatal", "mismatch", "expected"];
    let cut = |line: &str| crate::report::shortened(line.trim(), 160);
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let is_sign = |line: &&&str| {
        let line = line.to_lowercase();
        // A summary that counts no failures is none.
        let none = ["0 failed", "0 errors", "0 failures", "no errors"].iter().any(|none| line.contains(none));
        !none && SIGNS.iter().any(|sign| line.contains(sign))
    };
    let mut found: Vec<String> = Vec::new();
    for line in lines.iter().filter(is_sign).map(|line| cut(line)) {
        if !found.contains(&line) && found.len() < LINES {
            found.push(line);
        }
    }
    if found.is_empty() {
        found.extend(lines.last().map(|line| cut(line)));
    }
    found
}

/// The end of a log as text, from the beginning of a line, without what steers a terminal.
pub(crate) fn end_of(log: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        // What steers a terminal takes space, too.
        file.seek(SeekFrom::Start(length.saturating_sub(4 * OUTPUT as u64)))?;
        let mut bytes = Vec::new();
        file.take(4 * OUTPUT as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = plain(&String::from_utf8_lossy(&read().unwrap_or_default()));
    let text = text.trim_end();
    if text.len() <= OUTPUT {
        return text.to_owned();
    }
    let from = (text.len() - OUTPUT..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let tail = text.get(from..).unwrap_or_default();
    tail.split_once('\n').map_or(tail, |(_, whole)| whole).to_owned()
}

/// Text without escape sequences and control characters.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => drop(chars.find(|c| ('@'..='~').contains(c))),
                Some(']') => drop(chars.find(|c| *c == '\u{7}' || *c == '\u{1b}')),
                _ => {}
            },
            '\n' | '\t' => out.push(c),
            '\r' => {
                // A line that is written over itself, as progress bars do, counts with its last state.
                if chars.peek().is_some_and(|next| *next != '\n') {
                    let line = out.rfind('\n').map_or(0, |at| at + 1);
                    out.truncate(line);
                }
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Gives back the disk under the middle of a log that still grows. Cheap; called again and again.
pub(crate) fn trim_growing(log: &Path) {
    let trim = || -> io::Result<()> {
        let file = fs::OpenOptions::new().write(true).open(log)?;
        let length = file.metadata()?.len();
        if length > 2 * KEPT {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            if fallocate(&file, hole, KEPT, length - 2 * KEPT).is_err() {
                // This file system has no holes. The script appends, so it goes on behind what is kept.
                file.set_len(KEPT)?;
            }
        }
        Ok(())
    };
    if let Err(error) = trim() {
        tracing::debug!(%error, log = %log.display(), "a log cannot be shortened");
    }
}

/// Takes the middle out of a log that is too long.
pub(crate) fn trim_finished(log: &Path) -> io::Result<()> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    if length <= 2 * KEPT {
        return Ok(());
    }
    let shorter = log.with_extension("part");
    let mut out = File::create(&shorter)?;
    io::copy(&mut Read::by_ref(&mut file).take(KEPT), &mut out)?;
    writeln!(out, "\n[… {} bytes were left out here …]", length - 2 * KEPT)?;
    file.seek(SeekFrom::Start(length - KEPT))?;
    io::copy(&mut file, &mut out)?;
    fs::rename(shorter, log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_red_check_says_the_lines_that_failed() {
        let output = "running 3 tests\ntest a ... ok\ntest parse::empty ... FAILED\n\nthread 'parse::empty' panicked at src/a.rs:3\ntest result: FAILED. 2 passed; 1 failed\nerror: test failed\n";
        let outcome = Outcome::of_exit(
            "./ci.sh",
            Some(std::os::unix::process::ExitStatusExt::from_raw(101 << 8)),
            Duration::from_millis(1_250),
        );
        assert_eq!((outcome.passed, outcome.reason, outcome.exit_code), (false, "ExitCode", Some(101)));
        let said = outcome.sentence(output);
        assert!(
            said.starts_with("./ci.sh ended with exit code 101 after 1.2 s: test parse::empty ... FAILED · ")
        );
        assert!(said.contains("panicked at src/a.rs:3"), "{said}");
        assert_eq!(failing_lines("all fine\n0 failed\nbye\n\n"), ["bye"]);
        assert_eq!(failing_lines(""), Vec::<String>::new());
        let killed = Outcome::of_exit(
            "./ci.sh",
            Some(std::os::unix::process::ExitStatusExt::from_raw(9)),
            Duration::from_secs(70),
        );
        assert_eq!(killed.message, "./ci.sh was ended by signal 9 after 1 min 10 s");
    }

    #[test]
    fn the_end_of_a_log_is_plain_text_from_the_beginning_of_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "\u{1b}[31mred\u{1b}[0m\u{1b}]0;title\u{7}\r\n10 %\r50 %\rdone\n\u{0}tab\there\n\n")
            .unwrap();
        assert_eq!(end_of(&log), "red\ndone\ntab\there");
        fs::write(&log, "ä".repeat(100) + "\n" + &"line of text\n".repeat(5_000)).unwrap();
        let end = end_of(&log);
        assert!(end.len() <= OUTPUT && end.len() > OUTPUT - 20 && end.starts_with("line of text\n"));
        assert_eq!(end_of(&dir.path().join("none")), "");
    }

    #[test]
    fn a_log_keeps_its_beginning_and_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut out = fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        writeln!(out, "the beginning").unwrap();
        let block = vec![b'x'; 1 << 20];
        for _ in 0..40 {
            out.write_all(&block).unwrap();
            trim_growing(&log);
        }
        writeln!(out, "\nthe end").unwrap();
        use std::os::unix::fs::MetadataExt;
        let on_disk = fs::metadata(&log).unwrap().blocks() * 512;
        assert!(on_disk <= 2 * KEPT + (4 << 20), "{on_disk}");
        trim_finished(&log).unwrap();
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.starts_with("the beginning\nx") && text.ends_with("x\nthe end\n"));
        assert!(text.contains("bytes were left out here") && text.len() as u64 <= 2 * KEPT + 100);
        trim_finished(&log).unwrap();
        assert!(text.contains("[… 2"), "{}", text.len());
    }
}
