//! Making a worker process: the fork, and what the child does before the worker's own code runs.
//!
//! The child never returns into the master's code and never drops the master's objects: it ends by `_exit`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::config::Settings;
use crate::ipc::{Channel, Seat, WorkerMain};
use crate::log as logs;
use crate::net::Listener;
use crate::sys;
use crate::sys::process::Fork;

/// Exit code of a worker that the system refuses something.
const EXIT_SYSTEM: i32 = 1;
/// Exit code of a worker that panicked (EX_SOFTWARE of sysexits.h).
const EXIT_PANIC: i32 = 70;

/// What a new worker is to be.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) generation: u32,
    pub(super) slot: u32,
    pub(super) settings: &'a Settings,
    pub(super) listeners: &'a [Listener],
    pub(super) worker: &'a dyn WorkerMain,
    /// Descriptors of the master that the child closes.
    pub(super) masters: &'a [RawFd],
}

/// Forks a worker; in the master returns its process id and the master's end of the channel.
///
/// # Errors
/// No process or no descriptor can be had now.
pub(super) fn spawn(order: &Order<'_>) -> io::Result<(i32, Channel)> {
    let (ours, theirs) = Channel::pair()?;
    let master = nix::unistd::getpid().as_raw();
    match sys::process::fork()? {
        Fork::Parent(pid) => Ok((pid, ours)),
        Fork::Child => {
            drop(ours);
            be_worker(order, theirs, master)
        }
    }
}

fn be_worker(order: &Order<'_>, channel: Channel, master: i32) -> ! {
    if !sys::process::die_with_parent(master) {
        sys::exit_now(EXIT_PANIC);
    }
    sys::descriptors::close_in_child(order.masters);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let (generation, slot) = (order.generation, order.slot);
        sys::title::set(&format!("{}: worker {slot} gen {generation}", order.settings.server.process_name));
        logs::identify(logs::Role::Worker(slot), generation);
        if generation > 1 {
            if let Err(error) = logs::reconfigure(&order.settings.log) {
                log::warn!("[log] stays as it was: {error}");
            }
        }
        // Of its own, so that a worker that closes a listener really gives it up.
        let listeners = match order.listeners.iter().map(Listener::duplicate).collect() {
            Ok(listeners) => listeners,
            Err(error) => {
                log::error!("the listeners cannot be taken over: {error}");
                return EXIT_SYSTEM;
            }
        };
        let inherited: Vec<RawFd> = order.listeners.iter().map(|it| it.as_fd().as_raw_fd()).collect();
        sys::descriptors::close_in_child(&inherited);
        order.worker.run(Seat { generation, slot, settings: order.settings.clone(), listeners, channel })
    }));
    sys::exit_now(ran.unwrap_or(EXIT_PANIC))
}
