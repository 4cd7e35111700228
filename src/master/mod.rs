//! The master process: binds the listeners, forks the workers and watches over them. One thread, no Python.
//!
//! What to do is decided by `supervisor`, which is pure; everything else here owns descriptors, processes and the clock.
//!
//! Architecture invariant: names neither `python`, `http`, `app` nor `worker`; the body of a worker comes in as an
//! [`ipc::WorkerMain`].

mod listeners;
mod pid_file;
mod privileges;
mod reactor;
mod spawn;
mod supervisor;
#[cfg(test)]
mod tests;

use std::fmt;

use nix::sys::stat::{Mode, umask};

use crate::config::{self, Settings};
use crate::ipc;
use crate::log as logs;
use crate::net::{Listener, SocketFile};
use crate::sys;

use pid_file::PidFile;
use reactor::Reactor;

/// Exit code of an error of the system.
const EXIT_SYSTEM: i32 = 1;

/// Loads the settings again; every problem as one line.
type Load = Box<dyn Fn() -> Result<Settings, String>>;

/// Why the master cannot start: one sentence for each problem.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StartErrors(Vec<String>);

impl StartErrors {
    fn one(problem: impl fmt::Display) -> Self {
        Self(vec![problem.to_string()])
    }
}

/// Runs the server until it is stopped. `sources` are read again at every reload; `worker` runs in every forked process.
/// The logger is installed already. Returns the exit code.
#[must_use]
pub fn run(sources: config::Sources, settings: Settings, worker: Box<dyn ipc::WorkerMain>) -> i32 {
    let load: Load = Box::new(move || sources.load().map_err(|problems| problems.to_string()));
    run_with(load, settings, worker)
}

fn run_with(load: Load, settings: Settings, worker: Box<dyn ipc::WorkerMain>) -> i32 {
    match start(load, settings, worker) {
        Ok((reactor, socket_files, pid_file)) => {
            let code = reactor.run();
            clean_up(&socket_files, pid_file.as_ref());
            if code == 0 {
                log::info!("stopped");
            }
            code
        }
        Err(StartErrors(problems)) => {
            for problem in problems {
                log::error!("{problem}");
            }
            EXIT_SYSTEM
        }
    }
}

type Started = (Reactor, Vec<SocketFile>, Option<PidFile>);

/// Everything up to the first fork.
fn start(load: Load, settings: Settings, worker: Box<dyn ipc::WorkerMain>) -> Result<Started, StartErrors> {
    logs::identify(logs::Role::Master, 1);
    let target = format!("{}:{}", settings.app.target.module, settings.app.target.callable);
    let pid = std::process::id();
    log::info!("rwsgi {} (pid {pid}) starts: Python application {target}", env!("CARGO_PKG_VERSION"));
    if let Some(bits) = settings.server.umask {
        umask(Mode::from_bits_truncate(bits));
    }
    if let Err(error) = sys::process::become_subreaper() {
        log::debug!("orphans of workers will not be reaped: {error}");
    }
    let listeners = listeners::open(&settings.server).map_err(StartErrors)?;
    let socket_files: Vec<_> = listeners.iter().filter_map(Listener::socket_file).cloned().collect();
    let pid_file = match prepare(&settings, &socket_files) {
        Ok(pid_file) => pid_file,
        Err(errors) => {
            clean_up(&socket_files, None);
            return Err(errors);
        }
    };
    for listener in &listeners {
        log::info!("listening on {listener}");
    }
    sys::title::set(&format!("{}: master [{target}]", settings.server.process_name));
    match Reactor::new(load, settings, worker, listeners) {
        Ok(reactor) => Ok((reactor, socket_files, pid_file)),
        Err(error) => {
            clean_up(&socket_files, pid_file.as_ref());
            Err(StartErrors::one(format_args!("the event loop cannot be set up: {error}")))
        }
    }
}

/// Removes what the start has left in the file system.
fn clean_up(socket_files: &[SocketFile], pid_file: Option<&PidFile>) {
    socket_files.iter().for_each(SocketFile::remove);
    if let Some(pid_file) = pid_file {
        pid_file.remove();
    }
}

/// Writes the pid file, hands our files to the configured user and becomes it.
fn prepare(settings: &Settings, socket_files: &[SocketFile]) -> Result<Option<PidFile>, StartErrors> {
    let pid_file = match &settings.server.pid_file {
        Some(path) => Some(PidFile::create(path, &settings.server.process_name).map_err(StartErrors::one)?),
        None => None,
    };
    let mut files: Vec<_> = socket_files.iter().map(SocketFile::path).collect();
    files.extend(pid_file.as_ref().map(PidFile::path));
    if let Err(problem) = privileges::drop(&settings.server, &settings.log, &files) {
        clean_up(&[], pid_file.as_ref());
        return Err(StartErrors::one(problem));
    }
    Ok(pid_file)
}
