//! Markdown as styled lines of a given width.
//!
//! ```text
//! text ──sanitize──▶ pulldown-cmark events ──Writer──▶ blocks ──flow / chop──▶ lines
//! ```
//!
//! Whatever is not Markdown, or only the beginning of it because it is still being written, comes out as text.
//! Line breaks stay where the agent put them. Code is never wrapped by words: a line that is too long goes on
//! after a mark.

mod table;
#[cfg(test)]
mod tests;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::text::{Run, chop, flow, line_text, one_line, sanitize, width};
use super::theme::{Mode, Theme};
use table::Table;

/// The lines of a Markdown text, none wider than `width` columns unless a single character is.
pub fn render(text: &str, width: u16, theme: &Theme) -> Vec<Line<'static>> {
    let clean = sanitize(text);
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut writer = Writer::new(usize::from(width).max(1), theme);
    for event in Parser::new_ext(&clean, options) {
        writer.event(event);
    }
    writer.flush();
    writer.lines
}

/// The lines of code: each source line on its own, those that are too long continued after a mark. `diff` says
/// whether added and removed lines are told apart.
pub fn code_lines(
    code: &str,
    columns: usize,
    prefix: &[Run],
    diff: bool,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let mut more = prefix.to_vec();
    more.push((theme.dim, format!("{} ", theme.glyphs.wrapped)));
    let mut first = prefix.to_vec();
    first.push((theme.text, "  ".to_owned()));
    let mut lines = Vec::new();
    for line in code.split('\n') {
        let style = if diff { diff_style(line, theme).unwrap_or(theme.code) } else { theme.code };
        lines.extend(chop(&[(style, line.to_owned())], columns, &first, &more));
    }
    lines
}

/// How a line of a unified diff looks, when it is not context.
pub fn diff_style(line: &str, theme: &Theme) -> Option<Style> {
    Some(match line.as_bytes().first()? {
        b'+' if line.starts_with("+++ ") => theme.strong,
        b'-' if line.starts_with("--- ") => theme.strong,
        b'+' => theme.good,
        b'-' => theme.bad,
        b'@' if line.starts_with("@@") => theme.accent,
        _ => return None,
    })
}

/// What surrounds a block.
enum Container {
    /// A quotation.
    Quote,
    /// A list item, its marker until it has been shown, and the columns of that.
    Item { marker: Option<String>, indent: usize },
}

/// A list that is open.
struct List {
    /// Number of the next item, of an ordered list.
    next: Option<u64>,
    /// Its items hold paragraphs: they are set apart.
    loose: bool,
}

struct Writer<'t> {
    theme: &'t Theme,
    width: usize,
    lines: Vec<Line<'static>>,
    containers: Vec<Container>,
    lists: Vec<List>,
    inline: Vec<Run>,
    styles: Vec<Style>,
    /// Where the text of each open link or image begins, and where it leads.
    links: Vec<(usize, String)>,
    /// Language and text of the code block that is open.
    code: Option<(String, String)>,
    table: Option<Table>,
    /// The next block is set apart from the one before.
    gap: bool,
}

