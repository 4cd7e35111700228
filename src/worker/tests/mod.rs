//! The worker on real sockets, with an application written in Rust: no Python, no fork.

mod lifecycle;
mod messages;
mod sizes;
mod timeouts;
mod turns;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use crate::app::{
    AfterCall, Application, Attached, Block, Body, Exchange, Identity, LoadError, Overseer, RequestId,
    Scheme, Sent,
};
use crate::config::Settings;
use crate::http::ResponseHead;
use crate::ipc::{Channel, FromWorker, Roster, Scoreboard, Seat, ToWorker};
use crate::net::{Address, Bind, Listener};
use crate::sys::process::Fork;

/// Answers by path.
#[derive(Debug)]
struct RustApp {
    /// Where `/barrier` waits for others.
    barrier: Barrier,
    /// Where `/hold` meets the test, twice.
    hold: Arc<Barrier>,
    overseer: Arc<RustOverseer>,
}

/// Closed until it is opened, for ever then.
#[derive(Debug, Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn pass(&self) {
        drop(self.changed.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }
}

impl Application for RustApp {
    fn attach(&self, _thread_name: &str, body: &mut dyn FnMut(&mut dyn Attached)) {
        body(&mut Thread(self));
    }

    fn freeze(&self) {}

    fn thread_names(&self) -> Vec<(i32, String)> {
        Vec::new()
    }

    fn fork(&self, fork: &mut dyn FnMut() -> io::Result<Fork>) -> io::Result<Fork> {
        fork()
    }

    fn settle(&mut self, _: &Settings, _: Identity, _: Option<&File>) -> Result<(), LoadError> {
        Ok(())
    }

    fn worker_start(&self, _: &Settings, _: Identity) -> Result<(), LoadError> {
        Ok(())
    }

    fn worker_exit(&self, _: &Settings, _: Identity) {}

    fn overseer(&self) -> Arc<dyn Overseer> {
        Arc::clone(&self.overseer) as Arc<dyn Overseer>
    }

    /// Writes one byte, an X.
    fn dump_stacks_on(&self, signal: i32, file: &File) -> io::Result<()> {
        signal_hook::low_level::pipe::register(signal, file.try_clone()?).map(drop)
    }

    fn finalize(&self) {}
}

/// What the tests and the application's paths share.
#[derive(Debug, Default)]
struct RustOverseer {
    /// What `/moved` has set.
    deadline: Mutex<Option<Duration>>,
    /// Stands for the interpreter lock where a test wants that one thread keeps others from running.
    lock: Mutex<()>,
    /// The interpreter lock is never given up.
    deaf: AtomicBool,
    /// Opened by an interruption.
    interrupted: Gate,
    /// Where `/cue` asks for `/other`.
    cue: Mutex<Option<TcpStream>>,
    /// `/cue`, `/next` and `/other` as they were called.
    order: Mutex<Vec<String>>,
    /// Opened when a path is held up.
    begun: Gate,
    /// What `/stuck` waits for; opened by the test, or at its end.
    released: Gate,
}

impl Overseer for RustOverseer {
    fn deadline(&self, _: &RequestId) -> Option<Duration> {
        if self.deaf.load(Ordering::Relaxed) {
            self.released.pass();
        }
        *self.deadline.lock().unwrap()
    }

    fn interrupt(&self, _: &RequestId) -> bool {
        self.interrupted.open();
        true
    }
}

impl RustOverseer {
    fn note(&self, path: &str) {
        if matches!(path, "/cue" | "/next" | "/other") {
            self.order.lock().unwrap().push(path.to_owned());
        }
        if path == "/cue"
            && let Some(mut other) = self.cue.lock().unwrap().take()
        {
            other.write_all(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }
    }

    /// Answers the paths that take too long.
    fn hold_up(&self, path: &str, head: ResponseHead, exchange: &mut dyn Exchange) {
        match path {
            "/stuck" => {
                self.begun.open();
                self.released.pass();
                exchange.start(head, Some(4));
                exchange.send(Block::Borrowed(b"late"), true);
                exchange.finish();
            }
            "/holds-the-lock" => {
                let _held = self.lock.lock().unwrap();
                self.begun.open();
                self.released.pass();
                exchange.abort();
            }
            "/stuck-in-close" => {
                exchange.start(head, Some(4));
                exchange.send(Block::Borrowed(b"done"), true);
                exchange.finish();
                self.released.pass();
            }
            "/large-stuck-in-close" => {
                exchange.start(head, Some(LARGE.len() as u64));
                exchange.send(Block::Shared(Bytes::from_static(&LARGE)), true);
                exchange.finish();
                self.released.pass();
            }
            "/stuck-stream" => {
                exchange.start(head, None);
                exchange.send(Block::Borrowed(b"begun"), false);
                self.released.pass();
                exchange.send(Block::Borrowed(b"late"), false);
                exchange.finish();
            }
            "/interruptible" => {
                self.interrupted.pass();
                exchange.abort();
            }
            _ => {
                let deadline = exchange.deadline().unwrap() + Duration::from_secs(60);
                *self.deadline.lock().unwrap() = Some(deadline);
                self.released.pass();
                exchange.start(head, Some(5));
                exchange.send(Block::Borrowed(b"moved"), true);
                exchange.finish();
            }
        }
    }
}

/// At hand at once, so that the call is over before anybody takes the reactor over.
static LARGE: [u8; 8 << 20] = [b'x'; 8 << 20];

struct Thread<'a>(&'a RustApp);

