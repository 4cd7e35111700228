//! Logs: the error log (`log` records through `env_logger`, with time, level, role, process and generation) and the
//! access log. Both are reopened on request.
//!
//! The logger is one of the few globals: `log` wants it so. It survives a fork; the child says who it is with
//! [`identify`]. The fork must happen while no other thread logs (the master has one thread).

pub mod access;
mod atom;
pub mod basic;
mod clock;
mod escape;
pub mod format;
mod output;
mod record;

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use log::{Level, LevelFilter, Record};

use crate::config::{self, LogFormat};

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

/// Everything of the error log that a reload, a rotation or a fork changes.
#[derive(Debug)]
struct ErrorLog {
    state: Mutex<State>,
    /// Records that could not be written.
    lost: AtomicU64,
    /// How many of them the log already tells of.
    lost_told: AtomicU64,
}

#[derive(Debug)]
struct State {
    output: Output,
    format: LogFormat,
    colour: bool,
    identity: Identity,
}

static ERROR_LOG: OnceLock<Arc<ErrorLog>> = OnceLock::new();

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
    let error_log = Arc::new(ErrorLog::open(settings, identity(role, generation))?);
    if ERROR_LOG.set(Arc::clone(&error_log)).is_ok() {
        log::set_boxed_logger(Box::new(logger(error_log))).map_err(io::Error::other)?;
    }
    log::set_max_level(settings.level);
    Ok(())
}

/// Changes who this process says it is: after a fork, and when the master's generation changes.
pub fn identify(role: Role, generation: u32) {
    if let Some(error_log) = ERROR_LOG.get() {
        error_log.lock().identity = identity(role, generation);
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

/// Opens the error log's file again (after logrotate moved it).
///
/// # Errors
/// The file cannot be opened; the old one stays in use.
pub fn reopen() -> io::Result<()> {
    ERROR_LOG.get().map_or(Ok(()), |error_log| error_log.reopen())
}

fn identity(role: Role, generation: u32) -> Identity {
    Identity { role, pid: std::process::id(), generation }
}

/// The logger proper: our format, our output. Levels are filtered by `log::set_max_level`, which a reload can change.
fn logger(error_log: Arc<ErrorLog>) -> env_logger::Logger {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(LevelFilter::Trace);
    for name in QUIET_CRATES {
        builder.filter_module(name, LevelFilter::Warn);
    }
    let formatter = Arc::clone(&error_log);
    builder
        .format(move |buffer, record| buffer.write_all(formatter.render(record, Timestamp::now()).as_bytes()))
        .target(env_logger::Target::Pipe(Box::new(Pipe(error_log))))
        .build()
}

impl ErrorLog {
    fn open(settings: &config::Log, identity: Identity) -> io::Result<Self> {
        let output = Output::open(&settings.file, Standard::Error)?;
        let state = State { colour: wants_colour(&output), output, format: settings.format, identity };
        Ok(Self { state: Mutex::new(state), lost: AtomicU64::new(0), lost_told: AtomicU64::new(0) })
    }

    fn reconfigure(&self, settings: &config::Log) -> io::Result<()> {
        let output = Output::open(&settings.file, Standard::Error)?;
        let mut state = self.lock();
        state.colour = wants_colour(&output);
        state.output = output;
        state.format = settings.format;
        Ok(())
    }

    fn reopen(&self) -> io::Result<()> {
        self.lock().output.reopen()
    }

    /// The record as it goes out; in front of it, if records were lost, one that tells how many.
    fn render(&self, record: &Record<'_>, time: Timestamp) -> String {
        let (format, colour, identity) = {
            let state = self.lock();
            (state.format, state.colour, state.identity)
        };
        let mut out = String::with_capacity(256);
        let lost = self.lost.load(Ordering::Relaxed);
        let untold = lost.saturating_sub(self.lost_told.load(Ordering::Relaxed));
        if untold > 0 {
            let message = format!("{untold} records of this log could not be written and are lost");
            let line = Line { time, level: Level::Warn, identity, target: None, message: &message };
            render(&line, format, colour, &mut out);
        }
        let target = Some(record.target()).filter(|target| !is_ours(target));
        let message = record.args().to_string();
        render(
            &Line { time, level: record.level(), identity, target, message: &message },
            format,
            colour,
            &mut out,
        );
        out
    }

    fn write(&self, lines: &[u8]) {
        match self.lock().output.write_lines(lines) {
            Ok(()) => self.lost_told.store(self.lost.load(Ordering::Relaxed), Ordering::Relaxed),
            Err(_) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_ours(target: &str) -> bool {
    target == "rwsgi" || target.starts_with("rwsgi::")
}

fn wants_colour(output: &Output) -> bool {
    // https://no-color.org
    output.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What `env_logger` writes a rendered record to. Failures are counted, never reported: there is nobody to tell.
struct Pipe(Arc<ErrorLog>);

impl Write for Pipe {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.write(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
