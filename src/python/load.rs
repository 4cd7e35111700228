//! Imports the application and resolves its callable.
//!
//! What is usual is done here, since every start waits for it: running Python's compiler for the first time, and importing
//! what `load.py` needs, take longer than the rest of a start. `load.py` is made for what is left over: failures, expressions
//! that are more than names, callables whose signature is not in plain sight, and hooks.

use std::ffi::CString;
use std::path::Path;

use pyo3::exceptions::PyAttributeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFunction, PyList, PyModule, PyType};

use crate::app::{LoadError, LoadErrorKind};
use crate::config;

use super::overseer;

const SOURCE: &str = include_str!("load.py");

/// `CO_VARARGS` of `inspect`: the code takes any number of positional arguments.
const CO_VARARGS: u32 = 0x04;

/// Imports `app.target` and returns its callable, which `threads` threads will call.
pub(super) fn load(py: Python<'_>, app: &config::App, threads: u32) -> Result<Py<PyAny>, LoadError> {
    prepare_and_resolve(py, app, threads).map_err(|error| load_error(py, &error))
}

fn prepare_and_resolve(py: Python<'_>, app: &config::App, threads: u32) -> PyResult<Py<PyAny>> {
    // The thread that imports `threading` first is its main thread. Where this is the only one that runs the application,
    // there is time until the application does.
    if threads > 1 {
        py.import(intern!(py, "threading"))?;
    }
    let sys = py.import(intern!(py, "sys"))?;
    buffer_lines(&sys)?;
    let path = sys.getattr(intern!(py, "path"))?.cast_into::<PyList>()?;
    let standard_path = path.get_slice(0, path.len());
    let directories = std::iter::once(&app.directory).chain(&app.pythonpath).map(|it| path_text(it));
    put_first(&path, &PyList::new(py, directories.collect::<Vec<_>>())?)?;
    // One of the application's own goes first, or its imports would fail.
    if is_free(&sys, overseer::MODULE, &app.target.module)? {
        overseer::add_module(py)?;
    }
    let left_over = || with_path(&path, &standard_path, || helper(py));
    resolve(py, &app.target.module, &app.target.callable, &left_over).map(Bound::unbind)
}

/// Makes print() show at once, but a line in one piece: workers share their standard output.
fn buffer_lines(sys: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = sys.py();
    let stdout = sys.getattr(intern!(py, "stdout"))?;
    if let Some(reconfigure) = stdout.getattr_opt(intern!(py, "reconfigure"))? {
        let arguments = PyDict::new(py);
        arguments.set_item(intern!(py, "line_buffering"), true)?;
        reconfigure.call((), Some(&arguments))?;
    }
    Ok(())
}

/// Puts these entries first on the path.
fn put_first(path: &Bound<'_, PyList>, entries: &Bound<'_, PyList>) -> PyResult<()> {
    let wanted = entries.get_slice(0, entries.len());
    for entry in path.iter() {
        if !entries.contains(&entry)? {
            wanted.append(entry)?;
        }
    }
    path.set_slice(0, path.len(), &wanted)
}

/// Whether the application has no module of this name; a folder of other things, without `__init__.py`, is none.
fn is_free(sys: &Bound<'_, PyModule>, name: &str, target: &str) -> PyResult<bool> {
    let py = sys.py();
    let is_target = target.split('.').next() == Some(name);
    if is_target || sys.getattr(intern!(py, "modules"))?.contains(name)? {
        return Ok(false);
    }
    for finder in sys.getattr(intern!(py, "meta_path"))?.try_iter()? {
        let Some(find_spec) = finder?.getattr_opt(intern!(py, "find_spec"))? else { continue };
        let spec = find_spec.call1((name, py.None()))?;
        if !spec.is_none() {
            return Ok(spec.getattr(intern!(py, "origin"))?.is_none());
        }
    }
    Ok(true)
}

/// Runs `body` with another `sys.path`: what `load.py` imports is not to come from the application's folders.
fn with_path<'py, T>(
    path: &Bound<'py, PyList>,
    other: &Bound<'py, PyList>,
    body: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    let ours = path.get_slice(0, path.len());
    path.set_slice(0, path.len(), other)?;
    let result = body();
    path.set_slice(0, path.len(), &ours)?;
    result
}

