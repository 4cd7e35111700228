//! The loaded application, as the worker sees it: the implementation of `app`'s traits.

use std::fs::File;
use std::io;
use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;

use crate::app::{
    AfterCall, Application, Attached, Exchange, Identity, LoadError, LoadErrorKind, Loader, Overseer,
};
use crate::config::Settings;
use crate::sys::process::Fork;

use super::crash::CrashLog;
use super::environ::{Constants, Environs};
use super::objects::Lasting;
use super::overseer::{Entry, Registry};
use super::{fork, hooks, interpreter, load, respond};

/// Loads Python applications.
#[derive(Debug, Clone, Copy, Default)]
pub struct PythonLoader;

impl Loader for PythonLoader {
    fn load(
        &self,
        settings: &Settings,
        identity: Identity,
        crash_log: Option<&File>,
    ) -> Result<Box<dyn Application>, LoadError> {
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
        let crashes = CrashLog::default();
        Python::attach(|py| crash_log.map_or(Ok(()), |file| crashes.lead_to(py, file)))
            .map_err(|error| not_prepared(&error))?;
        let application = PythonApplication::load(settings, identity)?;
        Ok(Box::new(PythonApplication { crashes, ..application }))
    }
}

fn not_prepared(error: &PyErr) -> LoadError {
    LoadError {
        kind: LoadErrorKind::Import,
        summary: format!("the application cannot be prepared: {error}"),
        traceback: None,
    }
}

/// A WSGI callable and what its requests have in common.
#[derive(Debug)]
pub(super) struct PythonApplication {
    pub(super) callable: Py<PyAny>,
    constants: Constants,
    registry: Arc<Registry>,
    crashes: CrashLog,
}

impl PythonApplication {
    pub(super) fn new(callable: Py<PyAny>, constants: Constants) -> Self {
        Self { callable, constants, registry: Arc::default(), crashes: CrashLog::default() }
    }

    /// Imports the application into the running interpreter.
    fn load(settings: &Settings, identity: Identity) -> Result<Self, LoadError> {
        Python::attach(|py| {
            let callable = load::load(py, &settings.app, settings.workers.threads)?;
            let constants = Constants::new(py, &settings.app.mount, &settings.workers, identity);
            constants.map(|constants| Self::new(callable, constants)).map_err(|error| not_prepared(&error))
        })
    }
}

impl Application for PythonApplication {
    fn attach(&self, thread_name: &str, body: &mut dyn FnMut(&mut dyn Attached)) {
        Python::attach(|py| {
            if let Err(error) = name_thread(py, thread_name) {
                log::warn!("the Python thread cannot be named {thread_name}: {error}");
            }
            let entry = self.registry.enter(py);
            let environs = Environs::new(py, &self.constants);
            body(&mut AttachedThread { py, application: self, entry, environs, lasting: Lasting::default() });
        });
    }

    fn freeze(&self) {
        if let Err(error) = Python::attach(fork::freeze) {
            log::warn!("workers will share less memory: the collector cannot be frozen: {error}");
        }
    }

    fn thread_names(&self) -> Vec<(i32, String)> {
        Python::attach(fork::thread_names).unwrap_or_else(|error| {
            log::warn!("the names of threads are not known: {error}");
            Vec::new()
        })
    }

    fn fork(&self, fork: &mut dyn FnMut() -> io::Result<Fork>) -> io::Result<Fork> {
        Python::attach(|py| fork::fork(py, fork))
    }

    fn settle(
        &mut self,
        _: &Settings,
        identity: Identity,
        crash_log: Option<&File>,
    ) -> Result<(), LoadError> {
        Python::attach(|py| {
            self.constants.settle(py, identity)?;
            crash_log.map_or(Ok(()), |file| self.crashes.lead_to(py, file))
        })
        .map_err(|error| not_prepared(&error))
    }

    fn worker_start(&self, settings: &Settings, identity: Identity) -> Result<(), LoadError> {
        let hook = settings.hooks.worker_start.as_ref();
        Python::attach(|py| hooks::run(py, "hooks.worker_start", hook, identity))
    }

    fn worker_exit(&self, settings: &Settings, identity: Identity) {
        let hook = settings.hooks.worker_exit.as_ref();
        if let Err(error) = Python::attach(|py| hooks::run(py, "hooks.worker_exit", hook, identity)) {
            log::error!("{}\n{}", error.summary, error.traceback.unwrap_or_default());
        }
    }

    fn overseer(&self) -> Arc<dyn Overseer> {
        Arc::clone(&self.registry) as Arc<dyn Overseer>
    }

    fn dump_stacks_on(&self, signal: i32, file: &File) -> io::Result<()> {
        Python::attach(|py| self.crashes.dump_on(py, signal, file)).map_err(io::Error::other)
    }

    fn finalize(&self) {
        interpreter::finalize();
    }
}

/// Names this thread's `threading.Thread`; the main thread keeps its name. Without `threading` there is but that one.
fn name_thread(py: Python<'_>, name: &str) -> PyResult<()> {
    let Some(threading) = fork::threading(py)? else { return Ok(()) };
    let current = threading.call_method0(intern!(py, "current_thread"))?;
    if current.is(threading.call_method0(intern!(py, "main_thread"))?) {
        return Ok(());
    }
    current.setattr(intern!(py, "name"), name)
}

struct AttachedThread<'a, 'py> {
    py: Python<'py>,
    application: &'a PythonApplication,
    entry: Entry<'a>,
    environs: Environs<'a, 'py>,
    lasting: Lasting<'py>,
}

impl Attached for AttachedThread<'_, '_> {
    fn call(&mut self, exchange: &mut dyn Exchange) -> AfterCall {
        let callable = self.application.callable.bind(self.py);
        respond::call(callable, &mut self.environs, &mut self.lasting, &self.entry, exchange)
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
