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

#[test]
fn short_answers_that_go_out_together_are_whole_whoever_reads_them() {
    const ROUNDS: usize = 30;
    let worker = start(|_| {});
    worker.leave_little_room();
    let mut first = worker.connect();
    // Every other one reads nothing until the end.
    let mut clients: Vec<_> = (0..12).map(|_| worker.connect_with_little_room()).collect();
    let answered = |mut stream: &TcpStream, end: &[u8]| {
        let mut answer = Vec::new();
        while !answer.ends_with(end) {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece).unwrap();
            assert!(length > 0, "closed after {} bytes", answer.len());
            answer.extend_from_slice(&piece[..length]);
        }
        assert_eq!(count(&String::from_utf8(answer).unwrap(), "HTTP/1.1 200 OK\r\n"), 1);
    };
    for _ in 0..ROUNDS {
        // All are there when the first of them is read.
        for stream in &clients {
            let message = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
            worker.overseer.cue.lock().unwrap().push((stream.try_clone().unwrap(), message));
        }
        first.write_all(b"GET /cue HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        answered(&first, b"hello");
        clients.iter().skip(1).step_by(2).for_each(|stream| answered(stream, &PAGE));
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
