//! What the worker says to the master, asked or not: replacements, the check, stacks, the scoreboard.

use super::*;
use crate::config::{CheckTarget, Jitter};

fn recycle(reason: &str) -> FromWorker {
    FromWorker::Recycle { reason: reason.to_owned(), stuck: false }
}

#[test]
fn an_application_that_asks_to_exit_is_served_by_until_the_master_says_drain() {
    let mut worker = start(|_| {});
    for _ in 0..2 {
        let answer = worker.talk(b"GET /leave HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    }
    assert_eq!(worker.message(), recycle("the application asked to exit (SystemExit)"));
    assert!(worker.talk(format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes()).ends_with("hello"));
    worker.stop();
    assert!(worker.said_no_more());
}

#[test]
fn a_worker_asks_once_to_be_replaced_after_max_requests_and_its_jitter() {
    let mut worker = start(|settings| {
        settings.workers.max_requests = Some(2);
        settings.workers.max_requests_jitter = Jitter::Requests(1);
    });
    for _ in 0..5 {
        assert!(worker.talk(format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes()).ends_with("hello"));
    }
    let FromWorker::Recycle { reason, stuck: false } = worker.message() else { panic!() };
    assert!(reason.starts_with("it has served 2 ") || reason.starts_with("it has served 3 "), "{reason}");
    worker.stop();
    assert!(worker.said_no_more());
}

#[test]
fn a_worker_asks_to_be_replaced_when_it_is_too_large_or_too_old() {
    let worker = start(|settings| settings.workers.max_memory = Some(1));
    let FromWorker::Recycle { reason, stuck: false } = worker.message() else { panic!() };
    assert!(reason.ends_with(" (workers.max_memory = 0 MiB)"), "{reason}");
    assert!(worker.scoreboard.counters().private_memory > 0);
    let worker = start(|settings| settings.workers.max_lifetime = Some(Duration::from_millis(1)));
    let FromWorker::Recycle { reason, stuck: false } = worker.message() else { panic!() };
    assert!(
        reason.starts_with("it has served for ") && reason.ends_with(" s (workers.max_lifetime)"),
        "{reason}"
    );
}

/// What a worker that does not serve yet says of a path that was requested of it.
fn check(path: &str, change: impl FnOnce(&mut Settings)) -> Option<String> {
    let worker = boot(|settings| {
        let (path, host) = (path.to_owned(), "example.org".to_owned());
        settings.reload.check = Some(CheckTarget { path, host, https: true });
        change(settings);
    });
    worker.master.send_to_worker(ToWorker::Check).unwrap();
    let FromWorker::Checked { failure } = worker.message() else { panic!() };
    failure
}

#[test]
fn the_check_goes_through_the_application_before_the_worker_serves() {
    assert_eq!(check("/", |_| {}), None);
    assert_eq!(check("/stream", |_| {}), None);
    assert_eq!(check("/forgets?x=1", |_| {}).as_deref(), Some("GET /forgets?x=1 was answered 500"));
    let late = |settings: &mut Settings| settings.workers.request_timeout = Some(Duration::from_millis(50));
    assert_eq!(check("/stuck", late).as_deref(), Some("GET /stuck was answered 504"));
}

#[test]
fn the_check_is_https_whomever_the_worker_trusts() {
    let distrustful = |settings: &mut Settings| {
        settings.proxy.forwarded = crate::config::Forwarded::None;
        settings.proxy.protocol = crate::config::ProxyProtocol::V2;
    };
    assert_eq!(check("/scheme", |_| {}), None);
    assert_eq!(check("/scheme", distrustful), None);
}

#[test]
fn the_check_waits_for_no_proxy_and_no_room() {
    let through = |change: fn(&mut Settings)| check("/", change);
    assert_eq!(through(|settings| settings.proxy.protocol = crate::config::ProxyProtocol::V2), None);
    assert_eq!(through(|settings| settings.http.max_connections = 0), None);
    assert_eq!(through(|settings| settings.http.queue_timeout = Some(Duration::from_secs(60))), None);
    let outside = through(|settings| settings.app.mount = "/app".to_owned());
    assert_eq!(outside.as_deref(), Some("GET / was answered 404"));
}

#[test]
fn a_worker_without_a_check_has_nothing_against_itself() {
    let worker = boot(|_| {});
    worker.master.send_to_worker(ToWorker::Check).unwrap();
    assert_eq!(worker.message(), FromWorker::Checked { failure: None });
}

#[test]
fn stacks_are_dumped_on_demand() {
    let worker = start(|_| {});
    for _ in 0..2 {
        worker.master.send_to_worker(ToWorker::Dump).unwrap();
        let FromWorker::Dumped { text } = worker.message() else { panic!() };
        assert!(text.starts_with('X'), "{text}");
    }
}

#[test]
fn the_scoreboard_shows_what_the_worker_does() {
    let mut worker = start(|_| {});
    let mut stream = worker.connect();
    write!(stream, "GET /hold HTTP/1.1\r\n{CLOSE}").unwrap();
    worker.hold.wait();
    let tasks = worker.scoreboard.tasks();
    assert_eq!((tasks.len(), tasks[0].method.as_str(), tasks[0].path.as_str()), (1, "GET", "/hold"));
    worker.hold.wait();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let refused = worker.talk(b"BAD\r\n\r\n");
    worker.stop();
    let counters = worker.scoreboard.counters();
    assert_eq!((counters.requests, counters.statuses), (2, [0, 1, 0, 1, 0, 0]));
    assert_eq!(counters.bytes_out, (answer.len() + refused.len()) as u64);
    assert_eq!(counters.bytes_in, (format!("GET /hold HTTP/1.1\r\n{CLOSE}").len() + 7) as u64);
    assert_eq!(worker.scoreboard.totals().queue_wait.count(), 1);
    assert!(counters.silent_for.is_some());
    assert_eq!(worker.scoreboard.tasks(), []);
}
