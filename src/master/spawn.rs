//! Making a process: the fork, and what the child does before the worker's or template's own code runs.
//!
//! The child never returns into the master's code and never drops the master's objects: it ends by `_exit`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::config::Settings;
use crate::ipc::{Channel, Programs, Roster, Scoreboard, Seat, TemplateSeat};
use crate::log as logs;
use crate::net::Listener;
use crate::sys;
use crate::sys::process::Fork;

use super::notify;

/// Exit code of a process that the system refuses something.
const EXIT_SYSTEM: i32 = 1;
/// Exit code of a process that panicked (EX_SOFTWARE of sysexits.h).
const EXIT_PANIC: i32 = 70;

/// What a new process is to be.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) generation: u32,
    pub(super) role: Role,
    pub(super) settings: &'a Settings,
    pub(super) listeners: &'a [Listener],
    pub(super) programs: &'a Programs,
    pub(super) roster: &'a Arc<Roster>,
    /// Descriptors of the master that the child closes.
    pub(super) masters: &'a [RawFd],
}

/// What a process that we start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A worker in this slot.
    Worker(u32),
    /// The template of its generation.
    Template,
}

/// A process as its master holds it.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) pid: i32,
    pub(super) channel: Channel,
    pub(super) scoreboard: Scoreboard,
}

/// Forks a process.
///
/// # Errors
/// No process, memory or descriptor can be had now.
pub(super) fn spawn(order: &Order<'_>) -> io::Result<Spawned> {
    let (ours, theirs) = Channel::pair()?;
    let scoreboard = Scoreboard::create(order.settings.workers.threads)?;
    let master = nix::unistd::getpid().as_raw();
    match sys::process::fork()? {
        Fork::Parent(pid) => Ok(Spawned { pid, channel: ours, scoreboard }),
        Fork::Child => {
            drop(ours);
            be_child(order, theirs, scoreboard, master)
        }
    }
}

fn be_child(order: &Order<'_>, channel: Channel, scoreboard: Scoreboard, master: i32) -> ! {
    if !sys::process::die_with_parent(master) {
        sys::exit_now(EXIT_PANIC);
    }
    sys::descriptors::close_in_child(order.masters);
    notify::forget();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let generation = order.generation;
        identify(order);
        // Of its own, so that a process that closes a listener really gives it up.
        let listeners = match order.listeners.iter().map(Listener::duplicate).collect() {
            Ok(listeners) => listeners,
            Err(error) => {
                log::error!("the listeners cannot be taken over: {error}");
                return EXIT_SYSTEM;
            }
        };
        let inherited: Vec<RawFd> = order.listeners.iter().map(|it| it.as_fd().as_raw_fd()).collect();
        sys::descriptors::close_in_child(&inherited);
        let (settings, roster) = (order.settings.clone(), Arc::clone(order.roster));
        match order.role {
            Role::Worker(slot) => {
                let seat = Seat { generation, slot, settings, listeners, channel, scoreboard, roster };
                order.programs.worker.run(seat)
            }
            Role::Template => {
                let seat =
                    TemplateSeat { generation, settings, listeners, channel, scoreboard, roster, master };
                order.programs.template.run(seat)
            }
        }
    }));
    sys::exit_now(ran.unwrap_or(EXIT_PANIC))
}

/// Says who it is, in the list of processes and in the log.
fn identify(order: &Order<'_>) {
    let (name, generation) = (&order.settings.server.process_name, order.generation);
    match order.role {
        Role::Worker(slot) => {
            sys::title::set(&format!("{name}: worker {slot} gen {generation}"));
            logs::identify(logs::Role::Worker(slot), generation);
        }
        Role::Template => {
            sys::title::set(&format!("{name}: template gen {generation}"));
            logs::identify(logs::Role::Template, generation);
        }
    }
    if generation > 1 {
        if let Err(error) = logs::reconfigure(&order.settings.log) {
            log::warn!("the settings of [log] stay as they were: {error}");
        }
    }
}
