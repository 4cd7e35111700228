//! The way from app threads to the reactor: which exchanges have news for it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::{Token, Waker};

use super::link::lock;

/// Tells the reactor that exchanges have news for it.
#[derive(Debug)]
pub(super) struct Notifier {
    waker: Waker,
    tokens: Mutex<Vec<Token>>,
    /// Whether there are any, for a look without the lock.
    any: AtomicBool,
}

impl Notifier {
    /// A notifier that wakes the reactor through `waker`.
    pub(super) fn new(waker: Waker) -> Self {
        Self { waker, tokens: Mutex::new(Vec::new()), any: AtomicBool::new(false) }
    }

    /// App thread: there is news of the exchange on this connection.
    pub(super) fn notify(&self, token: Token) {
        let mut tokens = lock(&self.tokens);
        let first = tokens.is_empty();
        tokens.push(token);
        self.any.store(true, Ordering::Relaxed);
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

    /// Reactor: whether there may be connections that have news.
    pub(super) fn has_news(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Reactor: takes the connections that have news.
    pub(super) fn take(&self, into: &mut Vec<Token>) {
        let mut tokens = lock(&self.tokens);
        self.any.store(false, Ordering::Relaxed);
        into.append(&mut tokens);
    }
}
