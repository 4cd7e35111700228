//! `start_response` and `write` as Python sees them: builtin functions, which the interpreter calls with their arguments
//! where they lie, without a tuple. `start_response` is bound to the `write` that it returns, and that to the
//! [`StartResponse`] that both work on.

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::slice;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::start_response::StartResponse;

/// The names of the arguments of `start_response`, in order.
const ARGUMENTS: [&str; 3] = ["status", "headers", "exc_info"];

struct Definition(UnsafeCell<ffi::PyMethodDef>);

// SAFETY: nobody writes to it; the interpreter takes a pointer that is not const.
unsafe impl Sync for Definition {}

static START_RESPONSE: Definition = definition(
    c"start_response",
    ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: start_response },
    ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
    c"start_response(status, headers, exc_info=None)\n\nBegins the response (PEP 3333); returns write(data).",
);

static WRITE: Definition = definition(
    c"write",
    ffi::PyMethodDefPointer { PyCFunction: write },
    ffi::METH_O,
    c"write(data)\n\nTransmits the head of the response and the data now (PEP 3333).",
);

const fn definition(
    name: &'static CStr,
    function: ffi::PyMethodDefPointer,
    flags: i32,
    doc: &'static CStr,
) -> Definition {
    Definition(UnsafeCell::new(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: function,
        ml_flags: flags,
        ml_doc: doc.as_ptr(),
    }))
}

/// The `start_response` of a response.
pub(super) fn make<'py>(response: &Bound<'py, StartResponse>) -> PyResult<Bound<'py, PyAny>> {
    bind(&START_RESPONSE, &bind(&WRITE, response)?)
}

fn bind<'py, T>(definition: &'static Definition, object: &Bound<'py, T>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the definition is static, and the object is alive.
    let function = unsafe { ffi::PyCFunction_NewEx(definition.0.get(), object.as_ptr(), ptr::null_mut()) };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(object.py(), function) }
}

/// What a builtin function of ours is bound to.
fn bound_to<'py>(function: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: the object is alive; what is no builtin function sets an exception.
    let object = unsafe { ffi::PyCFunction_GetSelf(function.as_ptr()) };
    // SAFETY: a borrowed reference of the function, which is alive, or null.
    unsafe { Bound::from_borrowed_ptr_or_opt(function.py(), object) }
}

/// What `start_response` and its `write` work on.
pub(super) fn write_of<'py>(start_response: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    bound_to(start_response)
}

/// Runs what a function does, with its first argument, for the interpreter.
fn answer(
    bound: *mut ffi::PyObject,
    body: impl for<'py> FnOnce(Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
) -> *mut ffi::PyObject {
    Python::attach(|py| {
        // SAFETY: the interpreter has called with this object, which lives as long as the call.
        let object = unsafe { Bound::from_borrowed_ptr(py, bound) };
        let result = catch_unwind(AssertUnwindSafe(|| body(object)))
            .unwrap_or_else(|_| Err(PyRuntimeError::new_err("a bug in rwsgi; please report it")));
        match result {
            Ok(object) => object.into_ptr(),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    })
}

/// `start_response(status, headers, exc_info=None)`, bound to its `write`.
unsafe extern "C" fn start_response(
    bound: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    answer(bound, |write| {
        let py = write.py();
        // SAFETY: null, or a tuple that lives as long as the call.
        let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, names) };
        let names = names.map(Bound::cast_into::<PyTuple>).transpose()?;
        let positional = usize::try_from(count).unwrap_or(0);
        let all = positional + names.as_ref().map_or(0, |names| names.len());
        let pointers = if all == 0 {
            &[]
        } else {
            // SAFETY: the interpreter passes so many arguments, those with names behind the others.
            unsafe { slice::from_raw_parts(arguments, all) }
        };
        // SAFETY: arguments are objects that live as long as the call.
        let object = |pointer: &*mut ffi::PyObject| unsafe { Bound::from_borrowed_ptr(py, *pointer) };
        let mut given = [None, None, None];
        let (unnamed, named) = pointers.split_at(positional.min(all));
        if unnamed.len() > given.len() {
            return Err(PyTypeError::new_err(format!(
                "start_response() takes from 2 to 3 positional arguments but {} were given",
                unnamed.len()
            )));
        }
        for (place, pointer) in given.iter_mut().zip(unnamed) {
            *place = Some(object(pointer));
        }
        for (name, pointer) in names.iter().flatten().zip(named) {
            *place_of(&mut given, &name)? = Some(object(pointer));
        }
        let [Some(status), Some(headers), exc_info] = given else {
            return Err(PyTypeError::new_err(
                "start_response() wants two arguments or three: status, headers, exc_info=None",
            ));
        };
        let response = bound_to(&write).ok_or_else(|| PyErr::fetch(py))?.cast_into::<StartResponse>()?;
        let exc_info = exc_info.filter(|exc_info| !exc_info.is_none());
        response.get().hold(py, &status, &headers, exc_info.as_ref())?;
        Ok(write)
    })
}

/// Where the argument of this name belongs, which was not given yet.
fn place_of<'a, 'py>(
    given: &'a mut [Option<Bound<'py, PyAny>>; 3],
    name: &Bound<'py, PyAny>,
) -> PyResult<&'a mut Option<Bound<'py, PyAny>>> {
    let name = name.cast::<PyString>()?.to_str()?;
    let index = ARGUMENTS.iter().position(|argument| *argument == name).ok_or_else(|| {
        PyTypeError::new_err(format!("start_response() got an unexpected keyword argument '{name}'"))
    })?;
    if given[index].is_some() {
        return Err(PyTypeError::new_err(format!(
            "start_response() got multiple values for argument '{name}'"
        )));
    }
    Ok(&mut given[index])
}

/// `write(data)`, bound to the response.
unsafe extern "C" fn write(bound: *mut ffi::PyObject, data: *mut ffi::PyObject) -> *mut ffi::PyObject {
    answer(bound, |response| {
        let py = response.py();
        // SAFETY: the argument is an object that lives as long as the call.
        let data = unsafe { Bound::from_borrowed_ptr(py, data) };
        response.cast::<StartResponse>()?.get().write(&data)?;
        Ok(py.None().into_bound(py))
    })
}
