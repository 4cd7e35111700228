//! Constant load in the background, which verifies every answer and sorts every failure by what exactly went wrong.
//!
//! It has a client of its own, since it must know at which byte a connection broke, what the connection had done before,
//! and when. A kept connection that was closed while it was idle is opened again without a word: that is HTTP. A
//! connection that is lost after a request was sent on it is a failure.
//!
//! Each request carries a token that no other has, and some a body; the answer must hold both, so that answers cannot
//! be mixed up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use crate::client::Address;

/// A request that has no whole answer by then has failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A pause of each client between requests, so that the server has air on a small machine.
const PAUSE: Duration = Duration::from_millis(4);
/// A worker that drains keeps connections that were idle for less than a second. A client that was slower than this to
/// send its next request has no promise.
const PROMISED_IDLE: Duration = Duration::from_millis(800);

/// What went wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection could be made.
    Connect(io::ErrorKind),
    /// The request could not be sent, or the connection broke before a byte of the answer: `None` for an end without error.
    NoAnswer(Option<io::ErrorKind>),
    /// The connection broke or ended in the middle of the answer.
    ShortAnswer(String),
    /// The answer is whole, but not to this request, or no HTTP.
    WrongAnswer(String),
    /// Not all of an answer within ten seconds.
    Timeout,
    /// Another status than 200.
    Status(u16),
    /// An idle connection was reset instead of closed.
    IdleReset,
}

/// One failed request.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) client: usize,
    pub(crate) fault: Fault,
    /// The worker that gave the last answer on this connection; `None` on a new one.
    pub(crate) worker: Option<i32>,
    pub(crate) connected: Instant,
    pub(crate) sent: Instant,
    pub(crate) failed: Instant,
    /// How long the connection was idle before the request.
    pub(crate) idle: Duration,
}

/// What the clients have seen so far.
#[derive(Debug, Default)]
struct Seen {
    requests: u64,
    connections: u64,
    reopened: u64,
    slowest: Duration,
    /// The longest that a client overslept its pause: how late anything on this machine may be.
    stall: Duration,
    failures: Vec<Failure>,
    workers: BTreeSet<i32>,
    /// Versions of the code, with how many answers each gave.
    versions: BTreeMap<String, u64>,
    stop: bool,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
    /// Wakes clients from their pause.
    stopped: Condvar,
}

/// How many clients of each kind there are at each address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    pub(crate) kept: usize,
    pub(crate) closing: usize,
    pub(crate) path: &'static str,
}

impl Mix {
    /// Both kinds.
    pub(crate) const USUAL: Self = Self { kept: 4, closing: 2, path: "/" };
    /// Only clients with a connection for each request.
    pub(crate) const CLOSING: Self = Self { kept: 0, closing: 4, path: "/" };
}

/// The load while it runs.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    begun: Instant,
}

/// What a load has come to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) connections: u64,
    pub(crate) reopened: u64,
    pub(crate) slowest: Duration,
    pub(crate) stall: Duration,
    pub(crate) failures: Vec<Failure>,
    pub(crate) workers: BTreeSet<i32>,
    pub(crate) versions: BTreeMap<String, u64>,
    pub(crate) begun: Instant,
    pub(crate) lasted: Duration,
}

impl Load {
    pub(crate) fn start(addresses: &[Address], mix: Mix) -> Self {
        let shared = Arc::new(Shared::default());
        let mut clients = Vec::new();
        for address in addresses {
            for number in 0..mix.kept + mix.closing {
                let client = LoadClient {
                    number: clients.len(),
                    address: address.clone(),
                    keeps: number < mix.kept,
                    path: mix.path,
                    shared: Arc::clone(&shared),
                    connection: None,
                };
                clients.push(thread::spawn(move || client.run()));
            }
        }
        let load = Self { shared, clients, begun: Instant::now() };
        load.await_answers(load.clients.len() as u64);
        load
    }

    /// Waits for so many more answers; false when that takes longer than the timeout of a request.
    pub(crate) fn await_answers(&self, count: u64) -> bool {
        let seen = self.shared.seen.lock().unwrap();
        let goal = seen.requests + count;
        let missing = |seen: &mut Seen| seen.requests < goal && !seen.stop;
        !self.shared.changed.wait_timeout_while(seen, TIMEOUT, missing).unwrap().1.timed_out()
    }