impl<'t> Writer<'t> {
    fn new(width: usize, theme: &'t Theme) -> Self {
        Self {
            theme,
            width,
            lines: Vec::new(),
            containers: Vec::new(),
            lists: Vec::new(),
            inline: Vec::new(),
            styles: vec![theme.text],
            links: Vec::new(),
            code: None,
            table: None,
            gap: false,
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.code {
                Some((_, code)) => code.push_str(&sanitize(&text)),
                None => self.push(self.style(), &text),
            },
            Event::Code(text) => {
                let style = self.style().patch(self.theme.code);
                // Where code has no look of its own it keeps its quotes.
                let bare = self.theme.mode != Mode::Plain;
                let text = if bare { text.to_string() } else { format!("`{text}`") };
                self.push(style, &text);
            }
            Event::SoftBreak | Event::HardBreak => self.push(self.style(), "\n"),
            Event::Rule => {
                self.open_block();
                let room = self.room();
                self.block(vec![(self.theme.border, self.theme.glyphs.rule.repeat(room))]);
                self.gap = true;
            }
            Event::TaskListMarker(done) => {
                let glyphs = self.theme.glyphs;
                let sign = if done { glyphs.ticked } else { glyphs.unticked };
                self.push(self.style(), &format!("{sign} "));
            }
            Event::Html(text)
            | Event::InlineHtml(text)
            | Event::InlineMath(text)
            | Event::DisplayMath(text)
            | Event::FootnoteReference(text) => self.push(self.style(), &text),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        let modified = |style: Style, modifier: Modifier| style.add_modifier(modifier);
        match tag {
            Tag::Paragraph => {
                if let Some(list) = self.lists.last_mut().filter(|_| in_item(&self.containers)) {
                    list.loose = true;
                }
                self.open_block();
            }
            Tag::Heading { level, .. } => {
                self.open_block();
                let strong = self.theme.strong;
                self.styles.push(match level {
                    HeadingLevel::H1 => modified(strong, Modifier::UNDERLINED),
                    HeadingLevel::H2 => strong,
                    _ => modified(strong, Modifier::ITALIC),
                });
            }
            Tag::BlockQuote(_) => {
                self.open_block();
                self.containers.push(Container::Quote);
                self.styles.push(self.theme.dim);
            }
            Tag::CodeBlock(kind) => {
                self.open_block();
                let language = match kind {
                    CodeBlockKind::Fenced(language) => one_line(&language).into_owned(),
                    CodeBlockKind::Indented => String::new(),
                };
                self.code = Some((language, String::new()));
            }
            Tag::HtmlBlock => self.open_block(),
            Tag::List(first) => {
                if self.lists.is_empty() || self.lists.last().is_some_and(|list| list.loose) {
                    self.open_block();
                } else {
                    self.flush();
                }
                self.lists.push(List { next: first, loose: false });
            }
            Tag::Item => {
                self.open_block();
                let marker = match self.lists.last_mut().and_then(|list| list.next.as_mut()) {
                    Some(next) => {
                        let number = *next;
                        *next = next.saturating_add(1);
                        format!("{number}. ")
                    }
                    None => format!("{} ", self.theme.glyphs.item),
                };
                self.containers.push(Container::Item { indent: width(&marker), marker: Some(marker) });
            }
            Tag::Table(alignments) => {
                self.open_block();
                self.table = Some(Table::new(alignments));
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.begin_row();
                }
            }
            Tag::Emphasis => self.styles.push(modified(self.style(), Modifier::ITALIC)),
            Tag::Strong => self.styles.push(modified(self.style(), Modifier::BOLD)),
            Tag::Strikethrough => self.styles.push(modified(self.style(), Modifier::CROSSED_OUT)),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push((self.inline.len(), one_line(&dest_url).into_owned()));
                self.styles.push(modified(self.style().patch(self.theme.accent), Modifier::UNDERLINED));
                // The text of a link is a run of its own, so that it can be compared with where it leads.
                self.inline.push((self.style(), String::new()));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.close_block(),
            TagEnd::Heading(_) => {
                self.close_block();
                self.styles.pop();
            }
            TagEnd::BlockQuote(_) => {
                self.flush();
                self.styles.pop();
                self.containers.pop();
                self.gap = true;
            }
            TagEnd::CodeBlock => self.close_code(),
            TagEnd::List(_) => {
                self.flush();
                let loose = self.lists.pop().is_some_and(|list| list.loose);
                self.gap = loose || self.lists.is_empty();
            }
            TagEnd::Item => {
                self.flush();
                if let Some(Container::Item { marker: Some(_), .. }) = self.containers.last() {
                    self.block(vec![(self.theme.text, String::new())]);
                }
                self.containers.pop();
                self.gap = self.lists.last().is_some_and(|list| list.loose);
            }
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    let (first, rest) = self.prefixes();
                    let columns = self.width.saturating_sub(runs_width(&rest));
                    for (number, mut line) in table.lines(columns, self.theme).into_iter().enumerate() {
                        let prefix = if number == 0 { &first } else { &rest };
                        line.spans.splice(
                            0..0,
                            prefix.iter().map(|(style, text)| Span::styled(text.clone(), *style)),
                        );
                        self.lines.push(line);
                    }
                }
                self.gap = true;
            }
            TagEnd::TableCell => {
                let runs = std::mem::take(&mut self.inline);
                if let Some(table) = &mut self.table {
                    table.cell(runs);
                }
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => {
                self.styles.pop();
            }
            TagEnd::Link | TagEnd::Image => {
                self.styles.pop();
                if let Some((from, target)) = self.links.pop() {
                    let shown: String =
                        self.inline.iter().skip(from).map(|(_, text)| text.as_str()).collect();
                    if !target.is_empty() && target.strip_prefix("mailto:").unwrap_or(&target) != shown {
                        self.push(self.theme.dim, &format!(" ({target})"));
                    }
                }
            }
            _ => {}
        }
    }

    fn style(&self) -> Style {
        self.styles.last().copied().unwrap_or_default()
    }

    /// Adds inline text. Entities can stand for any character: what comes here is made harmless once more.
    fn push(&mut self, style: Style, text: &str) {
        let text = sanitize(text);
        match self.inline.last_mut() {
            Some((last, run)) if *last == style => run.push_str(&text),
            _ => self.inline.push((style, text.into_owned())),
        }
    }

    /// A block begins: what was open is shown, and an empty line set before it where one belongs.
    fn open_block(&mut self) {
        self.flush();
        if std::mem::take(&mut self.gap) && !self.lines.is_empty() {
            let (_, rest) = self.prefixes_kept();
            let spans: Vec<Span<'static>> =
                rest.into_iter().map(|(style, text)| Span::styled(text, style)).collect();
            let line = Line::from(spans);
            let blank = line_text(&line).trim().is_empty();
            self.lines.push(if blank { Line::default() } else { line });
        }
    }

    fn close_block(&mut self) {
        self.flush();
        self.gap = true;
    }

    fn close_code(&mut self) {
        let Some((language, code)) = self.code.take() else { return };
        let (mut first, rest) = self.prefixes();
        let code = code.strip_suffix('\n').unwrap_or(&code);
        let diff = matches!(language.as_str(), "diff" | "patch");
        let mut lines = code_lines(code, self.width, &rest, diff, self.theme);
        if let Some(line) = lines.first_mut() {
            // The marker of an item whose first block is code.
            let own = rest.iter().filter(|(_, text)| !text.is_empty()).count();
            first.retain(|(_, text)| !text.is_empty());
            line.spans.splice(0..own, first.into_iter().map(|(style, text)| Span::styled(text, style)));
        }
        self.lines.extend(lines);
        self.gap = true;
    }

    /// Shows the inline text that has come together.
    fn flush(&mut self) {
        if self.table.is_some() || self.inline.iter().all(|(_, text)| text.is_empty()) {
            return;
        }
        let mut runs = std::mem::take(&mut self.inline);
        if let Some((_, last)) = runs.last_mut() {
            last.truncate(last.trim_end().len());
        }
        self.block(runs);
    }

    fn block(&mut self, runs: Vec<Run>) {
        let (first, rest) = self.prefixes();
        self.lines.extend(flow(&runs, self.width, &first, &rest));
    }

    /// Columns that are left for a block.
    fn room(&self) -> usize {
        self.width.saturating_sub(runs_width(&self.prefixes_kept().1)).max(1)
    }

    /// What stands before the first row of a block and before its others. Markers are shown once.
    fn prefixes(&mut self) -> (Vec<Run>, Vec<Run>) {
        let prefixes = self.prefixes_kept();
        for container in &mut self.containers {
            if let Container::Item { marker, .. } = container {
                *marker = None;
            }
        }
        prefixes
    }

    fn prefixes_kept(&self) -> (Vec<Run>, Vec<Run>) {
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        let mut used = 0;
        for container in &self.containers {
            let (here, more) = match container {
                Container::Quote => {
                    let bar = format!("{} ", self.theme.glyphs.quote);
                    ((self.theme.border, bar.clone()), (self.theme.border, bar))
                }
                Container::Item { marker, indent } => {
                    let blank = " ".repeat(*indent);
                    let shown = marker.clone().unwrap_or_else(|| blank.clone());
                    ((self.theme.accent, shown), (self.theme.text, blank))
                }
            };
            used += width(&more.1);
            // What is nested so deeply that no room is left is not indented any further; code needs its margin and
            // a wide character.
            if used > self.width / 2 || self.width.saturating_sub(used) < 4 {
                break;
            }
            first.push(here);
            rest.push(more);
        }
        (first, rest)
    }
}

fn in_item(containers: &[Container]) -> bool {
    matches!(containers.last(), Some(Container::Item { .. }))
}

fn runs_width(runs: &[Run]) -> usize {
    runs.iter().map(|(_, text)| width(text)).sum()
}
