//! What `rwsgi ctl top` shows and how keys change it. Pure: statuses, answers and keys in, commands out.
//!
//! The selection is a process and not a row, so that it stays with its worker when the order changes.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::cli::ctl::show::printable;
use crate::ipc::control::{Answer, Request, Status};

use super::figures::{Snapshot, Worker};
use super::table::Sort;

/// For how many statuses a notice is shown.
const NOTICE_STATUSES: u8 = 8;

/// Everything that a screen is made of.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What is shown.
    pub(super) snapshot: Snapshot,
    /// The latest status; a newer one than is shown while paused.
    latest: Option<Status>,
    pub(super) sort: Sort,
    selected_pid: Option<i32>,
    /// Where the selected worker was, for when it goes.
    selected_row: usize,
    pub(super) is_paused: bool,
    pub(super) overlay: Overlay,
    pub(super) notice: Option<Notice>,
    /// Why there are no statuses, while there are none.
    pub(super) lost: Option<String>,
    /// Lines of a pager that fit the terminal.
    pub(super) page_lines: usize,
}

/// What lies over the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Overlay {
    #[default]
    Nothing,
    Help,
    /// A question to be answered with y or n.
    Question(Wish),
    Pager {
        title: String,
        lines: Vec<String>,
        first: usize,
    },
}

/// A line about something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) is_error: bool,
    statuses_left: u8,
}

/// What the server is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Recycle { slot: u32, pid: i32 },
    Dump { slot: u32, pid: i32 },
    Reload,
}

/// What a key leads to outside of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Nothing,
    Quit,
    Suspend,
    Ask(Wish),
}

impl Wish {
    pub(super) fn request(self) -> Request {
        match self {
            Self::Recycle { pid, .. } => Request::Recycle { pid },
            Self::Dump { .. } => Request::Dump,
            Self::Reload => Request::Reload { wait: true },
        }
    }

    /// What is asked before it is done.
    pub(super) fn question(self) -> String {
        match self {
            Self::Recycle { slot, pid } => {
                format!("Replace worker {slot} (pid {pid}) by a new one, gracefully?")
            }
            Self::Dump { slot, pid } => format!("Show the stacks of worker {slot} (pid {pid})?"),
            Self::Reload => "Reload the code and the configuration?".to_owned(),
        }
    }
}

impl State {
    /// A status has come.
    pub(super) fn take(&mut self, status: Status) {
        let change = self.latest.as_ref().and_then(|latest| change(latest, &status, self.lost.is_some()));
        self.lost = None;
        self.notice = self.notice.take().and_then(Notice::fade);
        if let Some(text) = change {
            self.tell(text, false);
        }
        let snapshot = match &self.latest {
            Some(latest) => Snapshot::since(latest, status.clone()),
            None => Snapshot::first(status.clone()),
        };
        self.latest = Some(status);
        if !self.is_paused {
            self.snapshot = snapshot;
            self.settle();
        }
    }

    /// No status has come.
    pub(super) fn lose(&mut self, why: &str) {
        // Only the sentence: where it was looked for has not changed.
        let first = why.lines().next().unwrap_or_default();
        self.lost = Some(printable(first.split(". ").next().unwrap_or_default()));
    }

    /// What came of a wish.
    pub(super) fn answered(&mut self, wish: Wish, outcome: Result<Answer, String>) {
        match (wish, outcome) {
            (Wish::Dump { slot, pid }, Ok(answer)) => {
                let stacks = answer.stacks.unwrap_or_default().into_iter().find(|stacks| stacks.pid == pid);
                match stacks {
                    Some(stacks) => self.page(format!("worker {slot} (pid {pid})"), &stacks.text),
                    None => self.tell(format!("worker {slot} (pid {pid}) is gone"), true),
                }
            }
            (Wish::Recycle { .. } | Wish::Reload, Ok(answer)) => {
                let message = answer.message.unwrap_or_else(|| "done".to_owned());
                self.tell(message, false);
            }
            (Wish::Reload, Err(said)) if said.contains('\n') => {
                self.page("the reload has failed".to_owned(), &said);
            }
            (_, Err(said)) => self.tell(said.lines().next().unwrap_or_default().to_owned(), true),
        }
    }

    /// The workers as they are sorted, and which of them is selected.
    pub(super) fn rows(&self) -> (Vec<&Worker>, usize) {
        let rows = self.sort.apply(&self.snapshot);
        let row = rows.iter().position(|worker| worker.status.pid == self.selected_pid);
        let row = row.unwrap_or(self.selected_row).min(rows.len().saturating_sub(1));
        (rows, row)
    }

