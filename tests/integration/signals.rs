//! Signals to the master, as gunicorn understands them.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::{Address, Client};
use crate::harness::{Builder, quoted};

#[test]
fn term_finishes_the_request_in_flight() {
    let mut server = Builder::new("slow").start();
    let gate = server.path("gate");
    let mut idle = server.connect();
    idle.get("/").expect(200);
    let mut client = server.connect();
    client.send(format!("GET /?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", gate.display()));
    server.wait_for("inside");
    server.signal(Signal::SIGTERM);
    idle.expect_end();
    fs::write(gate, "").unwrap();
    assert_eq!(client.response().expect(200).header("connection"), Some("close"));
    client.expect_end();
    server.expect_exit(0);
    assert!(server.log().contains("stopped"), "{}", server.log());
}

#[test]
fn term_gives_up_after_graceful_timeout() {
    let mut server = Builder::new("stuck").with("workers.graceful_timeout", "\"300ms\"").start();
    let mut client = server.connect();
    client.send("GET /stuck HTTP/1.1\r\nHost: localhost\r\n\r\n");
    server.wait_for("inside");
    server.stop();
    client.read_response(false).unwrap_err();
}

#[test]
fn int_and_quit_stop_at_once() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let mut server = Builder::new("stuck").start();
        let mut client = server.connect();
        client.send("GET /stuck HTTP/1.1\r\nHost: localhost\r\n\r\n");
        server.wait_for("inside");
        server.signal(signal);
        server.expect_exit(0);
    }
}

#[test]
fn atexit_handlers_run_at_a_graceful_stop() {
    let mut server = Builder::new("atexit_hook").start();
    server.get("/").expect(200);
    server.stop();
    assert!(server.log().contains("the atexit handler ran"), "{}", server.log());
}

#[test]
fn ttin_and_ttou_change_the_number_of_workers() {
    let server = Builder::new("slow").start();
    assert_eq!(server.workers().len(), 1);
    server.signal(Signal::SIGTTIN);
    let gate = server.path("gate");
    // Only two workers can have two requests inside.
    let mut clients = Vec::new();
    for count in 1..=2 {
        let mut client = server.connect();
        client.send(format!("GET /?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", gate.display()));
        server.wait_for_nth("inside", count);
        clients.push(client);
    }
    assert_eq!(server.workers().len(), 2);
    fs::write(gate, "").unwrap();
    for client in &mut clients {
        client.response().expect(200);
    }
    server.signal(Signal::SIGTTOU);
    server.wait_for("one worker fewer (SIGTTOU)");
    let mut rounds = 0;
    while server.workers().len() > 1 {
        server.get("/").expect(200);
        rounds += 1;
        assert!(rounds < 10_000, "no worker went");
    }
    server.signal(Signal::SIGTTOU);
    server.wait_for("the last one stays");
    server.get("/").expect(200);
}

#[test]
fn usr1_reopens_the_log_files() {
    let builder = Builder::new("function");
    let (log, access) = (builder.path("error.log"), builder.path("access.log"));
    let server = builder
        .with("log.file", &quoted(log.to_str().unwrap()))
        .with("log.access", &quoted(access.to_str().unwrap()))
        .launch();
    server.get("/before").expect(200);
    let (old_log, old_access) = (server.path("error.log.1"), server.path("access.log.1"));
    fs::rename(&log, &old_log).unwrap();
    fs::rename(&access, &old_access).unwrap();
    server.signal(Signal::SIGUSR1);
    // The master opens its log and tells its workers; a request follows the message in the worker's loop or in
    // the next one, so the new file gets one of these.
    let mut client = server.connect();
    let mut round = 0;
    while !fs::read_to_string(&access).unwrap_or_default().contains("/after") {
        client.get("/after").expect(200);
        round += 1;
        assert!(round < 10_000, "the access log was not opened again");
    }
    assert!(fs::read_to_string(old_access).unwrap().contains("/before"));
    assert!(fs::read_to_string(old_log).unwrap().contains("generation 1 serves"));
    assert!(log.exists());
}

#[test]
fn signals_to_a_worker_do_not_reach_the_application() {
    let server = Builder::new("pid").start();
    let pid = server.get("/").expect(200).json()["pid"].as_i64().unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGHUP).unwrap();
    nix::sys::signal::kill(pid, Signal::SIGPIPE).unwrap();
    assert_eq!(server.get("/").expect(200).json()["pid"].as_i64(), Some(i64::from(pid.as_raw())));
}

/// Nobody else would take who already waits; who comes later is told at once and not left waiting for the end.
#[test]
fn term_serves_who_waits_and_refuses_who_comes_later() {
    let builder = Builder::new("slow");
    let path = builder.path("rwsgi.sock");
    let mut server = builder.bind(&[&format!("unix:{}", path.display())]).start();
    let address = Address::Unix(path);
    let gate = server.path("gate");
    let request = format!("GET /?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", gate.display());
    let mut first = Client::connect(&address);
    first.send(&request);
    server.wait_for("inside");
    // One thread, which is busy: these stay in the queue of the listener.
    let mut waiting: Vec<_> = (0..40).map(|_| Client::connect(&address)).collect();
    for client in &mut waiting {
        client.send(&request);
    }
    server.signal(Signal::SIGTERM);
    let deadline = Instant::now() + Duration::from_secs(10);
    while Client::try_connect(&address).is_ok() {
        assert!(Instant::now() < deadline, "the listener stays open");
    }
    fs::write(gate, "").unwrap();
    first.response().expect(200);
    for client in &mut waiting {
        client.response().expect(200);
    }
    server.expect_exit(0);
}

#[test]
fn a_client_that_leaves_does_not_end_a_worker_whose_application_lets_sigpipe_end_it() {
    let server = Builder::new("sigpipe_ends").start();
    let worker = server.get("/").expect(200).text();
    for round in 0..20 {
        for path in ["/file", "/blocks"] {
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            // The end of what it sends comes first, or a write would be told of the reset (ECONNRESET) before of the pipe.
            client.finish_sending();
            drop(client);
            assert_eq!(server.get("/").expect(200).text(), worker, "{path} in round {round}");
        }
    }
}
