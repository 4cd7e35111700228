//! The roles of a worker's threads: one reactor, and `workers.threads` app threads that take complete requests from
//! its queue.
//!
//! This is the seam for other arrangements of roles: the reactor is a value that any thread can run, an app thread is
//! a closure that runs while attached to the interpreter, and neither knows of the other but through `jobs` and
//! `link`.
//!
//! The process's main thread is app thread 0, since some applications want Python's main thread (`signal`, `asyncio`).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use crate::app::{AfterCall, Application, Attached};
use crate::sys;

use super::calls::Calls;
use super::exchange::{Shared, WorkerExchange};
use super::jobs::Jobs;
use super::reactor::Reactor;

/// What all threads of a worker work with.
pub(super) struct Pool<'a> {
    pub(super) application: &'a dyn Application,
    pub(super) jobs: &'a Jobs,
    pub(super) calls: &'a Calls,
    pub(super) shared: &'a Shared,
    /// `workers.request_timeout`
    pub(super) limit: Option<Duration>,
    /// Ends the process without waiting for threads that do not come back.
    pub(super) abandon: &'a (dyn Fn(i32) + Sync),
}

impl Pool<'_> {
    /// Serves until the worker has drained. Called on the main thread.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(super) fn serve(&self, mut reactor: Reactor) -> io::Result<()> {
        thread::scope(|scope| {
            let result = (|| {
                for index in 1..self.calls.threads() {
                    let name = format!("rwsgi-app-{index}");
                    thread::Builder::new().name(name.clone()).spawn_scoped(scope, move || {
                        self.application.attach(&name, &mut |attached| self.answer_requests(attached, index));
                    })?;
                }
                reactor.report_ready()?;
                thread::Builder::new()
                    .name("rwsgi-reactor".to_owned())
                    .spawn_scoped(scope, move || self.react(&mut reactor))?;
                Ok(())
            })();
            match result {
                Ok(()) => {
                    self.application.attach("MainThread", &mut |attached| self.answer_requests(attached, 0));
                }
                Err(_) => self.jobs.close(),
            }
            result
        })
    }

    /// The reactor thread's life.
    fn react(&self, reactor: &mut Reactor) {
        // It goes to the thread that writes; an application may have set it to end the process.
        if let Err(error) = SigSet::from(Signal::SIGPIPE).thread_block() {
            log::warn!("SIGPIPE cannot be blocked: {error}");
        }
        match catch_unwind(AssertUnwindSafe(|| reactor.run())) {
            Ok(0) => {}
            Ok(left) => {
                let threads = if left == 1 { "app thread that does" } else { "app threads that do" };
                log::warn!("ending without {left} {threads} not come back: no exit hooks are run");
                (self.abandon)(0);
            }
            Err(_) => {
                log::error!("the reactor failed because of a bug in rwsgi; please report it");
                sys::exit_now(1);
            }
        }
        self.jobs.close();
    }

    /// An app thread's life: one request after the other.
    fn answer_requests(&self, attached: &mut dyn Attached, thread: usize) {
        let Self { jobs, calls, shared, .. } = self;
        calls.enrol(thread);
        loop {
            // Begun before the thread is attached again: it may wait for ever for the interpreter lock, with the request.
            let begin = |exchange: Box<WorkerExchange>| {
                calls.begin(thread, &exchange, self.limit);
                exchange
            };
            let mut next = jobs.try_next().map(begin);
            if next.is_none() {
                attached.detached(&mut || next = jobs.next().map(begin));
            }
            let Some(mut exchange) = next else { return };
            let after = attached.call(&mut *exchange);
            drop(exchange);
            calls.end(thread, &shared.notifier);
            jobs.done();
            if after == AfterCall::Exit {
                shared.leaving.store(true, Ordering::Relaxed);
                shared.notifier.wake();
            } else if shared.wants_free_thread.load(Ordering::SeqCst) {
                shared.notifier.wake();
            }
        }
    }
}
