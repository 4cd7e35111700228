//! The worker on real sockets, with an application written in Rust: no Python, no fork.

mod application;
mod lifecycle;
mod messages;
mod pipelining;
mod sizes;
mod timeouts;
mod turns;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use application::{RustApp, RustOverseer};

use crate::config::Settings;
use crate::ipc::{Channel, FromWorker, Roster, Scoreboard, Seat, ToWorker};
use crate::net::{Address, Bind, Listener};

/// A worker on threads of this process.
struct Running {
    address: SocketAddr,
    master: Channel,
    hold: Arc<Barrier>,
    overseer: Arc<RustOverseer>,
    scoreboard: Scoreboard,
    /// The exit code, when the worker ended without its threads.
    abandoned: Mutex<mpsc::Receiver<i32>>,
    thread: Option<JoinHandle<()>>,
    /// As another worker has it.
    listener: Listener,
}

/// A worker that serves.
fn start(change: impl FnOnce(&mut Settings)) -> Running {
    let running = boot(change);
    running.master.send_to_worker(ToWorker::Serve).unwrap();
    running
}

/// A worker that is ready.
fn boot(change: impl FnOnce(&mut Settings)) -> Running {
    let mut settings = Settings::for_tests();
    change(&mut settings);
    let bind = Bind::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = Listener::bind(&bind, 128, 0).unwrap().remove(0);
    let Address::Tcp(address) = listener.local else { panic!("not TCP") };
    let (master, channel) = Channel::pair().unwrap();
    let listeners = vec![listener.duplicate().unwrap()];
    let scoreboard = Scoreboard::create(settings.workers.threads).unwrap();
    let seen = scoreboard.as_fd().try_clone_to_owned().unwrap();
    let seen = Scoreboard::open(seen, settings.workers.threads).unwrap();
    let roster = Arc::new(Roster::create().unwrap());
    let seat = Seat { generation: 1, slot: 0, settings, listeners, channel, scoreboard, roster };
    let (signals, signals_writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
    let hold = Arc::new(Barrier::new(2));
    let overseer = Arc::new(RustOverseer::default());
    let app = RustApp {
        barrier: Barrier::new(seat.settings.workers.threads as usize),
        hold: Arc::clone(&hold),
        overseer: Arc::clone(&overseer),
    };
    let (exit, abandoned) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let exit = Mutex::new(exit);
        super::serve(&app, seat, signals.into(), &|code| exit.lock().unwrap().send(code).unwrap()).unwrap();
        drop(signals_writer);
    });
    let thread = Some(thread);
    let abandoned = Mutex::new(abandoned);
    let running = Running { address, master, hold, overseer, scoreboard: seen, abandoned, thread, listener };
    assert_eq!(running.message(), FromWorker::Ready);
    running
}

impl Running {
    /// Waits for a message of the worker.
    fn message(&self) -> FromWorker {
        self.wait_for_message_or_end();
        self.master.receive_from_worker().unwrap().unwrap()
    }

    fn wait_for_message_or_end(&self) {
        use std::os::fd::AsFd;
        let descriptor = crate::sys::duplicate(&self.master).unwrap();
        let mut wait = [nix::poll::PollFd::new(descriptor.as_fd(), nix::poll::PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut wait, 10_000u16), Ok(1), "no message of the worker");
    }

