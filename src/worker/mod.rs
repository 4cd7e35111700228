//! The worker: a process that loads the application and serves connections until it is told to leave.
//!
//! Which file does what: `reactor` owns sockets, timers and messages; `connection` is the state machine of one socket;
//! `exchange` and `link` carry one request and its response between reactor and app thread; `pool` says which thread
//! does what; `calls` says what each app thread works on, `watch` which of that takes too long, and the threads of `observer`
//! and `overseer` do what the reactor must not wait for; `accept`, `check`, `recycle`, `socket`, `timers`, `output`, `spool`
//! `record` and `request_id` are what they are named for.
//!
//! Nothing here names Python, nor the master: see [`crate::app`] and [`crate::ipc`].

mod accept;
mod berth;
mod calls;
mod check;
mod connection;
mod context;
mod date;
mod exchange;
mod forecast;
mod held;
mod jobs;
mod link;
mod notifier;
mod observer;
mod output;
mod overseer;
mod pool;
mod reactor;
mod record;
mod recycle;
mod request_id;
mod rest;
mod socket;
mod spool;
mod sync;
#[cfg(test)]
mod tests;
mod timers;
mod watch;

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, mpsc};

use mio::{Poll, Waker};

use crate::app::{Application, Identity, LoadError, Loader};
use crate::ipc::{FromWorker, Seat, WorkerMain};
use crate::log::access::AccessLog;
use crate::sys;
use crate::sys::snapshot::Snapshot;

use accept::Acceptor;
use berth::Berth;
use calls::Calls;
use context::Context;
use exchange::Shared;
use jobs::Jobs;
use notifier::Notifier;
use observer::Observer;
use pool::Pool;
use reactor::{Parts, Reactor, Watching};
use watch::Watch;

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
        let signals = match prepare(&seat) {
            Ok(signals) => signals,
            Err(code) => return code,
        };
        let crash_log = seat.scoreboard.crash_file().ok();
        let identity = Identity { generation: seat.generation, slot: seat.slot };
        let application = match self.loader.load(&seat.settings, identity, crash_log.as_ref()) {
            Ok(application) => application,
            Err(error) => return boot_failed(&seat, error),
        };
        log::debug!("loaded the application in {:.0?}", begun.elapsed());
        be_worker(&*application, seat, signals)
    }
}

/// Runs a worker that was forked from a template, with the application that the template has loaded. Called in the child
/// after `Application::fork`, on the thread that loaded the application. Returns the exit code of the process.
#[must_use]
pub fn run_loaded(mut application: Box<dyn Application>, seat: Seat) -> i32 {
    let signals = match prepare(&seat) {
        Ok(signals) => signals,
        Err(code) => return code,
    };
    let crash_log = seat.scoreboard.crash_file().ok();
    let identity = Identity { generation: seat.generation, slot: seat.slot };
    if let Err(error) = application.settle(&seat.settings, identity, crash_log.as_ref()) {
        return boot_failed(&seat, error);
    }
    be_worker(&*application, seat, signals)
}

/// What comes before the application has a say; returns the read end of the pipe of the signal handlers.
fn prepare(seat: &Seat) -> Result<std::fs::File, i32> {
    sys::at_fork::become_original();
    // Before the application can fork anything; `Acceptor` takes it back when it closes them.
    seat.listeners.iter().for_each(|it| sys::descriptors::withhold_from_forks(it.as_fd().as_raw_fd()));
    sys::signals::install_worker_handlers().map(Into::into).map_err(|error| {
        log::error!("cannot install signal handlers: {error}");
        EXIT_SYSTEM
    })
}

fn be_worker(application: &dyn Application, seat: Seat, signals: std::fs::File) -> i32 {
    let identity = Identity { generation: seat.generation, slot: seat.slot };
    if let Err(error) = application.worker_start(&seat.settings, identity) {
        return boot_failed(&seat, error);
    }
    let settings = seat.settings.clone();
    match serve(application, seat, signals, &|code| sys::exit_now(code)) {
        Ok(()) => {
            application.worker_exit(&settings, identity);
            application.finalize();
            0
        }
        // Stopped while it was still loading; the master tells why.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            log::info!(
                "ending before it has served: the master does not want this worker any more, or is gone"
            );
            EXIT_SYSTEM
        }
        Err(error) => {
            log::error!("cannot serve: {error}");
            EXIT_SYSTEM
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

fn serve(
    application: &dyn Application,
    seat: Seat,
    signals: std::fs::File,
    abandon: &(dyn Fn(i32) + Sync),
) -> io::Result<()> {
    let Seat { settings, listeners, channel, scoreboard, roster, .. } = seat;
    let (settings, scoreboard) = (Arc::new(settings), Arc::new(scoreboard));
    let workers = settings.workers.clone();
    let poll = Poll::new()?;
    let shared = Arc::new(Shared {
        server: settings.http.server_header.clone(),
        draining: AtomicBool::new(false),
        leaving: AtomicBool::new(false),
        wants_free_thread: AtomicBool::new(false),
        private_memory: AtomicU64::new(0),
        notifier: Notifier::new(Waker::new(poll.registry(), reactor::WAKER)?),
        berth: Berth::new(settings.workers.threads as usize),
    });
    let jobs = Arc::new(Jobs::default());
    let calls = Arc::new(Calls::new(workers.threads, Arc::clone(&scoreboard)));
    let access = AccessLog::open(&settings.log)?;
    let acceptor = Acceptor::new(&poll, listeners, settings.proxy.trusted.clone(), &roster)?;
    let (words, overseer) = overseer::start(application.overseer(), Arc::clone(&calls), Arc::clone(&shared))?;
    let (dumps, dumped) = mpsc::channel();
    let observer = Observer {
        snapshot: snapshot_of(application),
        calls: Arc::clone(&calls),
        shared: Arc::clone(&shared),
        scoreboard: Arc::clone(&scoreboard),
        memory_is_limited: workers.max_memory.is_some(),
        words: words.clone(),
        dumps,
    };
    let (tasks, observer) = observer.start()?;
    let watch =
        Watch::new(calls.threads(), workers.request_timeout, workers.timeout_grace, sys::clock::monotonic());
    let watching = Watching { calls: Arc::clone(&calls), watch, words, tasks, dumps: dumped };
    let (now, its_jobs) = (reactor::now(), Arc::clone(&jobs));
    let context = Context::new(settings, Arc::clone(&shared), its_jobs, access, scoreboard, now);
    let reactor = Reactor::new(Parts { poll, acceptor, channel, signals, context, watching })?;
    let limit = workers.request_timeout;
    let pool = Pool { application, jobs: &jobs, calls: &calls, shared: &shared, limit, abandon };
    let result = pool.serve(reactor);
    // The reactor is gone, and with it what they were told by; every app thread has given the interpreter up.
    for helper in [observer, overseer] {
        if helper.join().is_err() {
            log::error!("a helper thread failed because of a bug in rwsgi; please report it");
        }
    }
    crate::log::flush();
    result
}

/// Makes the stacks of the threads to be had; without, the worker does all the rest.
fn snapshot_of(application: &dyn Application) -> Option<Snapshot> {
    let snapshot = Snapshot::new().and_then(|snapshot| {
        application.dump_stacks_on(snapshot.signal(), snapshot.file())?;
        Ok(snapshot)
    });
    snapshot.inspect_err(|error| log::warn!("the stacks of threads cannot be had: {error}")).ok()
}
