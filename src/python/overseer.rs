//! Which request each thread works on, and what can be done to it from another thread: its deadline read, an exception
//! raised in it (`PyThreadState_SetAsyncExc`).
//!
//! Invariant: an exception is raised while the thread's place is held, and only while the request is in it; a thread
//! that leaves its place takes back what has not arrived. So it never arrives in another request.

use std::ffi::c_long;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};
use pyo3::{create_exception, ffi, intern};

use crate::app::{Overseer, RequestId};

use super::gil_cell::GilCell;

create_exception!(
    rwsgi,
    RequestTimeout,
    PyBaseException,
    "The request has run longer than workers.request_timeout, and its client has been answered 504."
);

/// The name of the module for applications.
pub(super) const MODULE: &str = "rwsgi";

/// Adds the module: `except rwsgi.RequestTimeout`. To be called once, before the application is imported.
pub(super) fn add_module(py: Python<'_>) -> PyResult<()> {
    let module = PyModule::new(py, MODULE)?;
    module.add("RequestTimeout", py.get_type::<RequestTimeout>())?;
    module.add("__doc__", "What the application server offers to the application that it serves.")?;
    py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?.set_item(MODULE, module)
}

/// All threads that are attached to the application.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Vec<Arc<Place>>>);

/// One thread.
#[derive(Debug)]
struct Place {
    /// `threading.get_ident()`, as the C API takes it.
    ident: c_long,
    work: GilCell<Option<Work>>,
}

/// One request.
#[derive(Debug)]
struct Work {
    id: RequestId,
    environ: Py<PyDict>,
    interrupted: bool,
}

/// The calling thread's part of the registry; taken out when it is dropped.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    registry: &'a Registry,
    place: Arc<Place>,
}

impl Registry {
    /// Registers the calling thread.
    pub(super) fn enter(&self, _py: Python<'_>) -> Entry<'_> {
        // SAFETY: has no preconditions.
        let ident = unsafe { ffi::PyThread_get_thread_ident() };
        let place =
            Arc::new(Place { ident: c_long::from_ne_bytes(ident.to_ne_bytes()), work: GilCell::default() });
        self.places().push(Arc::clone(&place));
        Entry { registry: self, place }
    }

    /// What `use_it` makes of the request, while its thread's place is held.
    fn with<R>(
        &self,
        py: Python<'_>,
        request: &RequestId,
        mut use_it: impl FnMut(&Place, &mut Work) -> R,
    ) -> Option<R> {
        self.places().iter().find_map(|place| {
            place.work.with(py, |work| match work {
                Some(work) if work.id == *request => Some(use_it(place, work)),
                Some(_) | None => None,
            })
        })
    }

    fn places(&self) -> MutexGuard<'_, Vec<Arc<Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry<'_> {
    /// The thread begins to work on a request.
    pub(super) fn begin(&self, id: &RequestId, environ: &Bound<'_, PyDict>) {
        let work = Work { id: *id, environ: environ.clone().unbind(), interrupted: false };
        let former = self.place.work.with(environ.py(), |place| place.replace(work));
        drop(former);
    }

    /// It is done with it.
    pub(super) fn end(&self, py: Python<'_>) {
        let work = self.place.work.with(py, |place| {
            let work = place.take();
            if work.as_ref().is_some_and(|work| work.interrupted) {
                // SAFETY: this thread is attached; null takes an exception back that has not been raised yet.
                unsafe { ffi::PyThreadState_SetAsyncExc(self.place.ident, ptr::null_mut()) };
            }
            work
        });
        // Not within the place: whoever is the last to have the environ may run code of the application.
        drop(work);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.registry.places().retain(|place| !Arc::ptr_eq(place, &self.place));
    }
}

impl Overseer for Registry {
    fn deadline(&self, request: &RequestId) -> Option<Duration> {
        Python::try_attach(|py| {
            let environ = self.with(py, request, |_, work| work.environ.clone_ref(py))?;
            let deadline = environ.bind(py).get_item(intern!(py, "rwsgi.deadline")).ok()??;
            let seconds: f64 = deadline.extract().ok()?;
            // What no duration can hold, infinity among it, is as late as can be.
            (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
        })?
    }

    fn interrupt(&self, request: &RequestId) -> bool {
        let interrupted = Python::try_attach(|py| {
            let exception = py.get_type::<RequestTimeout>();
            self.with(py, request, |place, work| {
                work.interrupted = true;
                // SAFETY: this thread is attached, and the class lives as long as the interpreter.
                let threads = unsafe { ffi::PyThreadState_SetAsyncExc(place.ident, exception.as_ptr()) };
                threads > 0
            })
        });
        interrupted.flatten().unwrap_or(false)
    }
}
