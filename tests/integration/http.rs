//! HTTP/1.1 on real connections: what the unit tests of the parser cannot see.

use std::fs;
use std::io::Write;
use std::net::TcpListener;

use crate::harness::Builder;

#[test]
fn keep_alive_and_pipelining() {
    let server = Builder::new("greet").start();
    let mut client = server.connect();
    for name in ["a", "b"] {
        assert_eq!(client.get(&format!("/{name}")).expect(200).text(), format!("Hello, {name}!\n"));
    }
    let many: String = (0..50).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: localhost\r\n\r\n")).collect();
    client.send(many);
    for n in 0..50 {
        assert_eq!(client.response().expect(200).text(), format!("Hello, {n}!\n"));
    }
}

#[test]
fn connection_close_is_honoured() {
    let server = Builder::new("function").start();
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().expect(200).header("connection"), Some("close"));
    client.expect_end();
    let mut old = server.connect();
    old.send("GET / HTTP/1.0\r\n\r\n").response().expect(200);
    old.expect_end();
    let mut kept = server.connect();
    let request = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let response = kept.send(request).response().expect(200);
    assert_eq!(response.header("connection").map(str::to_lowercase).as_deref(), Some("keep-alive"));
    kept.send(request).response().expect(200);
}

#[test]
fn a_line_after_the_body_of_the_last_request_costs_no_answer() {
    let server = Builder::new("meets").start();
    let meeting = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = meeting.local_addr().unwrap().port();
    for _ in 0..50 {
        let mut client = server.connect();
        let fields = "Host: localhost\r\nConnection: close\r\nContent-Length: 4";
        client.send(format!("POST /?{port} HTTP/1.1\r\n{fields}\r\n\r\nbody"));
        let (mut application, _) = meeting.accept().unwrap();
        // RFC 9112 §2.2: some old clients do. Nobody has read it when the connection is closed.
        client.send("\r\n");
        application.write_all(b"!").unwrap();
        assert_eq!(client.response().expect(200).text(), "met");
    }
}

#[test]
fn half_closed_connection_is_answered() {
    let server = Builder::new("function").start();
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").finish_sending();
    assert_eq!(client.response().expect(200).text(), "Hello, World!\n");
    client.expect_end();
}

#[test]
fn request_in_single_bytes() {
    let server = Builder::new("echo").start();
    let mut client = server.connect();
    for byte in b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nabcd" {
        client.send([*byte]);
    }
    assert_eq!(client.response().expect(200).text(), "abcd");
}

#[test]
fn chunked_upload() {
    let server = Builder::new("echo").start();
    let mut client = server.connect();
    let head = "PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head).send("3\r\nabc\r\n").send("A;note=1\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n");
    let response = client.response().expect(200);
    assert_eq!(response.text(), "abc0123456789");
    assert_eq!(response.header("x-method"), Some("PUT"));
    client.send(head).send("0\r\n\r\n");
    assert_eq!(client.response().expect(200).text(), "");
}

#[test]
fn large_upload_is_spooled() {
    let server = Builder::new("echo").with("http.body_memory", "\"16KiB\"").start();
    let mut client = server.connect();
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| u8::try_from(n / 7 % 251).unwrap()).collect();
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    client.send(head).send(&body);
    assert!(client.response().expect(200).body == body, "the body came back damaged");
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for block in body.chunks(70_000) {
        client.send(format!("{:x}\r\n", block.len())).send(block).send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert!(client.response().expect(200).body == body, "the chunked body came back damaged");
}

#[test]
fn continue_is_sent_when_the_body_is_wanted() {
    let server = Builder::new("echo").start();
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().expect(100).headers.len(), 0);
    assert_eq!(client.send("hi").response().expect(200).text(), "hi");
}

#[test]
fn continue_is_not_sent_when_the_body_is_refused() {
    let server = Builder::new("echo").with("http.max_body", "1000").start();
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
    client.response().expect(413);
    client.expect_end();
    let mut chunked = server.connect();
    chunked
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n")
        .send([b'x'; 1001]);
    chunked.response().expect(413);
}

#[test]
fn body_that_the_application_ignores_does_not_disturb_the_next_request() {
    let server = Builder::new("ignores_body").start();
    let mut client = server.connect();
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n";
    for _ in 0..3 {
        client.send(head).send(vec![b'G'; 300_000]);
        assert_eq!(client.response().expect(200).text(), "ignored\n");
    }
}

#[test]
fn refused_requests() {
    let server = Builder::new("function").start();
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(101));
    let cases: &[(&str, u16)] = &[
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: a miracle\r\n\r\n", 417),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        (&long, 414),
        (&many, 431),
    ];
    for (request, status) in cases {
        let mut client = server.connect();
        let response = client.send(request).response();
        assert_eq!(response.status, *status, "{request:?}");
        assert_eq!(response.header("connection"), Some("close"), "{request:?}");
    }
    server.get("/").expect(200);
}

#[test]
fn slow_head_gets_408() {
    let server = Builder::new("function").with("http.header_timeout", "\"200ms\"").start();
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: loc");
    client.response().expect(408);
    client.expect_end();
}

#[test]
fn slow_body_gets_408() {
    let server = Builder::new("echo").with("http.body_timeout", "\"200ms\"").start();
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
    client.response().expect(408);
    client.expect_end();
}

#[test]
fn idle_connection_is_closed_in_silence() {
    let server = Builder::new("function").with("http.keep_alive", "\"200ms\"").start();
    let mut client = server.connect();
    client.get("/").expect(200);
    client.expect_end();
}

#[test]
fn access_log() {
    let builder = Builder::new("function");
    let file = builder.path("access.log");
    let mut server = builder.with("log.access", &crate::harness::quoted(file.to_str().unwrap())).start();
    let request =
        "GET /a?b=\"c HTTP/1.1\r\nHost: localhost\r\nReferer: http://x/\r\nUser-Agent: test\r\n\r\n";
    server.connect().send(request.replace('"', "%22")).response().expect(200);
    server.stop();
    let text = fs::read_to_string(file).unwrap();
    assert!(text.starts_with("127.0.0.1 - - ["), "{text}");
    assert!(text.trim_end().ends_with("\"GET /a?b=%22c HTTP/1.1\" 200 14 \"http://x/\" \"test\""), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}
