//! The scoreboard: one piece of shared memory per worker process, written by the worker, read by the master. Only atomics,
//! no locks: a reader learns the state of a worker that is stuck, stopped or dead.
//!
//! A text (the request of an app thread) is guarded by a sequence number: odd while it is written; a reader that sees it
//! change, or odd, says that it knows no request.
//!
//! Times are of [`crate::sys::clock`], in nanoseconds; zero means never.

mod totals;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use crate::sys::clock;
use crate::sys::shared::SharedWords;

pub use totals::{BOUNDS_MICROS, BUCKETS, Histogram, REFUSALS, Totals};

/// Bytes of a method and of a path that are kept.
const METHOD_BYTES: usize = 16;
const PATH_BYTES: usize = 160;
/// The master reads at most this much of what a crashing worker wrote.
const CRASH_BYTES_MAX: u64 = 32 * 1024;

// Words of the head.
const HEARTBEAT: usize = 0;
const THREADS: usize = 1;
const CONNECTIONS: usize = 2;
const REQUESTS: usize = 3;
const BYTES_IN: usize = 4;
const BYTES_OUT: usize = 5;
const PRIVATE_MEMORY: usize = 6;
const TIMEOUTS: usize = 7;
const QUEUED: usize = 8;
const STATUS: usize = 16;
const LATENCY: usize = 24;
const QUEUE_WAIT: usize = LATENCY + HISTOGRAM_WORDS;
const GIL_WAIT: usize = QUEUE_WAIT + HISTOGRAM_WORDS;
const REFUSED: usize = GIL_WAIT + HISTOGRAM_WORDS;
const HEAD_WORDS: usize = 96;

/// A histogram is its buckets and, behind them, its sum.
const HISTOGRAM_WORDS: usize = BUCKETS + 1;
const _: () = assert!(REFUSED + REFUSALS.len() <= HEAD_WORDS);

// Words of one app thread, from its base.
const SEQUENCE: usize = 0;
const STARTED: usize = 1;
const SERVED: usize = 2;
const LENGTHS: usize = 3;
const METHOD: usize = 4;
const PATH: usize = METHOD + METHOD_BYTES / 8;
const THREAD_WORDS: usize = PATH + PATH_BYTES / 8;

/// The shared page of one worker.
#[derive(Debug)]
pub struct Scoreboard {
    words: SharedWords,
    threads: usize,
}

/// What an app thread is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The app thread, from 0.
    pub thread: usize,
    /// The method; cut when it is long, anything unprintable escaped.
    pub method: String,
    /// The path without the query; as the method.
    pub path: String,
    /// For how long it has been with the application.
    pub age: Duration,
}

/// How a worker does at one moment. All that it has counted, with the histograms: [`Totals`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// How long ago the reactor last turned; `None` when it never did.
    pub silent_for: Option<Duration>,
    /// Open connections.
    pub connections: u64,
    /// Requests answered, whoever answered them.
    pub requests: u64,
    /// Requests that wait for an app thread.
    pub queued: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
    /// Requests that were over `workers.request_timeout`.
    pub timeouts: u64,
    /// Private memory when it was last measured, in bytes; zero when it never was.
    pub private_memory: u64,
    /// Answers by the first digit of their status, 1xx first; the last is of connections that were cut without one.
    pub statuses: [u64; 6],
}

