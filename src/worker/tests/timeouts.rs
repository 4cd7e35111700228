//! Requests that take too long: 504, cut responses, moved deadlines, threads that do not come back.

use std::time::Instant;

use super::application::LARGE;
use super::*;

const LIMIT: Duration = Duration::from_millis(200);

fn limited(threads: u32) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.workers.threads = threads;
        settings.workers.request_timeout = Some(LIMIT);
        settings.workers.timeout_grace = Duration::from_millis(100);
    }
}

fn get(worker: &Running, path: &str) -> String {
    worker.talk(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
}

fn is_stuck(message: &FromWorker, path: &str) {
    let FromWorker::Recycle { reason, stuck: true } = message else { panic!("{message:?}") };
    assert!(reason.starts_with(&format!("a request is stuck: GET {path} for ")), "{reason}");
}

fn ends_without_its_threads(mut worker: Running) {
    assert_eq!(worker.abandoned.lock().unwrap().recv_timeout(Duration::from_secs(10)), Ok(0));
    worker.overseer.released.open();
    worker.thread.take().unwrap().join().unwrap();
}

#[test]
fn a_call_that_is_stuck_is_answered_504_on_time_while_others_are_answered() {
    for threads in [1, 4] {
        let worker = start(limited(threads));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let stuck = scope.spawn(|| get(&worker, "/stuck"));
            if threads > 1 {
                for _ in 0..3 {
                    assert!(worker.talk(format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes()).ends_with("hello"));
                }
            }
            let answer = stuck.join().unwrap();
            assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("Connection: close"), "{answer}");
        });
        assert!(begun.elapsed() >= LIMIT && begun.elapsed() < LIMIT * 40, "{:?}", begun.elapsed());
        is_stuck(&worker.message(), "/stuck");
        assert_eq!(worker.scoreboard.counters().timeouts, 1);
        // The thread comes back, and the worker is as before.
        worker.overseer.released.open();
        worker.overseer.interrupted.pass();
        let again = worker.talk(format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes());
        assert!(again.ends_with("hello") || threads == 1, "{again}");
    }
}

#[test]
fn an_interpreter_that_is_held_does_not_delay_the_504() {
    let worker = start(limited(2));
    worker.overseer.deaf.store(true, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let talks = [scope.spawn(|| get(&worker, "/stuck")), scope.spawn(|| get(&worker, "/stuck"))];
        for talk in talks {
            assert!(talk.join().unwrap().starts_with("HTTP/1.1 504 "));
        }
    });
}

#[test]
fn a_thread_that_has_a_request_and_waits_for_the_interpreter_is_late_as_well() {
    let worker = start(limited(2));
    let mut holder = worker.connect();
    holder.write_all(b"GET /holds-the-lock HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    worker.overseer.begun.pass();
    assert!(get(&worker, "/").starts_with("HTTP/1.1 504 "));
    // Whichever thread is looked at first.
    assert!(matches!(worker.message(), FromWorker::Recycle { stuck: true, .. }));
}

#[test]
fn a_call_that_is_interrupted_comes_back_and_nobody_is_replaced() {
    let mut worker = start(|settings| {
        limited(1)(settings);
        settings.workers.timeout_grace = Duration::from_secs(60);
    });
    assert!(get(&worker, "/interruptible").starts_with("HTTP/1.1 504 "));
    assert!(worker.talk(format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes()).ends_with("hello"));
    worker.stop();
    assert!(worker.said_no_more());
}

#[test]
fn a_deadline_that_the_application_has_moved_counts() {
    let worker = start(limited(2));
    std::thread::scope(|scope| {
        let moved = scope.spawn(|| worker.talk(format!("GET /moved HTTP/1.1\r\n{CLOSE}").as_bytes()));
        // Longer than the limit.
        let patience = worker.connect();
        patience.set_read_timeout(Some(LIMIT * 3)).unwrap();
        assert!((&patience).read(&mut [0; 1]).is_err());
        worker.overseer.released.open();
        assert!(moved.join().unwrap().ends_with("moved"));
    });
    assert_eq!(worker.scoreboard.counters().timeouts, 0);
}

#[test]
fn a_request_that_waits_for_as_long_as_it_may_take_is_answered_503() {
    let worker = start(|settings| {
        settings.workers.request_timeout = Some(LIMIT);
        // Connections are taken while the one thread is busy.
        settings.http.queue_timeout = Some(Duration::from_secs(60));
        settings.workers.timeout_grace = Duration::from_secs(60);
    });
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| get(&worker, "/stuck"));
        worker.overseer.begun.pass();
        let begun = Instant::now();
        let answer = get(&worker, "/");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 1\r\n"), "{answer}");
        assert!(begun.elapsed() >= LIMIT);
        assert!(stuck.join().unwrap().starts_with("HTTP/1.1 504 "));
    });
}

