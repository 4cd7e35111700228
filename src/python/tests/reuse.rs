//! What a thread keeps from one request to the next does not show in the next.

use std::time::Duration;

use crate::app::{Address, Scheme};

use super::{Case, run_in_turn};

/// Answers with everything in its environ that is not its alone, and empties it as often as this says.
fn echo(empties: &str) -> String {
    ECHO.replace("EMPTIES", empties)
}

const ECHO: &str = r#"
import itertools
count = itertools.count(1)
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    other = ("wsgi.input", "wsgi.errors", "rwsgi.client_disconnected", "rwsgi.request_id")
    shown = sorted((key, value) for key, value in environ.items() if key not in other)
    if EMPTIES:
        environ.clear()
    return [repr(shown).encode("latin-1")]
"#;

/// A request of some kind; all kinds that templates, targets, ends and fields tell apart.
fn case(kind: usize) -> Case {
    let heads = [
        "GET /a HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 1\r\nCookie: b=1\r\ncookie: b=1",
        "POST /a?b HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 1\r\nCookie: b=1\r\ncookie: b=1",
        "GET /%61 HTTP/1.0\r\nHost: a",
        "GET http://c/a HTTP/1.1\r\nHost: a",
        "OPTIONS * HTTP/1.1\r\nHost: a",
        "GET /a HTTP/1.1\r\nHost: b\r\nX-A: 2",
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked",
        "TRACE /a HTTP/1.1\r\nHost: a\r\nX-Latin: \u{e9}",
    ];
    let mut case = Case::new().head(heads[kind % heads.len()]);
    match kind / heads.len() {
        0 => {}
        1 => case.origin.scheme = Scheme::Https,
        2 => case.peer = Address::Unix(None),
        3 => case.local = Address::Unix(None),
        4 => case.origin.client = Some("2001:db8::1".parse().unwrap()),
        5 => case.origin.host = Some("outer.example".to_owned()),
        6 => case.origin.port = Some(444),
        7 => case.origin.prefix = Some("/pre".to_owned()),
        8 => case.peer = Address::Tcp("192.0.2.8:51128".parse().unwrap()),
        9 => case.deadline = Some(Duration::from_secs(1)),
        _ => case.local = Address::Tcp("[::1]:8001".parse().unwrap()),
    }
    case
}

#[test]
fn an_environ_depends_on_no_request_before_it() {
    const KINDS: usize = 88;
    let alone: Vec<String> = (0..KINDS).map(|kind| case(kind).run(&echo("False")).complete()).collect();
    // Each comes again at once, and after others; the steps have no factor in common with the number of kinds.
    let order: Vec<usize> =
        [1, 3, 27].iter().flat_map(|step| (0..4 * KINDS).map(move |n| (n / 4 * step) % KINDS)).collect();
    for empties in ["True", "False", "next(count) % 3 == 0"] {
        let outcomes = run_in_turn(&echo(empties), order.iter().map(|kind| case(*kind)).collect());
        for (kind, outcome) in order.iter().zip(&outcomes) {
            assert_eq!(outcome.complete(), alone[*kind], "kind {kind} {empties}");
        }
    }
}

#[test]
fn more_headers_and_targets_than_are_remembered() {
    let request = |n: usize| {
        let n = n % 700;
        Case::new().head(&format!("GET /{n} HTTP/1.1\r\nHost: a\r\nX-{n}: {n}\r\nX-Same: {n}\r\nx-{n}: b"))
    };
    let source = r#"
def application(environ, start_response):
    start_response("200 OK", [])
    n = environ["PATH_INFO"][1:]
    assert environ["HTTP_X_" + n] == n + ",b", environ
    return [environ["HTTP_X_SAME"].encode()]
"#;
    let outcomes = run_in_turn(source, (0..1400).map(request).collect());
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.complete(), (n % 700).to_string());
    }
}

#[test]
fn no_change_of_an_environ_shows_in_the_next() {
    let source = r#"
own = ("wsgi.input", "wsgi.errors", "rwsgi.client_disconnected", "rwsgi.request_id")
changes = [
    lambda environ: environ.update(PATH_INFO="/b"),
    lambda environ: environ.__setitem__("SERVER_NAME", environ["SERVER_NAME"] + "."),
    lambda environ: environ.__setitem__(7, 7),
    lambda environ: environ.__delitem__("QUERY_STRING"),
    lambda environ: environ.pop("HTTP_HOST"),
    lambda environ: environ.popitem(),
    lambda environ: environ.setdefault("x.added", []),
    lambda environ: environ.__ior__({"HTTP_HOST": "b"}),
    lambda environ: environ.__init__(HTTPS="on"),
    lambda environ: environ.clear(),
    lambda environ: environ.pop(environ.__setitem__("x.passing", 1)),
    lambda environ: kept.append((environ, environ.copy())),
]
kept, seen = [], []
def application(environ, start_response):
    start_response("200 OK", [])
    seen.append(sorted(item for item in environ.items() if item[0] not in own))
    assert seen[-1] == seen[0], (seen[-1], seen[0])
    for one, copy in kept:
        assert one is not environ and one == copy, (one, copy)
    if len(seen) % 4 == 0 and changes:
        try: changes.pop(0)(environ)
        except KeyError: pass
    return [environ.get("rwsgi.request_id", "?").encode()]
"#;
    let outcomes = run_in_turn(source, (0..56).map(|_| Case::new()).collect());
    for outcome in &outcomes {
        assert!(outcome.logged.is_empty(), "{:?}", outcome.logged);
    }
    let ids: std::collections::HashSet<_> = outcomes.iter().map(super::Outcome::complete).collect();
    assert_eq!(ids.len(), outcomes.len());
}

