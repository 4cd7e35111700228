//! The loop of `rwsgi ctl top` on a terminal: keys, signals, answers of the server and the clock in, pictures and requests
//! out. Threads wait for the keys, the signals and the server, so that none of them keeps another waiting.
//!
//! Invariant: however the loop is left, also by a panic, the terminal is what it was before.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use signal_hook::consts::signal::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;

use crate::cli::OK;
use crate::cli::ctl::Place;
use crate::ipc::control::{Answer, Request, Status};

use super::figures::Snapshot;
use super::plain;
use super::state::{Command, State, Wish};

/// What is asked again and again.
const STATUS: Request = Request::Status { brief: true };
/// What a shell adds to a signal's number for the exit code of a command that it ended.
const SIGNALLED: i32 = 128;
/// Lines of the terminal that are not of the text of a pager.
const PAGER_FRAME_LINES: u16 = 2;

/// What the loop is woken by.
enum Happening {
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// The terminal is gone.
    Deaf(io::Error),
    Signal(i32),
    /// To a wish, or else a status.
    Answer(Option<Wish>, Result<Answer, String>),
}

/// The terminal while it is ours.
struct Screen {
    terminal: DefaultTerminal,
}

/// The loop and what it owns.
struct Reactor {
    place: Arc<Place>,
    sender: Sender<Happening>,
    happenings: Receiver<Happening>,
    interval: Duration,
    state: State,
    /// Whether the server was asked for a status and has not answered.
    is_asking: bool,
    status_deadline: Instant,
}

/// Shows the server until the user has seen enough. The exit code, or why it cannot be shown.
pub(super) fn live(place: Place, interval: Duration) -> Result<i32, String> {
    // Nothing is drawn over the terminal of somebody who named the wrong server.
    let status = status(place.ask(STATUS))?;
    let (sender, happenings) = mpsc::channel();
    let now = Instant::now();
    let mut reactor = Reactor {
        place: Arc::new(place),
        sender,
        happenings,
        interval,
        state: State::default(),
        is_asking: false,
        status_deadline: now + interval,
    };
    reactor.state.take(status);
    let broken = |error: io::Error| format!("the terminal cannot be used: {error}");
    reactor.listen_to_signals().map_err(broken)?;
    let screen = Screen::open().map_err(broken)?;
    reactor.listen_to_keys().map_err(broken)?;
    reactor.run(screen).map_err(broken)
}

/// Prints `count` moments, each an interval after the one before. The exit code, or why there is nothing to print.
pub(super) fn print(place: &Place, interval: Duration, count: u32) -> Result<i32, String> {
    // Nobody sends: receiving is waiting.
    let (_sender, waiting) = mpsc::channel::<()>();
    let mut deadline = Instant::now();
    let mut latest = status(place.ask(STATUS))?;
    for index in 0..count {
        deadline += interval;
        waiting.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        let now = match status(place.ask(STATUS)) {
            Ok(now) => now,
            // It may come again, as after a restart.
            Err(said) if index + 1 < count => {
                crate::cli::messages::error(&crate::cli::ctl::show::printable(&said));
                continue;
            }
            Err(said) => return Err(said),
        };
        let gap = if index == 0 { "" } else { "\n" };
        let code =
            crate::cli::print(&format!("{gap}{}", plain::text(&Snapshot::since(&latest, now.clone()))));
        if code != OK {
            return Ok(code);
        }
        latest = now;
    }
    Ok(OK)
}

fn status(outcome: Result<Answer, String>) -> Result<Status, String> {
    let status = outcome?.status.ok_or_else(|| "the server has answered without a status".to_owned())?;
    Ok(*status)
}

impl Screen {
    fn open() -> io::Result<Self> {
        // Its hook restores the terminal before a panic is told. A failure halfway leaves what was done to be undone.
        let terminal = ratatui::try_init().inspect_err(|_| {
            ratatui::try_restore().ok();
        })?;
        Ok(Self { terminal })
    }

    /// Gives the terminal to the shell until this process is continued.
    fn suspend(self) -> io::Result<Self> {
        drop(self);
        raise(Signal::SIGSTOP)?;
        Self::open()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nothing else to be done about a terminal that is gone.
        self.terminal.show_cursor().ok();
        ratatui::try_restore().ok();
    }
}

impl Reactor {
    fn run(mut self, mut screen: Screen) -> io::Result<i32> {
        loop {
            let height = screen.terminal.size()?.height;
            self.state.page_lines = usize::from(height.saturating_sub(PAGER_FRAME_LINES));
            screen.terminal.draw(|frame| super::draw::draw(frame, &self.state))?;
            match self.next() {
                None => {}
                Some(Happening::Key(key)) => match self.state.key(key) {
                    Command::Nothing => {}
                    Command::Quit => return Ok(OK),
                    Command::Suspend => screen = screen.suspend()?,
                    Command::Ask(wish) => self.ask(Some(wish)),
                },
                Some(Happening::Resized) => screen.terminal.autoresize()?,
                Some(Happening::Deaf(error)) => return Err(error),
                Some(Happening::Signal(SIGTSTP)) => screen = screen.suspend()?,
                // Another program may have used the terminal meanwhile.
                Some(Happening::Signal(SIGCONT)) => screen.terminal.clear()?,
                Some(Happening::Signal(signal)) => return Ok(SIGNALLED + signal),
                Some(Happening::Answer(None, outcome)) => {
                    self.is_asking = false;
                    match status(outcome) {
                        Ok(status) => self.state.take(status),
                        Err(why) => self.state.lose(&why),
                    }
                }
                Some(Happening::Answer(Some(wish), outcome)) => {
                    self.state.answered(wish, outcome);
                    self.status_deadline = self.status_deadline.min(Instant::now());
                }
            }
        }
    }

    /// What happens next; asks for a status when one is due.
    fn next(&mut self) -> Option<Happening> {
        let now = Instant::now();
        if self.status_deadline <= now && !self.is_asking {
            self.is_asking = true;
            self.status_deadline = now + self.interval;
            self.ask(None);
        }
        // Nothing is due before the server has answered.
        let due = if self.is_asking { now + self.interval } else { self.status_deadline };
        self.happenings.recv_timeout(due.saturating_duration_since(now)).ok()
    }

    /// Asks the server for a status, or to grant a wish, while the loop goes on.
    fn ask(&self, wish: Option<Wish>) {
        let (place, sender) = (Arc::clone(&self.place), self.sender.clone());
        let request = wish.map_or(STATUS, Wish::request);
        let spawned = thread::Builder::new().name("ask".to_owned()).spawn(move || {
            // The loop may have ended meanwhile.
            sender.send(Happening::Answer(wish, place.ask(request))).ok();
        });
        if let Err(error) = spawned {
            let failed = Err(format!("no thread can be made: {error}"));
            self.sender.send(Happening::Answer(wish, failed)).ok();
        }
    }

    fn listen_to_keys(&self) -> io::Result<()> {
        let sender = self.sender.clone();
        let listen = move || loop {
            let happening = match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Happening::Key(key),
                Ok(Event::Resize(..)) => Happening::Resized,
                Ok(_) => continue,
                Err(error) => Happening::Deaf(error),
            };
            let is_last = matches!(happening, Happening::Deaf(_));
            if sender.send(happening).is_err() || is_last {
                return;
            }
        };
        thread::Builder::new().name("keys".to_owned()).spawn(listen).map(drop)
    }

    fn listen_to_signals(&self) -> io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT])?;
        let sender = self.sender.clone();
        let listen = move || {
            for signal in signals.forever() {
                if sender.send(Happening::Signal(signal)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(listen).map(drop)
    }
}
