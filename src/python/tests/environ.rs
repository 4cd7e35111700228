//! The environ dictionary.

use super::{Address, Body, Bytes, Case, Outcome, Scheme};

/// Answers with `KEY=repr(value)` lines of the keys asked for, under the validator.
fn application(keys: &str) -> String {
    format!(
        r#"
from wsgiref.validate import validator
@validator
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["\n".join(repr(environ.get(key)) for key in {keys:?}.split()).encode()]
"#
    )
}

fn values(case: Case, keys: &str) -> Vec<String> {
    let outcome: Outcome = case.run(&application(keys));
    outcome.complete().lines().map(|line| line.trim_matches('\'').to_owned()).collect()
}

#[test]
fn the_request_line() {
    let case = Case::new().head("GET /a%20b/%c3%a9?x=%201 HTTP/1.1\r\nHost: example.org");
    let keys = "REQUEST_METHOD SCRIPT_NAME PATH_INFO QUERY_STRING RAW_URI REQUEST_URI SERVER_PROTOCOL";
    let expected =
        ["GET", "", "/a b/Ã©", "x=%201", "/a%20b/%c3%a9?x=%201", "/a%20b/%c3%a9?x=%201", "HTTP/1.1"];
    assert_eq!(values(case, keys), expected);
}

#[test]
fn the_ends_of_a_tcp_connection() {
    let keys = "SERVER_NAME SERVER_PORT REMOTE_ADDR REMOTE_PORT wsgi.url_scheme";
    assert_eq!(values(Case::new(), keys), ["127.0.0.1", "8000", "192.0.2.7", "51000", "http"]);

    let mut v6 = Case::new();
    v6.local = Address::Tcp("[::1]:81".parse().unwrap());
    v6.peer = Address::Tcp("[::ffff:192.0.2.9]:5".parse().unwrap());
    assert_eq!(values(v6, keys), ["[::1]", "81", "192.0.2.9", "5", "http"]);
}

#[test]
fn the_ends_of_a_unix_socket() {
    let keys = "SERVER_NAME SERVER_PORT REMOTE_ADDR REMOTE_PORT";
    let unix = |head: &str| {
        let mut case = Case::new().head(head);
        case.local = Address::Unix(None);
        case.peer = Address::Unix(None);
        case
    };
    let named = unix("GET / HTTP/1.1\r\nHost: example.org:8080");
    assert_eq!(values(named, keys), ["example.org", "8080", "", "None"]);
    let mut https = unix("GET / HTTP/1.1\r\nHost: example.org");
    https.origin.scheme = Scheme::Https;
    assert_eq!(values(https, keys), ["example.org", "443", "", "None"]);
    assert_eq!(values(unix("GET / HTTP/1.0"), keys), ["localhost", "80", "", "None"]);
}

#[test]
fn what_a_trusted_proxy_named() {
    let mut case = Case::new().head("GET /app/x HTTP/1.1\r\nHost: inner");
    case.mount = "/app";
    case.origin.client = Some("2001:db8::1".parse().unwrap());
    case.origin.host = Some("outer.example".to_owned());
    case.origin.port = Some(444);
    case.origin.prefix = Some("/pre%20fix/".to_owned());
    let keys = "REMOTE_ADDR REMOTE_PORT HTTP_HOST SERVER_PORT SCRIPT_NAME PATH_INFO";
    assert_eq!(values(case, keys), ["2001:db8::1", "None", "outer.example", "444", "/pre fix/app", "/x"]);
}

#[test]
fn the_mount() {
    let mut case = Case::new().head("GET /app HTTP/1.1\r\nHost: a");
    case.mount = "/app";
    assert_eq!(values(case, "SCRIPT_NAME PATH_INFO"), ["/app", ""]);
}

#[test]
fn the_asterisk_and_absolute_forms() {
    let asterisk = Case::new().head("OPTIONS * HTTP/1.1\r\nHost: a");
    assert_eq!(values(asterisk, "SCRIPT_NAME PATH_INFO RAW_URI"), ["", "", "*"]);
    let absolute = Case::new().head("GET http://real.example?q HTTP/1.1\r\nHost: real.example");
    assert_eq!(values(absolute, "PATH_INFO QUERY_STRING HTTP_HOST"), ["/", "q", "real.example"]);
}

#[test]
fn header_fields() {
    let case = Case::new().head(
        "GET / HTTP/1.1\r\nHost: example.org\r\nX-A: 1\r\nCookie: a=1\r\nx-a: 2\r\nContent-Type: text/x\r\n\
         cookie: b=2\r\nX-Latin: \u{e9}",
    );
    let keys = "HTTP_HOST HTTP_X_A HTTP_COOKIE CONTENT_TYPE HTTP_CONTENT_TYPE CONTENT_LENGTH HTTP_X_LATIN";
    assert_eq!(values(case, keys), ["example.org", "1,2", "a=1; b=2", "text/x", "None", "None", "é"]);
}

#[test]
fn the_length_of_the_body() {
    let keys = "CONTENT_LENGTH HTTP_CONTENT_LENGTH HTTP_TRANSFER_ENCODING";
    assert_eq!(values(Case::new().body(b"12345"), keys), ["5", "None", "None"]);

    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked";
    let mut complete = Case::new().head(chunked);
    complete.body = Body::Memory(Bytes::from_static(b"1234567"));
    assert_eq!(values(complete, keys), ["7", "None", "None"]);

    let mut streamed = Case::new().head(chunked);
    streamed.body = Body::Stream(Box::new(super::input::Pieces::new(&[])));
    assert_eq!(values(streamed, keys), ["None", "None", "chunked"]);
}

#[test]
fn the_rest_of_wsgi() {
    let mut case = Case::new();
    let id = case.id.clone();
    case.threads = 4;
    let keys = "wsgi.version wsgi.multithread wsgi.multiprocess wsgi.run_once wsgi.input_terminated \
                rwsgi.request_id SERVER_SOFTWARE";
    let software = concat!("rwsgi/", env!("CARGO_PKG_VERSION"));
    assert_eq!(values(case, keys), ["(1, 0)", "True", "True", "False", "True", &id, software]);
}

#[test]
fn the_client_can_be_asked_after() {
    for (disconnected, told) in [(false, "False"), (true, "True")] {
        let mut case = Case::new();
        case.disconnected = disconnected;
        let outcome = case.run(
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    \
             return [str(environ['rwsgi.client_disconnected']()).encode()]\n",
        );
        assert_eq!(outcome.complete(), told);
    }
}

#[test]
fn requests_do_not_share_an_environ() {
    let source = "def application(environ, start_response):\n    assert 'mine' not in environ\n    \
                  environ['mine'] = 1\n    start_response('200 OK', [])\n    return []\n";
    super::start_interpreter();
    let shared = super::application(source, &Case::new());
    Case::new().run_on(&shared).complete();
    Case::new().run_on(&shared).complete();
}
