//! Deadlines that the application reads and moves, and requests that are interrupted from another thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::app::{AfterCall, Application, Overseer, RequestId};

use super::super::application::PythonApplication;
use super::{Case, Told, application, start_interpreter};

/// The application tells through these, and waits for at most as long as a test may take.
const WAITING: &str = "
import threading, time
begun = threading.Event()
go_on = threading.Event()
";

fn loaded(source: &str) -> (PythonApplication, Arc<dyn Overseer>) {
    start_interpreter();
    let application = application(&format!("{WAITING}{source}"), &Case::new());
    let overseer = application.overseer();
    (application, overseer)
}

fn id_of(case: &Case) -> RequestId {
    case.request_id()
}

/// Calls `until` until it gives something; each call gives the interpreter lock to others.
fn wait_for<T>(mut until: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = until() {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "waited for too long");
        std::thread::yield_now();
    }
}

#[test]
fn a_deadline_is_read_and_moved() {
    let (application, overseer) = loaded(
        r#"
def application(environ, start_response):
    environ["rwsgi.deadline"] += 7
    begun.set()
    go_on.wait(20)
    start_response("200 OK", [])
    return [repr(environ["rwsgi.deadline"]).encode()]
"#,
    );
    let mut case = Case::new();
    case.deadline = Some(Duration::from_millis(1500));
    let id = id_of(&case);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| case.run_on(&application));
        let moved = wait_for(|| overseer.deadline(&id).filter(|deadline| deadline.as_secs() > 1));
        assert_eq!(moved, Duration::from_millis(8500));
        release(&application);
        assert_eq!(running.join().unwrap().complete(), "8.5");
    });
    assert_eq!(overseer.deadline(&id), None);
    assert!(!overseer.interrupt(&id));
}

#[test]
fn a_deadline_may_be_infinite_or_an_integer_and_else_nonsense_is_none() {
    for (value, expected) in [
        ("float('inf')", Some(Duration::MAX)),
        ("10**300", Some(Duration::MAX)),
        ("9", Some(Duration::from_secs(9))),
        ("float('nan')", None),
        ("float('-inf')", None),
        ("-1", None),
        ("10**400", None),
        ("None", None),
        ("'9'", None),
    ] {
        let (application, overseer) = loaded(&format!(
            "
def application(environ, start_response):
    environ['rwsgi.deadline'] = {value}
    begun.set()
    go_on.wait(20)
    start_response('200 OK', [])
    return [b'ok']
"
        ));
        let case = Case::new();
        let id = id_of(&case);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| case.run_on(&application));
            call_on_event(&application, "begun", "wait");
            assert_eq!(overseer.deadline(&id), expected, "{value}");
            release(&application);
            assert_eq!(running.join().unwrap().complete(), "ok");
        });
    }
}

/// Lets an application of this file go on.
fn release(application: &PythonApplication) {
    call_on_event(application, "go_on", "set");
}

fn call_on_event(application: &PythonApplication, event: &str, method: &str) {
    Python::attach(|py| {
        let globals = application.callable.bind(py).getattr("__globals__").unwrap();
        globals.get_item(event).unwrap().call_method0(method).unwrap();
    });
}

#[test]
fn without_a_timeout_there_is_no_deadline_and_nonsense_is_none() {
    let (application, overseer) = loaded(
        r#"
def application(environ, start_response):
    assert "rwsgi.deadline" not in environ
    environ["rwsgi.deadline"] = environ["QUERY_STRING"]
    go_on.wait(20)
    start_response("200 OK", [])
    return [b"ok"]
"#,
    );
    let case = Case::new();
    let id = id_of(&case);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| case.run_on(&application));
        assert_eq!(overseer.deadline(&id), None);
        release(&application);
        assert_eq!(running.join().unwrap().complete(), "ok");
    });
}

#[test]
fn a_loop_in_python_is_interrupted_and_told_in_one_line() {
    let (application, overseer) = loaded(
        "
def application(environ, start_response):
    while True:
        pass
",
    );
    let case = Case::new();
    let id = id_of(&case);
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| case.run_on(&application));
        wait_for(|| overseer.interrupt(&id).then_some(()));
        running.join().unwrap()
    });
    assert_eq!(outcome.after, AfterCall::Continue);
    assert_eq!(outcome.told, [Told::Abort]);
    assert_eq!(
        outcome.logged,
        ["INFO GET /hello: the application has come back after its timeout (workers.request_timeout)"]
    );
}

#[test]
fn an_application_can_catch_its_timeout() {
    let (application, overseer) = loaded(
        "
import rwsgi
def application(environ, start_response):
    try:
        try:
            while True:
                pass
        except Exception:
            said = b'an exception like any other'
    except rwsgi.RequestTimeout:
        said = b'caught'
    start_response('200 OK', [])
    return [said]
",
    );
    let case = Case::new();
    let id = id_of(&case);
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| case.run_on(&application));
        wait_for(|| overseer.interrupt(&id).then_some(()));
        running.join().unwrap()
    });
    assert_eq!((outcome.complete().as_str(), outcome.logged.len()), ("caught", 0));
}

/// The exception is raised at the very end of a request, when no more Python code runs in it.
#[test]
fn an_interrupt_does_not_leak_into_the_next_request() {
    let (application, overseer) = loaded(
        "
def application(environ, start_response):
    for number in range(10000):
        pass
    start_response('200 OK', [])
    return [b'undisturbed']
",
    );
    let case = Case::new();
    let id = id_of(&case);
    let (mut first, mut second) = (case.recorder(), Case::new().recorder());
    let (tell, told) = std::sync::mpsc::channel();
    first.at_finish = Some(Box::new(move || tell.send(overseer.interrupt(&id)).unwrap()));
    application.attach("app-1", &mut |attached| {
        attached.call(&mut first);
        attached.call(&mut second);
    });
    assert!(told.recv().unwrap());
    for recorder in [first, second] {
        assert_eq!(recorder.told.last(), Some(&Told::Finish), "{:?}", recorder.told);
    }
}