impl Scoreboard {
    /// Master: the page for a worker with so many app threads.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn create(threads: u32) -> io::Result<Self> {
        let threads = threads as usize;
        let words = SharedWords::create(c"rwsgi-scoreboard", words_for(threads))?;
        words.word(THREADS).store(threads as u64, Ordering::Relaxed);
        Ok(Self { words, threads })
    }

    /// Worker: the page behind a descriptor that the master passed.
    ///
    /// # Errors
    /// It is no such page; out of memory.
    pub fn open(fd: OwnedFd, threads: u32) -> io::Result<Self> {
        let threads = threads as usize;
        Ok(Self { words: SharedWords::open(fd, words_for(threads))?, threads })
    }

    // Worker.

    /// The reactor turns.
    pub fn beat(&self, now: Duration) {
        self.words.word(HEARTBEAT).store(nanos(now), Ordering::Relaxed);
    }

    /// How many connections are open, and how many requests wait for an app thread.
    pub fn gauge(&self, connections: usize, queued: usize) {
        self.words.word(CONNECTIONS).store(connections as u64, Ordering::Relaxed);
        self.words.word(QUEUED).store(queued as u64, Ordering::Relaxed);
    }

    /// Private memory in bytes.
    pub fn private_memory(&self, bytes: u64) {
        self.words.word(PRIVATE_MEMORY).store(bytes, Ordering::Relaxed);
    }

    /// A request is over `workers.request_timeout`.
    pub fn count_timeout(&self) {
        self.add(TIMEOUTS, 1);
    }

    /// An answer is complete, or its connection was cut (status 0).
    pub fn count_answer(&self, status: u16, took: Duration) {
        self.count_status(status);
        self.observe(LATENCY, took);
    }

    /// The server has answered a request by itself before it was one for the application: there is nothing to time.
    pub fn count_rejection(&self, status: u16) {
        self.count_status(status);
        self.count_refusal(status);
    }

    /// The server has answered by itself, with this status; also told by [`Self::count_answer`].
    pub fn count_refusal(&self, status: u16) {
        if let Some(index) = REFUSALS.iter().position(|(other, _)| *other == status) {
            self.add(REFUSED + index, 1);
        }
    }

    fn count_status(&self, status: u16) {
        let class = match status {
            100..=599 => usize::from(status / 100 - 1),
            _ => 5,
        };
        self.add(REQUESTS, 1);
        self.add(STATUS + class, 1);
    }

    /// A request waited so long for an app thread.
    pub fn count_queue_wait(&self, waited: Duration) {
        self.observe(QUEUE_WAIT, waited);
    }

    /// An app thread waited so long for the interpreter lock. From any thread.
    pub fn count_gil_wait(&self, waited: Duration) {
        self.words.word(GIL_WAIT + Histogram::bucket(waited)).fetch_add(1, Ordering::Relaxed);
        self.words.word(GIL_WAIT + BUCKETS).fetch_add(nanos(waited), Ordering::Relaxed);
    }

    /// Bytes went over sockets.
    pub fn count_bytes(&self, read: u64, written: u64) {
        if read > 0 {
            self.add(BYTES_IN, read);
        }
        if written > 0 {
            self.add(BYTES_OUT, written);
        }
    }

    /// App thread `thread` begins a request.
    pub fn begin(&self, thread: usize, method: &[u8], path: &[u8], started: Duration) {
        let base = self.base(thread);
        let sequence = self.words.word(base + SEQUENCE);
        // Only this thread writes here.
        let number = sequence.load(Ordering::Relaxed);
        sequence.store(number.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let method = &method[..method.len().min(METHOD_BYTES)];
        let path = &path[..path.len().min(PATH_BYTES)];
        self.put(base + METHOD, method);
        self.put(base + PATH, path);
        let lengths = (method.len() as u64) << 32 | path.len() as u64;
        self.words.word(base + LENGTHS).store(lengths, Ordering::Relaxed);
        self.words.word(base + STARTED).store(nanos(started), Ordering::Relaxed);
        sequence.store(number.wrapping_add(2), Ordering::Release);
    }

    /// App thread `thread` is done with its request.
    pub fn end(&self, thread: usize) {
        let base = self.base(thread);
        self.words.word(base + STARTED).store(0, Ordering::Relaxed);
        self.add(base + SERVED, 1);
    }

    /// Where a crashing worker writes the stacks of its threads.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn crash_file(&self) -> io::Result<File> {
        self.words.tail_writer()
    }

    // Master.

    /// All counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let beat = self.load(HEARTBEAT);
        let silent_for = (beat != 0).then(|| clock::monotonic().saturating_sub(Duration::from_nanos(beat)));
        Counters {
            silent_for,
            connections: self.load(CONNECTIONS),
            requests: self.load(REQUESTS),
            queued: self.load(QUEUED),
            bytes_in: self.load(BYTES_IN),
            bytes_out: self.load(BYTES_OUT),
            timeouts: self.load(TIMEOUTS),
            private_memory: self.load(PRIVATE_MEMORY),
            statuses: std::array::from_fn(|index| self.load(STATUS + index)),
        }
    }

    /// All that the worker has counted.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            statuses: std::array::from_fn(|index| self.load(STATUS + index)),
            refusals: std::array::from_fn(|index| self.load(REFUSED + index)),
            timeouts: self.load(TIMEOUTS),
            bytes_in: self.load(BYTES_IN),
            bytes_out: self.load(BYTES_OUT),
            latency: self.histogram(LATENCY),
            queue_wait: self.histogram(QUEUE_WAIT),
            gil_wait: self.histogram(GIL_WAIT),
        }
    }

    /// How many app threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// How many app threads are working on a request.
    #[must_use]
    pub fn busy(&self) -> usize {
        (0..self.threads).filter(|&thread| self.load(self.base(thread) + STARTED) != 0).count()
    }

    /// What the app threads are doing, the longest first.
    #[must_use]
    pub fn tasks(&self) -> Vec<Task> {
        let now = clock::monotonic();
        let mut tasks: Vec<Task> = (0..self.threads).filter_map(|thread| self.task(thread, now)).collect();
        tasks.sort_by_key(|task| std::cmp::Reverse(task.age));
        tasks
    }

    /// What a crashing worker wrote about its threads.
    #[must_use]
    pub fn crash_text(&self) -> Option<String> {
        let bytes = self.words.tail(CRASH_BYTES_MAX).ok()?;
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        (!text.is_empty()).then_some(text)
    }

    fn task(&self, thread: usize, now: Duration) -> Option<Task> {
        let base = self.base(thread);
        let sequence = self.words.word(base + SEQUENCE);
        let before = sequence.load(Ordering::Acquire);
        let started = self.load(base + STARTED);
        let lengths = self.load(base + LENGTHS);
        let method = self.take(base + METHOD, lengths >> 32, METHOD_BYTES);
        let path = self.take(base + PATH, lengths & u64::from(u32::MAX), PATH_BYTES);
        fence(Ordering::Acquire);
        if started == 0 || before % 2 == 1 || sequence.load(Ordering::Relaxed) != before {
            return None;
        }
        Some(Task {
            thread,
            method: method.escape_ascii().to_string(),
            path: path.escape_ascii().to_string(),
            age: now.saturating_sub(Duration::from_nanos(started)),
        })
    }

    fn base(&self, thread: usize) -> usize {
        HEAD_WORDS + thread.min(self.threads.saturating_sub(1)) * THREAD_WORDS
    }

    fn put(&self, at: usize, bytes: &[u8]) {
        for (index, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.words.word(at + index).store(u64::from_ne_bytes(word), Ordering::Relaxed);
        }
    }

    fn take(&self, at: usize, length: u64, bytes_max: usize) -> Vec<u8> {
        let length = usize::try_from(length).map_or(bytes_max, |length| length.min(bytes_max));
        let words = (0..length.div_ceil(8)).flat_map(|index| self.load(at + index).to_ne_bytes());
        words.take(length).collect()
    }

    fn observe(&self, histogram: usize, took: Duration) {
        self.add(histogram + Histogram::bucket(took), 1);
        self.add(histogram + BUCKETS, nanos(took));
    }

    fn histogram(&self, at: usize) -> Histogram {
        let buckets = std::array::from_fn(|index| self.load(at + index));
        Histogram { buckets, sum_nanos: self.load(at + BUCKETS) }
    }

    fn load(&self, index: usize) -> u64 {
        self.words.word(index).load(Ordering::Relaxed)
    }

    /// One writer for each word: no read-modify-write is needed.
    fn add(&self, index: usize, count: u64) {
        let word: &AtomicU64 = self.words.word(index);
        word.store(word.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }
}

