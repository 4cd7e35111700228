//! What waits for an app thread: complete requests that the reactor has handed over, and the reactor itself when it is
//! free to be turned by one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use mio::Token;

use super::exchange::WorkerExchange;
use super::link::lock;
use super::reactor::Reactor;

/// What an app thread does next.
#[derive(Debug)]
pub(super) enum Work {
    /// Answer a request, and hand the answer to whoever turns the reactor. Balanced by [`Jobs::done`].
    Request(Box<WorkerExchange>),
    /// Turn the reactor.
    Reactor(Box<Reactor>),
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Box<WorkerExchange>>,
    reactor: Option<Box<Reactor>>,
    running: usize,
    finished: u64,
    idle: usize,
    closed: bool,
}

impl State {
    fn take(&mut self, taken: &Condvar) -> Option<Work> {
        if let Some(reactor) = self.reactor.take() {
            taken.notify_one();
            return Some(Work::Reactor(reactor));
        }
        let exchange = self.waiting.pop_front()?;
        self.running += 1;
        Some(Work::Request(exchange))
    }
}

/// The queue. First in, first out; bounded by `http.max_connections`, since a connection has one request at a time.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    state: Mutex<State>,
    arrived: Condvar,
    /// The reactor that was offered was taken.
    taken: Condvar,
    /// Requests that wait or run, for a look without the lock.
    outstanding: AtomicUsize,
    /// The standby turns the reactor.
    with_standby: AtomicBool,
    /// An app thread would rather turn the reactor itself.
    claimed: AtomicBool,
}

impl Jobs {
    // Whoever turns the reactor.

    /// Adds a request.
    pub(super) fn push(&self, exchange: Box<WorkerExchange>) {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        lock(&self.state).waiting.push_back(exchange);
        self.arrived.notify_one();
    }

    /// Takes a request back that no thread has begun.
    pub(super) fn withdraw(&self, token: Token) -> Option<Box<WorkerExchange>> {
        let mut state = lock(&self.state);
        let position = state.waiting.iter().position(|exchange| exchange.token() == token)?;
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
        state.waiting.remove(position)
    }

    /// Takes back every request that no thread has begun.
    pub(super) fn withdraw_all(&self) -> VecDeque<Box<WorkerExchange>> {
        let waiting = std::mem::take(&mut lock(&self.state).waiting);
        self.outstanding.fetch_sub(waiting.len(), Ordering::Relaxed);
        waiting
    }

    /// A request that an app thread runs while it turns the reactor counts as handed over from now on.
    pub(super) fn adopt(&self) {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        lock(&self.state).running += 1;
    }

    /// Offers the reactor to the app threads.
    pub(super) fn offer(&self, reactor: Box<Reactor>) {
        self.with_standby.store(false, Ordering::SeqCst);
        lock(&self.state).reactor = Some(reactor);
        self.arrived.notify_one();
    }

    // The standby.

    /// Waits until an app thread has taken the reactor that was offered; gives it back when none has within `patience`: the
    /// one that asked for it may have begun something else.
    pub(super) fn take_unless_taken(&self, patience: Duration) -> Option<Box<Reactor>> {
        let state = lock(&self.state);
        let result = self.taken.wait_timeout_while(state, patience, |state| state.reactor.is_some());
        result.unwrap_or_else(PoisonError::into_inner).0.reactor.take()
    }

    /// The standby turns the reactor from now on.
    pub(super) fn stand_in(&self) {
        self.claimed.store(false, Ordering::SeqCst);
        self.with_standby.store(true, Ordering::SeqCst);
    }

    /// Whether an app thread should have the reactor: one waits with nothing to do, or has asked for it.
    pub(super) fn reactor_is_wanted(&self) -> bool {
        let idles = || {
            let state = lock(&self.state);
            state.idle > 0 && state.waiting.is_empty()
        };
        self.claimed.load(Ordering::SeqCst) || idles()
    }

    // App threads.

    /// Waits for what to do next; `None` once the queue is closed. `wake` wakes the reactor.
    pub(super) fn next(&self, wake: &dyn Fn()) -> Option<Work> {
        let mut state = lock(&self.state);
        loop {
            if let Some(work) = state.take(&self.taken) {
                return Some(work);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            if self.with_standby.load(Ordering::SeqCst) {
                // It has looked before this thread was idle, and waits for events.
                wake();
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// What to do next if there is something now.
    pub(super) fn try_next(&self) -> Option<Work> {
        lock(&self.state).take(&self.taken)
    }

    /// This thread would rather turn the reactor than have requests handed over, if it is with the standby.
    pub(super) fn claim(&self) {
        if self.with_standby.load(Ordering::Relaxed) {
            self.claimed.store(true, Ordering::SeqCst);
        }
    }

    /// A request is done, `close()` of its response included.
    pub(super) fn done(&self) {
        self.outstanding.fetch_sub(1, Ordering::SeqCst);
        let mut state = lock(&self.state);
        state.running -= 1;
        state.finished += 1;
    }

    // Any thread.

    /// Requests that were handed over and done so far.
    pub(super) fn finished(&self) -> u64 {
        lock(&self.state).finished
    }

    /// Requests that wait or run.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::SeqCst)
    }

    /// Requests that wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        if self.outstanding() == 0 { 0 } else { lock(&self.state).waiting.len() }
    }

    /// Requests that run, `close()` of their response included.
    pub(super) fn running(&self) -> usize {
        lock(&self.state).running
    }

    /// Whether more requests wait than app threads are free for, but the one that asks.
    pub(super) fn is_short_of_threads(&self) -> bool {
        if self.outstanding() == 0 {
            return false;
        }
        let state = lock(&self.state);
        state.waiting.len() > state.idle
    }

    /// Lets every app thread return once the queue is empty.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.arrived.notify_all();
    }
}
