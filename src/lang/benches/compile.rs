//! How fast programs compile: `cargo bench -p gcluster-lang`.
//!
//! Prints MB/s for one large file and seconds for many agents in one file. `COMPILE_MB` (default 100),
//! `COMPILE_AGENTS` (default 10000) and `COMPILE_ROUNDS` (default 3, the best counts) change the sizes.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use gcluster_lang::{Compiled, FsLoader, compile};

fn main() {
    let megabytes = setting("COMPILE_MB", 100);
    let agents = setting("COMPILE_AGENTS", 10_000);
    for (label, line) in [
        (
            "ASCII prompts",
            "Read the backlog, take the first item, and write \"done\" behind it when it is finished.",
        ),
        (
            "prompts in Greek and Chinese",
            "Διάβασε τη λίστα και πάρε το πρώτο στοιχείο. 阅读清单，拿走第一项，完成后写下“完成”。",
        ),
    ] {
        let text = large_file(megabytes * 1_000_000, line);
        let (time, compiled) = best_of(&text);
        let speed = text.len() as f64 / 1e6 / time.as_secs_f64();
        println!(
            "{label}: {:.0} MB, {} agents in {:.3} s: {speed:.0} MB/s",
            text.len() as f64 / 1e6,
            compiled.agents.len(),
            time.as_secs_f64()
        );
    }
    let text = many_agents(agents);
    let (time, compiled) = best_of(&text);
    println!("many agents: {} agents in {:.3} s", compiled.agents.len(), time.as_secs_f64());
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn best_of(text: &str) -> (Duration, Compiled) {
    let round = || {
        let start = Instant::now();
        let compiled = compile(Path::new("bench.p"), text.as_bytes(), &FsLoader);
        (start.elapsed(), compiled)
    };
    let mut best = round();
    for _ in 1..setting("COMPILE_ROUNDS", 3) {
        let next = round();
        if next.0 < best.0 {
            best = next;
        }
    }
    assert!(best.1.errors.is_empty(), "{:?}", best.1.errors.first());
    best
}

/// Agents with one loop each; the method that it runs has a long body.
fn large_file(bytes: usize, line: &str) -> String {
    let mut text = String::with_capacity(bytes + 10_000);
    for n in 0.. {
        if text.len() >= bytes {
            break;
        }
        let _ = write!(
            text,
            "agent-worker-{n}:\n\ttask -> plan-{n} -> loop(work-{n})\n\nplan-{n}(task):\n\t# Plan\n"
        );
        for _ in 0..20 {
            let _ = writeln!(text, "\t{line}");
        }
        let _ = write!(text, "\nwork-{n}:\n");
        for _ in 0..80 {
            let _ = writeln!(text, "\t{line}");
        }
        text.push('\n');
    }
    text
}

/// Small agents that share some methods and have one of their own.
fn many_agents(count: usize) -> String {
    let mut text = String::from(
        "plan(task):\n\tPlan [task].\n\nreview:\n\tReview it.\n\ncheck:\n\tit -> review -> plan\n\n",
    );
    for n in 0..count {
        let _ = write!(
            text,
            "agent-a{n}(task):\n\ttask -> plan -> check -> loop(work-{n})\n\nwork-{n}:\n\tDo part {n}.\n\tThen stop.\n\n@agent-a{n}(part {n})\n\n"
        );
    }
    text
}
