//! An exchange lent to Python objects.
//!
//! `start_response` and `write` are Python objects, which the application may keep for as long as it likes
//! and use from any thread; the exchange is borrowed for one call. A [`Lent`] holds the exchange and forgets it when the
//! call ends ([`Lent::revoke`]).
//!
//! Invariant: one thread at a time has the exchange. No Python code runs inside [`Lent::with`]; a thread that waits for
//! the client takes the exchange out meanwhile, and holds `waiting`, at which the others stand in line, detached.

use std::fmt;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use pyo3::Python;
use pyo3::sync::MutexExt;

use crate::app::{Exchange, Sent};

use super::gil_cell::GilCell;

/// Lends `exchange` while `body` runs. When it returns, or panics, the exchange is revoked.
pub(super) fn lend<R>(
    py: Python<'_>,
    lent: &Lent,
    exchange: &mut dyn Exchange,
    body: impl FnOnce() -> R,
) -> R {
    let pointer = NonNull::from(exchange);
    // SAFETY: only the lifetime changes; the pointer is revoked below before the borrow of `exchange` ends.
    let pointer =
        unsafe { std::mem::transmute::<NonNull<dyn Exchange + '_>, NonNull<dyn Exchange>>(pointer) };
    lent.place.with(py, |place| *place = Place::Here(Borrowed(pointer)));
    let _revoke = RevokeOnDrop { py, lent };
    body()
}

struct RevokeOnDrop<'a, 'py> {
    py: Python<'py>,
    lent: &'a Lent,
}

impl Drop for RevokeOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.lent.revoke(self.py);
    }
}

struct PutBackOnDrop<'a, 'py> {
    py: Python<'py>,
    lent: &'a Lent,
    place: Place,
}

impl Drop for PutBackOnDrop<'_, '_> {
    fn drop(&mut self) {
        let place = std::mem::take(&mut self.place);
        self.lent.place.with(self.py, |taken| *taken = place);
    }
}

/// An exchange, until it is revoked.
#[derive(Default)]
pub(super) struct Lent {
    place: GilCell<Place>,
    /// Held by the thread that waits for the client.
    waiting: Mutex<()>,
}

#[derive(Default)]
enum Place {
    /// There is none, or none any more.
    #[default]
    Empty,
    Here(Borrowed),
    /// A thread waits with it.
    Taken,
}

struct Borrowed(NonNull<dyn Exchange>);

// SAFETY: an exchange is Send, and one thread at a time has it.
unsafe impl Send for Borrowed {}

impl Borrowed {
    fn exchange(&mut self) -> &mut dyn Exchange {
        // SAFETY: the pointer was not revoked, so the borrow lives; it is in one place only, which makes this use exclusive.
        unsafe { self.0.as_mut() }
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lent").finish_non_exhaustive()
    }
}

impl Lent {
    /// Runs `use_it` with the exchange; `None` once it was revoked. Other threads wait meanwhile, detached.
    pub(super) fn with<R>(&self, py: Python<'_>, use_it: impl FnOnce(&mut dyn Exchange) -> R) -> Option<R> {
        let mut use_it = Some(use_it);
        loop {
            let used = self.place.with(py, |place| match place {
                Place::Here(borrowed) => Some(use_it.take().map(|use_it| use_it(borrowed.exchange()))),
                Place::Empty => Some(None),
                Place::Taken => None,
            });
            match used {
                Some(result) => return result,
                None => self.stand_in_line(py),
            }
        }
    }

    /// Whether there is an exchange, wherever it is.
    pub(super) fn is_here(&self, py: Python<'_>) -> bool {
        self.place.with(py, |place| !matches!(place, Place::Empty))
    }

    /// Waits, detached, until the exchange has room for more output; `None` once it was revoked.
    pub(super) fn wait(&self, py: Python<'_>) -> Option<Sent> {
        let _waiting = self.waiting.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        let taken = self.place.with(py, |place| match place {
            Place::Here(_) => std::mem::replace(place, Place::Taken),
            Place::Empty | Place::Taken => Place::Empty,
        });
        let Place::Here(borrowed) = taken else { return None };
        let mut taken = PutBackOnDrop { py, lent: self, place: Place::Here(borrowed) };
        match &mut taken.place {
            Place::Here(borrowed) => Some(py.detach(|| borrowed.exchange().wait())),
            Place::Empty | Place::Taken => None,
        }
    }

    /// Forgets the exchange. Returns once no other thread uses it.
    pub(super) fn revoke(&self, py: Python<'_>) {
        while !self.place.with(py, |place| {
            let is_free = !matches!(place, Place::Taken);
            if is_free {
                *place = Place::Empty;
            }
            is_free
        }) {
            self.stand_in_line(py);
        }
    }

    fn stand_in_line(&self, py: Python<'_>) {
        drop(self.waiting.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner));
    }
}
