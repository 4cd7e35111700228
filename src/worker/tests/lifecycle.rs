//! Limits, timeouts, drain and stop: when connections begin and end.

use super::*;

#[test]
fn a_drain_answers_a_request_that_comes_on_a_busy_connection_and_then_closes_it() {
    let mut worker = start(|_| {});
    let mut stream = worker.connect();
    let request = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    stream.write_all(request).unwrap();
    let mut first = [0; 1024];
    let length = stream.read(&mut first).unwrap();
    assert!(!String::from_utf8_lossy(&first[..length]).contains("Connection: close"));
    worker.master.send_to_worker(ToWorker::Drain).unwrap();
    stream.write_all(request).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK") && rest.ends_with('x'), "{rest}");
    worker.thread.take().unwrap().join().unwrap();
}

#[test]
fn a_head_that_is_too_slow_is_answered_408_and_silence_is_closed() {
    let worker = start(|settings| settings.http.header_timeout = Duration::from_millis(50));
    assert!(worker.talk(b"GET / HTTP/1.1\r\nHost").starts_with("HTTP/1.1 408 "));
    assert_eq!(worker.talk(b""), "");
}

#[test]
fn a_body_that_is_too_slow_is_answered_408() {
    let worker = start(|settings| settings.http.body_timeout = Duration::from_millis(50));
    let answer = worker.talk(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn an_idle_connection_is_closed_after_keep_alive() {
    let worker = start(|settings| settings.http.keep_alive = Duration::from_millis(50));
    let answer = worker.talk(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.ends_with("hello") && !answer.contains("Connection: close"), "{answer}");
}

#[test]
fn a_request_that_waits_too_long_for_a_thread_is_answered_503() {
    let worker = start(|settings| settings.http.queue_timeout = Some(Duration::from_secs(1)));
    let mut held = worker.connect();
    write!(held, "GET /hold HTTP/1.1\r\n{CLOSE}").unwrap();
    worker.hold.wait();
    let answer = worker.talk(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 1\r\n"), "{answer}");
    worker.hold.wait();
    let mut answer = String::new();
    held.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("held"), "{answer}");
}

#[test]
fn a_path_outside_the_mount_is_not_found() {
    let worker = start(|settings| settings.app.mount = "/app".to_owned());
    assert!(worker.talk(format!("GET /apple HTTP/1.1\r\n{CLOSE}").as_bytes()).starts_with("HTTP/1.1 404 "));
    assert!(worker.talk(format!("GET /app/x HTTP/1.1\r\n{CLOSE}").as_bytes()).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_connection_past_the_limit_waits_until_another_ends() {
    let worker = start(|settings| settings.http.max_connections = 1);
    let mut first = worker.connect();
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = [0; 1];
    first.read_exact(&mut answer).unwrap();
    let mut second = worker.connect();
    write!(second, "GET / HTTP/1.1\r\n{CLOSE}").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(second.read(&mut answer).is_err());
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    second.read_exact(&mut answer).unwrap();
}

/// Closes a connection with a reset, which the reactor sees at once.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[test]
fn a_request_is_in_the_access_log_also_when_its_client_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let mut worker = start(|settings| {
        settings.log.access = crate::config::Sink::File(file.clone());
        settings.workers.threads = 1;
        // Connections are taken while the one thread is busy.
        settings.http.queue_timeout = Some(Duration::from_secs(60));
    });
    // The second answer is of a later turn, so the reactor has seen everything that came before the first.
    let look = |worker: &Running| {
        for _ in 0..2 {
            assert!(worker.talk(b"BAD\r\n\r\n").starts_with("HTTP/1.1 400 "));
        }
    };
    let mut running = worker.connect();
    running.write_all(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    worker.hold.wait();
    let mut waiting = worker.connect();
    waiting.write_all(b"GET /leave HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    look(&worker);
    reset(waiting);
    reset(running);
    look(&worker);
    worker.hold.wait();
    worker.stop();
    let log = std::fs::read_to_string(&file).unwrap();
    assert_eq!(count(&log, "\"GET /hold HTTP/1.1\" 200 "), 1, "{log}");
    // It was not called: it would have asked the worker to leave.
    assert_eq!(count(&log, "\"GET /leave HTTP/1.1\" 499 "), 1, "{log}");
    assert!(worker.said_no_more());
}

#[test]
fn a_stop_takes_the_connections_that_wait_also_while_the_worker_drains() {
    let mut worker = start(|settings| settings.workers.threads = 1);
    let mut running = worker.connect();
    running.write_all(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    worker.hold.wait();
    worker.master.send_to_worker(ToWorker::Drain).unwrap();
    // A worker that drains accepts nothing, so this one waits in the queue.
    let mut waiting = worker.connect();
    waiting.write_all(b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    worker.master.send_to_worker(ToWorker::Stop).unwrap();
    worker.hold.wait();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    worker.thread.take().unwrap().join().unwrap();
}

#[test]
fn a_busy_worker_leaves_new_connections_to_others() {
    use std::os::fd::AsFd;
    let worker = start(|settings| settings.workers.threads = 1);
    let answered = |mut stream: &TcpStream, request: &[u8]| {
        stream.write_all(request).unwrap();
        assert!(stream.read(&mut [0; 512]).unwrap() > 0);
    };
    let open: Vec<TcpStream> = (0..3).map(|_| worker.connect()).collect();
    open.iter().for_each(|stream| answered(stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    let mut running = &open[0];
    running.write_all(b"GET /hold HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    worker.hold.wait();
    // Each answer is of a turn after what came before it.
    answered(&open[1], b"BAD\r\n\r\n");
    let _new = worker.connect();
    answered(&open[2], b"BAD\r\n\r\n");
    let taken = crate::sys::accept(worker.listener.as_fd());
    worker.hold.wait();
    running.read_to_end(&mut Vec::new()).unwrap();
    assert!(taken.is_ok(), "the busy worker has taken it: {taken:?}");
}
