//! An exchange lent to Python objects.
//!
//! `start_response` and `write` are Python objects, which the application may keep for as long as it likes
//! and use from any thread; the exchange is borrowed for one call. A [`Lent`] holds the exchange behind a
//! lock and forgets it when the call ends ([`Lent::revoke`]).
//!
//! Invariant: no Python code runs inside [`Lent::with`], so the lock is never taken twice by one thread.

use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::Python;
use pyo3::sync::MutexExt;

use crate::app::Exchange;

/// Lends `exchange` while `body` runs. When it returns, or panics, the exchange is revoked.
pub(super) fn lend<R>(py: Python<'_>, exchange: &mut dyn Exchange, body: impl FnOnce(&Arc<Lent>) -> R) -> R {
    let pointer = NonNull::from(exchange);
    // SAFETY: only the lifetime changes; the pointer is revoked below before the borrow of `exchange` ends.
    let pointer =
        unsafe { std::mem::transmute::<NonNull<dyn Exchange + '_>, NonNull<dyn Exchange>>(pointer) };
    let revoke = RevokeOnDrop { py, lent: Arc::new(Lent(Mutex::new(Some(Borrowed(pointer))))) };
    body(&revoke.lent)
}

struct RevokeOnDrop<'py> {
    py: Python<'py>,
    lent: Arc<Lent>,
}

impl Drop for RevokeOnDrop<'_> {
    fn drop(&mut self) {
        self.lent.revoke(self.py);
    }
}

/// An exchange, until it is revoked.
pub(super) struct Lent(Mutex<Option<Borrowed>>);

struct Borrowed(NonNull<dyn Exchange>);

// SAFETY: an exchange is Send, and the lock lets one thread at a time use it.
unsafe impl Send for Borrowed {}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lent").finish_non_exhaustive()
    }
}

impl Lent {
    /// Runs `use_it` with the exchange; `None` once it was revoked. Other threads wait meanwhile, detached.
    pub(super) fn with<R>(&self, py: Python<'_>, use_it: impl FnOnce(&mut dyn Exchange) -> R) -> Option<R> {
        let mut guard = self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        let borrowed = guard.as_mut()?;
        // SAFETY: the pointer was not revoked, so the borrow lives; the lock makes this use exclusive.
        let exchange = unsafe { borrowed.0.as_mut() };
        Some(use_it(exchange))
    }

    /// Forgets the exchange. Returns once no other thread uses it.
    pub(super) fn revoke(&self, py: Python<'_>) {
        *self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner) = None;
    }
}