    /// A key was pressed.
    #[allow(clippy::wildcard_enum_match_arm, reason = "a keyboard has more keys than there are commands")]
    pub(super) fn key(&mut self, key: KeyEvent) -> Command {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Command::Quit,
                KeyCode::Char('z') => Command::Suspend,
                _ => Command::Nothing,
            };
        }
        match &self.overlay {
            Overlay::Nothing => self.table_key(key.code),
            Overlay::Help => {
                self.overlay = Overlay::Nothing;
                Command::Nothing
            }
            Overlay::Question(wish) => {
                let wish = *wish;
                self.overlay = Overlay::Nothing;
                match key.code {
                    KeyCode::Char('y' | 'Y') => Command::Ask(wish),
                    _ => Command::Nothing,
                }
            }
            Overlay::Pager { .. } => self.pager_key(key.code),
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "a keyboard has more keys than there are commands")]
    fn table_key(&mut self, code: KeyCode) -> Command {
        let last = self.snapshot.workers.len().saturating_sub(1);
        let (_, row) = self.rows();
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return Command::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.overlay = Overlay::Help,
            KeyCode::Char(' ') => self.pause(),
            KeyCode::Char('s') => self.sort = Sort::Slot,
            KeyCode::Char('r') => self.sort = Sort::Requests,
            KeyCode::Char('p') => self.sort = Sort::P99,
            KeyCode::Char('m') => self.sort = Sort::Memory,
            KeyCode::Char('<') | KeyCode::Left => self.sort = self.sort.moved(-1),
            KeyCode::Char('>') | KeyCode::Right => self.sort = self.sort.moved(1),
            KeyCode::Char('k') | KeyCode::Up => self.select(row.saturating_sub(1)),
            KeyCode::Char('j') | KeyCode::Down => self.select((row + 1).min(last)),
            KeyCode::PageUp => self.select(row.saturating_sub(10)),
            KeyCode::PageDown => self.select((row + 10).min(last)),
            KeyCode::Home | KeyCode::Char('g') => self.select(0),
            KeyCode::End | KeyCode::Char('G') => self.select(last),
            KeyCode::Char('R') => self.overlay = Overlay::Question(Wish::Reload),
            KeyCode::Char('x') => {
                if let Some((slot, pid)) = self.selected() {
                    self.overlay = Overlay::Question(Wish::Recycle { slot, pid });
                }
            }
            KeyCode::Char('d') | KeyCode::Enter => {
                if let Some((slot, pid)) = self.selected() {
                    self.tell(format!("asking worker {slot} (pid {pid}) for its stacks"), false);
                    return Command::Ask(Wish::Dump { slot, pid });
                }
            }
            _ => {}
        }
        Command::Nothing
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "a keyboard has more keys than there are commands")]
    fn pager_key(&mut self, code: KeyCode) -> Command {
        let page = self.page_lines.max(1);
        let Overlay::Pager { lines, first, .. } = &mut self.overlay else { return Command::Nothing };
        let last = lines.len().saturating_sub(page);
        let to = match code {
            KeyCode::Char('k') | KeyCode::Up => first.saturating_sub(1),
            KeyCode::Char('j') | KeyCode::Down | KeyCode::Enter => *first + 1,
            KeyCode::PageUp | KeyCode::Char('b') => first.saturating_sub(page),
            KeyCode::PageDown | KeyCode::Char(' ') => *first + page,
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => last,
            KeyCode::Char('q') | KeyCode::Esc => {
                self.overlay = Overlay::Nothing;
                return Command::Nothing;
            }
            _ => *first,
        };
        *first = to.min(last);
        Command::Nothing
    }

    /// Freezes what is shown, or shows the latest again.
    fn pause(&mut self) {
        self.is_paused = !self.is_paused;
    }

    fn select(&mut self, row: usize) {
        let rows = self.sort.apply(&self.snapshot);
        self.selected_pid = rows.get(row).and_then(|worker| worker.status.pid);
        self.selected_row = row;
    }

    /// Follows the selected worker to its row; the one that has come in the place of one that went is selected then.
    fn settle(&mut self) {
        let (_, row) = self.rows();
        self.select(row);
    }

    fn selected(&self) -> Option<(u32, i32)> {
        let (rows, row) = self.rows();
        rows.get(row).and_then(|worker| Some((worker.status.slot, worker.status.pid?)))
    }

    fn tell(&mut self, text: String, is_error: bool) {
        let text = printable(&text).replace('\n', " ");
        self.notice = Some(Notice { text, is_error, statuses_left: NOTICE_STATUSES });
    }

    fn page(&mut self, title: String, text: &str) {
        let text = printable(text.trim_end()).replace('\t', "    ");
        self.notice = None;
        self.overlay = Overlay::Pager { title, lines: text.lines().map(str::to_owned).collect(), first: 0 };
    }
}

impl Notice {
    fn fade(self) -> Option<Self> {
        let statuses_left = self.statuses_left.checked_sub(1)?;
        Some(Self { statuses_left, ..self })
    }
}

/// What has become of the server since the last status, as a sentence.
fn change(before: &Status, now: &Status, was_lost: bool) -> Option<String> {
    let generation = now.generation;
    if before.pid != now.pid {
        // A new master goes on counting where the old one was.
        let how = if generation > before.generation { "upgraded" } else { "restarted" };
        return Some(format!(
            "the server was {how}: pid {} became {}, generation {generation}",
            before.pid, now.pid
        ));
    }
    if before.generation != generation {
        return Some(format!("generation {generation} serves"));
    }
    was_lost.then(|| "the server answers again".to_owned())
}

#[cfg(test)]
mod tests;