/// The callable that `name:expression` names. `left_over` makes `load.py`.
fn resolve<'py>(
    py: Python<'py>,
    name: &str,
    expression: &str,
    left_over: &dyn Fn() -> PyResult<Bound<'py, PyModule>>,
) -> PyResult<Bound<'py, PyAny>> {
    let module = match py.import(name) {
        Ok(module) => module,
        Err(error) => {
            let error = error.into_value(py);
            return left_over()?.call_method1(intern!(py, "import_failed"), (name, error));
        }
    };
    let Some(found) = named(&module, expression)? else {
        return left_over()?.call_method1(intern!(py, "resolve"), (module, name, expression));
    };
    if !surely_accepts_two(&found)? {
        left_over()?.call_method1(intern!(py, "check_callable"), (&found, name, expression.trim()))?;
    }
    Ok(found)
}

/// What the expression names, if it is a dotted name and names something.
fn named<'py>(module: &Bound<'py, PyModule>, expression: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut found = module.clone().into_any();
    for attribute in expression.trim().split('.') {
        let is_word = attribute.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_word || attribute.starts_with(|first: char| first.is_ascii_digit()) {
            return Ok(None);
        }
        found = match found.getattr(attribute) {
            Ok(found) => found,
            Err(error) if error.is_instance_of::<PyAttributeError>(module.py()) => return Ok(None),
            Err(error) => return Err(error),
        };
    }
    Ok(Some(found))
}

/// Whether this is a function, or has one as its class's `__call__`, whose code takes two positional arguments.
fn surely_accepts_two(callable: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = callable.py();
    let class = callable.get_type();
    let (function, bound) = if callable.is_exact_instance_of::<PyFunction>() {
        (callable.clone(), 0)
    } else if class.is_subclass_of::<PyType>()? {
        return Ok(false);
    } else {
        match own_call(&class)? {
            Some(call) if call.is_exact_instance_of::<PyFunction>() => (call, 1),
            Some(_) | None => return Ok(false),
        }
    };
    let code = function.getattr(intern!(py, "__code__"))?;
    let count = |name| code.getattr(name)?.extract::<u32>();
    let defaults = |name| {
        let defaults = function.getattr(name)?;
        if defaults.is_none() { Ok(0) } else { defaults.len() }
    };
    let positional = count(intern!(py, "co_argcount"))? as usize;
    let has_rest = count(intern!(py, "co_flags"))? & CO_VARARGS != 0;
    let keywords = count(intern!(py, "co_kwonlyargcount"))? as usize;
    let wanted = bound + 2;
    Ok(positional <= wanted + defaults(intern!(py, "__defaults__"))?
        && (positional >= wanted || has_rest)
        && keywords <= defaults(intern!(py, "__kwdefaults__"))?)
}

/// `__call__` as it stands in the class, or in that which it inherits it from.
fn own_call<'py>(class: &Bound<'py, PyType>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let name = intern!(class.py(), "__call__");
    for base in class.mro().iter() {
        let attributes = base.getattr(intern!(class.py(), "__dict__"))?;
        if attributes.contains(name)? {
            return attributes.get_item(name).map(Some);
        }
    }
    Ok(None)
}

/// The module `load.py`.
pub(super) fn helper(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    PyModule::from_code(py, &CString::new(SOURCE)?, c"<rwsgi>/load.py", c"_rwsgi_load")
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What `load.py` reports as `LoadFailure`; anything else is an error while loading all the same.
pub(super) fn load_error(py: Python<'_>, error: &PyErr) -> LoadError {
    let value = error.value(py);
    let text = |name: &str| value.getattr(name).ok()?.extract::<String>().ok();
    match (text("kind").as_deref(), text("summary")) {
        (Some("callable"), Some(summary)) => {
            LoadError { kind: LoadErrorKind::NoCallable, summary, traceback: text("trace") }
        }
        (Some("import"), Some(summary)) => {
            LoadError { kind: LoadErrorKind::Import, summary, traceback: text("trace") }
        }
        (Some(_) | None, _) => LoadError {
            kind: LoadErrorKind::Import,
            summary: format!("the application cannot be loaded: {error}"),
            traceback: Some(traceback_of(py, error)),
        },
    }
}

/// The traceback of an exception, with its causes, as the interpreter would print it.
pub(super) fn traceback_of(py: Python<'_>, error: &PyErr) -> String {
    let format = || -> PyResult<String> {
        let arguments = (error.get_type(py), error.value(py), error.traceback(py));
        let lines =
            py.import(intern!(py, "traceback"))?.call_method1(intern!(py, "format_exception"), arguments)?;
        let lines: Vec<String> = lines.extract()?;
        Ok(lines.concat().trim_end().to_owned())
    };
    format().unwrap_or_else(|_| error.to_string())
}
