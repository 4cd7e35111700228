//! How responses of each style are sent and ended, and that `close()` is called once.

use crate::app::Application;

use super::{AfterCall, Case, Sent, Told};

fn start(status: u16, body_length: Option<u64>) -> Told {
    Told::Start { status, body_length }
}

fn send(data: &str, more: bool) -> Told {
    Told::Send { data: data.to_owned(), more }
}

#[test]
fn a_list_has_a_length_and_promises_more() {
    let outcome = Case::new().run(
        r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, ", b"", b"world"]
"#,
    );
    let expected = [start(200, Some(12)), send("Hello, ", true), send("world", true), Told::Finish];
    assert_eq!(outcome.told, expected);
    assert_eq!(outcome.head.unwrap().field("content-type"), Some(&b"text/plain"[..]));
    assert_eq!(outcome.after, AfterCall::Continue);
    assert!(outcome.logged.is_empty(), "{:?}", outcome.logged);
}

#[test]
fn a_generator_is_sent_block_by_block() {
    let outcome = Case::new().run(
        r#"
def application(environ, start_response):
    start_response("200 OK", [])
    yield b""
    yield b"one"
    yield b"two"
"#,
    );
    assert_eq!(outcome.told, [start(200, None), send("one", false), send("two", false), Told::Finish]);
}

#[test]
fn a_class_with_iter_starts_the_response_late() {
    let outcome = Case::new().run(
        r#"
class application:
    def __init__(self, environ, start_response):
        self.environ = environ
        self.start = start_response
    def __iter__(self):
        self.start("404 Not Found", [])
        yield b"no " + self.environ["PATH_INFO"].encode("latin-1")
"#,
    );
    assert_eq!(outcome.told, [start(404, None), send("no /hello", false), Told::Finish]);
}

#[test]
fn an_iterable_of_one_block_has_its_length() {
    let outcome = Case::new().run(
        r#"
class One:
    def __len__(self):
        return 1
    def __iter__(self):
        return iter([b"four"])

def application(environ, start_response):
    start_response("200 OK", [])
    return One()
"#,
    );
    assert_eq!(outcome.told, [start(200, Some(4)), send("four", false), Told::Finish]);
}

#[test]
fn a_response_without_blocks_has_length_zero() {
    for result in ["[]", "()", "iter([])", "[b'']", "iter([b''])"] {
        let source = format!(
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    return {result}\n"
        );
        let outcome = Case::new().run(&source);
        assert_eq!(outcome.told, [start(200, Some(0)), Told::Finish], "{result}");
    }
}

#[test]
fn the_demo_application_passes_the_validator() {
    let outcome = Case::new().head("GET /greet?name=you HTTP/1.1\r\nHost: example.org").run(
        "from wsgiref.simple_server import demo_app\nfrom wsgiref.validate import validator\n\
         application = validator(demo_app)\n",
    );
    assert!(outcome.complete().starts_with("Hello world!"));
    assert!(outcome.logged.is_empty(), "{:?}", outcome.logged);
}

#[test]
fn write_sends_at_once_and_blocks_follow() {
    let outcome = Case::new().run(
        r#"
def application(environ, start_response):
    write = start_response("200 OK", [])
    write(b"")
    write(b"first ")
    return [b"second"]
"#,
    );
    assert_eq!(outcome.told, [start(200, None), send("first ", false), send("second", true), Told::Finish]);
}

#[test]
fn exc_info_replaces_a_head_that_is_held() {
    let outcome = Case::new().run(
        r#"
import sys
def application(environ, start_response):
    start_response("200 OK", [("X-Old", "1")])
    try:
        raise ValueError("boom")
    except ValueError:
        start_response("500 Oops", [("X-New", "1")], sys.exc_info())
    return [b"error page"]
"#,
    );
    assert_eq!(outcome.told, [start(500, Some(10)), send("error page", true), Told::Finish]);
    let head = outcome.head.unwrap();
    assert_eq!((head.field("x-old"), head.field("x-new")), (None, Some(&b"1"[..])));
}

