//! How long steer takes from a key to a frame while a large fleet changes all the time.
//!
//! `cargo bench --bench steer` makes 10,000 agents, of which 1,000 change 50 times a second, and presses keys meanwhile.
//! Update and draw are those of the program; the screen is ratatui's test backend at 120x40. What the watches leave is
//! coalesced as the program does it: the newest state of each agent, at most 30 times a second.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use gcluster::tui::fleet::{AgentRow, Key, Sort, StepRow};
use gcluster::tui::model::{Model, Setting};
use gcluster::tui::msg::{BUDGET, Changes, Link, Msg};
use gcluster::tui::need::Need;
use gcluster::tui::theme::Mode;
use gcluster::tui::tickets::TicketRow;
use gcluster::tui::update::update;
use gcluster::tui::view;
use gcluster_types::kinds::ticket::TicketPhase;
use k8s_openapi::jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

const AGENTS: usize = 10_000;
/// Tickets, and how many of them change between two frames.
const TICKETS: [(usize, usize); 2] = [(500, 50), (1_000, 100)];
const CHANGING: usize = 1_000;
const FRAMES: usize = 150;
const PER_SECOND: usize = 30;
/// Changes that come between two frames; of each agent only the newest is left.
const RAW: usize = CHANGING * 50 / PER_SECOND;

