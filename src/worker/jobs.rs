//! The queue of complete requests between the reactor and the app threads.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use mio::Token;

use super::exchange::WorkerExchange;
use super::link::lock;

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Box<WorkerExchange>>,
    running: usize,
    finished: u64,
    closed: bool,
}

impl State {
    fn take(&mut self) -> Option<Box<WorkerExchange>> {
        let exchange = self.waiting.pop_front()?;
        self.running += 1;
        Some(exchange)
    }
}

/// The queue. First in, first out; bounded by `http.max_connections`, since a connection has one request at a time.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Jobs {
    /// Reactor: adds a request.
    pub(super) fn push(&self, exchange: Box<WorkerExchange>) {
        lock(&self.state).waiting.push_back(exchange);
        self.arrived.notify_one();
    }

    /// Reactor: takes a request back that no thread has begun.
    pub(super) fn withdraw(&self, token: Token) -> Option<Box<WorkerExchange>> {
        let mut state = lock(&self.state);
        let position = state.waiting.iter().position(|exchange| exchange.token() == token)?;
        state.waiting.remove(position)
    }

    /// Reactor: takes back every request that no thread has begun.
    pub(super) fn withdraw_all(&self) -> VecDeque<Box<WorkerExchange>> {
        std::mem::take(&mut lock(&self.state).waiting)
    }

    /// App thread: waits for the next request; `None` once the queue is closed. Balanced by [`Jobs::done`].
    pub(super) fn next(&self) -> Option<Box<WorkerExchange>> {
        let mut state = lock(&self.state);
        loop {
            if let Some(exchange) = state.take() {
                return Some(exchange);
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// App thread: the next request if there is one now. Balanced by [`Jobs::done`].
    pub(super) fn try_next(&self) -> Option<Box<WorkerExchange>> {
        lock(&self.state).take()
    }

    /// App thread: a request is done, `close()` of its response included.
    pub(super) fn done(&self) {
        let mut state = lock(&self.state);
        state.running -= 1;
        state.finished += 1;
    }

    /// Requests that were done so far.
    pub(super) fn finished(&self) -> u64 {
        lock(&self.state).finished
    }

    /// Requests that wait or run.
    pub(super) fn outstanding(&self) -> usize {
        let state = lock(&self.state);
        state.waiting.len() + state.running
    }

    /// Requests that wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// Requests that run, `close()` of their response included.
    pub(super) fn running(&self) -> usize {
        lock(&self.state).running
    }

    /// Lets every app thread return once the queue is empty.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.arrived.notify_all();
    }
}
