//! Importing an application and resolving its callable.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use crate::app::{LoadError, LoadErrorKind};

use super::super::load::load;
use super::{app_settings, start_interpreter};

/// Loads `module:callable` from a folder with one file of that name.
fn loading(folder: &Path, module: &str, source: &str, callable: &str) -> Result<(), LoadError> {
    // One at a time: there is one sys.path, and an import gives up the interpreter lock.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    start_interpreter();
    if !source.is_empty() {
        std::fs::write(folder.join(format!("{module}.py")), source).unwrap();
    }
    let settings = app_settings(folder, module, callable);
    Python::attach(|py| load(py, &settings, 2).map(drop))
}

fn failing(module: &str, source: &str, callable: &str) -> LoadError {
    let folder = tempfile::tempdir().unwrap();
    loading(folder.path(), module, source, callable).unwrap_err()
}

#[test]
fn callables_are_found() {
    for (number, (source, callable)) in [
        ("def application(environ, start_response): pass", "application"),
        ("class A:\n  @staticmethod\n  def app(e, s): pass\n", "A.app"),
        ("class application:\n  def __init__(self, e, s): pass\n", "application"),
        ("class A:\n  def __call__(self, e, s): pass\ndef make(): return A()\n", "make()"),
        ("def make(n, debug): return lambda e, s: (n, debug)\n", "make('x', debug=False)"),
        ("def make():\n  return print\n", "make()"),
        ("class A:\n  def __call__(self, *rest): pass\napp = A()\n", "app"),
        ("class A:\n  def __call__(self, e, s, *, k=1): pass\nclass B(A): pass\napp = B()\n", "app"),
        ("class A:\n  def app(self, e, s, more=None): pass\na = A()\n", "a.app"),
        ("import functools\ndef one(r): pass\n@functools.wraps(one)\ndef app(e, s): pass\n", "app"),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = tempfile::tempdir().unwrap();
        let result = loading(folder.path(), &format!("good_{number}"), source, callable);
        assert_eq!(result, Ok(()), "{callable} in {source}");
    }
}

#[test]
fn what_cannot_take_environ_and_start_response_is_refused() {
    for (number, (source, callable)) in [
        ("def app(environ): pass", "app"),
        ("def app(environ, start_response, more): pass", "app"),
        ("def app(environ, start_response, *, more): pass", "app"),
        ("def app(*, environ, start_response): pass", "app"),
        ("class A:\n  def __call__(self, e): pass\napp = A()\n", "app"),
        ("class A:\n  def __call__(e, s): pass\napp = A()\n", "app"),
        ("class app:\n  def __init__(self): pass\n  def __call__(self, e, s): pass\n", "app"),
        ("app = 1", "app"),
    ]
    .into_iter()
    .enumerate()
    {
        let error = failing(&format!("bad_{number}"), source, callable);
        assert_eq!(error.kind, LoadErrorKind::NoCallable, "{callable} in {source}: {}", error.summary);
    }
}

#[test]
fn modules_of_the_application_do_not_hide_those_that_tell_of_its_failure() {
    let folder = tempfile::tempdir().unwrap();
    // Not imported by anything else in this process.
    std::fs::write(folder.path().join("difflib.py"), "raise RuntimeError('the wrong one')").unwrap();
    let forget = c"import sys; sys.modules.pop('difflib', None)";
    start_interpreter();
    Python::attach(|py| py.run(forget, None, None)).unwrap();
    let error = loading(folder.path(), "hiding", "1 / 0\n", "app").unwrap_err();
    assert!(error.summary.ends_with("raised ZeroDivisionError: division by zero"), "{}", error.summary);
}

#[test]
fn a_missing_module_is_told_with_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hullo.py"), "").unwrap();
    let error = loading(folder.path(), "hallo", "", "application").unwrap_err();
    assert_eq!((error.kind, error.traceback), (LoadErrorKind::Import, None));
    let start = format!("no module named \"hallo\" in {} (sys.path[0])", folder.path().display());
    assert!(error.summary.starts_with(&start), "{}", error.summary);
    assert!(error.summary.contains("there is \"hullo\""), "{}", error.summary);

    let file = loading(folder.path(), "hullo.py", "", "application").unwrap_err();
    assert!(file.summary.ends_with("write hullo"), "{}", file.summary);
}

