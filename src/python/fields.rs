//! The variables of the header fields: `CONTENT_TYPE`, `CONTENT_LENGTH` and `HTTP_*` (RFC 3875 §4.1.18).
//!
//! Names are kept as received, each with the variable that it becomes and the value that it had last, for most clients
//! send most values again and again.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::app::Request;

use super::text::{latin1, set_default};

/// Places for names that a thread remembers: clients choose them, so they must not fill the memory. Several times as many
/// as browsers and proxies use. A power of two.
const PLACES: usize = 512;

/// How many places are looked at for a name, so that a client cannot make the search long.
const PLACES_LOOKED_AT: usize = 4;

/// Longest name and longest value that are remembered, in bytes.
const NAME_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 512;

/// A name that was seen.
#[derive(Debug)]
struct Name<'py> {
    bytes: Box<[u8]>,
    variable: Bound<'py, PyString>,
    /// Its last value, as received and as an object.
    value: Option<(Vec<u8>, Bound<'py, PyString>)>,
}

/// The names that a thread remembers.
#[derive(Debug, Default)]
pub(super) struct Fields<'py>(Vec<Option<Name<'py>>>);

impl<'py> Fields<'py> {
    /// Sets the variables of a request in an environ that has none of them.
    pub(super) fn set(&mut self, environ: &Bound<'py, PyDict>, request: &Request) -> PyResult<()> {
        let py = environ.py();
        for (name, value) in request.head.fields() {
            match self.name(py, name) {
                Some(name) => {
                    let value = name.value(py, value)?;
                    add(environ, &name.variable, value)?;
                }
                None => {
                    let variable = PyString::new(py, &variable_of(name));
                    add(environ, &variable, latin1(py, value)?)?;
                }
            }
        }
        Ok(())
    }

    /// The name, if there is a place for it.
    fn name(&mut self, py: Python<'py>, name: &[u8]) -> Option<&mut Name<'py>> {
        if self.0.is_empty() {
            self.0.resize_with(PLACES, || None);
        }
        let first = place_of(name);
        let is_free = |place: &Option<Name<'py>>| match place {
            Some(known) => *known.bytes == *name,
            None => name.len() <= NAME_BYTES_MAX,
        };
        let place = (first..first + PLACES_LOOKED_AT)
            .map(|place| place % PLACES)
            .find(|place| is_free(&self.0[*place]))?;
        Some(self.0[place].get_or_insert_with(|| Name {
            bytes: name.into(),
            variable: PyString::intern(py, &variable_of(name)),
            value: None,
        }))
    }
}

impl<'py> Name<'py> {
    fn value(&mut self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
        if let Some((held, value)) = &self.value {
            if *held == bytes {
                return Ok(value.clone());
            }
        }
        let value = latin1(py, bytes)?;
        if bytes.len() > VALUE_BYTES_MAX {
            return Ok(value);
        }
        let (mut held, _) = self.value.take().unwrap_or_else(|| (Vec::new(), value.clone()));
        held.clear();
        held.extend_from_slice(bytes);
        self.value = Some((held, value.clone()));
        Ok(value)
    }
}

/// Length and a few letters, by which the usual names differ.
fn place_of(name: &[u8]) -> usize {
    let letter = |index: usize| name.get(index).map_or(0, |byte| usize::from(*byte));
    let middle = letter(name.len() / 2);
    let last = letter(name.len().wrapping_sub(1));
    (name.len() ^ (letter(0) << 1) ^ (middle << 2) ^ (last << 4)) % PLACES
}

/// Sets a variable, or adds to it (RFC 9110 §5.3: a list; RFC 9113 §8.2.3 has the separator of cookies).
fn add<'py>(
    environ: &Bound<'py, PyDict>,
    variable: &Bound<'py, PyString>,
    value: Bound<'py, PyString>,
) -> PyResult<()> {
    let py = environ.py();
    let length = environ.len();
    let former = set_default(environ, variable, &value)?;
    if environ.len() > length {
        return Ok(());
    }
    let separator =
        if variable.as_any().eq(intern!(py, "HTTP_COOKIE"))? { intern!(py, "; ") } else { intern!(py, ",") };
    environ.set_item(variable, former.add(separator)?.add(value)?)
}

/// `Accept-Language` is `HTTP_ACCEPT_LANGUAGE`; the two of CGI have no prefix.
fn variable_of(name: &[u8]) -> String {
    let upper = |byte: &u8| if *byte == b'-' { '_' } else { char::from(byte.to_ascii_uppercase()) };
    let variable: String = name.iter().map(upper).collect();
    match variable.as_str() {
        "CONTENT_TYPE" | "CONTENT_LENGTH" => variable,
        _ => format!("HTTP_{variable}"),
    }
}

#[cfg(test)]
mod tests {
    use super::variable_of;

    #[test]
    fn field_names_become_variables() {
        assert_eq!(variable_of(b"Accept-Language"), "HTTP_ACCEPT_LANGUAGE");
        assert_eq!(variable_of(b"content-type"), "CONTENT_TYPE");
        assert_eq!(variable_of(b"Content-LENGTH"), "CONTENT_LENGTH");
        assert_eq!(variable_of(b"Content-Encoding"), "HTTP_CONTENT_ENCODING");
    }
}