    /// Whether it had nothing more to say than that it drains, and has ended.
    fn said_no_more(&self) -> bool {
        loop {
            match self.master.receive_from_worker() {
                Ok(Some(FromWorker::Draining)) => {}
                // A process that another test has forked has the worker's end too, until it ends.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_message_or_end(),
                end => return end.is_ok_and(|message| message.is_none()),
            }
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// From now on there is little room for what a client does not read; connections inherit it.
    fn leave_little_room(&self) {
        socket2::SockRef::from(&self.listener.as_fd()).set_send_buffer_size(4096).unwrap();
    }

    /// The client's side of that.
    fn connect_with_little_room(&self) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        // A request does not wait until the last one is acknowledged.
        socket.set_tcp_nodelay(true).unwrap();
        socket.connect(&self.address.into()).unwrap();
        socket.into()
    }

    /// Sends bytes on a connection of its own, and reads until the server closes it.
    fn talk(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        end.unwrap_or_else(|error| panic!("{error} after {answer:?}"));
        answer
    }

    fn stop(&mut self) {
        self.overseer.released.open();
        if let Some(thread) = self.thread.take() {
            self.master.send_to_worker(ToWorker::Drain).unwrap();
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

const CLOSE: &str = "Host: a\r\nConnection: close\r\n\r\n";

/// Reads byte by byte, and nothing behind what is enough.
fn read_until(mut stream: impl Read, is_enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !is_enough(&bytes) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    bytes
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let worker = start(|_| {});
    let first = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let answer = worker.talk(format!("{first}{first}GET / HTTP/1.1\r\n{CLOSE}").as_bytes());
    assert_eq!(count(&answer, "HTTP/1.1 200 OK"), 3, "{answer}");
    assert_eq!(count(&answer, "\r\n\r\nabcHTTP/1.1"), 2, "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let worker = start(|_| {});
    let mut stream = worker.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

#[test]
fn a_chunked_body_past_the_memory_limit_is_spooled_and_arrives_whole() {
    let worker = start(|settings| settings.http.body_memory = 10);
    let chunks = "5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";
    let request = format!("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{CLOSE}{chunks}");
    let answer = worker.talk(request.as_bytes());
    assert!(answer.ends_with("\r\n\r\nhello0123456789abcdef"), "{answer}");
}

#[test]
fn a_client_that_waits_is_told_to_continue() {
    let worker = start(|_| {});
    let mut stream = worker.connect();
    write!(stream, "POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n{CLOSE}").unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nhi"), "{answer}");
}

#[test]
fn a_streamed_body_is_read_while_it_arrives_and_the_wait_for_it_is_answered() {
    let worker = start(|settings| settings.http.request_buffering = false);
    let mut stream = worker.connect();
    write!(stream, "POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n{CLOSE}")
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"2\r\nhi\r\n0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
}

#[test]
fn a_streamed_body_with_broken_framing_is_an_error_to_the_application() {
    let worker = start(|settings| settings.http.request_buffering = false);
    let request = format!("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{CLOSE}2\r\nhi\r\nzz\r\n");
    let answer = worker.talk(request.as_bytes());
    assert!(answer.ends_with("InvalidData"), "{answer}");
}

#[test]
fn a_streamed_body_larger_than_the_memory_limit_arrives_whole() {
    let worker = start(|settings| {
        settings.http.request_buffering = false;
        settings.http.body_memory = 1000;
    });
    let body = "0123456789".repeat(100_000);
    let length = body.len();
    let answer =
        worker.talk(format!("POST /echo HTTP/1.1\r\nContent-Length: {length}\r\n{CLOSE}{body}").as_bytes());
    assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{} bytes", answer.len());
}

#[test]
fn an_error_is_answered_and_not_destroyed_by_a_reset() {
    let worker = start(|settings| settings.http.max_body = 1000);
    let body = "x".repeat(300_000);
    let request = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = worker.connect();
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn a_client_that_stops_reading_does_not_keep_others_from_their_answers() {
    let worker = start(|_| {});
    let mut lazy = worker.connect();
    write!(lazy, "GET /large HTTP/1.1\r\n{CLOSE}").unwrap();
    let mut first = [0; 1];
    lazy.read_exact(&mut first).unwrap();
    // With one thread, the application holds it until most of the answer is gone: the client reads on.
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        lazy.read_to_end(&mut rest).unwrap();
        rest.len()
    });
    let answer = worker.talk(format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes());
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(reader.join().unwrap() > 8 << 20);
}

#[test]
fn threads_run_requests_at_once() {
    let worker = start(|settings| settings.workers.threads = 4);
    let request = format!("GET /barrier HTTP/1.1\r\n{CLOSE}");
    let answers = std::thread::scope(|scope| {
        let talks: Vec<_> = (0..4).map(|_| scope.spawn(|| worker.talk(request.as_bytes()))).collect();
        talks.into_iter().map(|talk| talk.join().unwrap()).collect::<Vec<_>>()
    });
    for answer in answers {
        assert!(answer.ends_with("ok"), "{answer}");
    }
}

#[test]
fn an_error_in_mid_stream_leaves_out_the_last_chunk() {
    let worker = start(|_| {});
    let answer = worker.talk(b"GET /abort HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.ends_with("5\r\nbegun\r\n"), "{answer}");
}

#[test]
fn an_exchange_that_is_forgotten_is_answered_500() {
    let worker = start(|_| {});
    let answer = worker.talk(b"GET /forgets HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
}

#[test]
fn a_stream_is_chunked_for_1_1_and_ends_with_the_connection_for_1_0() {
    let worker = start(|_| {});
    let answer = worker.talk(format!("GET /stream HTTP/1.1\r\n{CLOSE}").as_bytes());
    assert!(answer.ends_with("3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"), "{answer}");
    let answer = worker.talk(b"GET /stream HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\nonetwothree"), "{answer}");
}
