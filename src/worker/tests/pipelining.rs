//! What follows an answer that is held back on the same connection: nothing overtakes it, and it is never lost.

use std::net::Shutdown;

use super::application::{LARGE, PAGE};
use super::*;

const QUICK: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A client whose next requests are known to take next to no time.
fn warm(worker: &Running) -> TcpStream {
    let mut stream = worker.connect();
    for _ in 0..8 {
        stream.write_all(QUICK.as_bytes()).unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
    }
    stream
}

/// What comes behind three quick answers, to the end of the connection.
fn behind_three(mut stream: TcpStream) -> String {
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let mut rest = answers.as_str();
    for _ in 0..3 {
        let (head, behind) = rest.split_once("\r\n\r\nhello").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && count(head, "HTTP/1.1") == 1, "{answers}");
        rest = behind;
    }
    rest.to_owned()
}

#[test]
fn nothing_overtakes_an_answer_that_is_held_back() {
    let worker = start(|_| {});
    let large = String::from_utf8_lossy(&LARGE);
    let followers = [
        (format!("GET / HTTP/1.1\r\n{CLOSE}"), "HTTP/1.1 200 OK", "\r\n\r\nhello"),
        (format!("GET /whole HTTP/1.1\r\n{CLOSE}"), "HTTP/1.1 200 OK", "\r\n\r\nwhole"),
        (format!("GET /stream HTTP/1.1\r\n{CLOSE}"), "HTTP/1.1 200 OK", "5\r\nthree\r\n0\r\n\r\n"),
        (format!("GET /large HTTP/1.1\r\n{CLOSE}"), "HTTP/1.1 200 OK", &large),
        (
            format!("POST /echo HTTP/1.1\r\nContent-Length: 4\r\n{CLOSE}body"),
            "HTTP/1.1 200 OK",
            "\r\n\r\nbody",
        ),
        ("GET /forgets HTTP/1.1\r\nHost: a\r\n\r\nGET".to_owned(), "HTTP/1.1 500 ", ""),
        ("GET /abort HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "HTTP/1.1 200 OK", "5\r\nbegun\r\n"),
        ("bad\r\n\r\n".to_owned(), "HTTP/1.1 400 ", ""),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo".to_owned(), "", ""),
        ("GET / HTTP".to_owned(), "", ""),
        (String::new(), "", ""),
    ];
    for _ in 0..8 {
        // Known to be quick too.
        worker.talk(followers[1].0.as_bytes());
    }
    for (follower, begin, end) in followers.iter().cycle().take(10 * followers.len()) {
        let mut stream = warm(&worker);
        stream.write_all(format!("{}{follower}", QUICK.repeat(3)).as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = behind_three(stream);
        assert!(answer.starts_with(begin) && answer.ends_with(end), "{follower:?}: {} bytes", answer.len());
        assert!(!begin.is_empty() || answer.is_empty(), "{follower:?}: {answer:?}");
    }
}

#[test]
fn a_client_that_waits_to_continue_has_the_answers_before() {
    let worker = start(|_| {});
    for _ in 0..20 {
        let mut stream = warm(&worker);
        let fields = format!("Expect: 100-continue\r\nContent-Length: 2\r\n{CLOSE}");
        stream.write_all(format!("{}POST /echo HTTP/1.1\r\n{fields}", QUICK.repeat(3)).as_bytes()).unwrap();
        let mut sends = stream.try_clone().unwrap();
        let told = read_until(&mut stream, |told| told.ends_with(b"HTTP/1.1 100 Continue\r\n\r\n"));
        assert_eq!(count(&String::from_utf8(told).unwrap(), "\r\n\r\nhello"), 3);
        sends.write_all(b"hi").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nhi"), "{answer}");
    }
}

#[test]
fn an_answer_does_not_wait_for_a_request_behind_it_that_is_stuck() {
    let worker = start(|_| {});
    for _ in 0..10 {
        let mut stream = warm(&worker);
        stream.write_all(format!("{}GET /hold HTTP/1.1\r\n{CLOSE}", QUICK.repeat(3)).as_bytes()).unwrap();
        read_until(&mut stream, |told| count(&String::from_utf8_lossy(told), "\r\n\r\nhello") == 3);
        worker.hold.wait();
        worker.hold.wait();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("held"), "{answer}");
    }
}

#[test]
fn answers_to_a_client_with_little_room_are_whole_and_in_order() {
    let worker = start(|_| {});
    worker.leave_little_room();
    let page = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n";
    for pairs in (1..8).chain([100]) {
        let mut stream = worker.connect_with_little_room();
        for _ in 0..8 {
            stream.write_all(page.as_bytes()).unwrap();
            read_until(&mut stream, |answer| answer.ends_with(&PAGE));
        }
        stream.write_all(format!("{QUICK}{page}").repeat(pairs).as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // When this is answered, all has been done that can be before the client reads.
        worker.talk(format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes());
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        let bodies: Vec<_> = answers.split("HTTP/1.1 200 OK\r\n").skip(1).collect();
        assert_eq!(bodies.len(), 2 * pairs);
        for (index, body) in bodies.iter().enumerate() {
            let expected = if index % 2 == 1 { &PAGE[..] } else { b"hello" };
            assert_eq!(
                body.split_once("\r\n\r\n").unwrap().1.as_bytes(),
                expected,
                "answer {index} of {pairs} pairs"
            );
        }
    }
}