#[test]
fn a_response_that_has_begun_is_cut_and_is_in_the_access_log_as_504() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let mut worker = start(|settings| {
        limited(1)(settings);
        settings.log.access = crate::config::Sink::File(file.clone());
    });
    let answer = get(&worker, "/stuck-stream");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("5\r\nbegun\r\n"), "{answer}");
    worker.stop();
    let log = std::fs::read_to_string(&file).unwrap();
    assert_eq!(count(&log, "\"GET /stuck-stream HTTP/1.1\" 504 "), 1, "{log}");
    assert_eq!(count(&log, "\n"), 1, "{log}");
}

#[test]
fn time_that_is_spent_waiting_for_a_slow_reader_does_not_count() {
    let worker = start(limited(2));
    let mut lazy = worker.connect();
    write!(lazy, "GET /large HTTP/1.1\r\n{CLOSE}").unwrap();
    lazy.read_exact(&mut [0; 1]).unwrap();
    // Longer than the limit: another request runs into it.
    assert!(get(&worker, "/stuck").starts_with("HTTP/1.1 504 "));
    is_stuck(&worker.message(), "/stuck");
    let mut rest = Vec::new();
    lazy.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > 8 << 20);
    assert_eq!(worker.scoreboard.counters().timeouts, 1);
}

#[test]
fn time_that_is_spent_waiting_for_a_slow_upload_does_not_count() {
    let worker = start(|settings| {
        limited(2)(settings);
        settings.http.request_buffering = false;
    });
    let mut slow = worker.connect();
    write!(slow, "POST /echo HTTP/1.1\r\nContent-Length: 4\r\n{CLOSE}ab").unwrap();
    assert!(get(&worker, "/stuck").starts_with("HTTP/1.1 504 "));
    slow.write_all(b"cd").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nabcd"), "{answer}");
}

#[test]
fn a_thread_is_late_also_when_its_client_has_left_or_has_its_answer() {
    let worker = start(limited(2));
    let mut stream = worker.connect();
    stream.write_all(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    worker.overseer.begun.pass();
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    is_stuck(&worker.message(), "/stuck");
    let worker = start(limited(1));
    let answer = worker.talk(format!("GET /stuck-in-close HTTP/1.1\r\n{CLOSE}").as_bytes());
    assert!(answer.ends_with("done"), "{answer}");
    is_stuck(&worker.message(), "/stuck-in-close");
}

#[test]
fn a_response_that_is_complete_is_written_to_its_end_although_its_thread_is_late() {
    let worker = start(|settings| {
        limited(1)(settings);
        settings.workers.request_timeout = Some(LIMIT * 5);
    });
    let mut stream = worker.connect();
    stream.write_all(format!("GET /large-stuck-in-close HTTP/1.1\r\n{CLOSE}").as_bytes()).unwrap();
    is_stuck(&worker.message(), "/large-stuck-in-close");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.len() > LARGE.len(), "{} bytes", answer.len());
}

#[test]
fn a_worker_whose_threads_are_all_lost_answers_503_at_once() {
    let worker = start(|settings| {
        limited(1)(settings);
        settings.workers.request_timeout = Some(LIMIT * 5);
    });
    // A connection that is open already; new ones are left to other workers.
    let mut open = worker.connect();
    open.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(open.read(&mut [0; 1024]).unwrap() > 0);
    assert!(get(&worker, "/stuck").starts_with("HTTP/1.1 504 "));
    is_stuck(&worker.message(), "/stuck");
    let begun = Instant::now();
    write!(open, "GET / HTTP/1.1\r\n{CLOSE}").unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 1\r\n"), "{answer}");
    // Sooner than it would be for waiting.
    assert!(begun.elapsed() < LIMIT * 5);
}

#[test]
fn a_drain_ends_without_the_threads_that_do_not_come_back() {
    let worker = start(limited(2));
    assert!(get(&worker, "/stuck").starts_with("HTTP/1.1 504 "));
    is_stuck(&worker.message(), "/stuck");
    let mut busy = worker.connect();
    write!(busy, "GET /hold HTTP/1.1\r\n{CLOSE}").unwrap();
    worker.hold.wait();
    worker.master.send_to_worker(ToWorker::Drain).unwrap();
    worker.hold.wait();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("held"), "{answer}");
    ends_without_its_threads(worker);
}

#[test]
fn a_drain_ends_at_the_graceful_timeout_whatever_the_threads_do() {
    let worker = start(|settings| {
        settings.workers.request_timeout = None;
        settings.workers.graceful_timeout = Duration::from_millis(50);
    });
    let mut stream = worker.connect();
    stream.write_all(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    worker.overseer.begun.pass();
    worker.master.send_to_worker(ToWorker::Drain).unwrap();
    ends_without_its_threads(worker);
}
