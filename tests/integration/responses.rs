//! Responses as PEP 3333 wants them on the wire.

use std::fs;

use serde_json::json;

use crate::harness::Builder;

#[test]
fn blocks_are_not_delayed() {
    let server = Builder::new("streaming").start();
    let gate = server.path("gate");
    let mut client = server.connect();
    client.send(format!("GET /?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", gate.display()));
    assert_eq!(client.line().unwrap(), "HTTP/1.1 200 OK");
    while !client.line().unwrap().is_empty() {}
    assert_eq!(client.line().unwrap(), "4");
    assert_eq!(client.take(6).unwrap(), b"one\n\r\n");
    fs::write(gate, "").unwrap();
    let rest = {
        client.send("GET /?/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        String::from_utf8(client.read_to_end().unwrap()).unwrap()
    };
    assert!(rest.starts_with("4\r\ntwo\n\r\n6\r\nthree\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"), "{rest}");
}

#[test]
fn http_1_0_gets_a_stream_that_ends_with_the_connection() {
    let server = Builder::new("generator").start();
    let mut client = server.connect();
    let response = client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").response().expect(200);
    assert_eq!(response.header("transfer-encoding"), None);
    assert_eq!(response.text(), "Hello from a generator\n");
    client.expect_end();
}

#[test]
fn list_of_one_block_gets_a_content_length() {
    let server = Builder::new("function").start();
    let response = server.get("/");
    assert_eq!(response.header("content-length"), Some("14"));
    assert_eq!(response.header("transfer-encoding"), None);
    assert_eq!(response.header("server"), Some("rwsgi"));
    assert!(response.header("date").unwrap().ends_with(" GMT"));
}

#[test]
fn server_header_can_be_left_out() {
    let server = Builder::new("function").with("http.server_header", "\"\"").start();
    assert_eq!(server.get("/").header("server"), None);
}

#[test]
fn body_past_its_length_is_cut_and_logged() {
    let server = Builder::new("body_too_long").start();
    let mut client = server.connect();
    assert_eq!(client.get("/").expect(200).text(), "12345");
    server.wait_for("Content-Length");
    drop(client);
    assert_eq!(server.get("/").expect(200).text(), "12345");
}

#[test]
fn body_short_of_its_length_closes_the_connection() {
    let server = Builder::new("body_too_short").start();
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let error = client.read_response(false).unwrap_err();
    assert_eq!(error, "the connection ends after 5 of 10 bytes");
    server.wait_for("Content-Length");
}

#[test]
fn error_in_mid_stream_shows_as_truncation() {
    let server = Builder::new("raises_mid_stream").start();
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let error = client.read_response(false).unwrap_err();
    assert!(error.starts_with("the connection ends"), "{error}");
    server.wait_for("LookupError: the second block is missing");
}

#[test]
fn close_is_called_once_however_the_response_ends() {
    let server = Builder::new("close_called").start();
    assert_eq!(server.get("/").expect(200).text(), "body\n");
    server.wait_for_nth("close() call 1", 1);
    server.connect().send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").response_to_head().expect(200);
    server.wait_for_nth("close() call 1", 2);
    let mut client = server.connect();
    client.send("GET /raise HTTP/1.1\r\nHost: localhost\r\n\r\n").read_response(false).unwrap_err();
    server.wait_for_nth("close() call 1", 3);
    assert!(!server.log().contains("close() call 2"), "{}", server.log());
}

#[test]
fn write_callable() {
    let server = Builder::new("write_callable").start();
    assert_eq!(server.get("/").expect(200).text(), "written and returned\n");
}

#[test]
fn exc_info_replaces_a_response_that_was_not_sent() {
    let server = Builder::new("exc_info").start();
    let response = server.get("/early").expect(503);
    assert_eq!(response.header("content-type"), Some("text/html"));
    assert_eq!(response.text(), "<h1>sorry</h1>");
}

#[test]
fn exc_info_aborts_a_response_that_was_sent() {
    let server = Builder::new("exc_info").start();
    let mut client = server.connect();
    client.send("GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n").read_response(false).unwrap_err();
    server.wait_for("LookupError: the shelf is empty");
}

#[test]
fn no_body_with_204_and_304() {
    let server = Builder::new("no_content").start();
    let mut client = server.connect();
    for status in [204, 304] {
        let response = client.get(&format!("/{status}")).expect(status);
        assert_eq!(response.header("transfer-encoding"), None);
    }
    assert_eq!(client.get("/404").expect(404).text(), "this body must not be sent with 204 and 304");
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let server = Builder::new("function").start();
    let mut client = server.connect();
    let head = client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").response_to_head().expect(200);
    assert_eq!(head.header("content-length"), Some("14"));
    assert_eq!(client.get("/").expect(200).text(), "Hello, World!\n");
}

#[test]
fn repeated_headers_stay_apart() {
    let server = Builder::new("cookies").start();
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nCookie: x=1\r\nCookie: y=2\r\n\r\n";
    let response = server.connect().send(request).response().expect(200);
    assert_eq!(response.headers("set-cookie"), ["a=1", "b=2; Path=/"]);
    assert_eq!(response.text(), "x=1; y=2");
}

/// The body that tests/apps/big.py makes.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at / 1000 % 251).unwrap()).collect()
}

#[test]
fn large_responses_arrive_whole() {
    let server = Builder::new("big").start();
    let mut client = server.connect();
    for path in ["/list", "/blocks"] {
        for size in [0, 1, 65_536, 20_000_003] {
            let body = client.get(&format!("{path}?{size}")).expect(200).body;
            assert!(body == pattern(size), "{path} of {size} bytes is damaged: {} bytes came", body.len());
        }
    }
}

#[test]
fn files_by_file_wrapper() {
    let server = Builder::new("file_wrapper").start();
    let file = server.path("file");
    let content = pattern(3_000_001);
    fs::write(&file, &content).unwrap();
    let mut client = server.connect();
    for path in ["/", "/length", "/stringio"] {
        let body = client.get(&format!("{path}?{}", file.display())).expect(200).body;
        assert!(body == content, "{path}: {} of {} bytes", body.len(), content.len());
    }
    let body = client.get(&format!("/rest?{}", file.display())).expect(200).body;
    assert!(body == content[1000..], "from the file's position: {} bytes", body.len());
    server.wait_for("the file-like object was closed");
    fs::write(&file, "").unwrap();
    assert!(client.get(&format!("/?{}", file.display())).expect(200).body.is_empty());
}

#[test]
fn streams_of_errors_reach_the_log_with_the_request_id() {
    let server = Builder::new("errors_stream").start();
    let id = server.get("/").expect(200).text();
    assert_eq!(id.len(), 32, "{id}");
    for text in ["by write", "by writelines", "by print"] {
        let line = server.wait_for(text);
        assert!(line.contains(&id), "{line} names the request {id}");
    }
    server.wait_for("WARNING by logging: careful");
    server.wait_for("by sys.stderr");
}

#[test]
fn input_is_a_file_that_ends_with_the_body() {
    let server = Builder::new("input_methods").start();
    let body = "abcdef\nghij\nk\nl\nm";
    let request =
        format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}GET", body.len());
    let answer = server.connect().send(request).response().expect(200).json();
    let wanted = json!({
        "read(0)": "", "read(3)": "abc", "readline()": "def\n", "readline(2)": "gh", "next": "ij\n",
        "readlines": ["k\n", "l\n", "m"], "read() at the end": "", "readline() at the end": "",
    });
    assert_eq!(answer, wanted);
}
