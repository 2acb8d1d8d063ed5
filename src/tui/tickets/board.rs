//! Drawing the tickets: columns of cards, or a list in groups. Only what is in view is made.

use gcluster_types::kinds::ticket::{TicketPhase, TicketState};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::backlog::{Group, Lane, TicketRow};
use super::desk::ListRow;
use super::story::PoolRow;
use crate::render::age;
use crate::tui::layout::Pane;
use crate::tui::model::Model;
use crate::tui::msg::Link;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::view::parts::{between, cells, group, panel};

/// From this width on there are columns.
pub const WIDEST_LIST: u16 = 112;
/// Columns below which a card has two rows for its title.
const NARROW: u16 = 26;
/// Columns that id and title keep in the list before anything stands at their right.
const TITLE: usize = 18;
/// Columns of the word about the state in the list, and how few are enough for one.
const WORD: (usize, usize) = (15, 10);

/// Rows of the title of a card, where all columns together have so much room.
fn title_rows(width: u16) -> u16 {
    if width / (Lane::ALL.len() as u16) < NARROW { 2 } else { 1 }
}

/// Rows of a card, with the empty one below it.
fn card_rows(width: u16) -> u16 {
    title_rows(width) + 3
}

/// Cards that each column shows in a place: one row is the heading's, and the last card needs no empty row.
pub fn cards_in(area: Rect) -> usize {
    usize::from((area.height / card_rows(area.width)).max(1))
}

/// Draws the tickets into the place of the tree.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let areas = model.areas();
    if areas.tree.is_empty() {
        return;
    }
    let theme = &model.theme;
    let (count, shown) = (model.backlog.len(), model.backlog.shown());
    let title = match model.backlog.filter().is_empty() {
        true => format!("Tickets {count}"),
        false => format!("Tickets {shown} of {count}"),
    };
    let pools = pools(model, usize::from(areas.tree.width).saturating_sub(text::width(&title) + 8));
    frame.render_widget(panel(theme, &title, &pools, model.pane == Pane::Tree), areas.tree);
    if shown == 0 {
        return empty(model, frame, areas.rows);
    }
    match model.board() && model.pane == Pane::Tree {
        true => columns(model, frame, areas.rows),
        false => list(model, frame, areas.rows),
    }
}

/// `builders 2 of 3 busy`, or what keeps a pool from taking more; `builders 2/3` where there is less room.
fn pools(model: &Model, room: usize) -> String {
    let glyphs = &model.theme.glyphs;
    // With all workers at work there is nothing to explain.
    let trouble = |pool: &PoolRow| pool.message.clone().filter(|_| pool.busy < pool.workers);
    let words = |pool: &PoolRow| match trouble(pool) {
        Some(why) => format!("{}: {}", pool.key.name(), text::one_line(&why)),
        None => format!("{} {} of {} busy", pool.key.name(), pool.busy, pool.workers),
    };
    let counts = |pool: &PoolRow| {
        let sign = if trouble(pool).is_some() { format!("{} ", glyphs.attention) } else { String::new() };
        format!("{sign}{} {}/{}", pool.key.name(), pool.busy, pool.workers)
    };
    let all = |each: &dyn Fn(&PoolRow) -> String| {
        model.pools.values().map(each).collect::<Vec<_>>().join(&format!(" {} ", glyphs.dot))
    };
    let long = all(&words);
    let shown = if text::width(&long) <= room { long } else { all(&counts) };
    match room {
        0..8 => String::new(),
        _ => text::truncate(&shown, room, glyphs.ellipsis).into_owned(),
    }
}

