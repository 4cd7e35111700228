//! The objects that an application gets with a request: `wsgi.input`, `wsgi.errors`, `rwsgi.client_disconnected` and
//! `start_response`. A thread uses them for one request after the other, for as long as the application keeps none of
//! them; what it has kept stays as it was at the end of its request, and the next request gets new ones.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::app::{Body, Disconnection, Exchange};

use super::callables;
use super::errors::Errors;
use super::gil_cell::{GilCell, has_references};
use super::heads::Heads;
use super::input::Input;
use super::start_response::StartResponse;

/// `environ["rwsgi.client_disconnected"]`: tells whether the client is still there.
#[pyclass(frozen, module = "rwsgi", name = "ClientDisconnected")]
#[derive(Debug)]
pub(super) struct ClientDisconnected(GilCell<Option<Arc<dyn Disconnection>>>);

#[pymethods]
impl ClientDisconnected {
    fn __call__(&self, py: Python<'_>) -> bool {
        // Without a request, nobody is there.
        self.0.with(py, |disconnection| disconnection.clone()).is_none_or(|it| it.is_disconnected())
    }
}

impl ClientDisconnected {
    fn tell_of(&self, py: Python<'_>, client: Option<Arc<dyn Disconnection>>) {
        // What is dropped is dropped outside the cell.
        drop(self.0.with(py, |place| std::mem::replace(place, client)));
    }
}

/// The objects of one request.
#[derive(Debug)]
pub(super) struct Objects<'py> {
    pub(super) input: Bound<'py, Input>,
    pub(super) errors: Bound<'py, Errors>,
    pub(super) disconnected: Bound<'py, ClientDisconnected>,
    pub(super) response: Bound<'py, StartResponse>,
    /// The builtin function that is bound to `response`, by way of its `write`.
    pub(super) start_response: Bound<'py, PyAny>,
}

/// The variables of the objects that are kept for the next request.
pub(super) const KEPT: [&str; 3] = ["wsgi.input", "wsgi.errors", "rwsgi.client_disconnected"];

impl<'py> Objects<'py> {
    /// The values of [`KEPT`].
    pub(super) fn kept(&self) -> [&Bound<'py, PyAny>; KEPT.len()] {
        [self.input.as_any(), self.errors.as_any(), self.disconnected.as_any()]
    }
}

/// How many references to each of [`KEPT`] there are besides our own and the application's.
pub(super) type References = [isize; KEPT.len()];

/// The objects of the requests of one thread.
#[derive(Debug, Default)]
pub(super) struct Lasting<'py> {
    input: Option<Bound<'py, Input>>,
    errors: Option<Bound<'py, Errors>>,
    disconnected: Option<Bound<'py, ClientDisconnected>>,
    response: Option<(Bound<'py, StartResponse>, Bound<'py, PyAny>)>,
    heads: Arc<GilCell<Heads>>,
}

impl<'py> Lasting<'py> {
    /// The objects for an exchange, whose body is taken. Of an object that is made anew there are no other references.
    pub(super) fn prepare(
        &mut self,
        py: Python<'py>,
        body: Body,
        exchange: &dyn Exchange,
        references: &mut References,
    ) -> PyResult<Objects<'py>> {
        let [of_input, of_errors, of_disconnected] = references;
        let input = match unshared(self.input.take(), of_input) {
            Some(input) => {
                input.get().refill(py, body);
                input
            }
            None => Bound::new(py, Input::new(body))?,
        };
        let id = exchange.request().id;
        let errors = match unshared(self.errors.take(), of_errors) {
            Some(errors) => {
                errors.get().renew(py, id);
                errors
            }
            None => Bound::new(py, Errors::new(id))?,
        };
        let disconnection = exchange.disconnected();
        let disconnected = match unshared(self.disconnected.take(), of_disconnected) {
            Some(disconnected) => {
                disconnected.get().tell_of(py, Some(disconnection));
                disconnected
            }
            None => Bound::new(py, ClientDisconnected(GilCell::new(Some(disconnection))))?,
        };
        let (response, start_response) = match self.response.take().filter(is_unshared) {
            Some((response, start_response)) => {
                response.get().reset(py);
                (response, start_response)
            }
            None => {
                let response = Bound::new(py, StartResponse::new(Arc::clone(&self.heads)))?;
                let start_response = callables::make(&response)?;
                (response, start_response)
            }
        };
        Ok(Objects { input, errors, disconnected, response, start_response })
    }

    /// Keeps the objects of a request that has ended. What the application has not kept lets go of the exchange, whose
    /// memory is for the next one; in free-threaded Python, where that is not known, each is replaced before it does.
    pub(super) fn keep(&mut self, py: Python<'py>, objects: Objects<'py>, references: &References) {
        let [_, _, of_disconnected] = references;
        if has_references(&objects.disconnected, 1 + of_disconnected) {
            objects.disconnected.get().tell_of(py, None);
        }
        self.input = Some(objects.input);
        self.errors = Some(objects.errors);
        self.disconnected = Some(objects.disconnected);
        self.response = Some((objects.response, objects.start_response));
    }
}

/// The object, if nobody has it but its holder and those who are known; else there will be another, which nobody has.
fn unshared<'py, T>(object: Option<Bound<'py, T>>, known: &mut isize) -> Option<Bound<'py, T>> {
    let object = object.filter(|object| has_references(object, 1 + *known));
    if object.is_none() {
        *known = 0;
    }
    object
}

fn is_unshared((response, start_response): &(Bound<'_, StartResponse>, Bound<'_, PyAny>)) -> bool {
    // `start_response` refers to `write`, here too, and that to the response, as does `response`.
    let is_write_unshared =
        || callables::write_of(start_response).is_some_and(|write| has_references(&write, 2));
    has_references(start_response, 1) && has_references(response, 2) && is_write_unshared()
}
