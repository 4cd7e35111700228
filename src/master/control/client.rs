//! One client of the control socket: its request on the way in, its answers on the way out.
//!
//! Invariant: no call blocks, and neither buffer grows beyond its limit.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::Registry;
use mio::net::UnixStream;

use crate::ipc::control::{Answer, REQUEST_BYTES_MAX, Request};

/// How long a client may take to say what it wants, and to take any of its answer. People wait for `rwsgi ctl`; a client
/// that takes longer is stopped or gone.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(10);
/// The most bytes that wait for a client. The stacks of hundreds of workers fit.
const OUTPUT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    phase: Phase,
    /// What it has not taken yet.
    output: Vec<u8>,
    /// When it must have taken some of the output.
    write_deadline: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// It has not said what it wants.
    Asking { input: Vec<u8>, deadline: Instant },
    /// It waits for an answer; what it sends meanwhile is thrown away.
    Waiting,
    /// It has its last answer, or will once the output is written.
    Answered,
}

/// What came of reading.
#[derive(Debug)]
pub(super) enum Input {
    /// Nothing to act upon.
    Nothing,
    /// A request.
    Request(Request),
    /// No request: why.
    Refused(String),
    /// The client is gone.
    Gone,
}

impl Client {
    pub(super) fn new(stream: UnixStream, now: Instant) -> Self {
        let phase = Phase::Asking { input: Vec::new(), deadline: now + IDLE_MAX };
        Self { stream, phase, output: Vec::new(), write_deadline: None }
    }

    /// When to close it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Asking { deadline, .. } => Some(*deadline),
            Phase::Waiting | Phase::Answered => self.write_deadline,
        }
    }

    /// Reads everything that is there.
    pub(super) fn read(&mut self) -> Input {
        let mut buffer = [0; 4096];
        // What is left unread is not announced again, so reading goes on until there is no more; a client that sends on and
        // on behind its request is closed.
        for _ in 0..=2 * REQUEST_BYTES_MAX / buffer.len() {
            let count = match self.stream.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Input::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Input::Gone,
            };
            let Phase::Asking { input, .. } = &mut self.phase else {
                // It may have closed its sending side only, and still wait for the answer.
                if count == 0 {
                    return Input::Nothing;
                }
                continue;
            };
            input.extend_from_slice(&buffer[..count]);
            // A request without the end of its line is one when nothing can follow.
            let end = memchr::memchr(b'\n', input).or((count == 0).then_some(input.len()));
            if end.unwrap_or(input.len()) >= REQUEST_BYTES_MAX {
                return Input::Refused(format!("a request has at most {REQUEST_BYTES_MAX} bytes"));
            }
            let Some(end) = end else { continue };
            if input[..end].trim_ascii().is_empty() && count == 0 {
                return Input::Gone;
            }
            let request = Request::parse(&input[..end]);
            self.phase = Phase::Waiting;
            return request.map_or_else(Input::Refused, Input::Request);
        }
        Input::Gone
    }

    /// Queues an answer and writes what the client takes. False: close it.
    pub(super) fn answer(&mut self, answer: &Answer, last: bool, now: Instant) -> bool {
        if matches!(self.phase, Phase::Answered) {
            return true;
        }
        self.phase = if last { Phase::Answered } else { Phase::Waiting };
        self.output.extend(answer.line());
        self.output.len() <= OUTPUT_BYTES_MAX && self.write(now)
    }

    /// Writes what the client takes. False: close it, since it is gone or has got all.
    pub(super) fn write(&mut self, now: Instant) -> bool {
        if !self.output.is_empty() {
            match send(&mut self.stream, &self.output) {
                Ok(0) => {}
                Ok(count) => {
                    self.output.drain(..count);
                    self.write_deadline = None;
                }
                Err(_) => return false,
            }
        }
        if self.output.is_empty() {
            self.write_deadline = None;
            return !matches!(self.phase, Phase::Answered);
        }
        self.write_deadline.get_or_insert(now + IDLE_MAX);
        true
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        registry.deregister(&mut self.stream).ok();
    }
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

/// Writes until the other end takes no more; how many bytes it took.
pub(super) fn send(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
