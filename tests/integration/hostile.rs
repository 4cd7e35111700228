//! Slow and hostile clients: thousands that drip, or do not read, must not cost a normal client its answer nor the
//! worker its memory. And each kind of slowness ends in 408 or a close.
//!
//! The crowd is driven by one thread with a poll that waits until the next byte is due.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::client::{Address, Client, Response};
use crate::harness::{Builder, Server};

/// How many clients are slow at once.
const CROWD: usize = 2000;

/// How long the normal client is measured, once without the crowd and once beside it.
const MEASURED: Duration = Duration::from_secs(3);

/// What the normal client may wait however quick the idle server was: other tests run at the same time.
const WAIT_FLOOR: Duration = Duration::from_millis(50);

/// What one slow client may cost the worker, in bytes.
const MEMORY_EACH_MAX: usize = 16 * 1024;

/// What the slow clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slowness {
    Head,
    Body,
    Reading,
}

impl Slowness {
    fn opening(self) -> &'static [u8] {
        match self {
            Self::Head => b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Drip: ",
            Self::Body => b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
            Self::Reading => b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n",
        }
    }

    /// One byte more; an error when the server has closed the connection.
    fn drip(self, stream: &mut mio::net::TcpStream) -> std::io::Result<()> {
        match self {
            Self::Head | Self::Body => stream.write_all(b"x"),
            Self::Reading => match stream.read(&mut [0])? {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            },
        }
    }
}

/// Connections that are slow as long as the crowd is driven.
struct Crowd {
    slowness: Slowness,
    poll: Poll,
    streams: Vec<mio::net::TcpStream>,
}

impl Crowd {
    fn gather(slowness: Slowness, address: SocketAddr) -> Self {
        let poll = Poll::new().unwrap();
        let streams = (0..CROWD).map(|number| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            // A slow reader has a small window, or the kernel would read for it.
            socket.set_recv_buffer_size(4096).unwrap();
            socket.set_tcp_nodelay(true).unwrap();
            socket.connect(&address.into()).unwrap();
            let mut stream = TcpStream::from(socket);
            stream.write_all(slowness.opening()).unwrap();
            if slowness == Slowness::Reading {
                // Its answer has begun, so the application is done with it.
                stream.read_exact(&mut [0]).unwrap();
            }
            stream.set_nonblocking(true).unwrap();
            let mut stream = mio::net::TcpStream::from_std(stream);
            if slowness != Slowness::Reading {
                poll.registry().register(&mut stream, Token(number), Interest::READABLE).unwrap();
            }
            stream
        });
        let streams = streams.collect();
        Self { slowness, poll, streams }
    }

    /// Each connection moves one byte a second until `stop`; returns how many bytes were moved. No connection may be
    /// answered or closed.
    fn drive(&mut self, stop: &AtomicBool) -> usize {
        let begun = Instant::now();
        let step = Duration::from_secs(1) / u32::try_from(CROWD).unwrap();
        let mut events = Events::with_capacity(64);
        let mut moved = 0;
        while !stop.load(Ordering::Relaxed) {
            while begun + step * u32::try_from(moved).unwrap() <= Instant::now() {
                let dripped = self.slowness.drip(&mut self.streams[moved % CROWD]);
                dripped.unwrap_or_else(|error| panic!("a slow client was cut off: {error}"));
                moved += 1;
            }
            // Bytes that are due within the same 10 ms go together.
            self.poll.poll(&mut events, Some(Duration::from_millis(10))).unwrap();
            assert!(events.is_empty(), "the server answers or closes a slow client");
        }
        moved
    }
}