impl Thread<'_> {
    /// A large block after the test was met twice.
    fn hold_and_answer(&self, head: ResponseHead, exchange: &mut dyn Exchange) {
        self.0.hold.wait();
        self.0.hold.wait();
        exchange.start(head, Some(64 << 10));
        exchange.send(Block::Shared(Bytes::from(vec![b'x'; 64 << 10])), true);
        exchange.finish();
    }

    /// A response that is whole by its length, and whose call goes on until the test has met it.
    fn answer_and_hold(&self, block: Bytes, head: ResponseHead, exchange: &mut dyn Exchange) {
        exchange.start(head, Some(block.len() as u64));
        exchange.send(Block::Shared(block), false);
        assert!(exchange.head_sent());
        self.0.hold.wait();
        exchange.finish();
    }
}

impl Attached for Thread<'_> {
    fn call(&mut self, exchange: &mut dyn Exchange) -> AfterCall {
        // As Python code does. A thread that was busy until now takes its next request while it is attached, and waits here.
        drop(self.0.overseer.lock.lock().unwrap());
        let path = String::from_utf8_lossy(exchange.request().head.path()).into_owned();
        self.0.overseer.note(&path);
        let mut head = ResponseHead::new(b"200 OK").unwrap();
        head.push(b"Content-Type", b"text/plain").unwrap();
        match path.as_str() {
            "/echo" => {
                let body = read_all(exchange.take_body());
                exchange.start(head, Some(body.len() as u64));
                exchange.send(Block::Borrowed(&body), true);
                exchange.finish();
            }
            "/hold-shared" => self.hold_and_answer(head, exchange),
            "/whole-hold" => self.answer_and_hold(Bytes::from_static(b"whole"), head, exchange),
            "/whole-large-hold" => self.answer_and_hold(Bytes::from_static(&LARGE), head, exchange),
            "/large" => {
                let block = Bytes::from(vec![b'x'; 8 << 20]);
                exchange.start(head, Some(block.len() as u64));
                if exchange.send(Block::Shared(block), false) == Sent::Full {
                    exchange.wait();
                }
                exchange.finish();
            }
            "/stream" => {
                exchange.start(head, None);
                for block in [&b"one"[..], b"two", b"three"] {
                    exchange.send(Block::Borrowed(block), false);
                }
                exchange.finish();
            }
            "/barrier" => {
                self.0.barrier.wait();
                exchange.start(head, Some(2));
                exchange.send(Block::Borrowed(b"ok"), true);
                exchange.finish();
            }
            "/hold" => {
                self.0.hold.wait();
                self.0.hold.wait();
                exchange.start(head, Some(4));
                exchange.send(Block::Borrowed(b"held"), true);
                exchange.finish();
            }
            "/stuck"
            | "/holds-the-lock"
            | "/stuck-in-close"
            | "/large-stuck-in-close"
            | "/stuck-stream"
            | "/interruptible"
            | "/moved" => {
                self.0.overseer.hold_up(&path, head, exchange);
            }
            "/scheme" => {
                let secure = exchange.request().origin.scheme == Scheme::Https;
                exchange
                    .start(ResponseHead::new(if secure { b"200 OK" } else { b"400 Bad" }).unwrap(), Some(0));
                exchange.finish();
            }
            "/abort" => {
                exchange.start(head, None);
                exchange.send(Block::Borrowed(b"begun"), false);
                exchange.abort();
            }
            "/forgets" => {}
            "/leave" => {
                exchange.abort();
                return AfterCall::Exit;
            }
            _ => {
                exchange.start(head, Some(5));
                exchange.send(Block::Borrowed(b"hello"), true);
                exchange.finish();
            }
        }
        AfterCall::Continue
    }

    fn detached(&mut self, wait: &mut dyn FnMut()) {
        wait();
        drop(self.0.overseer.lock.lock().unwrap());
    }
}

fn read_all(body: Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    match body {
        Body::Memory(memory) => bytes.extend_from_slice(&memory),
        Body::Spooled { mut file, .. } => {
            file.read_to_end(&mut bytes).unwrap();
        }
        Body::Stream(mut stream) => loop {
            match stream.read(1000) {
                Ok(piece) if piece.is_empty() => break,
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(error) => return format!("{:?}", error.kind()).into_bytes(),
            }
        },
    }
    bytes
}

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
    let seen = std::os::fd::AsFd::as_fd(&scoreboard).try_clone_to_owned().unwrap();
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
