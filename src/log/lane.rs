//! A lane: the way of a log's lines out of this process. Who logs puts them into a bounded buffer and goes on; a thread of the
//! lane writes them, and may wait as long as it likes for a disk that hangs or a reader that stands still. What finds the
//! buffer full is dropped and counted, and the log tells how many lines that were.
//!
//! The descriptors are not made non-blocking instead: that is a property of the open file, which other processes share, and
//! files know nothing of it.
//!
//! The thread is started with the first line, so after the fork that made the process. A lane without one (in commands, in a
//! template, which must have one thread to be forked, and in what an application forks) writes in the thread that logs.
//!
//! Invariants: nobody logs while holding the lock. It is never held during a write, but for a lane without a thread.

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};

use crate::sys::clock;

use super::forks;
use super::output::{Output, Patience, Unwritten};

/// Bytes of a lane that wait to be written: some seconds of a busy worker, and little beside the memory of an application.
pub(super) const BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// With so much in it, the buffer is not left to gather more.
const GATHERED_BYTES_MAX: usize = BUFFER_BYTES_MAX / 4;

/// Memory that an empty buffer keeps.
const KEPT_BYTES_MAX: usize = 128 * 1024;

/// How long the access log's thread gathers lines for one write. Under load it is then woken a hundred times a second and
/// not by each request; nobody reads faster.
const GATHERING: Duration = Duration::from_millis(10);

/// How long the writer of an error-log record waits until it is written, so that a process which crashes with its next step
/// has told what came before. After it has waited in vain nobody waits for [`RESTING`]: then the disk or the reader is slow.
const LAST_WORDS: Duration = Duration::from_millis(50);
const RESTING: Duration = Duration::from_secs(1);

/// How soon a log that could not be written tries to tell so.
const RETRY: Duration = Duration::from_secs(1);

/// What is particular about one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Records go out at once, and are waited for a little.
    Records,
    /// Lines are gathered.
    Lines,
}

/// What a lane has to tell of itself.
#[derive(Debug)]
pub(super) enum Notice {
    /// Lines cannot be written: the error.
    Failing(io::Error),
    /// The buffer is full.
    Full,
    /// Lines can be written again; so many were dropped.
    Dropped(u64),
    /// The file cannot be opened again.
    NotReopened(io::Error),
}

/// Tells a notice: in another log, or by returning what is to go into this one.
pub(super) type Teller = Box<dyn Fn(&Notice) -> Vec<u8> + Send + Sync>;

/// The way out of one log. Lives as long as the process.
pub(super) struct Lane {
    kind: Kind,
    tell: Teller,
    state: Mutex<State>,
    /// There is something for the writer thread.
    work: Condvar,
    /// The writer thread has written.
    progress: Condvar,
}

/// What the lock guards.
#[derive(Debug)]
pub(super) struct State {
    output: Arc<Output>,
    /// Whole lines.
    buffer: Vec<u8>,
    /// Of the bytes that the thread is writing, how many.
    writing: usize,
    /// Comes into force behind so many bytes of the buffer.
    change: Option<(usize, Change)>,
    writer: Writer,
    /// Bytes that were ever put into the buffer, and those of them that are dealt with.
    pushed: u64,
    done: u64,
    /// Lines that were dropped and not told of.
    dropped: u64,
    /// Told that lines cannot be written, or that the buffer is full.
    failing: bool,
    /// Somebody waits for what is in the buffer.
    urgent: bool,
    /// Nobody waits before this time.
    resting_until: Duration,
}

#[derive(Debug)]
enum Change {
    Reopen,
    Replace(Output),
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// Who logs.
    Caller,
    /// A thread that is not there yet.
    ToBeStarted,
    /// The thread, which waits for work.
    Asleep,
    /// The thread, which looks at the buffer before it waits again.
    Awake,
}

