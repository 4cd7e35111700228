//! `wsgi.input` over each kind of body.

use std::io::{self, Seek, Write};

use crate::app::BodyStream;

use super::{Body, Bytes, Case};

/// A stream that arrives in given pieces; then ends or fails.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: Vec<Bytes>,
    failure: Option<io::ErrorKind>,
}

impl Pieces {
    pub(super) fn new(pieces: &[&'static [u8]]) -> Self {
        Self { pieces: pieces.iter().rev().map(|piece| Bytes::from_static(piece)).collect(), failure: None }
    }
}

impl BodyStream for Pieces {
    fn read(&mut self, bytes_max: usize) -> io::Result<Bytes> {
        let Some(mut piece) = self.pieces.pop() else {
            return self.failure.map_or(Ok(Bytes::new()), |kind| Err(kind.into()));
        };
        let read = piece.split_to(bytes_max.min(piece.len()));
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
        Ok(read)
    }
}

/// The same ten bytes as each kind of body.
fn bodies() -> Vec<(&'static str, Body)> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"ab\ncdef\n\ng, and more that is not the body's").unwrap();
    file.rewind().unwrap();
    vec![
        ("memory", Body::Memory(Bytes::from_static(b"ab\ncdef\n\ng"))),
        ("spooled", Body::Spooled { file, length: 10 }),
        ("stream", Body::Stream(Box::new(Pieces::new(&[b"a", b"b\ncd", b"ef\n\n", b"g"])))),
    ]
}

fn reading(body: Body, expression: &str) -> String {
    let mut case = Case::new().head("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10");
    case.body = body;
    let source = format!(
        "def application(environ, start_response):\n    body = environ['wsgi.input']\n    \
         start_response('200 OK', [])\n    return [repr({expression}).encode()]\n"
    );
    case.run(&source).complete()
}

#[test]
fn reads_of_every_kind() {
    for (expression, expected) in [
        ("body.read()", r"b'ab\ncdef\n\ng'"),
        ("body.read(-1)", r"b'ab\ncdef\n\ng'"),
        ("body.read(None)", r"b'ab\ncdef\n\ng'"),
        ("(body.read(3), body.read(), body.read(), body.read(5))", r"(b'ab\n', b'cdef\n\ng', b'', b'')"),
        ("(body.read(0), body.read(9), body.read(9), body.read(9))", r"(b'', b'ab\ncdef\n\n', b'g', b'')"),
        ("(body.readline(), body.readline(), body.readline())", r"(b'ab\n', b'cdef\n', b'\n')"),
        ("(body.readline(2), body.readline(2), body.readline(3))", r"(b'ab', b'\n', b'cde')"),
        ("(body.readline(0), body.readline(-1), body.readline(None))", r"(b'', b'ab\n', b'cdef\n')"),
        ("(body.readline(4), body.read(2), body.readline())", r"(b'ab\n', b'cd', b'ef\n')"),
        ("list(body)", r"[b'ab\n', b'cdef\n', b'\n', b'g']"),
        ("(next(body), body.read(1), list(body))", r"(b'ab\n', b'c', [b'def\n', b'\n', b'g'])"),
        ("body.readlines()", r"[b'ab\n', b'cdef\n', b'\n', b'g']"),
        (
            "(body.readlines(4), body.readlines(1), body.readlines())",
            r"([b'ab\n', b'cdef\n'], [b'\n'], [b'g'])",
        ),
        ("(body.readlines(0), body.readlines())", r"([b'ab\n', b'cdef\n', b'\n', b'g'], [])"),
    ] {
        for (kind, body) in bodies() {
            assert_eq!(reading(body, expression), expected, "{kind}: {expression}");
        }
    }
}

#[test]
fn a_long_line_in_many_pieces() {
    let piece: &'static [u8] = &[b'x'; 1000];
    let pieces = vec![piece; 300];
    let body = Body::Stream(Box::new(Pieces::new(&pieces)));
    assert_eq!(
        reading(body, "(len(body.readline(250000)), len(body.readline()), body.read())"),
        "(250000, 50000, b'')"
    );
}

#[test]
fn failures_are_exceptions_that_say_whose_fault_it_was() {
    for (kind, name) in [
        (io::ErrorKind::UnexpectedEof, "ConnectionResetError"),
        (io::ErrorKind::TimedOut, "TimeoutError"),
        (io::ErrorKind::InvalidData, "OSError"),
    ] {
        let mut case = Case::new().head("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10");
        case.body =
            Body::Stream(Box::new(Pieces { pieces: vec![Bytes::from_static(b"abc")], failure: Some(kind) }));
        let source = r#"
def application(environ, start_response):
    start_response("200 OK", [])
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        return [type(error).__name__.encode()]
"#;
        assert_eq!(case.run(source).complete(), name);
    }
}

#[test]
fn a_client_that_went_away_while_sending_is_no_error_of_the_application() {
    for (disconnected, level) in [(true, "DEBUG"), (false, "ERROR")] {
        let mut case = Case::new().head("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10");
        let failure = Some(io::ErrorKind::UnexpectedEof);
        case.body = Body::Stream(Box::new(Pieces { pieces: Vec::new(), failure }));
        case.disconnected = disconnected;
        let outcome =
            case.run("def application(environ, start_response):\n    environ['wsgi.input'].read()\n");
        assert!(outcome.failure().starts_with(level), "{:?}", outcome.logged);
    }
}

#[test]
fn nothing_can_be_read_after_the_response() {
    let source = r#"
kept = []
def application(environ, start_response):
    kept.append(environ["wsgi.input"])
    start_response("200 OK", [])
    return [repr(kept[0].read()).encode()] if len(kept) > 1 else [b"unread"]
"#;
    super::start_interpreter();
    let shared = super::application(source, &Case::new());
    assert_eq!(Case::new().body(b"first").run_on(&shared).complete(), "unread");
    assert_eq!(Case::new().body(b"second").run_on(&shared).complete(), "b''");
}
