//! The roles of a worker's threads: who turns the reactor, who runs the application.
//!
//! App threads do both. One of them has the reactor: it polls, and runs what is quick right there, which costs no hand-over
//! (`inline`). While it runs the application the reactor lies in the berth. The others take what was handed over: what is
//! known to be slow, and what comes while the reactor is with the standby.
//!
//! The standby never touches the application. It takes the reactor over when a call lasts longer than a look or two, and turns
//! it until an app thread has nothing else to do, or would rather have it.
//!
//! The process's main thread is app thread 0, since some applications want Python's main thread (`signal`, `asyncio`).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::app::{AfterCall, Application, Attached, Exchange};
use crate::sys::{self, at_fork, clock};

use super::berth::{TICK, Taken};
use super::calls::Calls;
use super::exchange::{Shared, WorkerExchange};
use super::forecast::SLOW;
use super::jobs::{Jobs, Work};
use super::reactor::Reactor;

/// When a call has lasted so long that the reactor is taken over.
const OVERDUE: Duration = Duration::from_millis(1);

/// The same for an app thread that is alone: no other could run what is read meanwhile.
const ALONE_OVERDUE: Duration = Duration::from_millis(2);

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
    pub(super) fn serve(&self, reactor: Reactor) -> io::Result<()> {
        thread::scope(|scope| {
            let result = (|| {
                for index in 1..self.calls.threads() {
                    let name = format!("rwsgi-app-{index}");
                    thread::Builder::new().name(name.clone()).spawn_scoped(scope, move || {
                        self.application.attach(&name, &mut |attached| {
                            guarded(|| self.work(attached, index));
                        });
                    })?;
                }
                thread::Builder::new()
                    .name("rwsgi-standby".to_owned())
                    .spawn_scoped(scope, || guarded(|| self.stand_by()))?;
                reactor.report_ready()
            })();
            match result {
                Ok(()) => {
                    self.jobs.offer(Box::new(reactor));
                    self.application.attach("MainThread", &mut |attached| guarded(|| self.work(attached, 0)));
                }
                Err(_) => self.end(),
            }
            result
        })
    }

    /// An app thread's life.
    fn work(&self, attached: &mut dyn Attached, thread: usize) {
        self.calls.enrol(thread);
        let mut task = Task::Again;
        loop {
            task = match task {
                Task::Answer(exchange) => {
                    self.answer(attached, thread, exchange);
                    Task::Again
                }
                Task::Run(exchange) => {
                    self.run_left(attached, thread, exchange).map_or(Task::Again, Task::Turn)
                }
                Task::Turn(reactor) => self.turn(attached, thread, reactor),
                Task::Again => match self.jobs.try_next() {
                    Some(Work::Request(exchange)) => self.begin(thread, exchange),
                    Some(Work::Reactor(reactor)) => Task::Turn(reactor),
                    None => {
                        let mut task = Task::End;
                        self.wait_detached(attached, &mut || task = self.wait_for_work(thread));
                        task
                    }
                },
                Task::End => return,
            };
        }
    }

    /// Waits, detached, for something that the thread must be attached for. Attached for less it might wait for the
    /// interpreter lock for ever, and look free.
    fn wait_for_work(&self, thread: usize) -> Task {
        let wake = || self.shared.notifier.wake();
        loop {
            let task = match self.jobs.next(&wake) {
                Some(Work::Request(exchange)) => self.begin(thread, exchange),
                Some(Work::Reactor(reactor)) => self.wait(thread, reactor),
                None => Task::End,
            };
            if !matches!(task, Task::Again) {
                return task;
            }
        }
    }

    /// Waits without the interpreter lock, and counts how long the thread then waits for the lock.
    fn wait_detached(&self, attached: &mut dyn Attached, wait: &mut dyn FnMut()) {
        let mut woken = Duration::ZERO;
        attached.detached(&mut || {
            wait();
            woken = clock::monotonic();
        });
        self.calls.count_gil_wait(clock::monotonic().saturating_sub(woken));
    }

    /// Begun before the thread is attached again: it may wait for ever for the interpreter lock, with the request.
    fn begin(&self, thread: usize, exchange: Box<WorkerExchange>) -> Task {
        self.calls.begin(thread, &exchange, self.limit);
        Task::Answer(exchange)
    }

    /// Answers a request that was handed over.
    fn answer(&self, attached: &mut dyn Attached, thread: usize, mut exchange: Box<WorkerExchange>) {
        let after = call(attached, &mut exchange);
        let was_quick = exchange.link().age(clock::monotonic()) < self.quick();
        drop(exchange);
        self.done(thread, after);
        if was_quick {
            self.jobs.claim();
        }
    }

    /// A request that counts as handed over is done.
    fn done(&self, thread: usize, after: AfterCall) {
        self.calls.end(thread, &self.shared.notifier);
        self.jobs.done();
        if after == AfterCall::Exit {
            self.shared.leaving.store(true, Ordering::Relaxed);
            self.shared.notifier.wake();
        } else if self.shared.wants_free_thread.load(Ordering::SeqCst) {
            self.shared.notifier.wake();
        }
    }

    /// Turns the reactor, and runs the application in between, until the reactor is with somebody else. What to do next.
    fn turn(&self, attached: &mut dyn Attached, thread: usize, mut reactor: Box<Reactor>) -> Task {
        let mut has_run = false;
        loop {
            // What is ready is run while the thread is attached anyway.
            while let Some(exchange) = self.next_quick(&mut reactor) {
                match self.run(attached, thread, reactor, exchange) {
                    Some(regained) => reactor = regained,
                    None => return Task::Again,
                }
                has_run = true;
            }
            // With one thread the interpreter is given up only to wait. The application's own threads get it while a request
            // runs, and so not while bytes are moved and nothing runs.
            if std::mem::take(&mut has_run) && self.goes_on_attached(&mut reactor) {
                continue;
            }
            let (mut task, mut place) = (Task::Again, Some(reactor));
            self.wait_detached(attached, &mut || {
                let Some(reactor) = place.take() else { return };
                task = self.wait(thread, reactor);
                if matches!(task, Task::Again) {
                    task = self.wait_for_work(thread);
                }
            });
            let Task::Run(exchange) = task else { return task };
            match self.run_left(attached, thread, exchange) {
                Some(regained) => reactor = regained,
                None => return Task::Again,
            }
            has_run = true;
        }
    }

    /// Polls without giving the interpreter up where that is allowed; whether it has brought something.
    fn goes_on_attached(&self, reactor: &mut Reactor) -> bool {
        let allowed = self.calls.threads() == 1 && !reactor.is_finished() && !self.jobs.is_short_of_threads();
        allowed && reactor.poll(false)
    }

    /// Turns the reactor, detached, until a request is to be run on this thread or the reactor is with somebody else.
    fn wait(&self, thread: usize, mut reactor: Box<Reactor>) -> Task {
        loop {
            if let Some(mut exchange) = self.next_quick(&mut reactor) {
                // Left before the thread is attached: it may wait long for the interpreter lock.
                reactor.begin_inline(thread, &mut exchange, self.limit);
                self.shared.berth.leave(thread, reactor);
                return Task::Run(exchange);
            }
            if reactor.is_finished() {
                self.conclude(reactor);
                return Task::Again;
            }
            if self.jobs.is_short_of_threads() {
                // This thread is needed for what waits.
                self.shared.berth.give(reactor);
                return Task::Again;
            }
            reactor.poll(true);
        }
    }

    /// The next request that this thread is to run itself; what is known to be slow is handed over on the way.
    fn next_quick(&self, reactor: &mut Reactor) -> Option<Box<WorkerExchange>> {
        while let Some(exchange) = reactor.next_ready() {
            if !exchange.is_streamed() && (self.calls.threads() == 1 || !reactor.is_slow(&exchange)) {
                return Some(exchange);
            }
            reactor.hand_over(exchange);
        }
        None
    }

    /// Runs a request on this thread. The reactor afterwards, unless it was taken over.
    fn run(
        &self,
        attached: &mut dyn Attached,
        thread: usize,
        mut reactor: Box<Reactor>,
        mut exchange: Box<WorkerExchange>,
    ) -> Option<Box<Reactor>> {
        reactor.begin_inline(thread, &mut exchange, self.limit);
        self.shared.berth.leave(thread, reactor);
        self.run_left(attached, thread, exchange)
    }

    /// The same, when the reactor is in the berth already.
    fn run_left(
        &self,
        attached: &mut dyn Attached,
        thread: usize,
        mut exchange: Box<WorkerExchange>,
    ) -> Option<Box<Reactor>> {
        let after = call(attached, &mut exchange);
        // Only if the bridge has forgotten to end it.
        exchange.abort();
        match self.shared.berth.regain(thread) {
            Some(mut reactor) => {
                reactor.end_inline(exchange);
                if after == AfterCall::Exit {
                    self.shared.leaving.store(true, Ordering::Relaxed);
                    self.shared.notifier.wake();
                }
                Some(reactor)
            }
            None => {
                drop(exchange);
                self.done(thread, after);
                None
            }
        }
    }

    /// The standby's life.
    fn stand_by(&self) {
        let berth = &self.shared.berth;
        while let Some(taken) =
            berth.stand_by(|reactor| reactor.look_in(self.overdue()), |reactor| reactor.adopt())
        {
            let (Taken::Given(reactor) | Taken::Over(reactor)) = taken;
            self.stand_in(reactor);
        }
    }

    /// A call that has lasted so long has the reactor taken over.
    fn overdue(&self) -> Duration {
        if self.calls.threads() == 1 { ALONE_OVERDUE } else { OVERDUE }
    }

    /// A request that took less is better run by the thread that polls. An app thread that is alone keeps none waiting by
    /// that which would not wait otherwise.
    fn quick(&self) -> Duration {
        if self.calls.threads() == 1 { ALONE_OVERDUE } else { SLOW }
    }

    /// Turns the reactor while the app threads are busy.
    fn stand_in(&self, mut reactor: Box<Reactor>) {
        self.jobs.stand_in();
        loop {
            while let Some(exchange) = reactor.next_ready() {
                reactor.hand_over(exchange);
            }
            if reactor.is_finished() {
                return self.conclude(reactor);
            }
            if self.jobs.reactor_is_wanted() {
                reactor.take_back();
                self.jobs.offer(reactor);
                match self.jobs.take_unless_taken(TICK) {
                    Some(returned) => reactor = returned,
                    None => return,
                }
                self.jobs.stand_in();
                continue;
            }
            reactor.poll(true);
        }
    }

    /// The worker has drained.
    fn conclude(&self, mut reactor: Box<Reactor>) {
        let left = reactor.conclude();
        if left > 0 {
            let threads = if left == 1 { "app thread that does" } else { "app threads that do" };
            log::warn!("ending without {left} {threads} not come back: no exit hooks are run");
            (self.abandon)(0);
        }
        drop(reactor);
        self.end();
    }

    /// Lets every thread end.
    fn end(&self) {
        self.jobs.close();
        self.shared.berth.dismiss();
    }
}

/// What an app thread is to do next.
enum Task {
    /// Answer a request that was handed over.
    Answer(Box<WorkerExchange>),
    /// Run a request; the reactor is in the berth.
    Run(Box<WorkerExchange>),
    /// Turn the reactor.
    Turn(Box<Reactor>),
    /// Look again: the reactor is with somebody else.
    Again,
    /// The worker has drained.
    End,
}

/// Calls the application.
fn call(attached: &mut dyn Attached, exchange: &mut WorkerExchange) -> AfterCall {
    let after = attached.call(exchange);
    if at_fork::is_copy() {
        log::warn!(
            "[{}] a process that the application has forked came back from its request and was ended: only its parent \
             answers (end such a process with os._exit())",
            exchange.id()
        );
        sys::exit_now(i32::from(after != AfterCall::Exit));
    }
    after
}

/// Ends the process on a bug in what turns the reactor: without it nothing would be answered any more.
fn guarded(body: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        log::error!("the reactor failed because of a bug in rwsgi; please report it");
        sys::exit_now(1);
    }
}