#[test]
fn exc_info_after_the_head_was_sent_is_raised_again() {
    let outcome = Case::new().run(
        r#"
import sys
def application(environ, start_response):
    start_response("200 OK", [])
    yield b"begin"
    try:
        raise ValueError("boom")
    except ValueError:
        start_response("500 Oops", [], sys.exc_info())
    yield b"never"
"#,
    );
    let record = outcome.failure();
    assert!(
        record.starts_with(
            "ERROR GET /hello: the application raised ValueError: boom (the response was cut)\n"
        )
    );
    assert!(record.contains("raise ValueError(\"boom\")") || record.contains("line 7"), "{record}");
    assert_eq!(outcome.body(), "begin");
}

#[test]
fn close_is_called_once_on_every_path() {
    let source = |block: &str| {
        format!(
            r#"
closed = []
class Response:
    def __init__(self, errors): self.errors = errors
    def __iter__(self):
        {block}
    def close(self): self.errors.write("closed\n")

def application(environ, start_response):
    start_response("200 OK", [])
    return Response(environ["wsgi.errors"])
"#
        )
    };
    let closes = |logged: &[String]| logged.iter().filter(|record| *record == "ERROR closed").count();

    let done = Case::new().run(&source("yield b'x'"));
    assert_eq!((closes(&done.logged), done.told.last()), (1, Some(&Told::Finish)));

    let raising = Case::new().run(&source("yield b'x'; raise ValueError('boom')"));
    assert_eq!((closes(&raising.logged), raising.told.last()), (1, Some(&Told::Abort)));

    let mistaken = Case::new().run(&source("yield 'text'"));
    assert_eq!((closes(&mistaken.logged), mistaken.told.last()), (1, Some(&Told::Abort)));

    let gone = Case::new().answers(&[Sent::Gone]).run(&source("yield b'x'; yield b'y'"));
    assert_eq!((closes(&gone.logged), gone.body().as_str()), (1, "x"));
    assert_eq!(gone.told.last(), Some(&Told::Abort));

    let excess = Case::new().answers(&[Sent::Excess]).run(&source("yield b'x'; yield b'y'"));
    assert_eq!((closes(&excess.logged), excess.told.last()), (1, Some(&Told::Finish)));

    let not_iterable = Case::new().run(&source("yield b'x'").replace("__iter__", "other"));
    assert_eq!((closes(&not_iterable.logged), not_iterable.told.last()), (1, Some(&Told::Abort)));
}

#[test]
fn an_error_in_close_is_logged_after_the_response() {
    let outcome = Case::new().run(
        r#"
class Response(list):
    def close(self):
        raise KeyError("late")
def application(environ, start_response):
    start_response("200 OK", [])
    return Response([b"x"])
"#,
    );
    assert_eq!(outcome.complete(), "x");
    assert!(
        outcome.logged[0].starts_with("ERROR GET /hello: close() of the response raised KeyError: 'late'\n")
    );
}

#[test]
fn a_full_queue_is_waited_for() {
    let outcome = Case::new().answers(&[Sent::Full, Sent::Full, Sent::Ready]).run(
        r#"
def application(environ, start_response):
    start_response("200 OK", [])
    yield b"a"
    yield b"b"
"#,
    );
    let expected =
        [start(200, None), send("a", false), Told::Wait, Told::Wait, send("b", false), Told::Finish];
    assert_eq!(outcome.told, expected);
}

#[test]
fn waiting_detached_gives_up_the_lock() {
    super::start_interpreter();
    let application = super::application("def application(e, s): pass\n", &Case::new());
    let mut waits = 0;
    application.attach("app-1", &mut |attached| {
        attached.detached(&mut || {
            super::assert_lock_is_free();
            waits += 1;
        });
    });
    assert_eq!(waits, 1);
}

