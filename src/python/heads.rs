//! Response heads from what an application passes to `start_response`: its list is checked and copied, for the
//! application may go on changing it.
//!
//! Most applications say the same again and again. A head whose status and fields are those of a recent one, by identity or
//! letter by letter, is that head: strings and tuples of strings do not change. Only the Content-Length may be another.

use pyo3::Borrowed;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use crate::http::ResponseHead;

use super::mistakes;
use super::text::{ascii, latin1_bytes};

/// Most heads that a thread remembers: those of the few answers that an application gives all the time.
const HEADS_MAX: usize = 4;

/// Most fields of a head that is remembered, and most bytes of it.
const FIELDS_MAX: usize = 24;
const BYTES_MAX: usize = 4096;

/// After so many heads in a row that were not known, only one in so many is looked up and remembered: an application whose
/// heads are never alike does not pay for it.
const MISSES_MAX: u32 = 64;

/// Heads of recent responses.
#[derive(Debug, Default)]
pub(super) struct Heads {
    known: Vec<KnownHead>,
    next: usize,
    /// Heads in a row that were not known.
    misses: u32,
}

#[derive(Debug)]
struct KnownHead {
    status: Py<PyString>,
    fields: Vec<KnownField>,
    head: ResponseHead,
}

/// A field of a head that is remembered: a name and a value.
#[derive(Debug)]
struct KnownField {
    pair: Py<PyTuple>,
    is_content_length: bool,
}

/// How a head is like one that is known.
enum Likeness<'py> {
    No,
    Same,
    /// But for this Content-Length.
    Length(Bound<'py, PyAny>),
}

impl KnownHead {
    fn likeness<'py>(&self, status: &Bound<'py, PyAny>, fields: &Bound<'py, PyList>) -> Likeness<'py> {
        let py = status.py();
        if self.fields.len() != fields.len() || !is_same(self.status.bind(py), status) {
            return Likeness::No;
        }
        let mut likeness = Likeness::Same;
        for (known, field) in self.fields.iter().zip(fields.iter()) {
            if known.pair.is(&field) {
                continue;
            }
            match known.other_value(&field) {
                Some(None) => {}
                Some(Some(length)) => likeness = Likeness::Length(length),
                None => return Likeness::No,
            }
        }
        likeness
    }
}

impl KnownField {
    /// `None` for what is not just a tuple of two strings: no class of the application's is held on to.
    fn of(field: Bound<'_, PyAny>) -> Option<Self> {
        let pair = field.cast_into_exact::<PyTuple>().ok()?;
        let (name, value) = parts(&pair)?;
        value.cast_exact::<PyString>().ok()?;
        let name: &Bound<'_, PyAny> = &name;
        let is_content_length = ascii(name.cast_exact().ok()?)?.eq_ignore_ascii_case(b"content-length");
        Some(Self { pair: pair.unbind(), is_content_length })
    }

    /// `None` if the field is another; its value, if that is another and may be.
    fn other_value<'py>(&self, field: &Bound<'py, PyAny>) -> Option<Option<Bound<'py, PyAny>>> {
        let (name, value) = parts(field.cast_exact::<PyTuple>().ok()?)?;
        let (known_name, known_value) = parts(self.pair.bind(field.py()))?;
        if !is_same(&known_name, &name) {
            return None;
        }
        if is_same(&known_value, &value) {
            return Some(None);
        }
        self.is_content_length.then(|| Some(value.to_owned()))
    }
}

/// The two parts of a pair.
fn parts<'a, 'py>(
    pair: &'a Bound<'py, PyTuple>,
) -> Option<(Borrowed<'a, 'py, PyAny>, Borrowed<'a, 'py, PyAny>)> {
    if pair.len() != 2 {
        return None;
    }
    Some((pair.get_borrowed_item(0).ok()?, pair.get_borrowed_item(1).ok()?))
}

/// Whether both are the same string, or have the same characters.
fn is_same(known: &Bound<'_, PyAny>, object: &Bound<'_, PyAny>) -> bool {
    let are_alike = || {
        let (known, object) = (known.cast_exact().ok()?, object.cast_exact().ok()?);
        Some(ascii(known)? == ascii(object)?)
    };
    known.is(object) || are_alike().unwrap_or(false)
}

impl Heads {
    /// The head of what the application passed, if it is known.
    pub(super) fn known(
        &mut self,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
    ) -> Option<ResponseHead> {
        if !self.looks() {
            return None;
        }
        let fields = headers.cast_exact::<PyList>().ok()?;
        let mut likenesses = self.known.iter().map(|known| known.likeness(status, fields)).enumerate();
        let (place, likeness) = likenesses.find(|(_, likeness)| !matches!(likeness, Likeness::No))?;
        let mut head = self.known[place].head.clone();
        if let Likeness::Length(length) = likeness {
            head.replace_content_length(ascii(length.cast_exact().ok()?)?).ok()?;
        }
        // What is asked for most is found first.
        self.known.swap(place, place / 2);
        self.misses = 0;
        Some(head)
    }

    /// Whether it is worth while to look a head up, and to remember it.
    fn looks(&self) -> bool {
        self.misses < MISSES_MAX || self.misses % MISSES_MAX == 0
    }

    /// Remembers a head that was not known.
    pub(super) fn remember(
        &mut self,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        head: &ResponseHead,
    ) {
        let looks = self.looks();
        self.misses = self.misses.wrapping_add(1);
        if !looks || head.length() > BYTES_MAX {
            return;
        }
        let (Ok(status), Ok(fields)) = (status.cast_exact::<PyString>(), headers.cast_exact::<PyList>())
        else {
            return;
        };
        if fields.len() > FIELDS_MAX {
            return;
        }
        let Some(fields) = fields.iter().map(KnownField::of).collect() else { return };
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
