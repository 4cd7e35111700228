//! Loading, attaching and finalizing in a process of its own, as a worker does: this test binary runs itself.

use std::path::Path;
use std::process::Command;

use pyo3::prelude::*;

use crate::app::Application;

use super::super::application::PythonApplication;
use super::super::interpreter;
use super::super::load::load;
use super::{Constants, app_settings};

/// Where the child finds the application, and its virtualenv if it has one.
const DIRECTORY: &str = "RWSGI_TEST_DIRECTORY";
const VIRTUALENV: &str = "RWSGI_TEST_VIRTUALENV";

/// Tells on standard output what it sees; the lines begin with `>` to be told from those of the test harness.
const SOURCE: &str = r#"
import sys
early = [name for name in ("ast", "functools", "inspect", "threading", "traceback") if name in sys.modules]
import atexit, os, threading
print(">executable", sys.executable)
print(">prefix", sys.prefix)
print(">buffering", sys.stdout.line_buffering)
print(">early", early)
print(">path", sys.path[0], sys.path[1], sys.argv)
atexit.register(lambda: sys.stdout.write(">atexit without a newline"))
finished = threading.Event()
threading.Thread(target=lambda: (finished.wait(), print(">joined")), name="not-a-daemon").start()
threading._register_atexit(finished.set)
def application(environ, start_response): pass
"#;

#[test]
#[ignore = "run by the other tests of this file, in a process of its own"]
fn child() {
    let directory = std::env::var_os(DIRECTORY).expect("run by the other tests");
    let mut settings = app_settings(Path::new(&directory), "told", "application");
    settings.virtualenv = std::env::var_os(VIRTUALENV).map(Into::into);
    settings.pythonpath = vec!["/second".into()];
    interpreter::start(&settings).unwrap();
    let workers = super::workers(1);
    let application = Python::attach(|py| {
        let constants = Constants::new(py, "", &workers, super::IDENTITY).unwrap();
        PythonApplication::new(load(py, &settings, 1).unwrap(), constants)
    });
    let name_of_thread = || {
        Python::attach(|py| {
            let current = py.import("threading").unwrap().call_method0("current_thread").unwrap();
            current.getattr("name").unwrap().to_string()
        })
    };
    std::thread::scope(|scope| {
        scope.spawn(|| application.attach("app-3", &mut |_| println!(">thread {}", name_of_thread())));
    });
    application.attach("app-1", &mut |_| println!(">thread {}", name_of_thread()));
    application.finalize();
    println!("\n>finalized");
}

/// The lines that the child told.
fn run_child(virtualenv: Option<&Path>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("told.py"), SOURCE).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "python::tests::process::child",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env(DIRECTORY, folder.path());
    if let Some(virtualenv) = virtualenv {
        command.env(VIRTUALENV, virtualenv);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let folder = folder.path().display().to_string();
    let lines = text.split('>').skip(1).filter_map(|told| told.lines().next());
    lines.map(|line| line.replace(&folder, "DIRECTORY")).collect()
}

#[test]
fn a_worker_loads_and_finalizes() {
    let told = run_child(None);
    assert!(told[0].starts_with("executable /") && told[0].contains("python"), "{told:?}");
    assert!(!told[0].contains("rwsgi-"), "{told:?}");
    assert_eq!(told[2], "buffering True");
    let expected = [
        "path DIRECTORY /second ['rwsgi']",
        "thread app-3",
        "thread MainThread",
        "joined",
        "atexit without a newline",
        "finalized",
    ];
    assert_eq!(told[4..], expected);
}

#[test]
fn a_virtualenv_is_entered() {
    let folder = tempfile::tempdir().unwrap();
    let virtualenv = folder.path().join("venv");
    let base = run_child(None)[0].replace("executable ", "");
    let made = Command::new(base).args(["-m", "venv", "--without-pip"]).arg(&virtualenv).status().unwrap();
    assert!(made.success());
    let told = run_child(Some(&virtualenv));
    let expected = [
        format!("executable {}/bin/python", virtualenv.display()),
        format!("prefix {}", virtualenv.display()),
    ];
    assert_eq!(told[..2], expected);
    // Outside a virtualenv, packages of the machine may import at Python's own start.
    assert_eq!(told[3], "early []", "a start does not wait for modules that only failures need");
}
