//! Workers that die: they are replaced, and only what they were doing is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;
use crate::harness::Builder;

/// Lets the clients end also when the test fails; they would ask for ever.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn worker_killed_under_load_loses_only_its_own_requests() {
    let server = Builder::new("crash").with("workers.count", "2").start();
    let victim = server.workers()[0].pid.to_string();
    let stop = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    let (sender, progress) = mpsc::channel();
    thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (server, stop, answered, victim, sender) =
                    (&server, &stop, &answered, &victim, sender.clone());
                scope.spawn(move || {
                    let mut failures = Vec::new();
                    let mut client = server.connect();
                    let mut last = String::new();
                    while !stop.load(Ordering::Relaxed) {
                        match client.try_get("/") {
                            Ok(response) => {
                                last = response.expect(200).text();
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => {
                                // A request of the victim's connections may be lost, and no other.
                                assert!(
                                    last == *victim || last.is_empty(),
                                    "worker {last} lost a request: {error}"
                                );
                                failures.push(error);
                                client = Client::connect(&server.address());
                                last.clear();
                            }
                        }
                        // The test counts only the first reports.
                        sender.send(()).ok();
                    }
                    failures
                })
            })
            .collect();
        progress.iter().take(200).for_each(drop);
        kill(Pid::from_raw(victim.parse().unwrap()), Signal::SIGKILL).unwrap();
        server.wait_for("was killed by signal 9 (SIGKILL)");
        server.wait_for("starting a replacement");
        progress.try_iter().for_each(drop);
        progress.iter().take(400).for_each(drop);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            let failures = client.join().unwrap();
            assert!(failures.len() <= 1, "one client lost more than the request in flight: {failures:?}");
        }
    });
    assert!(answered.load(Ordering::Relaxed) > 400);
}

#[test]
fn replacement_serves() {
    let server = Builder::new("crash").start();
    let first = server.get("/").expect(200).text();
    let mut client = server.connect();
    client.send("GET /crash HTTP/1.1\r\nHost: localhost\r\n\r\n").read_response(false).unwrap_err();
    let line = server.wait_for("was killed by signal 9 (SIGKILL)");
    assert!(line.contains(&format!("worker 0 (pid {first}, generation 1)")), "{line}");
    // The listener stays open, so the request waits in its backlog for the replacement.
    assert_ne!(server.get("/").expect(200).text(), first);
}

#[test]
fn application_that_exits_is_answered_and_replaced() {
    let server = Builder::new("system_exit").start();
    let mut idle = server.connect();
    let first = idle.get("/").expect(200).text();
    server.get("/exit").expect(500);
    server.wait_for("the application had enough");
    server.wait_for("is to be replaced: the application asked to exit (SystemExit)");
    // The worker drains, so its replacement serves already.
    idle.expect_end();
    assert_ne!(server.get("/").expect(200).text(), first);
}

#[test]
fn worker_that_is_sent_sigterm_serves_until_its_replacement_does() {
    let server = Builder::new("system_exit").start();
    let mut idle = server.connect();
    let first = idle.get("/").expect(200).text();
    kill(Pid::from_raw(first.trim().parse().unwrap()), Signal::SIGTERM).unwrap();
    server.wait_for("is to be replaced: it was sent SIGTERM");
    server.get("/").expect(200);
    idle.expect_end();
    assert_ne!(server.get("/").expect(200).text(), first);
}

#[test]
fn worker_that_keeps_dying_is_replaced_ever_more_slowly() {
    let server = Builder::new("crash").start();
    for count in 1..=3 {
        let mut client = server.connect();
        client.send("GET /crash HTTP/1.1\r\nHost: localhost\r\n\r\n").read_response(false).unwrap_err();
        server.wait_for_nth("was killed by signal 9 (SIGKILL)", count);
    }
    server.get("/").expect(200);
}

#[test]
fn workers_follow_a_master_that_was_killed() {
    let mut server = Builder::new("stuck").with("workers.count", "2").start();
    let mut client = server.connect();
    client.send("GET /stuck HTTP/1.1\r\nHost: localhost\r\n\r\n");
    server.wait_for("inside");
    server.signal(Signal::SIGKILL);
    server.program.wait();
    // Every worker holds standard error, also the one that is stuck in Python.
    assert!(server.program.log.wait_closed(std::time::Duration::from_secs(1)), "workers outlive the master");
}