impl AsFd for Scoreboard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.words.as_fd()
    }
}

fn words_for(threads: usize) -> usize {
    HEAD_WORDS + threads * THREAD_WORDS
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_seen_while_they_run() {
        let board = Scoreboard::create(3).unwrap();
        let worker = Scoreboard::open(board.as_fd().try_clone_to_owned().unwrap(), 3).unwrap();
        assert_eq!(board.tasks(), []);
        worker.begin(0, b"GET", b"/first", clock::monotonic());
        worker.begin(2, b"POST", &[b'\n'; 500], clock::monotonic());
        let tasks = board.tasks();
        assert_eq!(tasks.len(), 2);
        assert_eq!((tasks[0].method.as_str(), tasks[0].path.as_str(), tasks[0].thread), ("GET", "/first", 0));
        assert_eq!((tasks[1].method.as_str(), tasks[1].path.len()), ("POST", 2 * PATH_BYTES));
        worker.end(0);
        worker.begin(2, b"GET", b"/", clock::monotonic());
        let paths: Vec<String> = board.tasks().into_iter().map(|task| task.path).collect();
        assert_eq!(paths, ["/"]);
    }

    #[test]
    fn answers_are_counted_by_class_and_latency() {
        let board = Scoreboard::create(1).unwrap();
        assert_eq!(board.counters().silent_for, None);
        board.beat(clock::monotonic());
        board.gauge(5, 2);
        board.count_answer(200, Duration::from_micros(500));
        board.count_answer(504, Duration::from_secs(30));
        board.count_answer(0, Duration::ZERO);
        board.count_bytes(10, 20);
        let counters = board.counters();
        assert!(counters.silent_for.is_some());
        assert_eq!((counters.connections, counters.queued, counters.requests), (5, 2, 3));
        assert_eq!(counters.statuses, [0, 1, 0, 0, 1, 1]);
        assert_eq!((counters.bytes_in, counters.bytes_out), (10, 20));
        let totals = board.totals();
        assert_eq!((totals.latency.buckets[0], totals.latency.buckets[14]), (2, 1));
        assert_eq!(totals.latency.sum_nanos, 30_000_500_000);
        assert_eq!((totals.statuses, totals.bytes_in, totals.bytes_out), (counters.statuses, 10, 20));
    }

    #[test]
    fn what_never_was_for_the_application_is_counted_but_not_timed() {
        let board = Scoreboard::create(2).unwrap();
        board.count_rejection(400);
        board.count_rejection(431);
        board.count_answer(503, Duration::from_millis(2));
        board.count_refusal(503);
        board.count_refusal(500);
        let totals = board.totals();
        assert_eq!(totals.statuses, [0, 0, 0, 2, 1, 0]);
        assert_eq!(totals.latency.count(), 1);
        let refused = REFUSALS.iter().zip(totals.refusals).filter(|(_, count)| *count > 0);
        let refused: Vec<_> = refused.map(|((_, reason), count)| (*reason, count)).collect();
        assert_eq!(refused, [("malformed", 1), ("head_too_large", 1), ("overloaded", 1)]);
    }

    #[test]
    fn waits_for_the_interpreter_lock_are_counted_by_every_thread() {
        let board = Scoreboard::create(2).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| board.count_gil_wait(Duration::from_micros(600))));
            }
        });
        let waits = board.totals().gil_wait;
        assert_eq!((waits.buckets[1], waits.count()), (4000, 4000));
        assert_eq!(waits.sum_nanos, 4000 * 600_000);
        assert_eq!((board.threads(), board.busy()), (2, 0));
        board.begin(1, b"GET", b"/", clock::monotonic());
        assert_eq!(board.busy(), 1);
    }

    #[test]
    fn what_a_crash_wrote_is_read() {
        use std::io::Write;
        let board = Scoreboard::create(1).unwrap();
        assert_eq!(board.crash_text(), None);
        board.crash_file().unwrap().write_all(b"Fatal Python error\n").unwrap();
        assert_eq!(board.crash_text().as_deref(), Some("Fatal Python error"));
    }
}
