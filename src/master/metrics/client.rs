//! One client of `metrics.bind`: the head of its request on the way in, one answer on the way out, and the end.
//!
//! Invariant: no call blocks, and the head is never longer than its limit.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant, SystemTime};

use socket2::Socket;

use crate::metrics::page::HEAD_BYTES_MAX;
use crate::metrics::{Answer, Reading};

use super::Request;

/// How long a client may take to say what it wants, and then to take the answer. A scraper has the request ready.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long, and how much, a client that was answered is listened to for its end: a socket that is closed with input unread
/// sends a reset, which can destroy the answer (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    socket: Socket,
    phase: Phase,
    deadline: Instant,
}

#[derive(Debug)]
enum Phase {
    /// What has come of the head.
    Asking(Vec<u8>),
    /// What is left of the answer begins at `sent`.
    Answering { output: Vec<u8>, sent: usize },
    /// It has its answer. So much of its further input was thrown away.
    Lingering(usize),
}

/// What came of reading.
#[derive(Debug)]
pub(super) enum Input {
    /// Nothing to act upon.
    Nothing,
    /// A request.
    Request(Request),
    /// It gets this answer.
    Refused(Answer),
    /// The client is gone.
    Gone,
}

impl Client {
    pub(super) fn new(socket: Socket, now: Instant) -> Self {
        Self { socket, phase: Phase::Asking(Vec::new()), deadline: now + PATIENCE }
    }

    /// When to close it.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Reads what is there.
    pub(super) fn read(&mut self) -> Input {
        let mut buffer = [0; 4096];
        loop {
            if matches!(self.phase, Phase::Answering { .. }) {
                return Input::Nothing;
            }
            let count = match self.socket.read(&mut buffer) {
                Ok(0) => return Input::Gone,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Input::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Input::Gone,
            };
            match &mut self.phase {
                Phase::Answering { .. } => {}
                Phase::Lingering(dropped) => {
                    *dropped += count;
                    if *dropped > LINGER_BYTES_MAX {
                        return Input::Gone;
                    }
                }
                Phase::Asking(input) => {
                    input.extend_from_slice(&buffer[..count]);
                    input.truncate(HEAD_BYTES_MAX);
                    match Reading::of(input) {
                        Reading::Incomplete => {}
                        Reading::Asked { page, is_head } => return Input::Request(Request { page, is_head }),
                        Reading::Refused(answer) => return Input::Refused(answer),
                    }
                }
            }
        }
    }

    /// Begins to write the answer. False: close it.
    pub(super) fn answer(&mut self, answer: &Answer, now: Instant) -> bool {
        self.deadline = now + PATIENCE;
        self.phase = Phase::Answering { output: answer.encode(SystemTime::now()), sent: 0 };
        self.write(now)
    }

    /// Writes what the client takes. False: close it.
    pub(super) fn write(&mut self, now: Instant) -> bool {
        let Phase::Answering { output, sent } = &mut self.phase else { return true };
        while *sent < output.len() {
            match self.socket.write(&output[*sent..]) {
                Ok(count) => *sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return false;
        }
        self.phase = Phase::Lingering(0);
        self.deadline = now + LINGER;
        // What has come meanwhile is not announced again.
        !matches!(self.read(), Input::Gone)
    }
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
