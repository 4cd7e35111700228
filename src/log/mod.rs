//! Logs: the error log (records of the `log` crate, with time, level, role, process and generation) and the access log. Both
//! are reopened on request, and neither waits for its disk or its reader: see `lane`.
//!
//! The logger is one of the few globals: `log` wants it so. It survives a fork, whoever forks; a process of this program
//! then says who it is with [`identify`].
//!
//! A worker's message about a request begins with the request's id in brackets, `[id] `: the log finds it there.

pub mod access;
mod atom;
pub mod basic;
mod clock;
mod escape;
mod forks;
pub mod format;
mod lane;
mod output;
mod record;

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use log::{Level, LevelFilter, Metadata, Record};

use crate::config::{self, LogFormat};

use lane::{Kind, Lane, Notice};
use output::{Output, Standard};
use record::{Identity, Line, render};

/// The role of this process, part of every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The master.
    Master,
    /// A worker in a slot.
    Worker(u32),
    /// A template.
    Template,
    /// A command of the command line.
    Command,
}

/// Crates of others that would tell more than an operator wants to read below `warn`.
const QUIET_CRATES: [&str; 4] = ["mio", "pyo3", "signal_hook", "jiff"];

/// How long an ending process waits for a log that is not written.
const EXIT_PATIENCE: Duration = Duration::from_millis(500);

/// The error log.
#[derive(Debug)]
struct ErrorLog {
    lane: &'static Lane,
    style: Arc<Style>,
    /// Decides what of others is logged.
    filter: env_logger::Logger,
}

/// Everything about a record that a reload or a fork changes. Without a lock, which a fork could find taken.
#[derive(Debug)]
struct Style {
    /// Of a worker the slot, else one of the numbers below.
    role: AtomicU64,
    generation: AtomicU32,
    /// [`Style::JSON`] and [`Style::COLOUR`].
    look: AtomicU8,
}

static ERROR_LOG: OnceLock<ErrorLog> = OnceLock::new();

/// Installs the logger. Called once in a process that is not forked by us; called again, it reconfigures.
///
/// # Errors
/// The log file cannot be opened.
pub fn install(settings: &config::Log, role: Role) -> io::Result<()> {
    let generation = match role {
        Role::Master => 1,
        Role::Worker(_) | Role::Template | Role::Command => 0,
    };
    if ERROR_LOG.get().is_some() {
        identify(role, generation);
        return reconfigure(settings);
    }
    let error_log = ErrorLog::open(settings)?;
    log::set_logger(ERROR_LOG.get_or_init(|| error_log)).map_err(io::Error::other)?;
    identify(role, generation);
    log::set_max_level(settings.level);
    Ok(())
}

/// Changes who this process says it is: after a fork, and when the master's generation changes.
pub fn identify(role: Role, generation: u32) {
    if let Some(error_log) = ERROR_LOG.get() {
        error_log.style.identify(role, generation);
        let from_thread = match role {
            Role::Master | Role::Worker(_) => true,
            // A template must have one thread, or it could not be forked.
            Role::Template | Role::Command => false,
        };
        error_log.lane.write_from_thread(from_thread);
    }
}

/// Applies a changed level, format or file (a reload).
///
/// # Errors
/// The new file cannot be opened; the old one stays in use.
pub fn reconfigure(settings: &config::Log) -> io::Result<()> {
    if let Some(error_log) = ERROR_LOG.get() {
        error_log.reconfigure(settings)?;
        log::set_max_level(settings.level);
    }
    Ok(())
}

/// Opens the error log's file again (after logrotate moved it), behind what is logged already.
///
/// # Errors
/// The file cannot be opened; the old one stays in use. A process that writes from a thread logs that instead.
pub fn reopen() -> io::Result<()> {
    ERROR_LOG.get().map_or(Ok(()), |error_log| error_log.lane.reopen())
}

/// Waits until what this process has logged is written, or for half a second: to be called before it ends.
/// [`exit_now`](crate::sys::exit_now) does so.
pub fn flush() {
    forks::flush_all(EXIT_PATIENCE);
}