    /// Waits until `condition` holds, and looks again whenever a few requests were answered. The error is how long it waited.
    pub(crate) fn until(
        &self,
        patience: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> Result<Duration, Duration> {
        let begun = Instant::now();
        loop {
            if condition() {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > patience {
                return Err(begun.elapsed());
            }
            self.await_answers(5);
        }
    }

    /// The workers that have answered so far.
    pub(crate) fn workers(&self) -> BTreeSet<i32> {
        self.shared.seen.lock().unwrap().workers.clone()
    }

    /// How late anything on this machine has been so far.
    pub(crate) fn stall(&self) -> Duration {
        self.shared.seen.lock().unwrap().stall
    }

    /// Lets every request come to its end.
    pub(crate) fn stop(mut self) -> Report {
        self.end();
        let seen = std::mem::take(&mut *self.shared.seen.lock().unwrap());
        Report {
            requests: seen.requests,
            connections: seen.connections,
            reopened: seen.reopened,
            slowest: seen.slowest,
            failures: seen.failures,
            workers: seen.workers,
            stall: seen.stall,
            versions: seen.versions,
            begun: self.begun,
            lasted: self.begun.elapsed(),
        }
    }

    fn end(&mut self) {
        if let Ok(mut seen) = self.shared.seen.lock() {
            seen.stop = true;
        }
        self.shared.stopped.notify_all();
        self.shared.changed.notify_all();
        for client in self.clients.drain(..) {
            assert!(client.join().is_ok() || thread::panicking(), "a client of the load panicked");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests on {} connections ({} closed while idle) in {:.1} s, slowest {:.0} ms (machine late by {:.0} ms), {} workers \
             answered, {} failed",
            self.requests,
            self.connections,
            self.reopened,
            self.lasted.as_secs_f64(),
            self.slowest.as_secs_f64() * 1000.0,
            self.stall.as_secs_f64() * 1000.0,
            self.workers.len(),
            self.failures.len()
        )?;
        for failure in self.failures.iter().take(20) {
            let at = |moment: Instant| moment.saturating_duration_since(self.begun).as_secs_f64();
            write!(
                f,
                "\n  client {}: {:?}; connected at {:.3} s, sent at {:.3} s after {:.3} s idle, failed at {:.3} s; last answer \
                 from {:?}",
                failure.client,
                failure.fault,
                at(failure.connected),
                at(failure.sent),
                failure.idle.as_secs_f64(),
                at(failure.failed),
                failure.worker
            )?;
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn connect(address: &Address) -> io::Result<Self> {
        Ok(match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, TIMEOUT)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                Self::Tcp(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                Self::Unix(stream)
            }
        })
    }

    fn fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }

    fn receive(&mut self, block: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(block),
            Self::Unix(stream) => stream.read(block),
        }
    }
}

#[derive(Debug)]
struct Connection {
    stream: Stream,
    worker: Option<i32>,
    connected: Instant,
    /// When the last answer was whole.
    idle_since: Instant,
}

/// What a connection that is to be used again is found to be.
enum Idle {
    Open,
    Closed,
    Reset,
}

impl Connection {
    fn look(&self) -> Idle {
        match recv(self.stream.fd(), &mut [0; 1], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Idle::Closed,
            // Bytes that nobody asked for are found to be a wrong answer.
            Ok(_) | Err(Errno::EAGAIN) => Idle::Open,
            Err(_) => Idle::Reset,
        }
    }
}

#[derive(Debug)]
struct LoadClient {
    number: usize,
    address: Address,
    keeps: bool,
    path: &'static str,
    shared: Arc<Shared>,
    connection: Option<Connection>,
}

/// A whole answer.
struct Answer {
    worker: i32,
    version: String,
    closes: bool,
}

impl LoadClient {
    fn run(mut self) {
        for round in 0_u64.. {
            let token = format!("c{}r{round}", self.number);
            let begun = Instant::now();
            let outcome = self.exchange(&token, round);
            let mut seen = self.shared.seen.lock().unwrap();
            match outcome {
                Ok(answer) => {
                    seen.requests += 1;
                    seen.slowest = seen.slowest.max(begun.elapsed());
                    seen.workers.insert(answer.worker);
                    *seen.versions.entry(answer.version).or_default() += 1;
                }
                Err(failure) => seen.failures.push(failure),
            }
            self.shared.changed.notify_all();
            // A refused connection would be refused a thousand times a second.
            let paused = Instant::now();
            let (mut seen, _) =
                self.shared.stopped.wait_timeout_while(seen, PAUSE, |seen| !seen.stop).unwrap();
            seen.stall = seen.stall.max(paused.elapsed().saturating_sub(PAUSE));
            if seen.stop {
                return;
            }
        }
    }