#[test]
fn what_an_application_keeps_stays_as_it_was() {
    let source = r#"
kept = []
def application(environ, start_response):
    write = start_response("200 OK", [])
    body = environ["wsgi.input"].read()
    objects = [environ["wsgi.input"], environ["wsgi.errors"], environ["rwsgi.client_disconnected"],
               start_response, write]
    for earlier, gone in kept:
        assert not any(one is other for one, other in zip(earlier, objects))
        assert earlier[0].read() == b"" and earlier[2]() is gone
        earlier[1].write("late\n")
        for late in (lambda: earlier[3]("200 OK", []), lambda: earlier[4](b"x")):
            try: late()
            except RuntimeError as error: assert "the response has ended" in str(error)
            else: raise AssertionError("taken")
    if len(kept) < 2:
        kept.append((objects, environ["rwsgi.client_disconnected"]()))
    return [body]
"#;
    let cases = (0..5).map(|n| {
        let mut case = Case::new().body(n.to_string().as_bytes());
        case.disconnected = n == 0;
        case
    });
    let outcomes = run_in_turn(source, cases.collect());
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.complete(), n.to_string());
    }
    // Of the first two, which were kept: one line for each request after them.
    let lines: Vec<usize> = outcomes.iter().map(|outcome| outcome.logged.len()).collect();
    assert_eq!(lines, [4, 3, 0, 0, 0]);
}

#[test]
fn an_exchange_is_let_go_of_with_its_request_unless_its_client_is_of_interest() {
    let source = r#"
kept = []
def application(environ, start_response):
    start_response("200 OK", [])
    if environ["QUERY_STRING"]:
        kept.append(environ["rwsgi.client_disconnected"])
    return [b"."]
"#;
    let queries = ["", "", "", "keep", "", "keep", "", ""];
    let case = |query: &&str| Case::new().head(&format!("GET /?{query} HTTP/1.1\r\nHost: a"));
    let outcomes = run_in_turn(source, queries.iter().map(case).collect());
    for (outcome, query) in outcomes.iter().zip(queries) {
        assert_eq!((outcome.complete().as_str(), outcome.is_let_go), (".", query.is_empty()), "{query}");
    }
}

#[test]
fn each_response_starts_anew() {
    let source = r#"
pages = iter([
    lambda start: (start("200 OK", [("X", "1")]), [b"a"])[1],
    lambda start: [b"not started"],
    lambda start: (start("201 Created", [("X", "2")]), [b"c"])[1],
    lambda start: (start(status="404 Not Found", headers=[("X", "3")], exc_info=None), [])[1],
    lambda start: start("200 OK", [("X", "4\n")]),
    lambda start: (start("200 OK", headers=[("X", "1")]), [b"f"])[1],
])
def application(environ, start_response):
    return next(pages)(start_response)
"#;
    let outcomes = run_in_turn(source, (0..6).map(|_| Case::new()).collect());
    let fields: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            let head = outcome.head.as_ref();
            head.map(|head| (head.status(), head.field("x").unwrap().to_vec()))
        })
        .collect();
    let field = |status, value: &str| Some((status, value.as_bytes().to_vec()));
    assert_eq!(fields, [field(200, "1"), None, field(201, "2"), field(404, "3"), None, field(200, "1")]);
    assert!(outcomes[1].failure().contains("did not call start_response"));
    assert!(outcomes[4].failure().contains("control character"));
}

#[test]
fn a_list_of_headers_that_changes_is_read_again() {
    let source = r#"
pair = ("X", "1")
headers = [pair]
def application(environ, start_response):
    start_response("200 OK", headers)
    headers.append(("Y", environ["rwsgi.request_id"]))
    if len(headers) > 3:
        headers[:] = [("X", "2")]
    return []
"#;
    let outcomes = run_in_turn(source, (0..6).map(|_| Case::new()).collect());
    let values: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            let head = outcome.head.as_ref().unwrap();
            (head.field("x").unwrap().to_vec(), head.field("y").is_some())
        })
        .collect();
    let value = |x: &str, y| (x.as_bytes().to_vec(), y);
    let expected = [
        value("1", false),
        value("1", true),
        value("1", true),
        value("2", false),
        value("2", true),
        value("2", true),
    ];
    assert_eq!(values, expected);
}

#[test]
fn wrong_arguments_of_start_response_are_told() {
    for (call, told) in [
        ("start_response()", "wants two arguments or three"),
        ("start_response('200 OK')", "wants two arguments or three"),
        ("start_response('200 OK', [], None, 1)", "from 2 to 3 positional arguments but 4 were given"),
        ("start_response('200 OK', [], x=1)", "unexpected keyword argument 'x'"),
        ("start_response('200 OK', [], status='1')", "multiple values for argument 'status'"),
        ("start_response('200 OK', [])()", "exactly one argument"),
    ] {
        let outcome =
            Case::new().run(&format!("def application(environ, start_response):\n    return {call}\n"));
        let record = outcome.failure();
        assert!(record.contains("TypeError") && record.contains(told), "{record}");
    }
}
