//! Draws the state on a terminal. What is shown, and in which order, is decided in `state` and `table`; here is only where it
//! goes and in which colour. No meaning is left to colour alone.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use crate::cli::ctl::show::printable;

use super::figures::{Running, Worker};
use super::plain;
use super::state::{Overlay, State};
use super::table::{COLUMNS, Column};

/// A terminal at least this wide also shows the longest request of each worker.
const WIDTH_OF_DOING: u16 = 145;
/// A terminal at least this wide has more space between the columns.
const WIDTH_OF_GAPS: u16 = 170;
/// A p99 above this many microseconds is marked.
const SLOW_MICROS: u64 = 1_000_000;

const LABEL: Style = Style::new().fg(Color::DarkGray);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const TITLES: Style = Style::new().fg(Color::Black).bg(Color::Gray);
const SORTED: Style = Style::new().fg(Color::Black).bg(Color::Cyan).add_modifier(Modifier::BOLD);
const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);
const KEY: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);

const KEYS: [(&str, &str); 8] = [
    ("q", "quit"),
    ("?", "help"),
    ("< >", "sort"),
    ("\u{2191}\u{2193}", "select"),
    ("x", "recycle"),
    ("d", "stacks"),
    ("R", "reload"),
    ("space", "pause"),
];
const PAGER_KEYS: [(&str, &str); 3] = [("q", "back"), ("\u{2191}\u{2193}", "line"), ("PgUp PgDn", "page")];
const HELP: &str = "\
s  r  p  m   sort by slot, requests/s, p99, memory
<  >         sort by the column to the left, right
up  down     select a worker (also j, k)
x            replace it by a new one, gracefully
d            show the stacks of its threads
R            reload the code and configuration
space        freeze what is shown, go on
q  Ctrl-C    quit            Ctrl-Z  suspend

REQ/S, P50, P99, 5XX/S and OUT/S are of the last
interval; p50 and p99 are estimated within the
buckets of a histogram. BUSY: requests that the
application works on. QUEUE: those that wait for
a thread. MEM: memory shared with nobody else.";

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    if let Overlay::Pager { title, lines, first } = &state.overlay {
        return pager(frame, area, title, lines, *first);
    }
    let [head, notice, body, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head_lines(state)), head);
    frame.render_widget(notice_line(state), notice);
    frame.render_widget(Paragraph::new(body_lines(state, body)), body);
    match &state.overlay {
        Overlay::Question(wish) => {
            let style = Style::new().fg(Color::Black).bg(Color::Yellow);
            let text = format!(" {} y/n ", wish.question());
            frame.render_widget(Paragraph::new(Span::styled(text, style)), foot);
        }
        Overlay::Nothing | Overlay::Help | Overlay::Pager { .. } => {
            frame.render_widget(keys(&KEYS), foot);
        }
    }
    if state.overlay == Overlay::Help {
        help(frame, area);
    }
}

fn head_lines(state: &State) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = Vec::new();
    for parts in plain::head(&state.snapshot) {
        let mut spans = vec![Span::raw(" ")];
        for (label, value) in parts {
            let is_bad = label == plain::SERVER_ERRORS && !matches!(value.as_str(), "0" | "-");
            if !label.is_empty() {
                spans.push(Span::styled(format!("{label} "), LABEL));
            }
            spans.push(Span::styled(printable(&value), if is_bad { BAD } else { STRONG }));
            spans.push(Span::raw("   "));
        }
        lines.push(Line::from(spans));
    }
    if let Some(first) = lines.first_mut().filter(|_| state.is_paused) {
        first.push_span(Span::styled(" PAUSED ", Style::new().fg(Color::Black).bg(Color::Yellow)));
    }
    lines
}

fn notice_line(state: &State) -> Line<'static> {
    if let Some(lost) = &state.lost {
        let style = Style::new().fg(Color::White).bg(Color::Red);
        return Line::styled(format!(" {lost}: the figures are old; trying again "), style);
    }
    match &state.notice {
        Some(notice) if notice.is_error => Line::styled(format!(" {}", notice.text), BAD),
        Some(notice) => Line::styled(format!(" {}", notice.text), Style::new().fg(Color::Green)),
        None => Line::default(),
    }
}

/// The table, and the requests in flight below it.
fn body_lines(state: &State, area: Rect) -> Vec<Line<'static>> {
    let (workers, selected) = state.rows();
    let running = &state.snapshot.running;
    // The titles of both, and a line between them.
    let space = usize::from(area.height).saturating_sub(3);
    let running_least = running.len().clamp(1, (space / 3).max(1));
    let rows = workers.len().min(space.saturating_sub(running_least));
    let first = (selected + 1).saturating_sub(rows);
    let mut lines = vec![titles(state, area.width)];
    for (index, worker) in workers.iter().enumerate().skip(first).take(rows) {
        let mut line = worker_line(worker, area.width);
        if index == selected {
            // One colour from end to end.
            line.spans.iter_mut().for_each(|span| span.style = SELECTED);
        }
        lines.push(line);
    }
    lines.push(match workers.len() - rows.min(workers.len()) {
        0 => Line::default(),
        hidden => Line::styled(format!(" {hidden} more"), LABEL),
    });
    lines.push(full(" in flight, the slowest first", area.width, TITLES));
    if running.is_empty() {
        lines.push(Line::styled(" none", LABEL));
    }
    lines.extend(running.iter().take(space.saturating_sub(rows)).map(running_line));
    lines
}