    /// One request and its answer.
    fn exchange(&mut self, token: &str, round: u64) -> Result<Answer, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => match connection.look() {
                Idle::Open => connection,
                Idle::Closed => {
                    self.shared.seen.lock().unwrap().reopened += 1;
                    self.connect()?
                }
                Idle::Reset => return Err(self.failure(Fault::IdleReset, &connection, Instant::now())),
            },
            None => self.connect()?,
        };
        let sent = Instant::now();
        let body = body_of(token, round);
        let request = self.request(token, &body);
        let outcome = match connection.stream.send(&request) {
            Ok(()) => read_answer(&mut connection.stream, sent, token, &body),
            Err(error) => Err(Fault::NoAnswer(Some(error.kind()))),
        };
        match outcome {
            Ok(answer) => {
                connection.worker = Some(answer.worker);
                connection.idle_since = Instant::now();
                if self.keeps && !answer.closes {
                    self.connection = Some(connection);
                }
                Ok(answer)
            }
            Err(fault) => Err(self.failure(fault, &connection, sent)),
        }
    }

    fn request(&self, token: &str, body: &[u8]) -> Vec<u8> {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let mut request = format!("{method} {}?{token} HTTP/1.1\r\nHost: localhost\r\n", self.path);
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        if !self.keeps {
            request.push_str("Connection: close\r\n");
        }
        request.push_str("\r\n");
        [request.as_bytes(), body].concat()
    }

    fn connect(&self) -> Result<Connection, Failure> {
        let begun = Instant::now();
        match Stream::connect(&self.address) {
            Ok(stream) => {
                self.shared.seen.lock().unwrap().connections += 1;
                let connected = Instant::now();
                Ok(Connection { stream, worker: None, connected, idle_since: connected })
            }
            Err(error) => Err(Failure {
                client: self.number,
                fault: Fault::Connect(error.kind()),
                worker: None,
                connected: begun,
                sent: begun,
                failed: Instant::now(),
                idle: Duration::ZERO,
            }),
        }
    }

    fn failure(&self, fault: Fault, connection: &Connection, sent: Instant) -> Failure {
        Failure {
            client: self.number,
            fault,
            worker: connection.worker,
            connected: connection.connected,
            sent,
            failed: Instant::now(),
            idle: sent.saturating_duration_since(connection.idle_since),
        }
    }
}

impl Failure {
    /// The client was slower than a server that drains has to wait for.
    pub(crate) fn came_too_late(&self) -> bool {
        self.worker.is_some()
            && self.idle > PROMISED_IDLE
            && matches!(self.fault, Fault::NoAnswer(_) | Fault::IdleReset)
    }
}

/// Every fourth request has a body, now and then one that needs several packets.
fn body_of(token: &str, round: u64) -> Vec<u8> {
    match round % 16 {
        0 => token.as_bytes().repeat(3000),
        4 | 8 | 12 => format!("body of {token}").into_bytes(),
        _ => Vec::new(),
    }
}

fn read_answer(stream: &mut Stream, sent: Instant, token: &str, body: &[u8]) -> Result<Answer, Fault> {
    let mut bytes = Vec::new();
    let mut block = [0; 16 * 1024];
    loop {
        if let Some(answer) = parse(&bytes, token, body)? {
            return Ok(answer);
        }
        if sent.elapsed() > TIMEOUT {
            return Err(Fault::Timeout);
        }
        let count = match stream.receive(&mut block) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Fault::Timeout),
            Err(error) if bytes.is_empty() => return Err(Fault::NoAnswer(Some(error.kind()))),
            Err(error) => return Err(Fault::ShortAnswer(format!("{error} after {} bytes", bytes.len()))),
        };
        if count == 0 {
            return Err(match bytes.len() {
                0 => Fault::NoAnswer(None),
                length => Fault::ShortAnswer(format!("the end after {length} bytes")),
            });
        }
        bytes.extend_from_slice(&block[..count]);
    }
}

/// The answer, once it is whole.
fn parse(bytes: &[u8], token: &str, body: &[u8]) -> Result<Option<Answer>, Fault> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let wrong = |what: &str| Fault::WrongAnswer(format!("{what}: {head}"));
    let status =
        head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    match status {
        Some(200) => {}
        Some(other) => return Err(Fault::Status(other)),
        None => return Err(wrong("no status")),
    }
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut values =
            lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
        values.next().map(str::to_owned)
    };
    let length: usize =
        field("content-length").and_then(|length| length.parse().ok()).ok_or_else(|| wrong("no length"))?;
    let content = &bytes[end + 4..];
    if content.len() < length {
        return Ok(None);
    }
    let line_end = content.iter().position(|byte| *byte == b'\n').ok_or_else(|| wrong("no line"))?;
    let line = String::from_utf8_lossy(&content[..line_end]).into_owned();
    let words: Vec<&str> = line.split(' ').collect();
    let [echo, worker, version, received] = words[..] else { return Err(wrong(&line)) };
    let is_mine = echo == token
        && received == body.len().to_string()
        && &content[line_end + 1..] == body
        && content.len() == length;
    let worker = worker.parse().map_err(|_| wrong(&line))?;
    if !is_mine {
        return Err(wrong(&format!("{line} for {token} with {} bytes", body.len())));
    }
    let closes = field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Some(Answer { worker, version: version.to_owned(), closes }))
}
