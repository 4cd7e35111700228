//! Native strings of WSGI: `str` objects whose characters are bytes, latin-1 (PEP 3333, "Unicode Issues").

use std::borrow::Cow;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// A `str` of which each character is one of the bytes.
pub(super) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let length = isize::try_from(bytes.len())?;
    // SAFETY: the pointer and the length are those of a live slice; null stands for no error handler.
    let text = unsafe { ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), length, std::ptr::null()) };
    // SAFETY: a new reference, or null with an exception set.
    let text = unsafe { Bound::from_owned_ptr_or_err(py, text) }?;
    // SAFETY: the function makes strings only.
    Ok(unsafe { text.cast_into_unchecked::<PyString>() })
}

/// `dict.setdefault`
pub(super) fn set_default<'py>(
    dict: &Bound<'py, PyDict>,
    key: &Bound<'py, PyString>,
    value: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: three objects that are alive.
    let held = unsafe { ffi::PyDict_SetDefault(dict.as_ptr(), key.as_ptr(), value.as_ptr()) };
    // SAFETY: a borrowed reference of the dictionary, which only this thread has, or null with an exception set.
    unsafe { Bound::from_borrowed_ptr_or_err(dict.py(), held) }
}

/// The bytes that a native string stands for; `None` if a character is no byte.
pub(super) fn latin1_bytes<'a>(string: &'a Bound<'_, PyString>) -> Option<Cow<'a, [u8]>> {
    // Lone surrogates have no UTF-8 form; they are not latin-1 either.
    let text = string.to_str().ok()?;
    // As many characters as bytes of UTF-8: all of them are ASCII.
    // SAFETY: a string that is alive.
    let characters = unsafe { ffi::PyUnicode_GetLength(string.as_ptr()) };
    if usize::try_from(characters) == Ok(text.len()) {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    text.chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect::<Option<Vec<u8>>>()
        .map(Cow::Owned)
}