fn columns(width: u16) -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(move |column| column.terminal_width <= width)
}

fn gap(width: u16) -> &'static str {
    if width >= WIDTH_OF_GAPS { "  " } else { " " }
}

fn titles(state: &State, width: u16) -> Line<'static> {
    let mut spans = Vec::new();
    for column in columns(width) {
        let style = if column.sort == Some(state.sort) { SORTED } else { TITLES };
        // The first column has its gap before it as well.
        spans.push(Span::styled(if spans.is_empty() { " " } else { gap(width) }, TITLES));
        spans.push(Span::styled(plain::cell(column, column.title), style));
    }
    if width >= WIDTH_OF_DOING {
        spans.push(Span::styled("  LONGEST REQUEST", TITLES));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    spans.push(Span::styled(" ".repeat(usize::from(width).saturating_sub(used)), TITLES));
    Line::from(spans)
}

fn worker_line(worker: &Worker, width: u16) -> Line<'static> {
    let mut spans = Vec::new();
    for column in columns(width) {
        spans.push(Span::raw(if spans.is_empty() { " " } else { gap(width) }));
        let text = printable(&plain::cell(column, &(column.text)(worker)));
        spans.push(Span::styled(text, tone(column, worker)));
    }
    if width >= WIDTH_OF_DOING {
        let longest = worker.status.tasks.first();
        if let Some(silent) = worker.silence() {
            spans.push(Span::styled(format!("  no sign of life for {silent:.0} s"), BAD));
        } else if let Some(task) = longest {
            let (method, path) = (printable(&task.method), printable(&task.path));
            spans.push(Span::raw(format!("  {:.1} s  {method} {path}", task.age_seconds)));
        }
    }
    let used: usize = spans.iter().map(Span::width).sum();
    spans.push(Span::raw(" ".repeat(usize::from(width).saturating_sub(used))));
    Line::from(spans)
}

fn tone(column: &Column, worker: &Worker) -> Style {
    match column.title {
        "PHASE" if worker.silence().is_some() => BAD,
        "PHASE" => match worker.status.phase.as_str() {
            "serving" => Style::new().fg(Color::Green),
            "booting" | "checking" | "ready" | "recycling" => Style::new().fg(Color::Yellow),
            "killed" => BAD,
            _ => Style::new().fg(Color::Magenta),
        },
        "P99" => match worker.figures.p99 {
            Some(p99) if p99 > super::figures::Latency::Micros(SLOW_MICROS) => Style::new().fg(Color::Yellow),
            _ => Style::new(),
        },
        "5XX/S" if worker.figures.errors.is_some_and(|errors| errors > 0.0) => BAD,
        "TIMEOUTS" if worker.status.timeouts > 0 => BAD,
        _ => Style::new(),
    }
}

fn running_line(running: &Running) -> Line<'static> {
    let Running { method, path, slot, thread, .. } = running;
    let age = Span::styled(format!("{:>8.1} s", running.age_seconds), STRONG);
    let place = format!("  worker {slot} thread {thread}  ");
    let what = format!("{} {}", printable(method), printable(path));
    Line::from(vec![age, Span::styled(place, LABEL), Span::raw(what)])
}

fn keys(all: &[(&'static str, &'static str)]) -> Line<'static> {
    let mut spans = vec![Span::raw(" ")];
    for (key, what) in all {
        spans.extend([Span::styled(*key, KEY), Span::raw(format!(" {what}  "))]);
    }
    Line::from(spans)
}

fn full(text: &str, width: u16, style: Style) -> Line<'static> {
    let width = usize::from(width);
    Line::styled(format!("{text:<width$}"), style)
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let width = area.width.min(54);
    let height = area.height.min(17);
    let place = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" rwsgi ctl top ")), place);
}

fn pager(frame: &mut Frame<'_>, area: Rect, title: &str, lines: &[String], first: usize) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(area);
    let last = (first + usize::from(body.height)).min(lines.len());
    let place = format!(" {title}  lines {}-{last} of {}", (first + 1).min(last), lines.len());
    frame.render_widget(full(&place, area.width, TITLES), head);
    let shown = lines.iter().skip(first).take(usize::from(body.height));
    frame.render_widget(Paragraph::new(shown.map(|line| Line::raw(line.as_str())).collect::<Vec<_>>()), body);
    frame.render_widget(keys(&PAGER_KEYS), foot);
}

#[cfg(test)]
mod tests;