impl ErrorLog {
    fn open(settings: &config::Log) -> io::Result<Self> {
        let output = Output::open(&settings.file, Standard::Error)?;
        let style = Arc::new(Style::new(settings.format, &output));
        let its_style = Arc::clone(&style);
        let tell = move |notice: &Notice| its_style.tell(notice);
        let mut filter = env_logger::Builder::new();
        // Levels are filtered by `log::set_max_level`, which a reload can change.
        filter.filter_level(LevelFilter::Trace);
        for name in QUIET_CRATES {
            filter.filter_module(name, LevelFilter::Warn);
        }
        Ok(Self { lane: Lane::new(Kind::Records, output, Box::new(tell)), style, filter: filter.build() })
    }

    fn reconfigure(&self, settings: &config::Log) -> io::Result<()> {
        let output = Output::open(&settings.file, Standard::Error)?;
        self.style.change(settings.format, &output);
        self.lane.replace(output);
        Ok(())
    }
}

impl log::Log for ErrorLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.matches(record) {
            return;
        }
        // Rendered before the lock is taken: what is logged may have its own ideas of how to show itself.
        let target = Some(record.target()).filter(|target| !is_ours(target));
        let line = self.style.render(record.level(), target, &record.args().to_string());
        self.lane.push(|buffer| buffer.extend_from_slice(line.as_bytes()));
    }

    fn flush(&self) {
        self.lane.flush(EXIT_PATIENCE);
    }
}

impl Style {
    const JSON: u8 = 1;
    const COLOUR: u8 = 2;
    /// Above every slot.
    const MASTER: u64 = 1 << 32;
    const TEMPLATE: u64 = Self::MASTER + 1;
    const COMMAND: u64 = Self::MASTER + 2;

    fn new(format: LogFormat, output: &Output) -> Self {
        let style = Self {
            role: AtomicU64::new(Self::COMMAND),
            generation: AtomicU32::new(0),
            look: AtomicU8::new(0),
        };
        style.change(format, output);
        style
    }

    fn change(&self, format: LogFormat, output: &Output) {
        let json = if format == LogFormat::Json { Self::JSON } else { 0 };
        let colour = if wants_colour(output) { Self::COLOUR } else { 0 };
        self.look.store(json | colour, Ordering::Relaxed);
    }

    fn identify(&self, role: Role, generation: u32) {
        let role = match role {
            Role::Worker(slot) => slot.into(),
            Role::Master => Self::MASTER,
            Role::Template => Self::TEMPLATE,
            Role::Command => Self::COMMAND,
        };
        self.role.store(role, Ordering::Relaxed);
        self.generation.store(generation, Ordering::Relaxed);
    }

    fn identity(&self) -> Identity {
        let role = match self.role.load(Ordering::Relaxed) {
            Self::MASTER => Role::Master,
            Self::TEMPLATE => Role::Template,
            slot => u32::try_from(slot).map_or(Role::Command, Role::Worker),
        };
        // Asked for each time: an application's own processes have one of their own.
        Identity { role, pid: std::process::id(), generation: self.generation.load(Ordering::Relaxed) }
    }

    fn render(&self, level: Level, target: Option<&str>, message: &str) -> String {
        let look = self.look.load(Ordering::Relaxed);
        let format = if look & Self::JSON == 0 { LogFormat::Text } else { LogFormat::Json };
        let mut out = String::with_capacity(256);
        let line = Line { time: Timestamp::now(), level, identity: self.identity(), target, message };
        render(&line, format, look & Self::COLOUR != 0, &mut out);
        out
    }

    /// What the error log has to tell of itself, for its own next lines.
    fn tell(&self, notice: &Notice) -> Vec<u8> {
        let text = match notice {
            Notice::Dropped(lines) => {
                let lines = if *lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
                self.render(
                    Level::Warn,
                    None,
                    &format!("{lines} of this log could not be written and are lost"),
                )
            }
            Notice::NotReopened(error) => {
                let message = format!("the log file cannot be reopened: {error}; the old one stays in use");
                self.render(Level::Error, None, &message)
            }
            // There is nobody to tell.
            Notice::Failing(_) | Notice::Full => String::new(),
        };
        text.into_bytes()
    }
}

fn is_ours(target: &str) -> bool {
    target == "rwsgi" || target.starts_with("rwsgi::")
}

fn wants_colour(output: &Output) -> bool {
    // https://no-color.org
    output.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests;
