//! Whose turn it is: connections beside one that never pauses, and requests that wait for a thread.

use std::time::Instant;

use super::application::{LARGE, PAGE};
use super::*;

#[test]
fn a_client_that_pipelines_gives_way_to_others() {
    let worker = start(|_| {});
    let mut other = worker.connect();
    other.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(other.read(&mut [0; 1024]).unwrap() > 0);
    // The other's request comes while the first of many is answered.
    let message = "GET /other HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    worker.overseer.cue.lock().unwrap().push((other.try_clone().unwrap(), message));
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n".repeat(98);
    let answers = worker
        .talk(format!("GET /cue HTTP/1.1\r\nHost: a\r\n\r\n{next}GET /next HTTP/1.1\r\n{CLOSE}").as_bytes());
    assert_eq!(count(&answers, "HTTP/1.1 200 OK"), 100);
    assert!(other.read(&mut [0; 1024]).unwrap() > 0);
    let order = worker.overseer.order.lock().unwrap();
    let place = order.iter().position(|path| path == "/other").unwrap();
    assert!(place < 50, "answered after {place} of the many");
}

#[test]
fn slow_requests_that_come_at_once_are_run_at_once() {
    let worker = start(|settings| settings.workers.threads = 2);
    let mut streams = [worker.connect(), worker.connect()];
    let begun = Instant::now();
    // Both need both threads; known to be slow after the first round.
    for _ in 0..40 {
        for stream in &mut streams {
            stream.write_all(b"GET /barrier HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }
        for stream in &mut streams {
            let mut answer = [0; 1024];
            assert!(stream.read(&mut answer).unwrap() > 0);
        }
    }
    // A second for each that waits until the reactor wakes for something else.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn a_large_block_is_whole_when_the_reactor_was_taken_over_before_it() {
    let worker = start(|_| {});
    let mut other = worker.connect();
    other.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(other.read(&mut [0; 1024]).unwrap() > 0);
    let mut held = worker.connect();
    write!(held, "GET /hold-shared HTTP/1.1\r\n{CLOSE}").unwrap();
    worker.hold.wait();
    // Only the standby can answer this one now.
    other.write_all(b"bad\r\n\r\n").unwrap();
    let mut refusal = [0; 12];
    other.read_exact(&mut refusal).unwrap();
    assert_eq!(&refusal, b"HTTP/1.1 400");
    worker.hold.wait();
    let mut answer = String::new();
    held.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(&format!("\r\n\r\n{}", "x".repeat(64 << 10))), "{} bytes", answer.len());
}

#[test]
fn a_response_that_is_whole_goes_out_before_its_call_ends() {
    let worker = start(|_| {});
    let mut stream = worker.connect();
    for _ in 0..20 {
        for (path, length) in [("/whole-hold", 5), ("/whole-large-hold", LARGE.len())] {
            write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            read_until(&mut stream, |head| head.ends_with(b"\r\n\r\n"));
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            assert!(body == LARGE[..length] || body == b"whole");
            worker.hold.wait();
        }
    }
    write!(stream, "GET / HTTP/1.1\r\n{CLOSE}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[test]
fn a_client_that_resets_in_mid_response_harms_nobody() {
    let worker = start(|_| {});
    let mut other = worker.connect();
    for path in ["/whole-hold", "/whole-large-hold"].repeat(10) {
        let mut stream = worker.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
        worker.hold.wait();
        other.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = [0; 1024];
        let length = other.read(&mut answer).unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200 OK"));
    }
}

#[test]
fn the_last_of_a_connection_comes_with_its_end() {
    let worker = start(|_| {});
    for _ in 0..50 {
        let mut stream = worker.connect();
        write!(stream, "GET / HTTP/1.1\r\n{CLOSE}").unwrap();
        stream.peek(&mut [0]).unwrap();
        // With the first byte the end is there too.
        stream.set_nonblocking(true).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"), "{answer}");
    }
}

/// Has `/cue` send the same for each client, so that all are there when the first is read; tells when it is answered.
fn send_at_once(worker: &Running, mut first: &TcpStream, clients: &[TcpStream], path: &str) {
    for stream in clients {
        let message = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        worker.overseer.cue.lock().unwrap().push((stream.try_clone().unwrap(), message));
    }
    first.write_all(b"GET /cue HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    read_one(first, b"hello");
}

fn read_one(stream: &TcpStream, end: &[u8]) {
    let answer = read_until(stream, |answer| answer.ends_with(end));
    assert_eq!(count(&String::from_utf8(answer).unwrap(), "HTTP/1.1 200 OK\r\n"), 1);
}

#[test]
fn short_answers_that_go_out_together_are_whole_whoever_reads_them() {
    const ROUNDS: usize = 30;
    let worker = start(|_| {});
    worker.leave_little_room();
    let first = worker.connect();
    // Every other one reads nothing until the end.
    let mut clients: Vec<_> = (0..12).map(|_| worker.connect_with_little_room()).collect();
    for path in ["/page", "/toil"].repeat(ROUNDS / 2) {
        send_at_once(&worker, &first, &clients, path);
        clients.iter().skip(1).step_by(2).for_each(|stream| read_one(stream, &PAGE));
    }
    for stream in clients.iter_mut().step_by(2) {
        socket2::SockRef::from(&*stream).set_recv_buffer_size(1 << 20).unwrap();
        write!(stream, "GET / HTTP/1.1\r\n{CLOSE}").unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        let page = format!("\r\n\r\n{}HTTP/1.1 200 OK\r\n", String::from_utf8_lossy(&PAGE));
        assert_eq!(count(&answers, &page), ROUNDS);
    }
}

#[test]
fn an_answer_waits_for_a_call_that_many_wait_for() {
    let worker = start(|_| {});
    let (first, clients) = (worker.connect(), (0..12).map(|_| worker.connect()).collect::<Vec<_>>());
    *worker.overseer.watched.lock().unwrap() = Some(clients[0].try_clone().unwrap());
    let has_waited = (0..1000).any(|_| {
        send_at_once(&worker, &first, &clients, "/toil");
        // The last one first: what is read cannot be looked at.
        clients.iter().rev().for_each(|stream| read_one(stream, &PAGE));
        let answered = std::mem::take(&mut *worker.overseer.answered.lock().unwrap());
        assert_eq!(answered.len(), clients.len());
        // Sent with the second. Not so where the reactor was taken over.
        answered[..2] == [false; 2] && answered[2..].iter().all(|there| *there)
    });
    assert!(has_waited, "no answer was sent with another");
}

#[test]
fn a_response_that_waits_for_others_is_whole_when_its_application_fails_behind_it() {
    let worker = start(|_| {});
    let first = worker.connect();
    for _ in 0..10 {
        let clients: Vec<_> = (0..12).map(|_| worker.connect()).collect();
        send_at_once(&worker, &first, &clients, "/toil-abort");
        for mut stream in clients {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.as_bytes().ends_with(&PAGE));
        }
    }
}

#[test]
fn no_answer_waits_for_a_close_that_is_stuck() {
    let worker = start(|_| {});
    let (first, clients) = (worker.connect(), (0..12).map(|_| worker.connect()).collect::<Vec<_>>());
    for _ in 0..20 {
        // Known to be quick.
        send_at_once(&worker, &first, &clients, "/whole");
        clients.iter().for_each(|stream| read_one(stream, b"whole"));
        // The last of them is closed by the time that the next request is run.
        (&first).write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        read_one(&first, b"hello");
        let stuck = worker.overseer.closing.lock().unwrap();
        send_at_once(&worker, &first, &clients, "/whole");
        read_one(&clients[0], b"whole");
        drop(stuck);
        clients[1..].iter().for_each(|stream| read_one(stream, b"whole"));
    }
}

#[test]
fn no_answer_waits_for_the_next_event_when_its_thread_was_stuck() {
    let worker = start(|_| {});
    let (mut stuck, mut other) = (worker.connect(), worker.connect());
    let quick = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..300 {
        let begun = Instant::now();
        let mut last = worker.connect();
        last.write_all(quick.as_bytes()).unwrap();
        read_one(&last, b"hello");
        stuck.write_all(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        worker.hold.wait();
        // They are run when the thread is back. Only the standby can answer what comes behind them, when it has read them.
        other.write_all(quick.repeat(8).as_bytes()).unwrap();
        last.write_all(b"bad\r\n\r\n").unwrap();
        last.read_exact(&mut [0; 12]).unwrap();
        worker.hold.wait();
        read_one(&stuck, b"held");
        read_until(&other, |answers| count(&String::from_utf8_lossy(answers), "\r\n\r\nhello") == 8);
        // The reactor wakes once a second if for nothing else.
        assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    }
}
