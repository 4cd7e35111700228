//! What the reactor and an app thread share about one exchange: output on its way to the socket, a body on its way
//! to the application, and how it ended.
//!
//! The app thread never touches the socket: it hands segments over and notifies the reactor, and blocks here when
//! the client is slower than the application. Each side calls its own methods, named for the side that calls.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mio::{Token, Waker};

use crate::app::{Disconnection, Request, Sent};
use crate::http::ResponseHead;

use super::output::Segment;

/// Output that may wait for the socket before an application is held back, in bytes.
pub(super) const HIGH_WATER_BYTES: u64 = 256 * 1024;

/// Output at which an application that was held back goes on, in bytes.
const LOW_WATER_BYTES: u64 = HIGH_WATER_BYTES / 4;

/// Tells the reactor that exchanges have news for it.
#[derive(Debug)]
pub(super) struct Notifier {
    waker: Waker,
    tokens: Mutex<Vec<Token>>,
}

impl Notifier {
    /// A notifier that wakes the reactor through `waker`.
    pub(super) fn new(waker: Waker) -> Self {
        Self { waker, tokens: Mutex::new(Vec::new()) }
    }

    /// App thread: there is news of the exchange on this connection.
    pub(super) fn notify(&self, token: Token) {
        let mut tokens = lock(&self.tokens);
        let first = tokens.is_empty();
        tokens.push(token);
        drop(tokens);
        if first {
            self.wake();
        }
    }

    /// Wakes the reactor for anything else.
    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("cannot wake the reactor: {error}");
        }
    }

    /// Reactor: takes the connections that have news.
    pub(super) fn take(&self, into: &mut Vec<Token>) {
        into.append(&mut lock(&self.tokens));
    }
}

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
    pub(super) request: Arc<Request>,
    /// The application's response head; `None` when the server answered for it.
    pub(super) head: Option<ResponseHead>,
    /// The status that was sent; 0 when the connection was cut before any was.
    pub(super) status: u16,
    /// Body bytes that were handed over.
    pub(super) body_bytes: u64,
}

/// The news that the reactor takes.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Segments to write.
    pub(super) segments: Vec<Segment>,
    /// The end of the exchange.
    pub(super) end: Option<End>,
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
    end: Option<End>,
    body: VecDeque<Bytes>,
    body_bytes: usize,
    body_wanted: bool,
    body_end: Option<Result<(), io::ErrorKind>>,
    /// The reactor has stopped reading the body until the application has taken some.
    body_paused: bool,
}

/// The shared part of one exchange.
#[derive(Debug)]
pub(super) struct Link {
    token: Token,
    state: Mutex<State>,
    changed: Condvar,
    disconnected: AtomicBool,
}

impl Link {
    /// A link for the exchange on this connection.
    pub(super) fn new(token: Token) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { token, state, changed, disconnected: AtomicBool::new(false) }
    }

    /// The connection.
    pub(super) fn token(&self) -> Token {
        self.token
    }

    // App thread.

    /// Hands segments over.
    pub(super) fn push(&self, segments: &mut Vec<Segment>, notifier: &Notifier) -> Sent {
        let mut state = lock(&self.state);
        if state.gone {
            segments.clear();
            return Sent::Gone;
        }
        state.pending_bytes += segments.iter().map(Segment::len).sum::<u64>();
        state.segments.append(segments);
        let full = state.pending_bytes > HIGH_WATER_BYTES;
        drop(state);
        notifier.notify(self.token);
        if full { Sent::Full } else { Sent::Ready }
    }

    /// Hands the last segments over and ends the exchange.
    pub(super) fn end(&self, segments: &mut Vec<Segment>, end: End, notifier: &Notifier) {
        let mut state = lock(&self.state);
        state.segments.append(segments);
        state.end = Some(end);
        drop(state);
        notifier.notify(self.token);
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
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
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
            self.changed.notify_all();
        }
    }

    /// Bytes of a streamed body have arrived.
    pub(super) fn push_body(&self, bytes: Bytes) {
        let mut state = lock(&self.state);
        state.body_bytes += bytes.len();
        state.body.push_back(bytes);
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
        state.gone = true;
        state.segments.clear();
        self.changed.notify_all();
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
