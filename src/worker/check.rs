//! The client of `reload.check`: one request through a connection of the worker itself, of which only the status counts.
//!
//! It is a socket pair inside the worker: the other end is a connection like any other, so that the request takes the way
//! that requests of clients take.

use std::io;
use std::os::fd::OwnedFd;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::config::CheckTarget;
use crate::ipc::FromWorker;

use super::socket::Socket;

/// A status line is shorter than this, in bytes.
const STATUS_LINE_BYTES_MAX: usize = 256;

/// The client.
#[derive(Debug)]
pub(super) struct Check {
    socket: Socket,
    /// For messages: `GET /health`.
    title: String,
    received: Vec<u8>,
    answered: bool,
}

/// What a read brought.
#[derive(Debug)]
pub(super) struct Progress {
    /// The result, once.
    pub(super) message: Option<FromWorker>,
    /// The rest of the answer is still to be read: an application is not cut off in the middle.
    pub(super) open: bool,
}

impl Check {
    /// Sends the request; returns the client and the server's end of its connection.
    ///
    /// # Errors
    /// Out of descriptors.
    pub(super) fn begin(target: &CheckTarget) -> io::Result<(Self, Socket)> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let (ours, theirs): (OwnedFd, OwnedFd) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        let socket = Socket::from(ours);
        let CheckTarget { path, host, https } = target;
        let proto = if *https { "X-Forwarded-Proto: https\r\n" } else { "" };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\n{proto}User-Agent: rwsgi-check\r\nConnection: close\r\n\r\n"
        );
        // An empty buffer takes a request whole.
        socket.send(request.as_bytes())?;
        let title = format!("GET {path}");
        Ok((Self { socket, title, received: Vec::new(), answered: false }, Socket::from(theirs)))
    }

    /// Watches the socket.
    ///
    /// # Errors
    /// The poll refuses it.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token, Interest::READABLE)
    }

    /// Reads what there is.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Progress {
        let mut message = None;
        loop {
            match self.socket.receive(buffer) {
                Ok(length) if length > 0 => {
                    if self.answered {
                        continue;
                    }
                    self.received.extend_from_slice(&buffer[..length.min(STATUS_LINE_BYTES_MAX)]);
                    if let Some(status) = status_of(&self.received) {
                        self.answered = true;
                        let failure = || format!("{} was answered {status}", self.title);
                        message = Some(FromWorker::Checked { failure: (status >= 400).then(failure) });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Progress { message, open: true };
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    if !self.answered {
                        let failure = format!("{} was not answered: the connection was closed", self.title);
                        message = Some(FromWorker::Checked { failure: Some(failure) });
                    }
                    return Progress { message, open: false };
                }
            }
        }
    }
}

/// The status in the first line of a response, once it is there.
fn status_of(received: &[u8]) -> Option<u16> {
    let end = memchr::memchr(b'\n', received)?;
    let line = std::str::from_utf8(&received[..end]).ok()?;
    line.split(' ').nth(1)?.trim().parse().ok()
}
