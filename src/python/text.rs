//! Native strings of WSGI: `str` objects whose characters are bytes, latin-1 (PEP 3333, "Unicode Issues").

use std::borrow::Cow;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A `str` of which each character is one of the bytes.
pub(super) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let length = isize::try_from(bytes.len())?;
    // SAFETY: the pointer and the length are those of a live slice; null stands for no error handler.
    let text = unsafe { ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), length, std::ptr::null()) };
    // SAFETY: a new reference, or null with an exception set.
    let text = unsafe { Bound::from_owned_ptr_or_err(py, text) }?;
    Ok(text.cast_into::<PyString>()?)
}

/// The bytes that a native string stands for; `None` if a character is no byte.
pub(super) fn latin1_bytes<'a>(text: &'a Bound<'_, PyString>) -> Option<Cow<'a, [u8]>> {
    // Lone surrogates have no UTF-8 form; they are not latin-1 either.
    let text = text.to_str().ok()?;
    if text.is_ascii() {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    text.chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect::<Option<Vec<u8>>>()
        .map(Cow::Owned)
}
