//! The master process: binds the listeners, forks the workers and watches over them. One thread, no Python.
//!
//! What to do is decided by `supervisor`, which is pure; everything else here owns descriptors, processes and the clock.
//!
//! Architecture invariant: names neither `python`, `http`, `app` nor `worker`; what workers and templates run comes in as
//! [`Programs`].

mod control;
mod forensics;
mod generations;
mod listeners;
mod metrics;
mod notify;
mod pid_file;
mod privileges;
mod processes;
mod reactor;
mod spawn;
mod supervisor;
#[cfg(test)]
mod tests;
mod upgrade;

use std::fmt;

use nix::sys::stat::{Mode, umask};

use crate::config::{self, Settings};
use crate::ipc::Programs;
use crate::log as logs;
use crate::net::{Listener, SocketFile};
use crate::sys;

use control::{Control, OwnFile};
use listeners::Reconciled;
use notify::Notifier;
use pid_file::PidFile;
use reactor::{Reactor, Resources};
use upgrade::{Predecessor, Program};

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

/// Runs the server until it is stopped. `sources` are read again at every reload; `programs` run in the forked processes.
/// The logger is installed already. Returns the exit code.
#[must_use]
pub fn run(sources: config::Sources, settings: Settings, programs: Programs) -> i32 {
    let load: Load = Box::new(move || sources.load().map_err(|problems| problems.to_string()));
    run_with(load, settings, programs)
}

fn run_with(load: Load, settings: Settings, programs: Programs) -> i32 {
    match start(load, settings, programs) {
        Ok(reactor) => {
            let code = reactor.run();
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

/// Everything up to the first fork.
fn start(load: Load, settings: Settings, programs: Programs) -> Result<Reactor, StartErrors> {
    let predecessor = Predecessor::take().map_err(StartErrors::one)?;
    logs::identify(logs::Role::Master, predecessor.as_ref().map_or(1, Predecessor::generation));
    let target = format!("{}:{}", settings.app.target.module, settings.app.target.callable);
    let pid = std::process::id();
    log::info!("rwsgi {} (pid {pid}) starts: Python application {target}", env!("CARGO_PKG_VERSION"));
    let program = Program::of_this_process();
    if let Some(bits) = settings.server.umask {
        umask(Mode::from_bits_truncate(bits));
    }
    if let Err(error) = sys::process::become_subreaper() {
        log::warn!("orphans cannot be adopted, so no worker can be forked from a template: {error}");
    }
    let resources = acquire(&settings, program, predecessor)?;
    for listener in &resources.listeners.listeners {
        log::info!("listening on {listener}");
    }
    for listener in &resources.metrics.listeners {
        log::info!("metrics on {listener}");
    }
    sys::title::set(&format!("{}: master [{target}]", settings.server.process_name));
    let left = Left::of(&resources);
    Reactor::new(load, settings, programs, resources).map_err(|error| {
        left.remove();
        StartErrors::one(format_args!("the event loop cannot be set up: {error}"))
    })
}

/// Opens listeners and control socket, writes the pid file, and gives the privileges up. Nothing is left behind when it
/// fails.
fn acquire(
    settings: &Settings,
    program: Program,
    mut predecessor: Option<Predecessor>,
) -> Result<Resources, StartErrors> {
    let (mut listeners, mut metrics) = listen(settings, predecessor.as_ref())?;
    let notifier = Notifier::from_environment(listeners.found());
    if let Some(predecessor) = &mut predecessor {
        predecessor.listeners = std::mem::take(&mut listeners.removed);
        predecessor.listeners.append(&mut metrics.removed);
        predecessor.metrics.clear();
    }
    let control = match predecessor.as_mut().and_then(|predecessor| predecessor.control.take()) {
        Some((fd, path)) => Control::from_fd(fd, &path).map(Some),
        None => Control::open(settings),
    };
    let control = control.unwrap_or_else(|problem| {
        log::warn!("rwsgi ctl cannot be used: {problem}");
        None
    });
    let mut resources =
        Resources { listeners, metrics, control, pid_file: None, notifier, program, predecessor };
    match give_up_privileges(settings, &mut resources) {
        Ok(()) => Ok(resources),
        Err(problem) => {
            Left::of(&resources).remove();
            Err(StartErrors(vec![problem]))
        }
    }
}

/// The listeners of `server.bind` and those of `metrics.bind`.
fn listen(
    settings: &Settings,
    predecessor: Option<&Predecessor>,
) -> Result<(Reconciled, Reconciled), StartErrors> {
    let listeners = match predecessor {
        Some(predecessor) => listeners::reconcile(&predecessor.listeners, &settings.server),
        None => listeners::open(&settings.server),
    };
    let metrics = metrics::reconcile(predecessor.map_or(&[], |it| &it.metrics), settings);
    match (listeners, metrics) {
        (Ok(listeners), Ok(metrics)) => Ok((listeners, metrics)),
        (listeners, metrics) => {
            let mut problems = Vec::new();
            match listeners {
                Ok(listeners) => listeners::remove_files(&listeners.bound),
                Err(said) => problems.extend(said),
            }
            match metrics {
                Ok(metrics) => listeners::remove_files(&metrics.bound),
                Err(said) => problems.push(said),
            }
            Err(StartErrors(problems))
        }
    }
}

/// Writes the pid file, unless it still is the old master's, hands our files to the configured user and becomes it.
fn give_up_privileges(settings: &Settings, resources: &mut Resources) -> Result<(), String> {
    let server = &settings.server;
    if let (Some(path), None) = (&server.pid_file, &resources.predecessor) {
        resources.pid_file = Some(PidFile::create(path, &server.process_name)?);
    }
    let mut files: Vec<_> =
        resources.bound().filter_map(Listener::socket_file).map(SocketFile::path).collect();
    files.extend(resources.pid_file.as_ref().map(PidFile::path));
    privileges::drop(server, &settings.log, &files)
}

/// What a start leaves in the file system.
struct Left {
    socket_files: Vec<SocketFile>,
    pid_file: Option<PidFile>,
    control: Option<OwnFile>,
}

impl Left {
    fn of(resources: &Resources) -> Self {
        Self {
            socket_files: resources.bound().filter_map(Listener::socket_file).cloned().collect(),
            pid_file: resources.pid_file.clone(),
            // That of an old master stays its own.
            control: match resources.predecessor {
                None => resources.control.as_ref().map(Control::file),
                Some(_) => None,
            },
        }
    }

    fn remove(&self) {
        self.socket_files.iter().for_each(SocketFile::remove);
        if let Some(pid_file) = &self.pid_file {
            pid_file.remove();
        }
        if let Some(control) = &self.control {
            control.remove();
        }
    }
}