#[test]
fn another_thread_may_write_while_the_queue_is_full() {
    let outcome = Case::new().answers(&[Sent::Full, Sent::Ready]).run(
        r#"
import threading
def application(environ, start_response):
    write = start_response("200 OK", [])
    threads = [threading.Thread(target=write, args=(b"x",)) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return [b"y"]
"#,
    );
    assert_eq!(outcome.complete(), "xxxxy");
    assert_eq!(outcome.told.iter().filter(|told| matches!(told, Told::Start { .. })).count(), 1);
}

#[test]
fn excess_is_logged_once_with_its_size() {
    let outcome = Case::new().answers(&[Sent::Ready, Sent::Excess]).run(
        r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    yield b"abc"
    yield b"defg"
    yield b"hij"
"#,
    );
    assert_eq!(outcome.logged, ["WARN GET /hello: 3 bytes past Content-Length were cut"]);
    assert_eq!(outcome.told.last(), Some(&Told::Finish));
}

#[test]
fn the_excess_of_a_list_counts_all_its_blocks() {
    let outcome = Case::new().answers(&[Sent::Excess]).run(
        r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"abc", b"defg"]
"#,
    );
    assert_eq!(outcome.logged, ["WARN GET /hello: 5 bytes past Content-Length were cut"]);
}

#[test]
fn large_blocks_are_shared_and_small_ones_borrowed() {
    let outcome = Case::new().run(
        r#"
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"x" * 16384, b"small"]
"#,
    );
    let expected = [start(200, Some(16389)), send("shared 16384", true), send("small", true), Told::Finish];
    assert_eq!(outcome.told, expected);
}

#[test]
fn an_exception_is_a_500_with_its_traceback() {
    let outcome = Case::new().run("def application(environ, start_response):\n    return 1 / 0\n");
    let record = outcome.failure();
    assert!(record.starts_with(
        "ERROR GET /hello: the application raised ZeroDivisionError: division by zero\nTraceback"
    ));
    assert!(record.contains("line 2, in application"), "{record}");
    assert_eq!(outcome.told, [Told::Abort]);
}

#[test]
fn system_exit_and_keyboard_interrupt_end_the_worker() {
    for raised in ["SystemExit(3)", "KeyboardInterrupt()"] {
        let source = format!("def application(environ, start_response):\n    raise {raised}\n");
        let outcome = Case::new().run(&source);
        assert_eq!((outcome.after, outcome.told), (AfterCall::Exit, vec![Told::Abort]), "{raised}");
    }
    let outcome = Case::new().run("def application(environ, start_response):\n    raise GeneratorExit\n");
    assert_eq!(outcome.after, AfterCall::Continue);
}

#[test]
fn objects_kept_after_the_response_are_harmless() {
    let outcome = Case::new().run(
        r#"
kept = []
class Late:
    def __iter__(self):
        return iter([b"x"])
    def close(self):
        start_response, write = kept
        for late in (lambda: write(b"y"), lambda: start_response("200 OK", [])):
            try:
                late()
            except RuntimeError as error:
                assert "the response has ended" in str(error), error
            else:
                raise AssertionError("accepted")

def application(environ, start_response):
    kept[:] = [start_response, start_response("200 OK", [])]
    return Late()
"#,
    );
    assert_eq!(outcome.complete(), "x");
    assert!(outcome.logged.is_empty(), "{:?}", outcome.logged);
}

#[test]
fn lines_written_to_errors_are_records_of_the_request() {
    let outcome = Case::new().run(
        r#"
def application(environ, start_response):
    errors = environ["wsgi.errors"]
    print("one\ntwo", file=errors)
    errors.write("thr")
    errors.writelines(["ee", "\n", "rest"])
    start_response("200 OK", [])
    return []
"#,
    );
    assert_eq!(outcome.logged, ["ERROR one", "ERROR two", "ERROR three", "ERROR rest"]);
}
