//! The template: a process that imports the application once and then forks workers that have it already.
//!
//! It never serves: it holds the listeners for its workers, and keeps them from whatever else the application forks. The
//! master ends it by closing its channel. A worker that it forks is a child of the master (`sys::process::fork_orphan`) and
//! outlives it.
//!
//! Invariant: between the import and the last fork the template runs no code of the application but the hooks around a fork.

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::app::{Application, Identity, LoadError, Loader};
use crate::config::Preload;
use crate::ipc::{Channel, FromTemplate, Scoreboard, Seat, TemplateMain, TemplateSeat, ToTemplate};
use crate::log as logs;
use crate::sys;
use crate::sys::fork_safety::{Findings, Snapshot};
use crate::sys::process::Fork;
use crate::worker;

/// Exit code of a template, or of a worker, that the system refuses something.
const EXIT_SYSTEM: i32 = 1;
/// Exit code of a worker whose master is gone (EX_SOFTWARE of sysexits.h, as for every worker).
const EXIT_ORPHANED: i32 = 70;

/// The template's program.
#[derive(Debug)]
pub struct Template {
    loader: Box<dyn Loader>,
}

impl Template {
    /// A template that loads its application with `loader`.
    #[must_use]
    pub fn new(loader: Box<dyn Loader>) -> Self {
        Self { loader }
    }

    /// Imports the application and finds out whether it can be forked. `Err` has the exit code of the process.
    fn load(&self, seat: &TemplateSeat) -> Result<Box<dyn Application>, i32> {
        let before = prepare(seat).map_err(|error| system_error("the template cannot be started", &error))?;
        let crash_log = seat.scoreboard.crash_file().ok();
        // The slot is that of no worker; each gets its own when it is forked.
        let identity = Identity { generation: seat.generation, slot: 0 };
        let application = self
            .loader
            .load(&seat.settings, identity, crash_log.as_ref())
            .map_err(|error| boot_failed(&seat.channel, error))?;
        let findings = before
            .findings(&application.thread_names())
            .map_err(|error| system_error("the application's threads cannot be listed", &error))?;
        if findings.is_empty() {
            return Ok(application);
        }
        match seat.settings.app.preload {
            Preload::Always => {
                warn(&findings);
                Ok(application)
            }
            Preload::Auto | Preload::Never => {
                tell(&seat.channel, &FromTemplate::Unsafe { report: findings.to_string() })?;
                // Not finalized: the interpreter would wait for threads that were found and may never end.
                Err(0)
            }
        }
    }
}

impl TemplateMain for Template {
    fn run(&self, seat: TemplateSeat) -> i32 {
        match self.load(&seat) {
            Ok(application) => {
                application.freeze();
                match tell(&seat.channel, &FromTemplate::Ready) {
                    Ok(()) => fork_workers(application, seat),
                    Err(code) => code,
                }
            }
            Err(code) => code,
        }
    }
}

/// What comes before the application has a say.
fn prepare(seat: &TemplateSeat) -> io::Result<Snapshot> {
    let listeners = seat.listeners.iter().map(|it| it.as_fd().as_raw_fd());
    listeners.chain([seat.channel.as_raw_fd()]).for_each(sys::descriptors::withhold_from_forks);
    sys::signals::install_template_handlers()?;
    Snapshot::take()
}

/// Forks a worker for each request of the master. Returns the exit code of the template, and in a worker that of the worker.
fn fork_workers(application: Box<dyn Application>, seat: TemplateSeat) -> i32 {
    loop {
        if let Err(error) = seat.channel.wait() {
            return system_error("the channel to the master failed", &error);
        }
        let (ToTemplate::Fork { id, slot }, descriptors) = match seat.channel.receive_for_template() {
            Ok(Some(received)) => received,
            // The master wants no more workers. No finalization: clean-up of the application belongs to its workers.
            Ok(None) => return 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return system_error("the channel to the master failed", &error),
        };
        let announce = &mut |pid| seat.channel.send_from_template(&FromTemplate::Forked { id, pid });
        match application.fork(&mut || sys::process::fork_orphan(announce)) {
            Ok(Fork::Child) => return be_worker(application, seat, slot, descriptors),
            Ok(Fork::Parent(_)) => {}
            Err(error) => {
                let error = error.to_string();
                if let Err(code) = tell(&seat.channel, &FromTemplate::ForkFailed { id, error }) {
                    return code;
                }
            }
        }
    }
}

/// In the forked process: takes its seat and serves. Returns the exit code of the process.
fn be_worker(
    application: Box<dyn Application>,
    seat: TemplateSeat,
    slot: u32,
    descriptors: Vec<OwnedFd>,
) -> i32 {
    if !sys::process::die_with_parent(seat.master) {
        return EXIT_ORPHANED;
    }
    let TemplateSeat { generation, settings, listeners, channel: templates, scoreboard, roster, .. } = seat;
    sys::descriptors::grant_to_forks(templates.as_raw_fd());
    drop((templates, scoreboard));
    sys::title::set(&format!("{}: worker {slot} gen {generation}", settings.server.process_name));
    logs::identify(logs::Role::Worker(slot), generation);
    // The template is not told of rotations.
    if let Err(error) = logs::reopen() {
        log::warn!("the log file cannot be reopened: {error}; the old one stays in use");
    }
    let Ok([channel, scoreboard]) = <[OwnedFd; 2]>::try_from(descriptors) else {
        log::error!("the master passed no channel and no scoreboard");
        return EXIT_SYSTEM;
    };
    let scoreboard = match Scoreboard::open(scoreboard, settings.workers.threads) {
        Ok(scoreboard) => scoreboard,
        Err(error) => return system_error("the scoreboard cannot be opened", &error),
    };
    let channel = Channel::from(channel);
    worker::run_loaded(
        application,
        Seat { generation, slot, settings, listeners, channel, scoreboard, roster },
    )
}

fn warn(findings: &Findings) {
    log::warn!(
        "the application has {findings} after its import: workers are forked without its threads, and share its \
         sockets (app.preload is true): start and open them in hooks.worker_start"
    );
}

/// Tells the master why; it decides what that means and logs it.
fn boot_failed(channel: &Channel, error: LoadError) -> i32 {
    let exit_code = error.kind.exit_code();
    let message = FromTemplate::BootFailed { exit_code, summary: error.summary, traceback: error.traceback };
    tell(channel, &message).err().unwrap_or_else(|| i32::from(exit_code))
}

/// `Err` has the exit code: the master may have closed the channel while the template worked for it.
fn tell(channel: &Channel, message: &FromTemplate) -> Result<(), i32> {
    channel.send_from_template(message).map_err(|error| match error.kind() == io::ErrorKind::BrokenPipe {
        true => 0,
        false => system_error("the master cannot be told", &error),
    })
}

fn system_error(what: &str, error: &io::Error) -> i32 {
    log::error!("{what}: {error}");
    EXIT_SYSTEM
}
