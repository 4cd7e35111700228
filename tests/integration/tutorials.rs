//! The applications that every WSGI tutorial shows, plain and under wsgiref's validator, and the mistakes that
//! their readers make.

use crate::harness::{Builder, Server};

#[track_caller]
fn body_of(target: &str, path: &str) -> String {
    let server = Builder::new(target).start();
    let mut client = server.connect();
    let first = client.get(path).expect(200).text();
    let second = client.get(path).expect(200).text();
    assert_eq!(first, second, "the second answer of the same connection");
    let log = server.log();
    assert!(
        !log.contains("Traceback") && !log.contains("WARN"),
        "{target} should run without complaints:\n{log}"
    );
    first
}

#[test]
fn function_that_returns_a_list() {
    assert_eq!(body_of("function", "/"), "Hello, World!\n");
    assert_eq!(body_of("validated_function", "/"), "Hello, World!\n");
}

#[test]
fn class_with_iter() {
    assert_eq!(body_of("class_iter", "/"), "Hello from a class\n");
    assert_eq!(body_of("validated_class_iter", "/"), "Hello from a class\n");
}

#[test]
fn generator() {
    assert_eq!(body_of("generator", "/"), "Hello from a generator\n");
    assert_eq!(body_of("validated_generator", "/"), "Hello from a generator\n");
}

#[test]
fn greeting_by_path() {
    assert_eq!(body_of("greet", "/Ada"), "Hello, Ada!\n");
    // PATH_INFO carries the bytes of the path as latin-1 (PEP 3333, "Unicode Issues").
    assert_eq!(body_of("greet", "/Zo%C3%AB"), "Hello, Zoë!\n");
    assert_eq!(body_of("validated_greet", "/Ada"), "Hello, Ada!\n");
}

#[test]
fn demo_app_of_wsgiref() {
    for target in ["demo_app", "validated_demo_app"] {
        let server = Builder::new(target).start();
        let text = server.get("/x?y=1").expect(200).text();
        for line in ["Hello world!", "PATH_INFO = '/x'", "QUERY_STRING = 'y=1'", "REQUEST_METHOD = 'GET'"] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}

#[test]
fn validator_accepts_every_kind_of_request() {
    let server = Builder::new("validated_function").start();
    let mut client = server.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").response_to_head().expect(200);
    client
        .send(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc",
        )
        .response()
        .expect(200);
    let log = server.log();
    assert!(!log.contains("AssertionError"), "{log}");
}

/// A mistake gives a 500 without details for the visitor, one sentence in the log, and harms nothing else.
#[track_caller]
fn expect_mistake(target: &str, sentence: &str) -> Server {
    let server = Builder::new(target).start();
    let response = server.get("/").expect(500);
    assert_eq!(response.reason, "Internal Server Error");
    assert!(!response.text().contains(sentence), "the visitor needs no details: {}", response.text());
    server.wait_for(sentence);
    server.get("/").expect(500);
    // A traceback repeats the sentence; the request is named once a record.
    server.wait_for_nth("GET /: ", 2);
    let records =
        server.log().lines().filter(|line| line.contains("ERROR") && line.contains(sentence)).count();
    assert_eq!(records, 2, "one record for each request:\n{}", server.log());
    server
}

#[test]
fn mistake_str_returned() {
    let sentence = "the application returned str, not a list of bytes: return [text.encode()]";
    expect_mistake("returns_str", sentence);
}

#[test]
fn mistake_list_of_str_returned() {
    let sentence = "a block of the response is str, not bytes: encode it with text.encode()";
    expect_mistake("returns_list_of_str", sentence);
}

#[test]
fn mistake_none_returned() {
    expect_mistake("returns_none", "the application returned None: did it forget \"return\"?");
}

#[test]
fn mistake_no_start_response() {
    let sentence = "the application did not call start_response: call start_response(status, headers) before the \
                    first block of the response";
    expect_mistake("no_start_response", sentence);
}

#[test]
fn mistake_start_response_twice() {
    let sentence = "start_response was called twice: call it once, or pass exc_info to replace the response with an \
                    error page";
    expect_mistake("start_response_twice", sentence);
}

#[test]
fn mistake_header_that_is_no_tuple() {
    expect_mistake("header_no_tuple", "must be a tuple (str, str), not str");
}

#[test]
fn mistake_header_value_that_is_no_str() {
    expect_mistake("header_value_int", "must be a tuple (str, str), but its value is int: use str(...)");
}

#[test]
fn mistake_status_that_is_a_number() {
    expect_mistake("int_status", "status must be a str such as \"200 OK\", not int 200");
}

#[test]
fn mistake_header_with_a_line_break() {
    let server = Builder::new("header_with_newline").start();
    let response = server.get("/").expect(500);
    assert!(response.headers("set-cookie").is_empty(), "a header was smuggled in");
    server.wait_for("X-Name");
}

#[test]
fn mistake_hop_by_hop_header() {
    let server = Builder::new("header_hop_by_hop").start();
    server.get("/").expect(500);
    server.wait_for("Connection");
}

#[test]
fn exception_gives_500_and_a_traceback() {
    let server = Builder::new("raises").start();
    let response = server.get("/shelf?token=1").expect(500);
    assert!(!response.text().contains("LookupError"));
    server.wait_for("LookupError: the shelf is empty");
    server.wait_for("in application");
    server.wait_for("GET /shelf");
}
