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
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use crate::app::{AfterCall, Application, Attached};
use crate::sys;

use super::exchange::Shared;
use super::jobs::Jobs;
use super::reactor::Reactor;

/// Serves until the worker has drained. Called on the main thread.
///
/// # Errors
/// A thread cannot be started.
pub(super) fn serve(
    application: &dyn Application,
    mut reactor: Reactor,
    jobs: &Arc<Jobs>,
    shared: &Arc<Shared>,
    threads: u32,
) -> io::Result<()> {
    thread::scope(|scope| {
        let result = (|| {
            for index in 1..threads {
                let name = format!("rwsgi-app-{index}");
                thread::Builder::new().name(name.clone()).spawn_scoped(scope, move || {
                    application.attach(&name, &mut |attached| answer_requests(attached, jobs, shared));
                })?;
            }
            reactor.report_ready()?;
            thread::Builder::new().name("rwsgi-reactor".to_owned()).spawn_scoped(scope, move || {
                // It goes to the thread that writes; an application may have set it to end the process.
                if let Err(error) = SigSet::from(Signal::SIGPIPE).thread_block() {
                    log::warn!("SIGPIPE cannot be blocked: {error}");
                }
                if catch_unwind(AssertUnwindSafe(|| reactor.run())).is_err() {
                    log::error!("the reactor failed because of a bug in rwsgi; please report it");
                    sys::exit_now(1);
                }
                jobs.close();
            })?;
            Ok(())
        })();
        match result {
            Ok(()) => {
                application.attach("MainThread", &mut |attached| answer_requests(attached, jobs, shared))
            }
            Err(_) => jobs.close(),
        }
        result
    })
}

/// An app thread's life: one request after the other.
fn answer_requests(attached: &mut dyn Attached, jobs: &Jobs, shared: &Shared) {
    loop {
        let mut next = jobs.try_next();
        if next.is_none() {
            attached.detached(&mut || next = jobs.next());
        }
        let Some(mut exchange) = next else { return };
        let after = attached.call(&mut *exchange);
        drop(exchange);
        jobs.done();
        if after == AfterCall::Exit {
            shared.leaving.store(true, Ordering::Relaxed);
            shared.notifier.wake();
        } else if shared.wants_free_thread.load(Ordering::SeqCst) {
            shared.notifier.wake();
        }
    }
}
