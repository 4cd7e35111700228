//! What the reactor and an app thread share about one exchange: output on its way to the socket, a body on its way
//! to the application, and how it ended.
//!
//! The app thread never touches the socket: it hands segments over and notifies the reactor, and blocks here when
//! the client is slower than the application. Each side calls its own methods, named for the side that calls.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mio::Token;

use crate::app::{Disconnection, Request, Sent};
use crate::http::ResponseHead;
use crate::sys::clock;

use super::notifier::Notifier;
use super::output::Segment;

/// Output that may wait for the socket before an application is held back, in bytes.
pub(super) const HIGH_WATER_BYTES: u64 = 256 * 1024;

/// Output at which an application that was held back goes on, in bytes.
const LOW_WATER_BYTES: u64 = HIGH_WATER_BYTES / 4;

/// How an exchange ended.
#[derive(Debug)]
pub(super) struct End {
    /// Whether the connection can take another request.
    pub(super) keep_alive: bool,
    /// What the access log tells of it.
    pub(super) record: Record,
}

/// What is known of an exchange once it is over.
#[derive(Debug)]
pub(super) struct Record {
    /// The request, without its body.
    pub(super) link: Arc<Link>,
    /// The application's response head; `None` when the server answered for it.
    pub(super) head: Option<ResponseHead>,
    /// The status that was sent; 0 when the connection was cut before any was.
    pub(super) status: u16,
    /// Body bytes that were handed over.
    pub(super) body_bytes: u64,
    /// How long it waited for an app thread; `None` when none took it.
    pub(super) queued: Option<Duration>,
    /// How long it was with the application until the response was complete; `None` when that is not known.
    pub(super) worked: Option<Duration>,
}

/// What the limit on an exchange's time says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// There is none.
    Off,
    /// The application is to be done by then.
    At(Duration),
    /// The app thread waits for its client, which does not count; so much is left for when it goes on.
    Paused(Duration),
}

/// The time that the application takes, in that of [`clock`].
#[derive(Debug, Clone, Copy)]
struct Work {
    started: Duration,
    /// Without what was spent waiting for the client.
    deadline: Option<Duration>,
    waited: Duration,
    waiting_since: Option<Duration>,
}

/// Whether the application has moved its deadline is asked of it, and may be answered late or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Inquiry {
    #[default]
    None,
    Asked,
    Answered(Option<Duration>),
}

/// The news that the reactor takes.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Segments to write.
    pub(super) segments: Vec<Segment>,
    /// The end of the exchange.
    pub(super) end: Option<Box<End>>,
    /// The application has begun to read a body that is streamed: `100 Continue` is due.
    pub(super) body_wanted: bool,
    /// Bytes of a streamed body that the application has not taken yet.
    pub(super) body_pending: usize,
}

#[derive(Debug, Default)]
struct State {
    segments: Vec<Segment>,
    /// Handed over and not yet written to the socket, in bytes.
    pending_bytes: u64,
    gone: bool,
    end: Option<Box<End>>,
    body: VecDeque<Bytes>,
    body_bytes: usize,
    body_wanted: bool,
    body_end: Option<Result<(), io::ErrorKind>>,
    /// The reactor has stopped reading the body until the application has taken some.
    body_paused: bool,
    /// Set when an app thread takes the request.
    work: Option<Work>,
    inquiry: Inquiry,
    asked_ahead: bool,
    /// The application is over its time.
    late: bool,
    /// The response was handed over to its end.
    ended: bool,
}

impl State {
    /// Forgets the exchange and keeps the buffers.
    fn clear(&mut self) {
        let Self {
            segments,
            pending_bytes,
            gone,
            end,
            body,
            body_bytes,
            body_wanted,
            body_end,
            body_paused,
            work,
            inquiry,
            asked_ahead,
            late,
            ended,
        } = self;
        segments.clear();
        (*pending_bytes, *gone, *end) = (0, false, None);
        if !body.is_empty() {
            body.clear();
        }
        (*body_bytes, *body_wanted, *body_end, *body_paused) = (0, false, None, false);
        (*work, *inquiry, *asked_ahead) = (None, Inquiry::None, false);
        (*late, *ended) = (false, false);
    }

