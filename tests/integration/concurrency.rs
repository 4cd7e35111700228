//! Many clients at once: threads, slow clients, and clients that go away.

use std::fs;
use std::thread;

use crate::harness::Builder;

#[test]
fn four_threads_run_four_requests_at_once() {
    let server = Builder::new("barrier").with("workers.threads", "4").start();
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET /?4 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    let mut names: Vec<String> =
        clients.iter_mut().map(|client| client.response().expect(200).text()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 4, "four threads: {names:?}");
}

#[test]
fn one_thread_runs_one_request_at_a_time() {
    let server = Builder::new("one_at_a_time").start();
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().expect(200).text(), "1");
    }
}

#[test]
fn two_workers_share_the_load() {
    let server = Builder::new("slow").with("workers.count", "2").start();
    server.wait_for("generation 1 serves: 2 workers × 1 thread");
    let gate = server.path("gate");
    let path = format!("/?{}", gate.display());
    let mut clients = Vec::new();
    // The first worker is busy when the second client connects, so the other worker has to take it.
    for count in 1..=2 {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        server.wait_for_nth("inside", count);
        clients.push(client);
    }
    fs::write(gate, "").unwrap();
    let pids: Vec<String> = clients.iter_mut().map(|client| client.response().expect(200).text()).collect();
    assert_ne!(pids[0], pids[1]);
}

#[test]
fn client_that_stops_reading_blocks_nobody() {
    let server = Builder::new("big").start();
    let mut lazy = server.connect();
    lazy.send("GET /list?30000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(lazy.line().unwrap(), "HTTP/1.1 200 OK");
    for _ in 0..20 {
        assert_eq!(server.get("/list?1000").expect(200).body.len(), 1000);
    }
    while !lazy.line().unwrap().is_empty() {}
    assert_eq!(lazy.take(30_000_000).unwrap().len(), 30_000_000);
}

#[test]
fn client_that_sends_slowly_blocks_nobody() {
    let server = Builder::new("echo").start();
    let mut slow = server.connect();
    slow.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc");
    let mut slower = server.connect();
    slower.send("GET / HT");
    for _ in 0..20 {
        server.get("/").expect(200);
    }
    assert_eq!(slow.send("def").response().expect(200).text(), "abcdef");
    slower.send("TP/1.1\r\nHost: localhost\r\n\r\n").response().expect(200);
}

#[test]
fn generator_waits_for_a_client_that_stops_reading() {
    let server = Builder::new("big").with("workers.threads", "2").start();
    let mut lazy = server.connect();
    lazy.send("GET /blocks?60000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(lazy.line().unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(server.get("/blocks?1000").expect(200).body.len(), 1000);
    while !lazy.line().unwrap().is_empty() {}
    let mut length = 0;
    loop {
        let size = usize::from_str_radix(&lazy.line().unwrap(), 16).unwrap();
        lazy.take(size + 2).unwrap();
        length += size;
        if size == 0 {
            break;
        }
    }
    assert_eq!(length, 60_000_000);
}

#[test]
fn write_timeout_frees_the_thread() {
    let server = Builder::new("big").with("http.write_timeout", "\"300ms\"").start();
    let mut lazy = server.connect();
    lazy.send("GET /blocks?60000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(lazy.line().unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(server.get("/blocks?1000").expect(200).body.len(), 1000);
    let rest = lazy.read_to_end();
    assert!(rest.map_or(true, |bytes| bytes.len() < 60_000_000), "the response was not given up");
}

#[test]
fn application_can_ask_whether_the_client_is_gone() {
    let server = Builder::new("client_disconnected").with("workers.threads", "2").start();
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    server.wait_for("inside");
    drop(client);
    server.wait_for("the client has gone");
}

#[test]
fn clients_that_vanish_do_no_harm() {
    let server = Builder::new("big").start();
    for request in [
        "",
        "GET",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
    ] {
        server.connect().send(request);
    }
    for path in ["/list?9000000", "/blocks?9000000"] {
        server.connect().send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).line().unwrap();
    }
    assert_eq!(server.get("/list?10").expect(200).body.len(), 10);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn many_clients_at_once() {
    let server = Builder::new("greet").with("workers.count", "2").with("workers.threads", "2").start();
    thread::scope(|scope| {
        for number in 0..16 {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.connect();
                for round in 0..50 {
                    let name = format!("{number}-{round}");
                    assert_eq!(
                        client.get(&format!("/{name}")).expect(200).text(),
                        format!("Hello, {name}!\n")
                    );
                }
            });
        }
    });
}
