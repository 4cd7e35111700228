//! Clauses of PEP 3333 on the wire that other tests do not show; `docs/wsgi.md` names the test of each clause.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::client::Address;
use crate::harness::{Builder, PATIENCE, quoted, root};

#[test]
fn close_is_called_when_the_client_goes_away() {
    let server = Builder::new("endless").start();
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.line().unwrap(), "HTTP/1.1 200 OK");
    drop(client);
    server.wait_for("close() was called");
}

#[test]
fn an_endless_iterable_ends_where_no_more_can_be_sent() {
    let server = Builder::new("endless").start();
    let mut client = server.connect();
    let head = client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").response_to_head().expect(200);
    assert_eq!(head.header("content-length"), None);
    server.wait_for_nth("close() was called", 1);
    assert_eq!(client.get("/five").expect(200).text(), "xxxxx");
    server.wait_for_nth("close() was called", 2);
    assert_eq!(client.get("/five").expect(200).text(), "xxxxx");
}

#[test]
fn the_application_has_control_over_its_output() {
    let server = Builder::new("every_byte").start();
    let Address::Tcp(address) = server.address() else { unreachable!("the harness listens on TCP") };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let start = b"HTTP/1.1 200 Caf\xe9\r\nContent-Type: application/octet-stream\r\nx-CaSe: \xe9 \xff\r\nX-Last: \r\n";
    assert!(answer.starts_with(start), "{}", answer.escape_ascii());
    let mut body: Vec<u8> = (0..=255).collect();
    body.extend_from_slice(b"\r\n\n\rend");
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    assert!(answer[head + 4..] == body, "{}", answer[head + 4..].escape_ascii());
}

#[test]
fn the_flags_tell_of_threads_and_processes() {
    let flags = |workers: &str, threads: &str| {
        let builder = Builder::new("environ_json").with("workers.count", workers);
        let environ = builder.with("workers.threads", threads).start().get("/").expect(200).json();
        (
            environ["wsgi.multiprocess"] == true,
            environ["wsgi.multithread"] == true,
            environ["wsgi.run_once"] == true,
        )
    };
    assert_eq!(flags("1", "1"), (false, false, false));
    assert_eq!(flags("2", "3"), (true, true, false));
}

#[test]
fn applications_of_every_style_pass_the_validator() {
    let server = Builder::new("validated:every()").start();
    let mut client = server.connect();
    for (path, text) in [
        ("/function/", "Hello, World!\n"),
        ("/class_iter/", "Hello from a class\n"),
        ("/generator/", "Hello from a generator\n"),
        ("/greet/Ada", "Hello, Ada!\n"),
        ("/demo_app/", "Hello world!"),
        ("/cookies/", "none"),
        ("/write_callable/", "written and returned\n"),
        ("/environ_json/a%20b?c", "\"PATH_INFO\": \"/a b\""),
        ("/errors_stream/", ""),
        ("/close_called/", "body\n"),
        ("/big/list?100000", ""),
        ("/big/blocks?100000", ""),
    ] {
        let answer = client.get(path).expect(200).text();
        assert!(answer.contains(text), "{path}: {answer}");
    }
    assert_eq!(client.get("/exc_info/early").expect(503).text(), "<h1>sorry</h1>");
    let posted = "POST /ignores_body/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(client.send(posted).response().expect(200).text(), "ignored\n");
    let chunked = "POST /environ_json/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(client.send(chunked).response().expect(200).json()["CONTENT_LENGTH"], "3");
    client.send("HEAD /generator/ HTTP/1.1\r\nHost: localhost\r\n\r\n").response_to_head().expect(200);
    let log = server.log();
    assert!(!log.contains("AssertionError"), "{log}");
}

#[test]
fn frameworks_pass_the_validator() {
    for (example, application) in [
        ("flask", "app"),
        ("bottle", "application"),
        ("falcon", "application"),
        ("werkzeug", "application"),
        ("pyramid", "main"),
        ("demo", "application"),
        ("cherrypy", "application"),
        ("webpy", "application"),
    ] {
        let apps = root().join("tests/apps");
        let target = format!("validated:validated('app', '{application}')");
        let builder = Builder::example(example, &target);
        let server = builder.with("app.pythonpath", &format!("[{}]", quoted(apps.to_str().unwrap()))).start();
        let mut client = server.connect();
        client.get("/").expect(200);
        client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").response_to_head();
        client.get("/nothing/here").expect(404);
        let log = server.log();
        assert!(!log.contains("AssertionError"), "{example}: {log}");
    }
}

#[test]
fn what_an_application_keeps_of_a_request_is_not_given_to_another() {
    let server = Builder::new("keeps_objects").start();
    let mut client = server.connect();
    let mut ask = |query: &str, kind: usize| {
        // Header sections that are remembered, each with its objects, and more of them than there is room for.
        let request = format!(
            "POST /?{query} HTTP/1.1\r\nHost: localhost\r\nX-Kind: {kind}\r\nContent-Length: 4\r\n\r\n{kind:4}"
        );
        client.send(request).response().expect(200).text()
    };
    let mut reused = 0;
    for round in 0..12 {
        for kind in (0..20).chain([3, 3, 3]) {
            let keeps = (round + kind) % 5 == 0;
            let text = ask(if keeps { "keep" } else { "" }, kind);
            assert!(text.starts_with("0 kept came again, "), "round {round}, kind {kind}: {text}");
            assert!(text.ends_with(&format!(", body {kind:4}\n")), "round {round}, kind {kind}: {text}");
            reused += usize::from(text.contains("reused"));
        }
    }
    assert!(reused > 100, "only {reused} requests had the objects of one before them");
}