    /// The app thread waits for its client from now on.
    fn begin_wait(&mut self) {
        if let Some(work) = &mut self.work {
            work.waiting_since.get_or_insert_with(clock::monotonic);
        }
    }

    /// There is no connection any more.
    fn leave(&mut self) {
        self.gone = true;
        self.segments.clear();
        self.end_wait();
    }

    /// The client has done its part: from now on it is the application's time again. Said by the side that ends the wait, so
    /// that the reactor finds the new deadline at once.
    fn end_wait(&mut self) {
        if let Some(work) = &mut self.work
            && let Some(since) = work.waiting_since.take()
        {
            work.waited += clock::monotonic().saturating_sub(since);
        }
    }
}

/// The shared part of one exchange.
#[derive(Debug)]
pub(super) struct Link {
    /// The request, without its body.
    pub(super) request: Request,
    token: Token,
    queued_at: Duration,
    state: Mutex<State>,
    changed: Condvar,
    disconnected: AtomicBool,
}

impl Link {
    /// A link for the exchange on this connection.
    pub(super) fn new(request: Request, token: Token, queued_at: Duration) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { request, token, queued_at, state, changed, disconnected: AtomicBool::new(false) }
    }

    /// Makes this a link for another exchange; only its memory is kept. The old request is returned, for the caller to make
    /// it the new one.
    pub(super) fn renew(&mut self, token: Token, queued_at: Duration) -> &mut Request {
        (self.token, self.queued_at) = (token, queued_at);
        *self.disconnected.get_mut() = false;
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        &mut self.request
    }

    /// The connection.
    pub(super) fn token(&self) -> Token {
        self.token
    }

    // App thread.

    /// An app thread takes the request; the application has so long for it.
    ///
    /// Returns how long it has waited, and the deadline.
    pub(super) fn begin(&self, started: Duration, limit: Option<Duration>) -> (Duration, Option<Duration>) {
        let deadline = limit.map(|limit| started + limit);
        lock(&self.state).work =
            Some(Work { started, deadline, waited: Duration::ZERO, waiting_since: None });
        (started.saturating_sub(self.queued_at), deadline)
    }

    /// When the application is to be done; `None` when it has no limit.
    pub(super) fn deadline(&self) -> Option<Duration> {
        lock(&self.state).work.and_then(|work| work.deadline)
    }

    /// How long the request waited for an app thread; `None` when none took it.
    pub(super) fn queued(&self) -> Option<Duration> {
        lock(&self.state).work.map(|work| work.started.saturating_sub(self.queued_at))
    }

    /// Hands segments over, and tells the reactor.
    pub(super) fn push(&self, segments: &mut Vec<Segment>, notifier: &Notifier) -> Sent {
        let sent = self.hold_back(segments);
        if sent != Sent::Gone {
            notifier.notify(self.token);
        }
        sent
    }

    /// Hands segments over; the reactor is told otherwise.
    pub(super) fn hold_back(&self, segments: &mut Vec<Segment>) -> Sent {
        let mut state = lock(&self.state);
        if state.gone {
            segments.clear();
            return Sent::Gone;
        }
        state.pending_bytes += segments.iter().map(Segment::len).sum::<u64>();
        state.segments.append(segments);
        if state.pending_bytes > HIGH_WATER_BYTES { Sent::Full } else { Sent::Ready }
    }

    /// Whether output was handed over that the reactor has not taken yet.
    pub(super) fn holds_output(&self) -> bool {
        !lock(&self.state).segments.is_empty()
    }

    /// What became of output that was handed over.
    pub(super) fn fill_level(&self) -> Sent {
        let state = lock(&self.state);
        match state.pending_bytes {
            _ if state.gone => Sent::Gone,
            0..=HIGH_WATER_BYTES => Sent::Ready,
            _ => Sent::Full,
        }
    }

    /// How much output was handed over and not written yet, in bytes.
    pub(super) fn pending_bytes(&self) -> u64 {
        lock(&self.state).pending_bytes
    }

    /// Hands the last segments over and ends the exchange.
    pub(super) fn end(&self, segments: &mut Vec<Segment>, end: Box<End>, notifier: &Notifier) {
        let mut state = lock(&self.state);
        if state.gone {
            segments.clear();
        }
        state.segments.append(segments);
        state.ended = true;
        state.end = Some(end);
        drop(state);
        notifier.notify(self.token);
    }

    /// The connection has the response to its end.
    pub(super) fn mark_ended(&self) {
        lock(&self.state).ended = true;
    }

    /// Waits until there is room for output again.
    pub(super) fn wait_for_room(&self) -> Sent {
        let mut state = lock(&self.state);
        loop {
            if state.gone {
                return Sent::Gone;
            }
            if state.pending_bytes <= LOW_WATER_BYTES {
                return Sent::Ready;
            }
            state.begin_wait();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the next bytes of a streamed body; empty at its end.
    pub(super) fn read_body(&self, bytes_max: usize, notifier: &Notifier) -> io::Result<Bytes> {
        let mut state = lock(&self.state);
        if !state.body_wanted {
            state.body_wanted = true;
            notifier.notify(self.token);
        }
        loop {
            if let Some(mut first) = state.body.pop_front() {
                let taken = if first.len() > bytes_max {
                    first.split_to(bytes_max)
                } else {
                    std::mem::take(&mut first)
                };
                if !first.is_empty() {
                    state.body.push_front(first);
                }
                state.body_bytes -= taken.len();
                if state.body_paused && state.body.is_empty() {
                    state.body_paused = false;
                    notifier.notify(self.token);
                }
                return Ok(taken);
            }
            match state.body_end {
                Some(Ok(())) => return Ok(Bytes::new()),
                Some(Err(kind)) => return Err(kind.into()),
                None if state.gone => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => {
                    state.begin_wait();
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Why a streamed body ended early, if it did.
    pub(super) fn body_error(&self) -> Option<io::ErrorKind> {
        lock(&self.state).body_end.and_then(Result::err)
    }

    // Reactor.

    /// Takes what has come from the app thread.
    pub(super) fn take_news(&self) -> News {
        let mut state = lock(&self.state);
        News {
            segments: std::mem::take(&mut state.segments),
            end: state.end.take(),
            body_wanted: state.body_wanted,
            body_pending: state.body_bytes,
        }
    }

    /// The socket took bytes of this exchange's output.
    pub(super) fn written(&self, bytes: u64) {
        let mut state = lock(&self.state);
        let before = state.pending_bytes;
        state.pending_bytes = before.saturating_sub(bytes);
        if before > LOW_WATER_BYTES && state.pending_bytes <= LOW_WATER_BYTES {
            state.end_wait();
            self.changed.notify_all();
        }
    }

    /// Bytes of a streamed body have arrived.
    pub(super) fn push_body(&self, bytes: Bytes) {
        let mut state = lock(&self.state);
        state.body_bytes += bytes.len();
        state.body.push_back(bytes);
        state.end_wait();
        self.changed.notify_all();
    }

    /// Bytes of a streamed body that the application has not taken yet.
    pub(super) fn body_pending(&self) -> usize {
        lock(&self.state).body_bytes
    }

    /// The reactor reads no more of the body until the application has taken what is there. False when it has
    /// taken everything meanwhile, so that reading can go on.
    pub(super) fn pause_body(&self) -> bool {
        let mut state = lock(&self.state);
        state.body_paused = !state.body.is_empty();
        state.body_paused
    }

    /// A streamed body is complete, or failed.
    pub(super) fn end_body(&self, result: Result<(), io::ErrorKind>) {
        let mut state = lock(&self.state);
        state.body_end.get_or_insert(result);
        state.end_wait();
        self.changed.notify_all();
    }

    /// The client has closed its end. Its answer may still reach it (half-close).
    pub(super) fn mark_disconnected(&self) {
        self.disconnected.store(true, Ordering::Relaxed);
    }

    /// The connection is gone: output is discarded from now on.
    pub(super) fn mark_gone(&self) {
        self.mark_disconnected();
        let mut state = lock(&self.state);
        state.leave();
        self.changed.notify_all();
    }

    /// What the limit on the application's time says.
    pub(super) fn limit(&self, now: Duration) -> Limit {
        let Some(work) = lock(&self.state).work else { return Limit::Off };
        let Some(deadline) = work.deadline else { return Limit::Off };
        let deadline = deadline + work.waited;
        match work.waiting_since {
            Some(since) => Limit::Paused(deadline.saturating_sub(since.min(now))),
            None => Limit::At(deadline),
        }
    }

    /// How long the request has been with the application.
    pub(super) fn age(&self, now: Duration) -> Duration {
        lock(&self.state).work.map_or(Duration::ZERO, |work| now.saturating_sub(work.started))
    }

    /// The application is about to be asked whether it has moved its deadline.
    pub(super) fn ask(&self) {
        lock(&self.state).inquiry = Inquiry::Asked;
    }

    /// The same, ahead of the deadline; false when that was done already.
    pub(super) fn ask_ahead(&self) -> bool {
        let mut state = lock(&self.state);
        let first = !std::mem::replace(&mut state.asked_ahead, true);
        if first {
            state.inquiry = Inquiry::Asked;
        }
        first
    }

    /// Overseer: the deadline that the application has set.
    pub(super) fn answer(&self, deadline: Option<Duration>) {
        lock(&self.state).inquiry = Inquiry::Answered(deadline);
    }

    /// Whether the application was asked and has answered. A deadline that it has moved to later counts from now on, up to
    /// `longest` after the start.
    pub(super) fn take_answer(&self, longest: Duration) -> bool {
        let state = &mut *lock(&self.state);
        let Inquiry::Answered(moved) = state.inquiry else { return false };
        state.inquiry = Inquiry::None;
        if let (Some(work), Some(moved)) = (&mut state.work, moved) {
            let moved = moved.min(work.started + longest);
            if work.deadline.is_some_and(|deadline| moved > deadline) {
                work.deadline = Some(moved);
                state.asked_ahead = false;
            }
        }
        true
    }

    /// The application is over its time: its output is discarded from now on. True when the response is complete already, so
    /// that only the thread is late.
    pub(super) fn time_out(&self) -> bool {
        let mut state = lock(&self.state);
        state.late = true;
        if !state.ended {
            state.leave();
            self.mark_disconnected();
            self.changed.notify_all();
        }
        state.ended
    }

    /// Whether the application is over its time.
    pub(super) fn is_late(&self) -> bool {
        lock(&self.state).late
    }
}

impl Disconnection for Link {
    fn is_disconnected(&self) -> bool {
        self.disconnected.load(Ordering::Relaxed)
    }
}

/// A poisoned lock means that a thread panicked between two assignments of plain data; the data is still whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn fresh() -> Link {
        Link::new(Request::for_tests(), Token(0), clock::monotonic())
    }

    #[test]
    fn a_deadline_moves_to_later_only_and_no_further_than_it_may() {
        let link = fresh();
        assert_eq!(link.limit(clock::monotonic()), Limit::Off);
        link.begin(clock::monotonic(), Some(Duration::from_secs(30)));
        let Some(deadline) = link.deadline() else { panic!() };
        assert!(!link.take_answer(DAY));
        for (answer, expected) in [
            (None, deadline),
            (Some(Duration::ZERO), deadline),
            (Some(deadline + Duration::from_secs(1)), deadline + Duration::from_secs(1)),
            (Some(Duration::MAX), deadline - Duration::from_secs(30) + DAY),
        ] {
            link.answer(answer);
            assert!(link.take_answer(DAY));
            assert_eq!(link.limit(clock::monotonic()), Limit::At(expected));
        }
    }

    #[test]
    fn a_response_that_is_complete_is_not_taken_back_when_its_thread_is_late() {
        let link = fresh();
        link.begin(clock::monotonic(), Some(Duration::ZERO));
        lock(&link.state).ended = true;
        assert!(link.time_out() && link.is_late() && !link.is_disconnected());
        let link = fresh();
        link.begin(clock::monotonic(), Some(Duration::ZERO));
        assert!(!link.time_out() && link.is_late() && link.is_disconnected());
        assert_eq!(link.wait_for_room(), Sent::Gone);
    }
}
