//! Request bodies on their way: streamed with `http.request_buffering = false`, and clients that go away.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::client::{Address, Client};
use crate::harness::{Builder, Server};

fn streaming(target: &str) -> Builder {
    Builder::new(target).with("http.request_buffering", "false")
}

fn post(target: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
}

#[test]
fn body_is_streamed_while_it_comes() {
    let server = streaming("reads_body").start();
    let mut client = server.connect();
    client.send("POST /lines HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("6\r\nfirst\n\r\n");
    assert_eq!(client.line().unwrap(), "HTTP/1.1 200 OK");
    while !client.line().unwrap().is_empty() {}
    assert_eq!(client.take(11).unwrap(), b"6\r\nFIRST\n\r\n");
    client.send("4\r\nseco\r\n3\r\nnd\n\r\n");
    assert_eq!(client.take(12).unwrap(), b"7\r\nSECOND\n\r\n");
    client.send("0\r\n\r\n");
    assert_eq!(client.take(5).unwrap(), b"0\r\n\r\n");
    client.send(post("/all", 3)).send("abc");
    assert_eq!(client.response().expect(200).text(), "3", "the connection is used again");
}

#[test]
fn body_is_held_back_while_the_application_does_not_read() {
    // Over a unix socket the kernel holds little, so what a client can send is what the server takes.
    let builder = streaming("reads_body").with("http.body_memory", "\"64KiB\"").with("workers.threads", "2");
    let (path, gate) = (builder.path("socket"), builder.path("gate"));
    let server = builder.bind(&[&format!("unix:{}", path.display())]).start();
    let body = vec![b'x'; 32 * 1024 * 1024];
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(post(&format!("/gate?{}", gate.display()), body.len()).as_bytes()).unwrap();
    server.wait_for("inside");
    // A write that makes no progress for this long has found everything full.
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    loop {
        match stream.write(&body[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        assert!(sent < body.len(), "the server took everything");
    }
    eprintln!("with http.body_memory = 64 KiB the client could send {sent} bytes");
    assert!(sent < 1024 * 1024, "{sent} bytes");
    Client::connect(&Address::Unix(path)).get("/none").expect(200);
    fs::write(gate, "").unwrap();
    let mut client = Client::from_unix(stream);
    let length = body.len().to_string();
    assert_eq!(client.send(&body[sent..]).response().expect(200).text(), length);
}

#[test]
fn body_that_was_not_read_closes_the_connection() {
    let server = streaming("reads_body").start();
    for (path, text) in [("/none", "OK"), ("/part", "xxxxx")] {
        let mut client = server.connect();
        client.send(post(path, 5_000_000)).send([b'x'; 5000]);
        let response = client.response().expect(200);
        assert_eq!(response.text(), text);
        // The rest of the body could be anything, so no request may be read out of it.
        client.try_send(b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n").ok();
        client.expect_closed();
    }
}

#[test]
fn continue_is_sent_when_the_application_reads() {
    let server = streaming("reads_body").start();
    let expecting = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut client = server.connect();
    client.send(expecting("/all")).response().expect(100);
    assert_eq!(client.send("12345").response().expect(200).text(), "5");
    // The final answer comes at once, and no 100 before it.
    let mut client = server.connect();
    client.send(expecting("/none")).response().expect(200);
}

#[test]
fn faults_of_a_streamed_body_are_answered_as_such() {
    let server = streaming("reads_body")
        .with("http.body_timeout", "\"300ms\"")
        .with("http.max_body", "\"1000B\"")
        .start();
    let chunked = "POST /all HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (bytes, status) in [
        (post("/all", 10) + "abc", 408),
        (post("/all", 1001), 413),
        (format!("{chunked}3E9\r\n{}", "x".repeat(1001)), 413),
        (format!("{chunked}3\r\nabcdef"), 400),
    ] {
        let mut client = server.connect();
        let response = client.send(&bytes).response().expect(status);
        assert_eq!(response.header("connection"), Some("close"), "{bytes:.80}");
        client.expect_end();
    }
}

#[test]
fn client_that_leaves_is_noticed_by_the_read() {
    let server = streaming("reads_body").start();
    let mut client = server.connect();
    let gate = server.path("gate");
    client.send(post(&format!("/gate?{}", gate.display()), 10)).send("abc");
    // One that leaves before the application is called is never told to it.
    server.wait_for("inside");
    drop(client);
    fs::write(gate, "").unwrap();
    server.wait_for("read() raised ");
    server.get("/none").expect(200);
}

/// Requests of which a part of the body never comes.
fn leave_early(server: &Server) {
    for bytes in [
        post("/half", 10) + "abc",
        post("/nothing", 10),
        "POST /chunks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
            .to_owned(),
        "POST /last HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
            .to_owned(),
        post("/spooled", 1_000_000) + &"x".repeat(900_000),
    ] {
        drop({
            let mut client = server.connect();
            client.send(bytes);
            client
        });
    }
}

#[test]
fn client_that_leaves_in_its_body_never_reaches_the_application() {
    let mut server = Builder::new("seen_in_log").with("http.body_memory", "\"100KiB\"").start();
    leave_early(&server);
    // Half a close is an end of the body as well.
    let mut half = server.connect();
    half.send(post("/shut", 10)).send("abc").finish_sending().expect_end();
    server.get("/after").expect(200);
    server.stop();
    let log = server.log();
    assert!(log.contains("called /after"), "{log}");
    assert_eq!(log.matches("called ").count(), 1, "a request that never came whole was served:\n{log}");
    assert_eq!(log.matches("ERROR").count(), 1, "only what the application wrote:\n{log}");
}

#[test]
fn client_that_leaves_is_told_to_an_application_that_does_not_read() {
    let server = streaming("client_disconnected").with("http.body_memory", "\"64KiB\"").start();
    // The last is more than the server takes, and little enough for the kernel to take the end of it as well.
    for (round, (length, sent)) in [(10, 10), (10, 3), (10_000_000, 100_000)].into_iter().enumerate() {
        let mut client = server.connect();
        client.send(post("/", length)).send(vec![b'x'; sent]);
        server.wait_for_nth("inside", round + 1);
        drop(client);
        server.wait_for_nth("the client has gone", round + 1);
    }
}
