//! What each app thread is working on: written by the app threads, read by the reactor and its helpers.
//!
//! The scoreboard has the same for the master, as text; here is what the worker acts on.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::app::Request;
use crate::ipc::Scoreboard;
use crate::sys::clock;

use super::exchange::WorkerExchange;
use super::link::{Link, lock};
use super::notifier::Notifier;

/// A request that an app thread works on.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Its exchange.
    pub(super) link: Arc<Link>,
}

impl Call {
    /// The request.
    pub(super) fn request(&self) -> &Request {
        &self.link.request
    }

    /// Method and target, for a log line.
    pub(super) fn title(&self) -> String {
        let head = &self.request().head;
        format!("{} {}", String::from_utf8_lossy(head.method()), String::from_utf8_lossy(head.target()))
    }

    /// Whether both are the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.link, &other.link)
    }
}

/// The calls of all app threads.
#[derive(Debug)]
pub(super) struct Calls {
    threads: Vec<AppThread>,
    scoreboard: Arc<Scoreboard>,
    /// A call that was over its time has returned, or the overseer has answered.
    news: AtomicBool,
}

#[derive(Debug, Default)]
struct AppThread {
    /// As faulthandler names it; zero before the thread has begun.
    pthread: AtomicU64,
    call: Mutex<Option<Call>>,
}

impl Calls {
    /// No calls yet.
    pub(super) fn new(threads: u32, scoreboard: Arc<Scoreboard>) -> Self {
        let threads = (0..threads).map(|_| AppThread::default()).collect();
        Self { threads, scoreboard, news: AtomicBool::new(false) }
    }

    /// How many app threads there are.
    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    // App thread.

    /// The calling thread is app thread `thread`.
    pub(super) fn enrol(&self, thread: usize) {
        self.threads[thread].pthread.store(nix::sys::pthread::pthread_self(), Ordering::Relaxed);
    }

    /// App thread `thread` takes a request.
    pub(super) fn begin(&self, thread: usize, exchange: &WorkerExchange, limit: Option<Duration>) {
        let call = exchange.call();
        let started = clock::monotonic();
        call.link.begin(started, limit);
        let head = &call.request().head;
        self.scoreboard.begin(thread, head.method(), head.path(), started);
        self.adopt(thread, call);
    }

    /// App thread `thread` works on this.
    pub(super) fn adopt(&self, thread: usize, call: Call) {
        *lock(&self.threads[thread].call) = Some(call);
    }

    /// An app thread waited so long for the interpreter lock.
    pub(super) fn count_gil_wait(&self, waited: Duration) {
        self.scoreboard.count_gil_wait(waited);
    }

    /// App thread `thread` is done with its request.
    pub(super) fn end(&self, thread: usize, notifier: &Notifier) {
        self.scoreboard.end(thread);
        let call = lock(&self.threads[thread].call).take();
        if call.is_some_and(|call| call.link.is_late()) {
            self.report_news(notifier);
        }
    }

    // Any thread.

    /// What app thread `thread` works on.
    pub(super) fn current(&self, thread: usize) -> Option<Call> {
        lock(&self.threads[thread].call).clone()
    }

    /// Makes the reactor look at the calls.
    pub(super) fn report_news(&self, notifier: &Notifier) {
        self.news.store(true, Ordering::Release);
        notifier.wake();
    }

    /// Reactor: whether there was something to look at.
    pub(super) fn take_news(&self) -> bool {
        self.news.load(Ordering::Relaxed) && self.news.swap(false, Ordering::Acquire)
    }

    /// Stacks as faulthandler writes them, with what the app threads do beside their addresses.
    pub(super) fn annotate(&self, stacks: &str) -> String {
        let mut annotated = String::with_capacity(stacks.len() + 64 * self.threads.len());
        for line in stacks.lines() {
            match self.thread_of(line) {
                Some((address_end, thread)) => {
                    annotated.push_str(&line[..address_end]);
                    // Writing to a string cannot fail.
                    let _infallible = write!(annotated, " (app thread {thread}: {})", self.doing(thread));
                    annotated.push_str(&line[address_end..]);
                }
                None => annotated.push_str(line),
            }
            annotated.push('\n');
        }
        annotated.truncate(annotated.trim_end().len());
        annotated
    }

    /// The app thread that a line begins to tell of, and where its address ends: `Thread 0x00007f6b2c1e (most recent …`.
    fn thread_of(&self, line: &str) -> Option<(usize, usize)> {
        let rest = line.strip_prefix("Current t").or_else(|| line.strip_prefix('T'))?;
        let digits = rest.strip_prefix("hread 0x")?;
        let digits =
            &digits[..digits.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(digits.len())];
        let address = u64::from_str_radix(digits, 16).ok().filter(|&address| address != 0)?;
        let thread = self.threads.iter().position(|it| it.pthread.load(Ordering::Relaxed) == address)?;
        let begin = line.find(digits)?;
        Some((begin + digits.len(), thread))
    }

    fn doing(&self, thread: usize) -> String {
        match self.current(thread) {
            Some(call) => {
                let age = call.link.age(clock::monotonic());
                format!("{} for {:.1} s", call.title(), age.as_secs_f64())
            }
            None => "no request".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_threads_are_named_in_the_stacks() {
        let calls = Calls::new(2, Arc::new(Scoreboard::create(2).unwrap()));
        calls.threads[1].pthread.store(0x7f00, Ordering::Relaxed);
        let stacks = "Thread 0x0000000000007f00 (most recent call first):\n  File \"a.py\", line 3 in f\n\n\
                      Current thread 0x0000000000007f01 (most recent call first):\nThread 0x (?)\n";
        let expected = "Thread 0x0000000000007f00 (app thread 1: no request) (most recent call first):\n  File \"a.py\", \
                        line 3 in f\n\nCurrent thread 0x0000000000007f01 (most recent call first):\nThread 0x (?)";
        assert_eq!(calls.annotate(stacks), expected);
    }
}
