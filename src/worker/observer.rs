//! The thread that does for the reactor what takes its time and needs no interpreter lock: dumps stacks, writes the record
//! of a request that has timed out, measures memory.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::ipc::Scoreboard;
use crate::sys::clock;
use crate::sys::snapshot::Snapshot;

use super::calls::{Call, Calls};
use super::exchange::Shared;
use super::overseer::Word;
use super::recycle;

/// How often memory is measured when `workers.max_memory` is set, and when it is only for the status.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
const MEASURE_EVERY_UNLIMITED: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Debug)]
pub(super) enum Task {
    /// Write down that a request has timed out, with the stacks of all threads, then interrupt it.
    TimedOut {
        /// The request.
        call: Call,
        /// What became of it: a sentence that the stacks follow.
        told: String,
    },
    /// Dump the stacks for the reactor.
    Dump,
}

/// What the thread works with.
#[derive(Debug)]
pub(super) struct Observer {
    /// `None` when stacks cannot be had.
    pub(super) snapshot: Option<Snapshot>,
    pub(super) calls: Arc<Calls>,
    pub(super) shared: Arc<Shared>,
    pub(super) scoreboard: Arc<Scoreboard>,
    /// Whether `workers.max_memory` is set.
    pub(super) memory_is_limited: bool,
    /// To interrupt a request once its stacks are written down.
    pub(super) words: Sender<Word>,
    /// Stacks for the reactor.
    pub(super) dumps: Sender<String>,
}

impl Observer {
    /// Starts the thread; it ends when the sender is gone.
    ///
    /// # Errors
    /// Out of threads.
    pub(super) fn start(self) -> io::Result<(Sender<Task>, JoinHandle<()>)> {
        let (sender, tasks) = channel();
        let body = move || self.run(&tasks);
        Ok((sender, thread::Builder::new().name("rwsgi-observer".to_owned()).spawn(body)?))
    }

    fn run(mut self, tasks: &Receiver<Task>) {
        let every = if self.memory_is_limited { MEASURE_EVERY } else { MEASURE_EVERY_UNLIMITED };
        loop {
            self.measure();
            let measure_at = clock::monotonic() + every;
            loop {
                match tasks.recv_timeout(measure_at.saturating_sub(clock::monotonic())) {
                    Ok(task) => self.perform(task),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }

    fn measure(&self) {
        match recycle::private_memory() {
            Ok(bytes) => {
                self.scoreboard.private_memory(bytes);
                self.shared.private_memory.store(bytes, Ordering::Relaxed);
            }
            Err(error) => log::debug!("cannot measure private memory: {error}"),
        }
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::TimedOut { call, told } => {
                match self.stacks() {
                    Ok(stacks) => log::error!("{told}; what the threads were doing:\n{stacks}"),
                    Err(error) => log::error!("{told}; the stacks of the threads cannot be had: {error}"),
                }
                // Only now, or the stacks would show how the application handles the interruption. A send fails when the
                // overseer has ended, with nobody left to interrupt.
                drop(self.words.send(Word::Interrupt(call)));
            }
            Task::Dump => {
                let text =
                    self.stacks().unwrap_or_else(|error| format!("the stacks cannot be had: {error}\n"));
                if self.dumps.send(text).is_ok() {
                    self.shared.notifier.wake();
                }
            }
        }
    }

    fn stacks(&mut self) -> io::Result<String> {
        let snapshot = self.snapshot.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        Ok(self.calls.annotate(&snapshot.take()?))
    }
}