impl Lane {
    /// A lane to `output`, in which who logs writes.
    pub(super) fn new(kind: Kind, output: Output, tell: Teller) -> &'static Self {
        let state = State {
            output: Arc::new(output),
            buffer: Vec::new(),
            writing: 0,
            change: None,
            writer: Writer::Caller,
            pushed: 0,
            done: 0,
            dropped: 0,
            failing: false,
            urgent: false,
            resting_until: Duration::ZERO,
        };
        let lane: &'static Self = Box::leak(Box::new(Self {
            kind,
            tell,
            state: Mutex::new(state),
            work: Condvar::new(),
            progress: Condvar::new(),
        }));
        forks::enrol(lane);
        lane
    }

    /// From now on a thread writes, which the first line starts; without, who logs does.
    pub(super) fn write_from_thread(&self, from_thread: bool) {
        let mut state = self.lock();
        match (from_thread, state.writer) {
            (true, Writer::Caller) => state.writer = Writer::ToBeStarted,
            (false, Writer::ToBeStarted) => state.writer = Writer::Caller,
            // A thread that is there stays.
            (true | false, _) => {}
        }
    }

    /// Adds what `write` appends: one or more whole lines.
    pub(super) fn push(&'static self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let before = state.buffer.len();
        write(&mut state.buffer);
        let waiting = before + state.writing;
        if waiting > 0 && state.buffer.len() + state.writing > BUFFER_BYTES_MAX {
            state.dropped += count_lines(&state.buffer[before..]);
            state.buffer.truncate(before);
            let first = !std::mem::replace(&mut state.failing, true);
            drop(state);
            if first {
                (self.tell)(&Notice::Full);
            }
            return;
        }
        state.pushed += (state.buffer.len() - before) as u64;
        match state.writer {
            Writer::Awake if state.buffer.len() > GATHERED_BYTES_MAX && !state.urgent => {
                state.urgent = true;
                self.work.notify_one();
            }
            Writer::Awake => {}
            Writer::Asleep => {
                state.writer = Writer::Awake;
                self.work.notify_one();
            }
            Writer::ToBeStarted if self.start().is_ok() => state.writer = Writer::Awake,
            Writer::ToBeStarted | Writer::Caller => return self.write_here(state),
        }
        if self.kind == Kind::Records && clock::monotonic() >= state.resting_until {
            self.wait_for_last_words(state);
        }
    }

    /// Waits until everything is written, for at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let state = self.lock();
        drop(self.wait(state, limit));
    }

    /// Opens the file again, behind what is logged already.
    ///
    /// # Errors
    /// The file cannot be opened; the old one stays in use. With a thread, that tells of it.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut state = self.lock();
        if state.has_thread() {
            self.request(&mut state, Change::Reopen);
            return Ok(());
        }
        if let Some(output) = state.output.reopened()? {
            state.output = Arc::new(output);
        }
        Ok(())
    }

    /// Puts another output in the place of the old one, behind what is logged already.
    pub(super) fn replace(&self, output: Output) {
        let mut state = self.lock();
        if state.has_thread() {
            self.request(&mut state, Change::Replace(output));
        } else {
            state.output = Arc::new(output);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, state: &mut State, change: Change) {
        state.change = Some((state.buffer.len(), change));
        state.writer = Writer::Awake;
        self.work.notify_one();
    }

    fn wait_for_last_words(&self, state: MutexGuard<'_, State>) {
        let (mut state, in_time) = self.wait(state, LAST_WORDS);
        if !in_time {
            state.resting_until = clock::monotonic() + RESTING;
        }
    }

    /// Waits until all that is there now is dealt with; false when that takes longer than `limit`.
    fn wait<'a>(&self, mut state: MutexGuard<'a, State>, limit: Duration) -> (MutexGuard<'a, State>, bool) {
        let until = state.pushed;
        if state.done >= until || !state.has_thread() {
            return (state, true);
        }
        state.urgent = true;
        if self.kind == Kind::Lines {
            // It may be gathering.
            self.work.notify_one();
        }
        let (state, timeout) = self
            .progress
            .wait_timeout_while(state, limit, |state| state.done < until)
            .unwrap_or_else(PoisonError::into_inner);
        (state, !timeout.timed_out())
    }

    /// Without a thread.
    fn write_here(&self, mut state: MutexGuard<'_, State>) {
        let mut lines = std::mem::take(&mut state.buffer);
        state.done = state.pushed;
        if self.kind == Kind::Records && state.dropped > 0 {
            let notice = (self.tell)(&Notice::Dropped(state.dropped));
            if state.output.write_lines(&notice, Patience::Limited).is_ok() {
                state.dropped = 0;
            }
        }
        let result = state.output.write_lines(&lines, Patience::Limited);
        let notice = state.settle(result, &lines, self.kind);
        lines.clear();
        state.buffer = lines;
        drop(state);
        if let Some(notice) = notice {
            (self.tell)(&notice);
        }
    }

    /// Starts the thread. No signal is delivered to it: those are for threads that wait for them.
    fn start(&'static self) -> io::Result<()> {
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let started = thread::Builder::new().name("rwsgi-log".to_owned()).spawn(move || self.run());
        mask.thread_set_mask()?;
        started.map(drop)
    }

    /// The thread's life.
    fn run(&self) {
        let mut batch = Vec::new();
        loop {
            let (output, change) = self.take(&mut batch);
            let (behind, change) = match change {
                Some((at, change)) => (at.min(batch.len()), Some(change)),
                None => (batch.len(), None),
            };
            self.write(&output, &batch[..behind]);
            if let Some(change) = change {
                let output = self.apply(change, output);
                self.write(&output, &batch[behind..]);
            }
            let mut state = self.lock();
            state.done += state.writing as u64;
            state.writing = 0;
            drop(state);
            self.progress.notify_all();
            batch.clear();
            batch.shrink_to(KEPT_BYTES_MAX);
        }
    }

    /// Waits for work and takes it: lines, and what is to change behind how many bytes of them.
    fn take(&self, batch: &mut Vec<u8>) -> (Arc<Output>, Option<(usize, Change)>) {
        let mut state = self.lock();
        while state.buffer.is_empty() && state.change.is_none() {
            state.writer = Writer::Asleep;
            if self.kind == Kind::Records && state.dropped > 0 {
                let waited = self.work.wait_timeout(state, RETRY).unwrap_or_else(PoisonError::into_inner);
                state = waited.0;
                break;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writer = Writer::Awake;
        if self.kind == Kind::Lines && !state.urgent {
            let gathering = |state: &mut State| !state.urgent && state.change.is_none();
            let waited = self.work.wait_timeout_while(state, GATHERING, gathering);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.urgent = false;
        std::mem::swap(batch, &mut state.buffer);
        state.writing = batch.len();
        (Arc::clone(&state.output), state.change.take())
    }

    /// Writes lines, and tells what became of those before them.
    fn write(&self, output: &Output, lines: &[u8]) {
        let dropped = self.lock().dropped;
        if self.kind == Kind::Records && dropped > 0 {
            let notice = (self.tell)(&Notice::Dropped(dropped));
            if output.write_lines(&notice, Patience::Unlimited).is_ok() {
                self.lock().dropped -= dropped;
            }
        }
        if lines.is_empty() {
            return;
        }
        let result = output.write_lines(lines, Patience::Unlimited);
        let notice = self.lock().settle(result, lines, self.kind);
        if let Some(notice) = notice {
            (self.tell)(&notice);
        }
    }

    fn apply(&self, change: Change, old: Arc<Output>) -> Arc<Output> {
        let output = match change {
            Change::Replace(output) => Arc::new(output),
            Change::Reopen => match old.reopened() {
                Ok(Some(output)) => Arc::new(output),
                Ok(None) => return old,
                Err(error) => {
                    let notice = (self.tell)(&Notice::NotReopened(error));
                    self.write(&old, &notice);
                    return old;
                }
            },
        };
        self.lock().output = Arc::clone(&output);
        output
    }
}

impl State {
    #[cfg(test)]
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn has_thread(&self) -> bool {
        matches!(self.writer, Writer::Asleep | Writer::Awake)
    }

    /// Counts what became of a write; what is to be told of it, once the lock is released.
    fn settle(&mut self, result: Result<(), Unwritten>, lines: &[u8], kind: Kind) -> Option<Notice> {
        match result {
            Ok(()) => {
                let was_failing = std::mem::take(&mut self.failing);
                // Records tell of it among themselves, before they go on.
                (was_failing && kind == Kind::Lines)
                    .then(|| Notice::Dropped(std::mem::take(&mut self.dropped)))
            }
            Err(Unwritten { error, written }) => {
                self.dropped += count_lines(&lines[written..]);
                let was_failing = std::mem::replace(&mut self.failing, true);
                (!was_failing).then_some(Notice::Failing(error))
            }
        }
    }

    /// In a forked process: what waits is the parent's to write, and so is its thread.
    pub(super) fn forget_parent(&mut self) {
        self.buffer.clear();
        self.writing = 0;
        self.change = None;
        self.writer = Writer::Caller;
        self.done = self.pushed;
        self.dropped = 0;
        self.failing = false;
        self.urgent = false;
        self.resting_until = Duration::ZERO;
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("kind", &self.kind).field("state", &self.state).finish_non_exhaustive()
    }
}

fn count_lines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}
