//! Each mistake of an application and the sentence that it is told.

use super::{Case, Told};

/// The record of an application that returns `result` after a correct `start_response`.
fn returning(result: &str) -> String {
    let source = format!(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return {result}\n"
    );
    let outcome = Case::new().run(&source);
    assert_eq!(outcome.told.last(), Some(&Told::Abort), "{result}");
    outcome.failure()
}

#[test]
fn what_is_returned_must_be_an_iterable_of_bytes() {
    for (result, sentence) in [
        ("None", "the application returned None: did it forget \"return\"?"),
        ("'text'", "the application returned str, not a list of bytes: return [text.encode()]"),
        ("b'data'", "the application returned bytes, not a list of bytes: return [data]"),
        ("bytearray(b'x')", "the application returned bytearray, not a list of bytes: return [bytes(data)]"),
        ("7", "the application returned int, which is not iterable: return a list of bytes"),
        ("['text']", "a block of the response is str, not bytes: encode it with text.encode()"),
        ("iter(['text'])", "a block of the response is str, not bytes: encode it with text.encode()"),
        ("iter([''])", "a block of the response is str, not bytes: encode it with text.encode()"),
        ("{'key': 1}", "a block of the response is str, not bytes: encode it with text.encode()"),
        (
            "[b'x', bytearray(b'y')]",
            "a block of the response is bytearray, not bytes: convert it with bytes(block)",
        ),
        ("[None]", "a block of the response is NoneType, not bytes: every block must be bytes"),
    ] {
        assert_eq!(returning(result), format!("ERROR GET /hello: {sentence}"), "{result}");
    }
}

#[test]
fn a_coroutine_is_named() {
    let outcome = Case::new().run(
        "import warnings\nwarnings.simplefilter('ignore')\n\
         async def application(environ, start_response):\n    return [b'x']\n",
    );
    assert!(outcome.failure().contains("it is an async function"), "{:?}", outcome.logged);
}

#[test]
fn start_response_must_be_called() {
    let sentence = "ERROR GET /hello: the application did not call start_response: call \
                    start_response(status, headers) before the first block of the response";
    for result in ["[b'x']", "[]", "iter([b'x'])", "iter([])"] {
        let source = format!("def application(environ, start_response):\n    return {result}\n");
        assert_eq!(Case::new().run(&source).failure(), sentence, "{result}");
    }
}

/// The exception that a call of `start_response` raises, as `Type: sentence`.
fn starting(arguments: &str) -> String {
    let source = format!(
        r#"
import sys
def application(environ, start_response):
    try:
        start_response({arguments})
    except Exception as error:
        start_response("200 OK", [], sys.exc_info())
        return [f"{{type(error).__name__}}: {{error}}".encode()]
    raise RuntimeError("accepted")
"#
    );
    Case::new().run(&source).complete()
}

#[test]
fn arguments_of_start_response_are_checked() {
    for (arguments, sentence) in [
        ("200, []", "TypeError: status must be a str such as \"200 OK\", not int 200"),
        ("b'200 OK', []", "TypeError: status must be a str such as \"200 OK\", not bytes b'200 OK'"),
        (
            "'200 OK', ()",
            "TypeError: headers must be a list of tuples (str, str), not tuple: write [(name, value), ...]",
        ),
        (
            "'200 OK', {}",
            "TypeError: headers must be a list of tuples (str, str), not dict: write [(name, value), ...]",
        ),
        ("'200 OK', [['A', 'b']]", "TypeError: header 0 must be a tuple (str, str), not list"),
        (
            "'200 OK', [('A', 'b'), ('A',)]",
            "TypeError: header 1 must be a tuple (str, str), not a tuple of 1",
        ),
        (
            "'200 OK', [('A', 1)]",
            "TypeError: header 0 must be a tuple (str, str), but its value is int: use str(...)",
        ),
        (
            "'200 OK', [(b'A', 'b')]",
            "TypeError: header 0 must be a tuple (str, str), but its name is bytes: decode it with .decode(\"latin-1\")",
        ),
        (
            "'200 OK', [('A', '\\u20ac')]",
            "ValueError: the value of header 0 has a character outside latin-1: encode it, for example with urllib.parse.quote",
        ),
        ("'200 OK', [], 1", "TypeError: exc_info must be the tuple from sys.exc_info(), not int"),
    ] {
        assert_eq!(starting(arguments), sentence, "{arguments}");
    }
}

#[test]
fn fields_refused_by_http_raise_value_error() {
    for arguments in [
        "'OK', []",
        "'200', []",
        "'100 Continue', []",
        "'200 OK\\r\\nX: y', []",
        "'200 OK', [('A b', 'c')]",
        "'200 OK', [('A', 'b\\r\\nC: d')]",
        "'200 OK', [('A', 'b\\0')]",
        "'200 OK', [('Connection', 'close')]",
        "'200 OK', [('Transfer-Encoding', 'chunked')]",
        "'200 OK', [('Content-Length', '-1')]",
    ] {
        let raised = starting(arguments);
        assert!(raised.starts_with("ValueError: "), "{arguments}: {raised}");
    }
}

#[test]
fn a_second_start_response_needs_exc_info() {
    let outcome = Case::new().run(
        r#"
def application(environ, start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])
    return []
"#,
    );
    let record = outcome.failure();
    assert!(
        record.contains("raised AssertionError: start_response was called twice: call it once"),
        "{record}"
    );
}

#[test]
fn write_takes_bytes_only() {
    let outcome = Case::new().run(
        "def application(environ, start_response):\n    start_response('200 OK', [])('text')\n    return []\n",
    );
    let record = outcome.failure();
    assert!(record.contains("raised TypeError: a block of the response is str, not bytes"), "{record}");
}

#[test]
fn a_mistake_after_the_head_says_that_the_response_was_cut() {
    let outcome = Case::new().run(
        r#"
def application(environ, start_response):
    start_response("200 OK", [])
    yield b"x"
    yield "y"
"#,
    );
    assert_eq!(
        outcome.failure(),
        "ERROR GET /hello: a block of the response is str, not bytes: encode it with text.encode() (the response was cut)"
    );
}
