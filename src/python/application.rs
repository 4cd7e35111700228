//! The loaded application, as the worker sees it: the implementation of `app`'s traits.

use pyo3::intern;
use pyo3::prelude::*;

use crate::app::{AfterCall, Application, Attached, Exchange, Identity, LoadError, LoadErrorKind, Loader};
use crate::config::Settings;

use super::environ::{Constants, FieldNames};
use super::{interpreter, load, respond};

/// Loads Python applications.
#[derive(Debug, Clone, Copy, Default)]
pub struct PythonLoader;

impl Loader for PythonLoader {
    fn load(&self, settings: &Settings, identity: Identity) -> Result<Box<dyn Application>, LoadError> {
        let directory = &settings.app.directory;
        std::env::set_current_dir(directory).map_err(|error| LoadError {
            kind: LoadErrorKind::Configuration,
            summary: format!(
                "app.directory = {}: {error}: set it to the application's folder",
                directory.display()
            ),
            traceback: None,
        })?;
        crate::sys::environment::set_variables(&settings.app.environment);
        interpreter::start(&settings.app)?;
        let application = PythonApplication::load(settings, identity)?;
        Ok(Box::new(application))
    }
}

/// A WSGI callable and what its requests have in common.
#[derive(Debug)]
pub(super) struct PythonApplication {
    pub(super) callable: Py<PyAny>,
    pub(super) constants: Constants,
}

impl PythonApplication {
    /// Imports the application into the running interpreter.
    fn load(settings: &Settings, identity: Identity) -> Result<Self, LoadError> {
        Python::attach(|py| {
            let callable = load::load(py, &settings.app)?;
            let constants =
                Constants::new(py, &settings.app.mount, &settings.workers, identity).map_err(|error| {
                    LoadError {
                        kind: LoadErrorKind::Import,
                        summary: format!("the application cannot be prepared: {error}"),
                        traceback: None,
                    }
                })?;
            Ok(Self { callable, constants })
        })
    }
}

impl Application for PythonApplication {
    fn attach(&self, thread_name: &str, body: &mut dyn FnMut(&mut dyn Attached)) {
        Python::attach(|py| {
            if let Err(error) = name_thread(py, thread_name) {
                log::warn!("the Python thread cannot be named {thread_name}: {error}");
            }
            body(&mut AttachedThread { py, application: self, names: FieldNames::default() });
        });
    }

    fn finalize(&self) {
        interpreter::finalize();
    }
}

/// Names this thread's `threading.Thread`; the main thread keeps its name.
fn name_thread(py: Python<'_>, name: &str) -> PyResult<()> {
    let threading = py.import(intern!(py, "threading"))?;
    let current = threading.call_method0(intern!(py, "current_thread"))?;
    if current.is(threading.call_method0(intern!(py, "main_thread"))?) {
        return Ok(());
    }
    current.setattr(intern!(py, "name"), name)
}

struct AttachedThread<'a, 'py> {
    py: Python<'py>,
    application: &'a PythonApplication,
    names: FieldNames,
}

impl Attached for AttachedThread<'_, '_> {
    fn call(&mut self, exchange: &mut dyn Exchange) -> AfterCall {
        let application = self.application;
        let callable = application.callable.bind(self.py);
        respond::call(self.py, callable, &application.constants, &mut self.names, exchange)
    }

    fn detached(&mut self, wait: &mut dyn FnMut()) {
        let wait = OnThisThread(wait);
        self.py.detach(|| wait.run());
    }
}

/// A closure that `detach` takes for one that could run on another thread.
struct OnThisThread<'a>(&'a mut dyn FnMut());

// SAFETY: `detach` runs its closure on the calling thread; Send only stands in for "holds no Python object by
// borrow", and what the worker waits with holds none.
unsafe impl Send for OnThisThread<'_> {}

impl OnThisThread<'_> {
    fn run(self) {
        (self.0)();
    }
}
