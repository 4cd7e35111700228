//! Clauses of PEP 3333 that the other tests of the bridge do not show; `docs/wsgi.md` names the test of each clause.

use super::{Case, Outcome, Scheme, Sent, Told};

/// What an application answers that ends with `check`, a function that returns text or raises.
fn answer(case: Case, check: &str) -> String {
    let source = format!(
        r#"
import sys
{check}
def application(environ, start_response):
    text = check(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
"#
    );
    case.run(&source).complete()
}

fn last(outcome: &Outcome) -> Option<&Told> {
    outcome.told.last()
}

#[test]
fn the_application_is_called_with_two_positional_arguments() {
    let source = r#"
def application(*args, **keywords):
    environ, start_response = args
    assert not keywords
    start_response("200 OK", [])
    return [b"two"]
"#;
    assert_eq!(Case::new().run(source).complete(), "two");
}

#[test]
fn the_environ_is_a_builtin_dict_of_native_strings() {
    let check = r#"
def check(environ, start_response):
    assert type(environ) is dict, type(environ)
    for key, value in environ.items():
        assert type(key) is str
        if "." not in key:
            assert type(value) is str, (key, value)
            value.encode("latin-1")
    own = [key for key in environ if "." in key]
    assert all(key == key.lower() and key.split(".")[0] in ("wsgi", "rwsgi") for key in own), own
    return "fine"
"#;
    let case = Case::new()
        .head("GET /\u{e9}?x HTTP/1.1\r\nHost: a\r\nX-Latin: \u{ff}".replace('\u{e9}', "%e9").as_str());
    assert_eq!(answer(case, check), "fine");
}

#[test]
fn variables_without_a_value_are_left_out() {
    let check = r#"
def check(environ, start_response):
    names = ("CONTENT_TYPE", "CONTENT_LENGTH", "REMOTE_USER", "AUTH_TYPE", "PATH_TRANSLATED", "HTTPS")
    return ",".join(name for name in names if name in environ)
"#;
    assert_eq!(answer(Case::new(), check), "");
}

#[test]
fn https_is_told_as_apache_does() {
    let mut case = Case::new();
    case.origin.scheme = Scheme::Https;
    let check = "def check(environ, start_response): return environ['HTTPS'] + environ['wsgi.url_scheme']";
    assert_eq!(answer(case, check), "onhttps");
}

#[test]
fn the_url_can_be_put_together_again() {
    let check = r#"
from wsgiref.util import application_uri, request_uri
def check(environ, start_response): return request_uri(environ) + " " + application_uri(environ)
"#;
    let mut case = Case::new().head("GET /app/a%20b?x=%201 HTTP/1.1\r\nHost: example.org:81");
    case.mount = "/app";
    assert_eq!(answer(case, check), "http://example.org:81/app/a%20b?x=%201 http://example.org:81/app");
    let without_host = Case::new().head("GET /x HTTP/1.0");
    assert_eq!(answer(without_host, check), "http://127.0.0.1:8000/x http://127.0.0.1:8000/");
}

#[test]
fn an_error_in_the_first_call_counts_as_a_call() {
    let source = |second: &str| {
        format!(
            r#"
import sys
def application(environ, start_response):
    try:
        start_response("no status", [])
    except ValueError:
        {second}
    return [b"page"]
"#
        )
    };
    let again = Case::new().run(&source("start_response('200 OK', [])"));
    assert!(
        again.failure().contains("AssertionError: start_response was called twice"),
        "{:?}",
        again.logged
    );
    let replaced = Case::new().run(&source("start_response('500 Oops', [], sys.exc_info())"));
    assert_eq!(replaced.complete(), "page");
    let swallowed = Case::new().run(&source("pass"));
    assert!(
        swallowed
            .failure()
            .starts_with("ERROR GET /hello: start_response raised an error, and the application went on"),
        "{:?}",
        swallowed.logged
    );
}

#[test]
fn a_second_call_that_is_caught_gives_no_half_right_answer() {
    let source = r#"
def application(environ, start_response):
    start_response("200 OK", [])
    try:
        start_response("404 Not Found", [])
    except AssertionError:
        pass
    return [b"x"]
"#;
    assert!(Case::new().run(source).failure().contains("start_response raised an error"));
}

#[test]
fn exc_info_is_raised_again_with_its_traceback() {
    let source = r#"
import sys, traceback
def fails(): raise ValueError("boom")
def application(environ, start_response):
    start_response("200 OK", [])(b"begun")
    try:
        fails()
    except ValueError:
        info = sys.exc_info()
        first, info[1].__traceback__ = info[1].__traceback__, None
        try:
            start_response("500 Oops", [], (info[0], info[1], first))
        except ValueError as error:
            assert error is info[1]
            names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
            assert "fails" in names, names
            raise
"#;
    let outcome = Case::new().run(source);
    let record = outcome.failure();
    assert!(record.starts_with("ERROR GET /hello: the application raised ValueError: boom"), "{record}");
    assert_eq!(outcome.body(), "begun");
}

#[test]
fn exc_info_without_an_exception_cannot_replace_what_was_sent() {
    let source = r#"
import sys
def application(environ, start_response):
    start_response("200 OK", [])(b"begun")
    start_response("500 Oops", [], sys.exc_info())
    return []
"#;
    let outcome = Case::new().run(source);
    assert!(outcome.failure().contains("raised TypeError"), "{:?}", outcome.logged);
}

#[test]
fn exc_info_is_not_kept() {
    let check = r#"
import gc, weakref
class Boom(Exception): pass
def check(environ, start_response):
    gc.disable()
    try:
        try:
            raise Boom
        except Boom:
            info = sys.exc_info()
            kept = weakref.ref(info[1])
            start_response("500 Oops", [], info)
            del info
        assert kept() is None, gc.get_referrers(kept())
    finally:
        gc.enable()
    return "forgotten"
"#;
    let source = format!(
        "import sys\n{check}\ndef application(environ, start_response):\n    return [check(environ, start_response).encode()]\n"
    );
    assert_eq!(Case::new().run(&source).complete(), "forgotten");
}

#[test]
fn headers_are_copied_when_they_are_given() {
    let source = r#"
def application(environ, start_response):
    headers = [("X-Kept", "1")]
    start_response("200 OK", headers)
    headers.append(("X-Late", "2"))
    headers[0] = ("X-Kept", "changed")
    return [b"x"]
"#;
    let head = Case::new().run(source).head.unwrap();
    assert_eq!((head.field("x-kept"), head.field("x-late")), (Some(&b"1"[..]), None));
}

#[test]
fn names_and_values_are_kept_as_they_are() {
    let source = r#"
def application(environ, start_response):
    start_response("200 \xe9", [("x-CaSe", "a\xff  b"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    return [b"x"]
"#;
    let head = Case::new().run(source).head.unwrap();
    assert_eq!(head.field("x-case"), Some(&b"a\xff  b"[..]));
}

#[test]
fn subclasses_of_builtin_types_are_taken() {
    let source = r#"
class S(str): pass
class B(bytes): pass
class L(list): pass
class T(tuple): pass
def application(environ, start_response):
    start_response(S("200 OK"), L([T((S("X-Sub"), S("yes")))]))
    return L([B(b"one "), B(b"two")])
"#;
    let outcome = Case::new().run(source);
    assert_eq!(outcome.head.as_ref().unwrap().field("x-sub"), Some(&b"yes"[..]));
    assert_eq!(outcome.complete(), "one two");
}

#[test]
fn the_head_is_held_over_empty_blocks() {
    let source = r#"
import sys
def application(environ, start_response):
    start_response("200 OK", [])
    yield b""
    yield b""
    try:
        raise ValueError
    except ValueError:
        start_response("500 Oops", [], sys.exc_info())
    yield b"sorry"
"#;
    let outcome = Case::new().run(source);
    assert_eq!(outcome.told[0], Told::Start { status: 500, body_length: None });
    assert_eq!(outcome.complete(), "sorry");
}

#[test]
fn each_block_goes_out_before_the_next_is_asked_for() {
    let source = r#"
def application(environ, start_response):
    start_response("200 OK", [])
    environ["wsgi.errors"].write("before\n")
    yield b"one"
    environ["wsgi.errors"].write("after\n")
    yield b"two"
"#;
    let outcome = Case::new().answers(&[Sent::Gone]).run(source);
    assert_eq!(outcome.body(), "one");
    assert!(!outcome.logged.iter().any(|record| record.contains("after")), "{:?}", outcome.logged);
    let sends: Vec<_> = Case::new().run(source).told;
    assert!(sends.iter().all(|told| !matches!(told, Told::Send { more: true, .. })), "{sends:?}");
}

#[test]
fn nothing_but_the_iteration_protocol_is_used() {
    let source = r#"
seen = []
class Response:
    def __getattribute__(self, name):
        seen.append(name)
        return object.__getattribute__(self, name)
    def __iter__(self): return iter([b"x"])
def application(environ, start_response):
    if environ["QUERY_STRING"]:
        start_response("200 OK", [])
        return [",".join(seen).encode()]
    start_response("200 OK", [])
    return Response()
"#;
    super::start_interpreter();
    let shared = super::application(source, &Case::new());
    assert_eq!(Case::new().run_on(&shared).complete(), "x");
    let seen = Case::new().head("GET /?seen HTTP/1.1\r\nHost: a").run_on(&shared).complete();
    assert_eq!(seen, "close");
}

#[test]
fn iteration_stops_when_enough_was_sent() {
    let source = |length: &str, rest: &str| {
        format!(
            r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "{length}")])
    yield b"12345"
    while True:
        yield {rest}
"#
        )
    };
    let empty = Case::new().run(&source("5", "b''"));
    assert_eq!(empty.complete(), "12345");
    let more = Case::new().answers(&[Sent::Ready, Sent::Excess]).run(&source("5", "b'6'"));
    assert_eq!(last(&more), Some(&Told::Finish));
    assert_eq!(more.logged, ["WARN GET /hello: 1 bytes past Content-Length were cut"]);
}

#[test]
fn iteration_stops_when_there_is_no_body() {
    let source = |status: &str| {
        format!(
            "def application(environ, start_response):\n    start_response('{status}', [])\n    \
             while True:\n        yield b'x'\n"
        )
    };
    let head = Case::new().head("HEAD / HTTP/1.1\r\nHost: a").run(&source("200 OK"));
    assert_eq!(last(&head), Some(&Told::Finish));
    for status in ["204 No Content", "205 Reset Content", "304 Not Modified"] {
        assert_eq!(last(&Case::new().run(&source(status))), Some(&Told::Finish), "{status}");
    }
}

#[test]
fn write_past_the_content_length_is_an_error() {
    let source = r#"
def application(environ, start_response):
    write = start_response("200 OK", [("Content-Length", "4")])
    write(b"abc")
    write(b"def")
    return []
"#;
    let outcome = Case::new().answers(&[Sent::Ready, Sent::Excess]).run(source);
    assert_eq!(last(&outcome), Some(&Told::Abort));
    let raised = outcome.logged.iter().any(|record| {
        record.contains("raised AssertionError: write() went past the Content-Length, and the rest was cut")
    });
    assert!(raised, "{:?}", outcome.logged);
}

#[test]
fn write_to_a_client_that_is_gone_ends_the_application() {
    let source = r#"
def application(environ, start_response):
    write = start_response("200 OK", [])
    while True: write(b"x")
"#;
    let mut case = Case::new().answers(&[Sent::Ready, Sent::Gone]);
    case.disconnected = true;
    let outcome = case.run(source);
    assert!(outcome.failure().starts_with("DEBUG GET /hello: ConnectionResetError"), "{:?}", outcome.logged);
}

#[test]
fn the_length_of_one_block_is_not_told_after_write() {
    let source = r#"
def application(environ, start_response):
    start_response("200 OK", [])(b"first")
    return [b"second"]
"#;
    let outcome = Case::new().run(source);
    assert_eq!(outcome.told[0], Told::Start { status: 200, body_length: None });
    assert_eq!(outcome.complete(), "firstsecond");
}

#[test]
fn the_streams_have_the_methods_of_the_pep() {
    let check = r#"
def check(environ, start_response):
    body, errors = environ["wsgi.input"], environ["wsgi.errors"]
    for name in ("read", "readline", "readlines", "__iter__"): assert callable(getattr(body, name)), name
    for name in ("flush", "write", "writelines"): assert callable(getattr(errors, name)), name
    for wrong in (b"bytes", 1, None):
        try: errors.write(wrong)
        except TypeError: pass
        else: raise AssertionError(wrong)
    errors.write("caf\xe9 \u20ac \udc80\r\n")
    errors.write("flushed")
    errors.flush()
    return "fine"
"#;
    let source = format!(
        "{check}\ndef application(environ, start_response):\n    text = check(environ, start_response)\n    \
         start_response('200 OK', [])\n    return [text.encode()]\n"
    );
    let outcome = Case::new().run(&source);
    assert_eq!(outcome.complete(), "fine");
    assert!(outcome.logged[0].starts_with("ERROR caf\u{e9} \u{20ac} "), "{:?}", outcome.logged);
    assert_eq!(outcome.logged[1], "ERROR flushed");
}

#[test]
fn a_file_wrapper_does_nothing_until_it_is_returned() {
    let check = r#"
class F:
    reads = closes = 0
    def read(self, *size): F.reads += 1; return b""
    def close(self): F.closes += 1
def check(environ, start_response):
    wrapper = environ["wsgi.file_wrapper"]
    made = wrapper(F()), wrapper(F(), 10)
    assert (F.reads, F.closes) == (0, 0)
    for one in made + (wrapper(F(), 0),): assert list(one) == [] and one.close() is None
    assert (F.reads, F.closes) == (3, 3)
    class Ones:
        def read(self, size): return b"1" * size
    assert len(next(iter(wrapper(Ones(), 0)))) == 8192
    class Bare:
        blocks = [b"a", b"b", b""]
        def read(self, size=-1): return self.blocks.pop(0)
    bare = wrapper(Bare())
    joined = b"".join(bare)
    bare.close()
    return joined.decode()
"#;
    assert_eq!(answer(Case::new(), check), "ab");
}

#[test]
fn a_file_is_sent_from_where_it_is_when_the_application_has_returned() {
    let source = r#"
import tempfile
def application(environ, start_response):
    f = tempfile.TemporaryFile()
    f.write(b"0123456789")
    f.seek(0)
    wrapped = environ["wsgi.file_wrapper"](f)
    f.seek(6)
    start_response("200 OK", [])
    return wrapped
"#;
    let outcome = Case::new().run(source);
    assert!(outcome.told.contains(&Told::File { data: "6789".to_owned() }), "{:?}", outcome.told);
}

#[test]
fn write_and_start_response_work_while_the_iterable_runs() {
    let source = r#"
class Response:
    def __init__(self, start_response): self.start_response = start_response
    def __iter__(self): return self
    def __next__(self):
        if self.start_response is None: raise StopIteration
        self.start_response("201 Created", [])
        self.start_response = None
        return b"late"
def application(environ, start_response):
    return Response(start_response)
"#;
    let outcome = Case::new().run(source);
    assert_eq!(outcome.told[0], Told::Start { status: 201, body_length: None });
    assert_eq!(outcome.complete(), "late");
}