#[test]
fn a_missing_dependency_is_told_with_its_place() {
    let error = failing("needy", "import os\nimport not_installed_here\n", "application");
    assert_eq!(error.kind, LoadErrorKind::Import);
    assert!(error.summary.contains("no module named \"not_installed_here\", which "), "{}", error.summary);
    assert!(error.summary.contains("needy.py imports in line 2: install it"), "{}", error.summary);
    let traceback = error.traceback.unwrap();
    assert!(traceback.contains("needy.py\", line 2"), "{traceback}");
    assert!(!traceback.contains("importlib") && !traceback.contains("load.py"), "{traceback}");
}

#[test]
fn errors_of_the_import_are_told() {
    let syntax = failing("bad_syntax", "x = 1\ndef (:\n", "application");
    assert_eq!(syntax.kind, LoadErrorKind::Import);
    assert!(
        syntax.summary.contains("SyntaxError in ") && syntax.summary.contains("line 2"),
        "{}",
        syntax.summary
    );
    assert!(syntax.traceback.unwrap().contains("def (:"));

    let raising = failing("raising", "def f(): raise ValueError('boom')\nf()\n", "application");
    assert_eq!(raising.summary, "importing \"raising\" raised ValueError: boom");
    assert!(raising.traceback.unwrap().contains("line 2, in <module>"));

    let exiting = failing("exiting", "import sys\nsys.exit(4)\n", "application");
    assert_eq!(exiting.kind, LoadErrorKind::Import);
    assert!(exiting.summary.starts_with("importing \"exiting\" called sys.exit(4)"), "{}", exiting.summary);
}

#[test]
fn callables_that_are_not_there_are_told_with_what_is() {
    for (number, (source, callable, sentence)) in [
        ("def app(e, s): pass", "application", "module \"M\" has no \"application\"; it has \"app\": write M:app"),
        ("def create_app(): pass", "app", "module \"M\" has no \"app\"; it has \"create_app\": write M:create_app()"),
        ("", "application", "module \"M\" has no \"application\", nor another callable that could be meant: name the WSGI callable as M:CALLABLE"),
        ("class A: pass\na = A()\n", "a.b", "M.a has no \"b\": correct the callable in the target"),
        ("application = 7", "application", "M:application is of type int, which is not callable: name a WSGI callable"),
        ("def create_app(): pass", "create_app", "create_app takes no (environ, start_response): write M:create_app()"),
        ("def make(): pass", "make()", "the factory M:make() returned NoneType, which is not callable: did it forget \"return\"?"),
        ("async def app(scope, receive, send): pass", "app", "M:app takes (scope, receive, send), not (environ, start_response): this is an ASGI application; rwsgi serves WSGI"),
    ]
    .into_iter()
    .enumerate()
    {
        let module = format!("other_{number}");
        let error = failing(&module, &format!("{source}\n"), callable);
        assert_eq!(error.kind, LoadErrorKind::NoCallable, "{}", error.summary);
        assert_eq!(error.summary, sentence.replace('M', &module), "{source}");
    }
}

#[test]
fn only_literals_are_arguments() {
    for (number, callable) in ["make(x)", "make(**{})", "a b", "make()()", "1", ""].into_iter().enumerate() {
        let error = failing(&format!("literal_{number}"), "def make(): pass\n", callable);
        assert_eq!(error.kind, LoadErrorKind::NoCallable, "{callable}");
        assert!(error.summary.starts_with("cannot read the callable"), "{}", error.summary);
    }
}

#[test]
fn a_factory_that_raises_is_an_import_error() {
    let error = failing("factory", "def make():\n    raise KeyError('DATABASE_URL')\n", "make()");
    assert_eq!(error.kind, LoadErrorKind::Import);
    assert_eq!(error.summary, "the factory factory:make() raised KeyError: 'DATABASE_URL'");
    assert!(error.traceback.unwrap().contains("in make"));
}
