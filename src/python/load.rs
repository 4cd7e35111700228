//! Imports the application and resolves its callable. The Python side is `usual.py`, which every start runs, and `load.py`
//! for what it leaves over: compiling that one and importing what it needs takes longer than starting Python.

use std::ffi::CString;
use std::path::Path;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyModule;

use crate::app::{LoadError, LoadErrorKind};
use crate::config;

use super::overseer;

const USUAL: &str = include_str!("usual.py");
const SOURCE: &str = include_str!("load.py");

/// Imports `app.target` and returns its callable, which `threads` threads will call.
pub(super) fn load(py: Python<'_>, app: &config::App, threads: u32) -> Result<Py<PyAny>, LoadError> {
    resolve(py, app, threads).map_err(|error| load_error(py, &error))
}

fn resolve(py: Python<'_>, app: &config::App, threads: u32) -> PyResult<Py<PyAny>> {
    // The thread that imports `threading` first is its main thread. Where this is the only one that runs the application,
    // there is time until the application does.
    if threads > 1 {
        py.import("threading")?;
    }
    let usual = PyModule::from_code(py, &CString::new(USUAL)?, c"<rwsgi>/usual.py", c"_rwsgi_usual")?;
    usual.call_method0("buffer_lines")?;
    let directory = path_text(&app.directory);
    let pythonpath: Vec<String> = app.pythonpath.iter().map(|path| path_text(path)).collect();
    usual.call_method1("set_path", (directory, pythonpath))?;
    // One of the application's own goes first, or its imports would fail.
    if usual.call_method1("is_free", (overseer::MODULE, &app.target.module))?.extract()? {
        overseer::add_module(py)?;
    }
    let make = wrap_pyfunction!(helper, py)?;
    let callable = usual.call_method1("load", (&app.target.module, &app.target.callable, make))?;
    Ok(callable.unbind())
}

/// The module `load.py`.
#[pyfunction]
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