/// What to do when there is nothing to see.
fn empty(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let theme = &model.theme;
    let place = model.setting.namespace.as_deref();
    let place = place.map_or("any namespace".to_owned(), |name| format!("namespace {name}"));
    let said: Vec<(String, Style)> = if !model.backlog.filter().is_empty() {
        vec![("Nothing matches.".into(), theme.strong), ("esc shows all again.".into(), theme.dim)]
    } else if !model.backlog_listed && !matches!(model.link, Link::Down(_)) {
        vec![("Reading the tickets…".into(), theme.dim)]
    } else {
        vec![
            (format!("No tickets in {place} yet."), theme.strong),
            (String::new(), theme.text),
            ("In another terminal:".into(), theme.dim),
            ("gcluster ticket add \"title\"".into(), theme.accent),
            (String::new(), theme.text),
            ("They appear here by themselves.".into(), theme.dim),
        ]
    };
    let mut lines = vec![Line::default()];
    for (words, style) in said {
        let rows = text::wrap(&words, usize::from(area.width).saturating_sub(2));
        lines.extend(rows.into_iter().map(|row| Line::styled(format!(" {row}"), style)));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Where each column stands.
fn lanes(area: Rect) -> impl Iterator<Item = (Lane, Rect)> {
    let count = Lane::ALL.len() as u16;
    let (each, more) = (area.width / count, area.width % count);
    Lane::ALL.into_iter().zip(0..count).map(move |(lane, at)| {
        let x = area.x + at * each + at.min(more);
        (lane, Rect { x, width: each + u16::from(at < more), ..area })
    })
}

fn columns(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let theme = &model.theme;
    let cards = cards_in(area);
    let rows = card_rows(area.width);
    let here = model.ticket().map(TicketRow::lane);
    for (lane, place) in lanes(area) {
        let last = lane == Lane::Done;
        let inner = Rect { width: place.width.saturating_sub(u16::from(!last)), ..place };
        if !last {
            for y in place.y..place.bottom() {
                let bar = Span::styled(theme.glyphs.vertical, theme.border);
                frame.render_widget(bar, Rect { x: inner.right(), y, width: 1, height: 1 });
            }
        }
        let count = model.backlog.count(lane);
        let style = if here == Some(lane) { theme.accent } else { theme.dim };
        let heading = vec![
            Span::styled(format!(" {} ", lane.title().to_uppercase()), style.add_modifier(Modifier::BOLD)),
            Span::styled(count.to_string(), theme.dim),
        ];
        let top = model.desk.top(lane);
        let below = count.saturating_sub(top + cards);
        let mut more = String::new();
        for (hidden, sign) in [(top, theme.glyphs.up), (below, theme.glyphs.down)] {
            if hidden > 0 {
                more.push_str(&format!("{sign}{hidden} "));
            }
        }
        let width = usize::from(inner.width);
        let line = between(heading, vec![Span::styled(more, theme.dim)], width, theme.glyphs.ellipsis);
        frame.render_widget(line, Rect { height: 1, ..inner });
        for (row, y) in model.desk.cards(&model.backlog, lane, cards).iter().zip((0..).map(|n| n * rows)) {
            let place = Rect { y: inner.y + 1 + y, height: rows - 1, ..inner };
            card(model, row, frame, place.intersection(inner));
        }
    }
}

fn card(model: &Model, row: &TicketRow, frame: &mut Frame<'_>, area: Rect) {
    let theme = &model.theme;
    let glyphs = &theme.glyphs;
    let selected = Some(&row.key) == model.desk.selected();
    let width = usize::from(area.width);
    let mark = || Span::styled(if selected { glyphs.selector } else { " " }, theme.accent);
    let (style, sign) = sign(row, theme);
    let head = vec![
        mark(),
        Span::styled(format!("{sign} "), style),
        Span::styled(text::one_line(&row.id).into_owned(), theme.strong),
    ];
    let priority = format!(" P{} ", row.priority);
    let mut facts = vec![mark(), Span::raw(" ")];
    facts.extend(facts_of(row, model, area.width < NARROW));
    let since = row.since.or(row.created);
    let since = since.map_or_else(String::new, |at| format!(" {} ", age::since(at, model.now)));
    let reviewed = if row.reviews > 0 { format!(" {}", reviews(row.reviews, theme)) } else { String::new() };
    // The place in the column says which is first: an id that is whole is worth more.
    let used: usize = head.iter().map(|span| text::width(&span.content)).sum();
    let fits = used + text::width(&reviewed) + text::width(&priority) <= width;
    let priority = if fits { priority } else { " ".to_owned() };
    let right = vec![Span::styled(reviewed, theme.text), Span::styled(priority, priority_style(row, theme))];
    let mut lines = vec![between(head, right, width, glyphs.ellipsis)];
    for title in titles(&row.title, width.saturating_sub(3), area.height.saturating_sub(2), glyphs.ellipsis) {
        let title = vec![mark(), Span::raw(" "), Span::styled(title, theme.text)];
        lines.push(between(title, vec![Span::raw(" ")], width, glyphs.ellipsis));
    }
    lines.push(between(facts, vec![Span::styled(since, theme.dim)], width, glyphs.ellipsis));
    for (line, y) in lines.into_iter().zip(area.y..area.bottom()) {
        let line = if selected { line.patch_style(theme.selected) } else { line };
        frame.render_widget(line, Rect { y, height: 1, ..area });
    }
}

/// A title on exactly so many rows; what does not fit is cut.
fn titles(title: &str, columns: usize, rows: u16, ellipsis: &str) -> Vec<String> {
    let title = text::one_line(title);
    let rows = usize::from(rows);
    let mut lines = text::wrap(&title, columns.max(1));
    if lines.len() > rows {
        // What follows the last row stands in it, as far as there is room.
        let rest = lines.split_off(rows.saturating_sub(1)).join(" ");
        lines.push(text::truncate(&rest, columns, ellipsis).into_owned());
    }
    lines.resize(rows, String::new());
    lines
}

/// What is worth a word on a card, the more important first. A narrow card has its sign alone for a conflict.
fn facts_of(row: &TicketRow, model: &Model, narrow: bool) -> Vec<Span<'static>> {
    let theme = &model.theme;
    let mut facts: Vec<(String, Style)> = Vec::new();
    if let Some((word, style)) = word(row, theme) {
        facts.push((
            if row.needs() && row.phase != TicketPhase::Failed { "needs you".into() } else { word },
            style,
        ));
    }
    if !narrow && row.conflict.is_some() && !row.phase.is_terminal() {
        facts.push((format!("{} conflict", theme.glyphs.conflict), theme.warn));
    }
    facts.extend(worker(row).map(|worker| (worker, theme.text)));
    let mut spans: Vec<Span<'static>> = Vec::new();
    for (text, style) in facts {
        let blank = if spans.is_empty() { "" } else { " " };
        spans.push(Span::styled(format!("{blank}{text}"), style));
    }
    spans
}

/// What its column does not say already; of what waits, for whom.
fn word(row: &TicketRow, theme: &Theme) -> Option<(String, Style)> {
    Some(match (row.phase, row.state) {
        _ if row.needs() => (format!("{:?}", row.phase).to_lowercase(), theme.bad),
        (TicketPhase::Merged, _) => ("merged".into(), theme.good),
        (TicketPhase::Failed, _) => ("failed".into(), theme.bad),
        (TicketPhase::Cancelled, _) => ("cancelled".into(), theme.dim),
        (_, TicketState::Held) => ("held".into(), theme.warn),
        (_, TicketState::Cancelled) => ("cancelling".into(), theme.warn),
        (TicketPhase::Approved, _) => ("approved".into(), theme.good),
        (TicketPhase::Waiting, _) => match row.message.strip_prefix("it waits ") {
            Some(whom) => (text::one_line(whom).into_owned(), theme.dim),
            // This does not pass by itself.
            None if row.reason.starts_with("Dependency") && row.reason != "Dependencies" => {
                (in_words(&row.reason), theme.warn)
            }
            None => (in_words(&row.reason), theme.dim),
        },
        _ => return None,
    })
}

/// Who has it, and which round of work it is.
fn worker(row: &TicketRow) -> Option<String> {
    let worker = row.worker.filter(|_| row.phase.is_in_flight())?;
    let again = row.phase == TicketPhase::Working && row.round > 1;
    Some(if again { format!("w{worker} round {}", row.round) } else { format!("w{worker}") })
}

/// `DependencyMissing` as `dependency missing`.
fn in_words(reason: &str) -> String {
    let mut out = String::new();
    for c in text::one_line(reason).chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// How often it was reviewed.
pub fn reviews(rounds: i32, theme: &Theme) -> String {
    if theme.glyphs.ascii { format!("rv{rounds}") } else { format!("📝{rounds}") }
}

/// Colour and sign of a ticket.
pub fn sign(row: &TicketRow, theme: &Theme) -> (Style, &'static str) {
    let glyphs = &theme.glyphs;
    match (row.phase, row.state) {
        (TicketPhase::Failed, _) => (theme.bad, glyphs.failed),
        (TicketPhase::Merged, _) => (theme.good, glyphs.done),
        (TicketPhase::Cancelled, _) => (theme.dim, glyphs.interrupted),
        _ if row.needs() => (theme.bad, glyphs.attention),
        (_, TicketState::Held) => (theme.warn, glyphs.paused),
        _ if row.conflict.is_some() => (theme.warn, glyphs.conflict),
        (TicketPhase::Waiting, _) => (theme.dim, glyphs.pending),
        (TicketPhase::Ready, _) => (theme.text, glyphs.idle),
        _ => (theme.good, glyphs.running),
    }
}

fn priority_style(row: &TicketRow, theme: &Theme) -> Style {
    match row.priority {
        1 => theme.bad,
        2 => theme.warn,
        _ => theme.dim,
    }
}

fn list(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let width = usize::from(area.width);
    let rows = model.desk.window(&model.backlog, usize::from(area.height));
    let columns = Columns::of(model, width);
    for (row, y) in rows.iter().zip(area.y..) {
        let line = match row {
            ListRow::Group(group) => heading(*group, model, width),
            ListRow::Ticket(row) => {
                let line = ticket_line(row, model, width, &columns);
                let selected = Some(&row.key) == model.desk.selected();
                if selected { line.patch_style(model.theme.selected) } else { line }
            }
        };
        frame.render_widget(line, Rect { y, height: 1, ..area });
    }
}

fn heading(of: Group, model: &Model, width: usize) -> Line<'static> {
    let theme = &model.theme;
    let style = if of == Group::NeedsYou { theme.bad } else { theme.accent };
    group(of.title(), model.backlog.count_group(of), style, width, theme)
}

/// The columns at the right of the list, by their widths; 0 for one that no row has use for, or that there is no room
/// for.
struct Columns {
    priority: usize,
    word: usize,
    conflict: usize,
    reviews: usize,
    age: usize,
}

impl Columns {
    /// The first to be given room is the last to go.
    fn of(model: &Model, width: usize) -> Self {
        let any = |has: &dyn Fn(&TicketRow) -> bool| model.backlog.in_order().any(|(_, row)| has(row));
        let mut room = width.saturating_sub(TITLE);
        let mut take = |columns: usize, wanted: bool| {
            let given = if wanted && room >= columns { columns } else { 0 };
            room -= given;
            given
        };
        let age = take(6, true);
        let reviews = take(5, any(&|row| row.reviews > 0));
        let conflict = take(2, any(&|row| row.conflict.is_some() && !row.phase.is_terminal()));
        let priority = take(4, width >= 48);
        let word = if room < WORD.1 { 0 } else { room.min(WORD.0) };
        Self { priority, word, conflict, reviews, age }
    }
}

fn ticket_line(row: &TicketRow, model: &Model, width: usize, columns: &Columns) -> Line<'static> {
    let theme = &model.theme;
    let glyphs = &theme.glyphs;
    let (style, sign) = sign(row, theme);
    let mark = match (Some(&row.key) == model.desk.selected(), model.pane) {
        (false, _) => Span::raw(" "),
        (true, Pane::Tree) => Span::styled(glyphs.selector, theme.accent),
        (true, Pane::Detail) => Span::styled(glyphs.selector, theme.border),
    };
    let left = vec![
        mark,
        Span::styled(format!("{sign} "), style),
        Span::styled(text::one_line(&row.id).into_owned(), theme.strong),
        Span::styled(format!(" {}", text::one_line(&row.title)), theme.text),
    ];
    let since = row.since.or(row.created);
    let since = since.map_or_else(String::new, |at| age::since(at, model.now));
    let (word, word_style) =
        word(row, theme).or_else(|| worker(row).map(|worker| (worker, theme.text))).unwrap_or_default();
    let conflict = if row.conflict.is_some() && !row.phase.is_terminal() { glyphs.conflict } else { "" };
    // What is empty in one row is a gap in all of them, so that columns stay columns.
    let right = [
        (word, columns.word, word_style),
        (format!("P{}", row.priority), columns.priority, priority_style(row, theme)),
        (conflict.to_owned(), columns.conflict, theme.warn),
        (
            if row.reviews > 0 { reviews(row.reviews, theme) } else { String::new() },
            columns.reviews,
            theme.text,
        ),
        (since, columns.age, theme.dim),
    ];
    between(left, cells(right, glyphs.ellipsis), width, glyphs.ellipsis)
}

/// The ticket at a place of the screen.
pub(crate) fn at(model: &Model, x: u16, y: u16) -> Option<crate::tui::fleet::Key> {
    let area = model.areas().rows;
    let line = usize::from(y.checked_sub(area.y)?);
    if !(model.board() && model.pane == Pane::Tree) {
        let rows = model.desk.window(&model.backlog, usize::from(area.height));
        return match rows.get(line)? {
            ListRow::Ticket(row) => Some(row.key.clone()),
            ListRow::Group(_) => None,
        };
    }
    let (lane, _) = lanes(area).find(|(_, place)| (place.x..place.right()).contains(&x))?;
    let index = line.checked_sub(1)? / usize::from(card_rows(area.width));
    let cards = model.desk.cards(&model.backlog, lane, cards_in(area));
    cards.get(index).map(|row| row.key.clone())
}
