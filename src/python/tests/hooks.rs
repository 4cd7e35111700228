//! The functions of `[hooks]`.

use pyo3::prelude::*;

use crate::app::{Application, LoadErrorKind};
use crate::config::{Hook, Hooks, Settings};

use super::{Case, IDENTITY, RECORDS, application, start_interpreter};

fn hook(module: &str, function: &str) -> Option<Hook> {
    Some(Hook { module: module.to_owned(), function: function.to_owned() })
}

fn settings(hooks: Hooks) -> Settings {
    Settings { hooks, ..Settings::for_tests() }
}

/// Puts a module where a hook can import it.
fn module(name: &str, source: &str) {
    Python::attach(|py| {
        let module = super::module(py, source, name);
        let modules = py.import("sys").unwrap().getattr("modules").unwrap();
        modules.set_item(name, module).unwrap();
    });
}

fn global(name: &str, variable: &str) -> String {
    Python::attach(|py| py.import(name).unwrap().getattr(variable).unwrap().to_string())
}

#[test]
fn a_hook_is_called_with_the_worker_if_it_takes_an_argument() {
    start_interpreter();
    let application = application("def application(e, s): pass", &Case::new());
    module(
        "hooks_called",
        "
import os
called = []
class Namespace:
    @staticmethod
    def start(worker):
        called.append((worker.generation, worker.worker, worker.pid == os.getpid()))
def leave():
    called.append('exit')
",
    );
    let settings = settings(Hooks {
        worker_start: hook("hooks_called", "Namespace.start"),
        worker_exit: hook("hooks_called", "leave"),
    });
    application.worker_start(&settings, IDENTITY).unwrap();
    application.worker_exit(&settings, IDENTITY);
    assert_eq!(global("hooks_called", "called"), "[(1, 0, True), 'exit']");
    application.worker_start(&Settings::for_tests(), IDENTITY).unwrap();
}

#[test]
fn a_hook_that_raises_is_told_with_its_traceback() {
    start_interpreter();
    let application = application("def application(e, s): pass", &Case::new());
    module("hooks_raising", "def start():\n    raise ValueError('no database')\n");
    let settings = settings(Hooks {
        worker_start: hook("hooks_raising", "start"),
        worker_exit: hook("hooks_raising", "nothing"),
    });
    let error = application.worker_start(&settings, IDENTITY).unwrap_err();
    assert_eq!(error.kind, LoadErrorKind::Import);
    assert_eq!(error.summary, "hooks.worker_start = hooks_raising:start: raised ValueError: no database");
    let traceback = error.traceback.unwrap();
    assert!(traceback.contains("hooks_raising.py\", line 2, in start"), "{traceback}");
    assert!(!traceback.contains("load.py"), "{traceback}");

    application.worker_exit(&settings, IDENTITY);
    let records = RECORDS.0.lock().unwrap();
    let start = "ERROR hooks.worker_exit = hooks_raising:nothing: raised AttributeError: ";
    assert!(records.iter().any(|record| record.starts_with(start)), "{records:?}");
}
