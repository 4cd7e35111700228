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

/// A number that is another after each change of the dictionary (PEP 509); `None` where the interpreter has none, or has no lock
/// that keeps others from changing it meanwhile.
#[cfg(not(any(Py_3_14, Py_GIL_DISABLED)))]
pub(super) fn version_of(dict: &Bound<'_, PyDict>) -> Option<u64> {
    let dict = dict.as_ptr().cast::<ffi::PyDictObject>();
    // SAFETY: a dictionary that is alive; who changes it has the interpreter lock, which this thread has now.
    #[allow(deprecated, reason = "it counts until the version of Python that has it no more")]
    let version = unsafe { (*dict).ma_version_tag };
    Some(version)
}

/// A number that is another after each change of the dictionary (PEP 509); `None` where the interpreter has none, or has no lock
/// that keeps others from changing it meanwhile.
#[cfg(any(Py_3_14, Py_GIL_DISABLED))]
pub(super) fn version_of(_dict: &Bound<'_, PyDict>) -> Option<u64> {
    None
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
    if let Some(bytes) = ascii(string) {
        return Some(Cow::Borrowed(bytes));
    }
    // Lone surrogates have no UTF-8 form; they are not latin-1 either.
    let text = string.to_str().ok()?;
    if text.is_ascii() {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    text.chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect::<Option<Vec<u8>>>()
        .map(Cow::Owned)
}

/// The bytes of a string that is kept as ASCII, where they lie. Strings of subclasses are kept otherwise.
#[cfg(not(Py_3_14))]
pub(super) fn ascii<'a>(string: &'a Bound<'_, PyString>) -> Option<&'a [u8]> {
    // SAFETY: a string that is alive.
    let is_ascii = unsafe { ffi::PyUnicode_IS_COMPACT_ASCII(string.as_ptr()) } != 0;
    if !is_ascii {
        return None;
    }
    // SAFETY: a string that is alive.
    let length = unsafe { ffi::PyUnicode_GET_LENGTH(string.as_ptr()) };
    // SAFETY: a string that is alive.
    let data = unsafe { ffi::PyUnicode_DATA(string.as_ptr()) };
    let length = usize::try_from(length).ok()?;
    // SAFETY: a string does not change; each of its characters is a byte, and it lives as long as it is borrowed.
    Some(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) })
}

/// Where that cannot be seen from outside, the way of all other strings is taken.
#[cfg(Py_3_14)]
pub(super) fn ascii<'a>(_: &'a Bound<'_, PyString>) -> Option<&'a [u8]> {
    None
}
