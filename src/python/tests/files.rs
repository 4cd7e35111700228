//! `wsgi.file_wrapper`: real files by `sendfile`, anything else by iteration.

use super::{Case, Told};

/// The answer of an application whose response wraps `open_file`, with extra headers.
fn wrapping(setup: &str, headers: &str) -> Vec<Told> {
    let source = format!(
        r#"
import gzip, io, tempfile
def real(content):
    f = tempfile.TemporaryFile()
    f.write(content)
    f.seek(0)
    return f
class Closing:
    def __init__(self, f, environ): self.f, self.environ = f, environ
    def read(self, size): return self.f.read(size)
    def close(self): self.environ["wsgi.errors"].write("closed\n")
def application(environ, start_response):
    {setup}
    start_response("200 OK", [{headers}])
    return environ["wsgi.file_wrapper"](f, 4)
"#
    );
    let outcome = Case::new().run(&source);
    outcome.complete();
    outcome.told
}

fn file(body_length: u64, data: &str) -> Vec<Told> {
    vec![
        Told::Start { status: 200, body_length: Some(body_length) },
        Told::File { data: data.to_owned() },
        Told::Finish,
    ]
}

#[test]
fn a_real_file_is_sent_from_its_position() {
    assert_eq!(wrapping("f = real(b'0123456789')", ""), file(10, "0123456789"));
    assert_eq!(wrapping("f = real(b'0123456789'); f.read(3)", ""), file(7, "3456789"));
    assert_eq!(wrapping("f = tempfile.NamedTemporaryFile(); f.write(b'abc'); f.seek(1)", ""), file(2, "bc"));
}

#[test]
fn content_length_bounds_a_file() {
    assert_eq!(wrapping("f = real(b'0123456789')", "('Content-Length', '4')"), file(10, "0123"));
    assert_eq!(wrapping("f = real(b'0123')", "('Content-Length', '9')"), file(4, "0123"));
}

#[test]
fn an_empty_file_has_length_zero() {
    let expected = [Told::Start { status: 200, body_length: Some(0) }, Told::Finish];
    assert_eq!(wrapping("f = real(b'')", ""), expected);
    assert_eq!(wrapping("f = real(b'abc'); f.seek(9)", ""), expected);
}

#[test]
fn what_is_no_real_file_is_iterated_over() {
    let blocks = |blocks: &[&str]| {
        let mut told = vec![Told::Start { status: 200, body_length: None }];
        told.extend(blocks.iter().map(|data| Told::Send { data: (*data).to_owned(), more: false }));
        told.push(Told::Finish);
        told
    };
    assert_eq!(wrapping("f = io.BytesIO(b'0123456789')", ""), blocks(&["0123", "4567", "89"]));
    // Its descriptor has the compressed bytes.
    let gzip = "r = real(gzip.compress(b'plain')); f = gzip.GzipFile(fileobj=r)";
    assert_eq!(wrapping(gzip, ""), blocks(&["plai", "n"]));
}

#[test]
fn closing_reaches_the_file() {
    let outcome = Case::new().run(
        r#"
class F:
    def __init__(self, errors): self.errors, self.left = errors, [b"x", b""]
    def read(self, size): return self.left.pop(0)
    def close(self): self.errors.write("closed\n")
def application(environ, start_response):
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](F(environ["wsgi.errors"]))
"#,
    );
    assert_eq!(outcome.complete(), "x");
    assert_eq!(outcome.logged, ["ERROR closed"]);
}
