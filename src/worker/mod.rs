//! The worker: a process that loads the application and serves connections until it is told to leave.
//!
//! Which file does what: `reactor` owns sockets, timers and messages; `connection` is the state machine of one socket;
//! `exchange` and `link` carry one request and its response between reactor and app thread; `pool` says which thread
//! does what; `accept`, `socket`, `timers`, `output`, `spool` and `record` are what they are named for.
//!
//! Nothing here names Python, nor the master: see [`crate::app`] and [`crate::ipc`].

mod accept;
mod connection;
mod context;
mod exchange;
mod jobs;
mod link;
mod output;
mod pool;
mod reactor;
mod record;
mod socket;
mod spool;
#[cfg(test)]
mod tests;
mod timers;

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mio::{Poll, Waker};

use crate::app::{Application, Identity, LoadError, Loader};
use crate::ipc::{FromWorker, Seat, WorkerMain};
use crate::log::access::AccessLog;
use crate::sys;

use accept::Acceptor;
use context::Context;
use exchange::Shared;
use jobs::Jobs;
use link::Notifier;
use reactor::{Parts, Reactor};

/// Exit code of a worker that failed for a reason of the system.
const EXIT_SYSTEM: i32 = 1;

/// The worker's program.
#[derive(Debug)]
pub struct Worker {
    loader: Box<dyn Loader>,
}

impl Worker {
    /// A worker that loads its application with `loader`.
    #[must_use]
    pub fn new(loader: Box<dyn Loader>) -> Self {
        Self { loader }
    }
}

impl WorkerMain for Worker {
    fn run(&self, seat: Seat) -> i32 {
        let begun = reactor::now();
        // Before the application can fork anything; `Acceptor` takes it back when it closes them.
        seat.listeners.iter().for_each(|it| sys::descriptors::withhold_from_forks(it.as_fd().as_raw_fd()));
        let signals = match sys::signals::install_worker_handlers() {
            Ok(signals) => signals,
            Err(error) => {
                log::error!("cannot install signal handlers: {error}");
                return EXIT_SYSTEM;
            }
        };
        let identity = Identity { generation: seat.generation, slot: seat.slot };
        let application = match self.loader.load(&seat.settings, identity) {
            Ok(application) => application,
            Err(error) => return boot_failed(&seat, error),
        };
        log::debug!("loaded the application in {:.0?}", begun.elapsed());
        match serve(&*application, seat, signals.into()) {
            Ok(()) => {
                application.finalize();
                0
            }
            Err(error) => {
                log::error!("cannot serve: {error}");
                EXIT_SYSTEM
            }
        }
    }
}

/// Tells the master why; it decides what that means and logs it.
fn boot_failed(seat: &Seat, error: LoadError) -> i32 {
    let exit_code = error.kind.exit_code();
    let message = FromWorker::BootFailed { exit_code, summary: error.summary, traceback: error.traceback };
    if let Err(error) = seat.channel.send_to_master(&message) {
        log::error!("cannot tell the master that loading failed: {error}");
    }
    i32::from(exit_code)
}

fn serve(application: &dyn Application, seat: Seat, signals: std::fs::File) -> io::Result<()> {
    let Seat { settings, listeners, channel, .. } = seat;
    let settings = Arc::new(settings);
    let poll = Poll::new()?;
    let shared = Arc::new(Shared {
        server: settings.http.server_header.clone(),
        draining: AtomicBool::new(false),
        leaving: AtomicBool::new(false),
        wants_free_thread: AtomicBool::new(false),
        notifier: Notifier::new(Waker::new(poll.registry(), reactor::WAKER)?),
    });
    let jobs = Arc::new(Jobs::default());
    let access = AccessLog::open(&settings.log)?;
    let acceptor = Acceptor::new(&poll, listeners, settings.proxy.trusted.clone())?;
    let threads = settings.workers.threads;
    let context = Context::new(settings, Arc::clone(&shared), Arc::clone(&jobs), access, reactor::now());
    let reactor = Reactor::new(Parts { poll, acceptor, channel, signals, context })?;
    pool::serve(application, reactor, &jobs, &shared, threads)
}