/// The waiting time of a normal client that 99 of 100 of its requests stay below, over `duration`.
fn p99(server: &Server, duration: Duration) -> Duration {
    let mut client = server.connect();
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < duration {
        let sent = Instant::now();
        client.get("/").expect(200);
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Memory of a process in bytes: VmRSS of proc_pid_status(5).
fn memory(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

fn crowd_does_no_harm(slowness: Slowness) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < 8192 {
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(8192), hard).unwrap();
    }
    let server = Builder::new("constant").with("http.header_timeout", "\"60s\"").start();
    let Address::Tcp(address) = server.address() else { panic!("a listener on TCP") };
    let pid = server.workers()[0].pid;
    server.get("/large").expect(200);
    let idle = p99(&server, MEASURED);
    let before = memory(pid);
    let mut crowd = Crowd::gather(slowness, address);
    let stop = AtomicBool::new(false);
    let (beside, moved) = thread::scope(|scope| {
        let driver = scope.spawn(|| crowd.drive(&stop));
        let beside = p99(&server, MEASURED);
        stop.store(true, Ordering::Relaxed);
        (beside, driver.join().unwrap())
    });
    let each = memory(pid).saturating_sub(before) / CROWD;
    eprintln!(
        "{CROWD} slow clients ({slowness:?}, {moved} bytes): p99 {beside:.1?}, idle {idle:.1?}; {each} bytes of memory each"
    );
    assert!(moved >= CROWD * 2, "the crowd moved {moved} bytes only");
    assert!(beside <= WAIT_FLOOR.max(idle * 2), "p99 is {beside:?} beside the crowd, {idle:?} without");
    assert!(each <= MEMORY_EACH_MAX, "{each} bytes for each slow client");
    drop(crowd);
    server.get("/").expect(200);
}

#[test]
fn crowd_with_slow_heads() {
    crowd_does_no_harm(Slowness::Head);
}

#[test]
fn crowd_with_slow_bodies() {
    crowd_does_no_harm(Slowness::Body);
}

#[test]
fn crowd_that_reads_slowly() {
    crowd_does_no_harm(Slowness::Reading);
}

/// Sends `opening`, then `drip` every 50 ms until the server answers, and returns the answer and how long it took.
fn answer_to_drip(server: &Server, opening: &str, drip: &[u8]) -> (Response, Duration) {
    let Address::Tcp(address) = server.address() else { panic!("a listener on TCP") };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    stream.write_all(opening.as_bytes()).unwrap();
    let begun = Instant::now();
    while let Err(error) = stream.peek(&mut [0]) {
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10), "the server bears {opening:?} for ever");
        stream.write_all(drip).unwrap();
    }
    let took = begun.elapsed();
    let mut client = Client::from_tcp(stream);
    let response = client.response();
    if response.status == 408 {
        client.expect_end();
    }
    (response, took)
}

const SLOW_TIMEOUTS: [(&str, &str); 2] =
    [("http.header_timeout", "\"300ms\""), ("http.body_timeout", "\"300ms\"")];

fn impatient() -> Server {
    let builder = Builder::new("echo");
    SLOW_TIMEOUTS.iter().fold(builder, |builder, (key, value)| builder.with(key, value)).start()
}

#[test]
fn slow_heads_and_bodies_get_408_whether_silent_or_dripping() {
    let server = impatient();
    let body = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (what, opening, drip) in [
        ("a silent request line", "GET", ""),
        ("a dripping request line", "GET /", "x"),
        ("a silent head", "GET / HTTP/1.1\r\nHost: localhost\r\n", ""),
        ("a dripping head", "GET / HTTP/1.1\r\nHost: localhost\r\nX-Drip: ", "x"),
        ("a body that does not begin", body, ""),
        ("a dripping body", body, "x"),
        ("a silent chunk", &format!("{chunked}5\r\nab"), ""),
        ("dripping chunks", chunked, "1\r\nx\r\n"),
        ("a dripping chunk size", chunked, "0"),
    ] {
        let (response, took) = answer_to_drip(&server, opening, drip.as_bytes());
        assert_eq!((response.status, response.header("connection")), (408, Some("close")), "{what}");
        assert!(took > Duration::from_millis(200), "{what} was refused after {took:?}");
    }
}

#[test]
fn body_that_flows_may_take_longer_than_the_timeout() {
    let server = impatient();
    let opening = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n";
    let (response, took) = answer_to_drip(&server, opening, &[b'x'; 1000]);
    assert_eq!((response.status, response.body.len()), (200, 20_000));
    assert!(took > Duration::from_millis(600), "{took:?}");
}

#[test]
fn reader_that_takes_nothing_is_closed() {
    let builder = Builder::new("big").with("log.level", "\"debug\"");
    let server = builder.with("http.write_timeout", "\"300ms\"").start();
    let Address::Tcp(address) = server.address() else { panic!("a listener on TCP") };
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut client = Client::from_tcp(socket.into());
    // More than the kernel takes for it.
    client.send("GET /list?30000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    server.wait_for("it has read nothing for http.write_timeout");
    let error = client.read_response(false).unwrap_err();
    assert!(error.contains("the connection ends") || error.contains("reset"), "{error}");
}
