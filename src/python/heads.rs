//! Response heads from what an application passes to `start_response`: its list is checked and copied, for the
//! application may go on changing it.
//!
//! Most applications pass the same constants again and again. A head whose status and fields are the very same objects as
//! those of a recent one is that head: strings and tuples of strings do not change, and [`Heads`] holds on to them, so that
//! no other object can have their identity.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use crate::http::ResponseHead;

use super::gil_cell::has_references;
use super::mistakes;
use super::text::latin1_bytes;

/// Most heads that a thread remembers: those of the few answers that an application gives all the time.
const HEADS_MAX: usize = 8;

/// Most fields of a head that is remembered.
const FIELDS_MAX: usize = 16;

/// Heads of recent responses.
#[derive(Debug, Default)]
pub(super) struct Heads {
    known: Vec<KnownHead>,
    next: usize,
}

#[derive(Debug)]
struct KnownHead {
    status: Py<PyAny>,
    fields: Vec<Py<PyAny>>,
    head: ResponseHead,
}

impl KnownHead {
    fn is_of(&self, status: &Bound<'_, PyAny>, fields: &Bound<'_, PyList>) -> bool {
        self.status.is(status)
            && self.fields.len() == fields.len()
            && self.fields.iter().zip(fields.iter()).all(|(known, field)| known.is(&field))
    }
}

impl Heads {
    /// The head of these very objects, if it was read before.
    pub(super) fn known(
        &self,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
    ) -> Option<ResponseHead> {
        let fields = headers.cast_exact::<PyList>().ok()?;
        self.known.iter().find(|known| known.is_of(status, fields)).map(|known| known.head.clone())
    }

    /// Remembers a head if its objects look like constants: somebody besides the list holds each of them.
    pub(super) fn remember(
        &mut self,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        head: &ResponseHead,
    ) {
        let Ok(fields) = headers.cast_exact::<PyList>() else { return };
        let is_text = |object: &Bound<'_, PyAny>| object.is_exact_instance_of::<PyString>();
        let is_constant = |field: Bound<'_, PyAny>| {
            // The list and `field` are two that refer to it.
            let pair = field.cast_exact::<PyTuple>().ok().filter(|pair| !has_references(pair, 2));
            pair.is_some_and(|pair| pair.iter().all(|part| is_text(&part)))
        };
        if !is_text(status) || fields.len() > FIELDS_MAX || !fields.iter().all(is_constant) {
            return;
        }
        let fields = fields.iter().map(Bound::unbind).collect();
        let known = KnownHead { status: status.clone().unbind(), fields, head: head.clone() };
        if self.known.len() < HEADS_MAX {
            self.known.push(known);
        } else {
            self.known[self.next] = known;
            self.next = (self.next + 1) % HEADS_MAX;
        }
    }

    /// Checks and copies what the application passed.
    pub(super) fn read(status: &Bound<'_, PyAny>, headers: &Bound<'_, PyAny>) -> PyResult<ResponseHead> {
        let status =
            status.cast::<PyString>().map_err(|_| PyTypeError::new_err(mistakes::status_type(status)))?;
        let headers =
            headers.cast::<PyList>().map_err(|_| PyTypeError::new_err(mistakes::headers_type(headers)))?;
        let status =
            latin1_bytes(status).ok_or_else(|| PyValueError::new_err(mistakes::not_latin1("the status")))?;
        let refused = |error: crate::http::FieldError| PyValueError::new_err(error.to_string());
        let mut head = ResponseHead::new(&status).map_err(refused)?;
        for (index, item) in headers.iter().enumerate() {
            let pair = item.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2);
            let Some(pair) = pair else {
                return Err(PyTypeError::new_err(mistakes::header_item(index, &item)));
            };
            let name = pair.get_borrowed_item(0)?;
            let value = pair.get_borrowed_item(1)?;
            let name = text(index, "name", &name)?;
            let value = text(index, "value", &value)?;
            let name = latin1_bytes(name).ok_or_else(|| not_latin1(index, "name"))?;
            let value = latin1_bytes(value).ok_or_else(|| not_latin1(index, "value"))?;
            head.push(&name, &value).map_err(refused)?;
        }
        Ok(head)
    }
}

fn text<'a, 'py>(
    index: usize,
    part: &str,
    value: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, PyString>> {
    value.cast::<PyString>().map_err(|_| PyTypeError::new_err(mistakes::header_part(index, part, value)))
}

fn not_latin1(index: usize, part: &str) -> PyErr {
    PyValueError::new_err(mistakes::not_latin1(&format!("the {part} of header {index}")))
}