type Screen = Terminal<TestBackend>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` and `cargo bench` pass flags of the standard harness; none of them matters here.
    println!(
        "{AGENTS} agents, {CHANGING} of them changing 50 times a second ({RAW} changes a frame), 120x40, ms"
    );
    println!("{:<44} {:>8} {:>8} {:>8}", "", "p50", "p99", "max");
    for sort in Sort::ALL {
        run(sort)?;
    }
    for (many, changing) in TICKETS {
        for width in [80, 120, 200] {
            tickets(width, many, changing)?;
        }
    }
    idle()?;
    Ok(())
}

/// The board with so many tickets, of which some change their place between two frames.
fn tickets(width: u16, many: usize, changing: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut screen = Terminal::new(TestBackend::new(width, 40))?;
    let mut model = fleet();
    model.size = (width, 40);
    let all = |frame: usize, which: &mut dyn Iterator<Item = usize>| {
        which.map(|n| (format!("d/t-{n}"), ticket(n, frame))).collect::<Vec<_>>()
    };
    let put = all(0, &mut (0..many));
    update(&mut model, Msg::Tickets(Changes { all: true, put, gone: Vec::new() }));
    update(&mut model, Msg::Key(KeyEvent::new(KeyCode::Char('2'), KeyModifiers::NONE)));
    let (mut keys, mut frames) = (Vec::new(), Vec::new());
    let codes = ['j', 'l', 'G', 'h', 'k', 'g', 'l'];
    for frame in 1..=FRAMES {
        let each = many / changing;
        let put = all(frame, &mut (0..many).skip(frame % each).step_by(each));
        let code = codes.get(frame % codes.len()).copied().unwrap_or('j');
        let begin = Instant::now();
        for piece in (Changes { all: false, put, gone: Vec::new() }).pieces() {
            update(&mut model, Msg::Tickets(piece));
        }
        update(&mut model, Msg::Key(KeyEvent::new(KeyCode::Char(code), KeyModifiers::NONE)));
        let drawing = Instant::now();
        draw(&mut screen, &model)?;
        frames.push(drawing.elapsed());
        keys.push(begin.elapsed());
    }
    line(&format!("{many} tickets, {width} columns: key to frame"), keys);
    line(&format!("{many} tickets, {width} columns: a frame"), frames);
    Ok(())
}

fn ticket(number: usize, frame: usize) -> TicketRow {
    const PHASES: [TicketPhase; 10] = [
        TicketPhase::Waiting,
        TicketPhase::Ready,
        TicketPhase::Working,
        TicketPhase::Checking,
        TicketPhase::Reviewing,
        TicketPhase::Approved,
        TicketPhase::Merging,
        TicketPhase::Merged,
        TicketPhase::Failed,
        TicketPhase::Cancelled,
    ];
    TicketRow {
        key: Key::new("d", &format!("t-{number}")),
        id: format!("T-{number}"),
        title: format!("Make the thing of number {number} a little better than it was"),
        priority: 1 + (number % 4) as i32,
        phase: PHASES.get((number + frame / 10) % PHASES.len()).copied().unwrap_or_default(),
        reviews: (number % 3) as i32,
        worker: Some((number % 9) as i32),
        since: Some(Timestamp::UNIX_EPOCH),
        ..TicketRow::default()
    }
}

fn run(sort: Sort) -> Result<(), Box<dyn std::error::Error>> {
    let mut screen = Terminal::new(TestBackend::new(120, 40))?;
    let mut model = fleet();
    model.fleet.sort_by(sort, false);
    draw(&mut screen, &model)?;
    let (mut keys, mut data, mut frames) = (Vec::new(), Vec::new(), Vec::new());
    let codes = [
        KeyCode::Down,
        KeyCode::Down,
        KeyCode::PageDown,
        KeyCode::Up,
        KeyCode::Char('G'),
        KeyCode::Char('g'),
    ];
    let mut tick = 0;
    for frame in 0..FRAMES {
        let mut newest = std::collections::HashMap::new();
        for _ in 0..RAW {
            tick += 1;
            let row = row((tick * 7) % CHANGING * (AGENTS / CHANGING), tick);
            newest.insert(format!("d/{}", row.key.name()), row);
        }
        let changes = Changes { all: false, put: newest.into_iter().collect(), gone: Vec::new() };
        // As the program does it: pieces until the budget is used up, then whatever was pressed meanwhile. The worst
        // case is a key that is pressed when such a turn has just begun; the last turns of a batch are shorter.
        let mut pieces = changes.pieces().into_iter();
        let begin = Instant::now();
        for piece in pieces.by_ref() {
            update(&mut model, Msg::Agents(piece));
            if begin.elapsed() >= BUDGET {
                break;
            }
        }
        let first = begin.elapsed();
        let code = codes.get(frame % codes.len()).copied().unwrap_or(KeyCode::Down);
        update(&mut model, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        let drawing = Instant::now();
        draw(&mut screen, &model)?;
        frames.push(drawing.elapsed());
        keys.push(begin.elapsed());
        let rest = Instant::now();
        for piece in pieces {
            update(&mut model, Msg::Agents(piece));
        }
        data.push(first + rest.elapsed());
    }
    let name = sort.name();
    line(&format!("key to frame behind a batch, by {name}"), keys);
    line(&format!("a batch of changes, by {name}"), data);
    line(&format!("a frame, by {name}"), frames);
    Ok(())
}

/// What a second costs in which nothing happens but the clock.
fn idle() -> Result<(), Box<dyn std::error::Error>> {
    let mut screen = Terminal::new(TestBackend::new(120, 40))?;
    let mut model = fleet();
    draw(&mut screen, &model)?;
    let seconds = 100;
    let begin = Instant::now();
    let mut drawn = 0;
    for second in 1..=seconds {
        model.changed = false;
        let now = Timestamp::from_second(model.now.as_second() + second)?;
        update(&mut model, Msg::Tick(now));
        if model.changed {
            draw(&mut screen, &model)?;
            drawn += 1;
        }
    }
    let share = begin.elapsed().as_secs_f64() / seconds as f64 * 100.0;
    println!(
        "{:<44} {share:>7.2}%   ({drawn} frames in {seconds} s)",
        "of one processor while nothing happens"
    );
    Ok(())
}

fn fleet() -> Model {
    let setting = Setting { address: "bench".into(), namespace: Some("d".into()), ..Setting::default() };
    let mut model = Model::new(setting, Mode::Dark, (120, 40), Timestamp::UNIX_EPOCH);
    let put = (0..AGENTS).map(|n| (format!("d/agent-{n}"), row(n, n))).collect();
    update(&mut model, Msg::Agents(Changes { all: true, put, gone: Vec::new() }));
    update(&mut model, Msg::Link(Link::Up));
    model
}

fn row(agent: usize, tick: usize) -> AgentRow {
    let mut row = AgentRow {
        key: Key::new("d", &format!("agent-{agent}")),
        uid: format!("uid-{agent}"),
        iterations: tick as i64,
        cost: tick as f64 / 100.0,
        tokens: (tick * 100) as i64,
        wanted: true,
        ..AgentRow::default()
    };
    // A change of state now and then, so that rows move between the groups.
    row.standing.need = Need::ALL.get((agent + tick / 5_000) % 6).copied().unwrap_or_default();
    row.standing.word = "working".into();
    row.steps = vec![StepRow {
        label: "work".into(),
        shown: "loop(work)".into(),
        looped: true,
        ..StepRow::default()
    }];
    row
}

fn draw(screen: &mut Screen, model: &Model) -> Result<(), std::convert::Infallible> {
    screen.draw(|frame| view::draw(model, frame)).map(|_| ())
}

fn line(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    println!("{name:<44} {:>8.2} {:>8.2} {:>8.2}", at(0.5), at(0.99), at(1.0));
}
