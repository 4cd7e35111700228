//! Values that the interpreter lock guards: a lock of their own would cost each request more than what is done with them.
//! Without such a lock (free-threaded Python) they have one.
//!
//! Invariant: nothing that is done to such a value runs Python code or gives up the interpreter lock; it would panic on
//! its next use, for it is seen to be in use.

use std::fmt;

use pyo3::prelude::*;
use pyo3::{Bound, ffi};

#[cfg(not(Py_GIL_DISABLED))]
use std::cell::RefCell;
#[cfg(Py_GIL_DISABLED)]
use std::sync::{Mutex, PoisonError};

#[cfg(Py_GIL_DISABLED)]
use pyo3::sync::MutexExt;

/// A value for whoever is attached to the interpreter.
#[cfg(not(Py_GIL_DISABLED))]
pub(super) struct GilCell<T>(RefCell<T>);

/// A value for whoever is attached to the interpreter.
#[cfg(Py_GIL_DISABLED)]
pub(super) struct GilCell<T>(Mutex<T>);

// SAFETY: the value is reached only through `with`, which asks for proof of the interpreter lock; one thread has it.
#[cfg(not(Py_GIL_DISABLED))]
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    #[cfg(not(Py_GIL_DISABLED))]
    pub(super) fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    #[cfg(Py_GIL_DISABLED)]
    pub(super) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Runs `use_it`, which neither runs Python code nor gives up the interpreter lock.
    #[cfg(not(Py_GIL_DISABLED))]
    pub(super) fn with<R>(&self, _py: Python<'_>, use_it: impl FnOnce(&mut T) -> R) -> R {
        use_it(&mut self.0.borrow_mut())
    }

    /// Runs `use_it`, which neither runs Python code nor detaches from the interpreter.
    #[cfg(Py_GIL_DISABLED)]
    pub(super) fn with<R>(&self, py: Python<'_>, use_it: impl FnOnce(&mut T) -> R) -> R {
        use_it(&mut self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: Default> Default for GilCell<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for GilCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GilCell").finish_non_exhaustive()
    }
}

/// Whether an object has exactly so many references: nobody else has kept it. Never known without the interpreter lock,
/// where other threads count at the same time.
pub(super) fn has_references<T>(object: &Bound<'_, T>, count: isize) -> bool {
    // SAFETY: the object is alive and this thread is attached.
    let references = unsafe { ffi::Py_REFCNT(object.as_ptr()) };
    !cfg!(Py_GIL_DISABLED) && references == count
}

/// Whether `len()` can be asked of it: the exception of one that has none would cost more than all else that is done with it.
pub(super) fn has_length(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is alive.
    let class = unsafe { ffi::Py_TYPE(object.as_ptr()) };
    // SAFETY: an object keeps its type alive.
    let class = unsafe { &*class };
    // SAFETY: null, or what belongs to the type.
    let sequence = unsafe { class.tp_as_sequence.as_ref() };
    // SAFETY: the same.
    let mapping = unsafe { class.tp_as_mapping.as_ref() };
    sequence.is_some_and(|methods| methods.sq_length.is_some())
        || mapping.is_some_and(|methods| methods.mp_length.is_some())
}
