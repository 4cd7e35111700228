//! What applications get wrong, each in one sentence that says how to mend it.

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};

/// The name of a value's type.
fn type_name(value: &Bound<'_, PyAny>) -> String {
    value
        .get_type()
        .name()
        .map_or_else(|_| "an object without a type name".to_owned(), |name| name.to_string())
}

/// The application returned something that is no iterable of bytes. `None`: it may be one.
pub(super) fn returned(value: &Bound<'_, PyAny>) -> Option<String> {
    let remedy = if value.is_none() {
        return Some("the application returned None: did it forget \"return\"?".to_owned());
    } else if value.is_instance_of::<PyString>() {
        "return [text.encode()]"
    } else if value.is_instance_of::<PyBytes>() {
        "return [data]"
    } else if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        "return [bytes(data)]"
    } else {
        return None;
    };
    Some(format!("the application returned {}, not a list of bytes: {remedy}", type_name(value)))
}

/// The application returned something that cannot be iterated over.
pub(super) fn not_iterable(value: &Bound<'_, PyAny>) -> String {
    let name = type_name(value);
    if name == "coroutine" {
        return "the application returned coroutine: it is an async function, but WSGI calls it without \
                await: write it with def"
            .to_owned();
    }
    format!("the application returned {name}, which is not iterable: return a list of bytes")
}

/// A block of the response, or the data of `write()`, is not bytes.
pub(super) fn block(value: &Bound<'_, PyAny>) -> String {
    let name = type_name(value);
    let remedy = if value.is_instance_of::<PyString>() {
        "encode it with text.encode()"
    } else if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        "convert it with bytes(block)"
    } else {
        "every block must be bytes"
    };
    format!("a block of the response is {name}, not bytes: {remedy}")
}

/// A block came, or the response ended, before `start_response` was called.
pub(super) const NOT_STARTED: &str = "the application did not call start_response: call \
                                      start_response(status, headers) before the first block of the response";

/// `start_response` was called again without `exc_info`.
pub(super) const STARTED_TWICE: &str = "start_response was called twice: call it once, or pass exc_info to \
                                        replace the response with an error page";

/// `start_response` raised an error, the application caught it and went on.
pub(super) const REFUSED: &str = "start_response raised an error, and the application went on without a response: \
                                  let the error end the call, or call start_response again with exc_info";

/// `write` was given more than the Content-Length has room for.
pub(super) const WRITTEN_PAST_LENGTH: &str = "write() went past the Content-Length, and the rest was cut: set \
                                              Content-Length to the length of the body in bytes, or leave it out";

/// `write` has nobody to write to; no mistake, but told in the same way.
pub(super) const CLIENT_GONE: &str = "the client went away before the response was complete";

/// `start_response` or `write` was called too late.
pub(super) const ENDED: &str = "the response has ended: call start_response and write only while the \
                                application runs";

/// The status is no `str`.
pub(super) fn status_type(value: &Bound<'_, PyAny>) -> String {
    let name = type_name(value);
    let shown = value.repr().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    format!("status must be a str such as \"200 OK\", not {name} {shown}")
}

/// The headers are no `list`.
pub(super) fn headers_type(value: &Bound<'_, PyAny>) -> String {
    format!(
        "headers must be a list of tuples (str, str), not {}: write [(name, value), ...]",
        type_name(value)
    )
}

/// An item of the headers is no `tuple` of two.
pub(super) fn header_item(index: usize, value: &Bound<'_, PyAny>) -> String {
    let what = match value.len() {
        Ok(length) if value.is_instance_of::<pyo3::types::PyTuple>() => format!("a tuple of {length}"),
        Ok(_) | Err(_) => type_name(value),
    };
    format!("header {index} must be a tuple (str, str), not {what}")
}

/// The name or value of a header is no `str`.
pub(super) fn header_part(index: usize, part: &str, value: &Bound<'_, PyAny>) -> String {
    let name = type_name(value);
    let remedy = if value.is_instance_of::<PyBytes>() {
        "decode it with .decode(\"latin-1\")"
    } else {
        "use str(...)"
    };
    format!("header {index} must be a tuple (str, str), but its {part} is {name}: {remedy}")
}

/// A status or header has a character that is no byte.
pub(super) fn not_latin1(what: &str) -> String {
    format!("{what} has a character outside latin-1: encode it, for example with urllib.parse.quote")
}

/// `exc_info` is not what `sys.exc_info()` returns.
pub(super) fn exc_info_type(value: &Bound<'_, PyAny>) -> String {
    format!("exc_info must be the tuple from sys.exc_info(), not {}", type_name(value))
}
