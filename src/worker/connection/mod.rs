//! A connection: the state machine from its first byte to its close.
//!
//! ```text
//!  Preface ──> Head ──────────────> Exchange ──> Head (keep-alive, pipelining)
//!  (PROXY)      │  └──> Body ──────────┘  │
//!               │        │                │
//!               └────────┴── Farewell <───┘ ──> Linger ──> closed
//! ```
//!
//! `drive` goes on until the phase can do nothing more with what the socket has; it is called after every event that
//! concerns the connection. Events are edge-triggered, so `readable` and `writable` remember what the socket last
//! said. The deadline is derived from the phase, never stored beside it.

mod body;
mod close;
mod deadline;
mod exchange;
mod head;
mod holding;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use mio::event::Event;
use mio::{Interest, Registry, Token};

use crate::config::ProxyProtocol;
use crate::http::HeadParser;
use crate::net::{Endpoint, Scheme};

use super::context::Context;
use super::output::Output;
use super::socket::Socket;

use body::Gathering;
use exchange::Running;
pub(super) use exchange::TimedOut;
pub(super) use head::Opening;

/// What is read in one go before it is the turn of other connections, in bytes; a client that sends as fast as we read
/// would keep the reactor for the whole of its body. As much as is written in one go.
const READ_BYTES_MAX: usize = 2 << 20;

/// Requests of one connection that are answered one after the other before it is the turn of other connections; a client that
/// pipelines as fast as it is answered would keep the reactor for itself.
const IN_A_ROW_MAX: u8 = 16;

/// What a connection is doing.
#[derive(Debug)]
enum Phase {
    /// Waits for the header of the PROXY protocol.
    Preface,
    /// Waits for a request head, or reads one since its first byte.
    Head {
        /// When the first byte of this head was read.
        begun_at: Option<Instant>,
    },
    /// Reads a body to its end before the application is called.
    Body(Box<Gathering>),
    /// The request is with the application.
    Exchange(Running),
    /// Writes what is left, then closes.
    Farewell {
        /// Whether unread input may be on its way, which must be read or the client may lose the answer to a reset.
        linger: bool,
    },
    /// Our direction is shut; reads and drops what the client still sends.
    Linger {
        /// When to stop waiting for the client's end.
        until: Instant,
    },
}

/// What to do after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The phase changed or more can be done: drive on.
    Again,
    /// Nothing more can be done before the next event.
    Wait,
    /// The connection is over.
    Close,
}

/// What becomes of a connection that was driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays.
    Keep,
    /// It stays as it was: watched, and to expire when it would have before.
    Unchanged,
    /// It is to be dropped.
    Close,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// So many bytes, at the start of the scratch buffer.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The client has closed its end.
    End,
    /// The connection is broken.
    Broken,
}

/// What the poll said about a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Readiness {
    /// There may be something to read.
    pub(super) readable: bool,
    /// There may be room to write.
    pub(super) writable: bool,
    /// The client has closed its end.
    pub(super) read_closed: bool,
    /// Both directions are closed, or the connection failed.
    pub(super) hung_up: bool,
}

impl Readiness {
    /// What an event says.
    pub(super) fn of(event: &Event) -> Self {
        Self {
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            hung_up: event.is_error() || (event.is_read_closed() && event.is_write_closed()),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    token: Token,
    endpoint: Arc<Endpoint>,
    phase: Phase,
    /// Bytes read and not yet consumed.
    input: BytesMut,
    parser: HeadParser,
    output: Output,
    readable: bool,
    writable: bool,
    /// The client has closed its end (there may still be input to read).
    read_closed: bool,
    /// The end of the input was read.
    end_of_input: bool,
    /// What was read since it was last driven, in bytes.
    read_bytes: usize,
    /// Requests answered.
    served: u64,
    /// Requests answered one after the other since it was last the turn of other connections.
    in_a_row: u8,
    /// When it was accepted or the last response ended.
    idle_since: Instant,
    /// When the socket last took output, or output began to wait.
    write_progress_at: Instant,
    /// The entry in the timers, if there is one.
    pub(super) armed: Option<Instant>,
    /// Whether the poll tells of it. One that is answered and closed within a turn never needs to be.
    watched: bool,
    /// An answer is held back ([`super::held::Held`]): nothing else may be written before it.
    holds: bool,
    /// The scheme that the application is to see whatever the rules of trust say.
    scheme: Option<Scheme>,
}

impl Connection {
    /// A connection that was just accepted.
    pub(super) fn new(socket: Socket, token: Token, endpoint: Arc<Endpoint>, context: &Context) -> Self {
        let phase = if context.settings.proxy.protocol == ProxyProtocol::Off {
            Phase::Head { begun_at: None }
        } else {
            Phase::Preface
        };
        Self {
            socket,
            token,
            endpoint,
            phase,
            input: BytesMut::new(),
            parser: HeadParser::new(),
            output: Output::default(),
            readable: true,
            writable: true,
            read_closed: false,
            end_of_input: false,
            read_bytes: 0,
            served: 0,
            in_a_row: 0,
            idle_since: context.now,
            write_progress_at: context.now,
            armed: None,
            watched: false,
            holds: false,
            scheme: None,
        }
    }

    /// The connection of `reload.check`, which comes through no proxy.
    pub(super) fn for_check(
        socket: Socket,
        token: Token,
        endpoint: Arc<Endpoint>,
        scheme: Scheme,
        context: &Context,
    ) -> Self {
        let mut connection = Self::new(socket, token, endpoint, context);
        connection.phase = Phase::Head { begun_at: None };
        connection.scheme = Some(scheme);
        connection
    }

    /// Its token in the reactor.
    pub(super) fn token(&self) -> Token {
        self.token
    }

    /// Whether the poll should tell of it and does not yet. While its first request is on the way to the application, an answer
    /// may come before anything else can happen.
    pub(super) fn wants_watching(&self) -> bool {
        match &self.phase {
            _ if self.watched => false,
            Phase::Exchange(running) => running.attended || !self.output.is_empty(),
            Phase::Preface | Phase::Head { .. } | Phase::Body(_) => true,
            Phase::Farewell { .. } | Phase::Linger { .. } => true,
        }
    }

    /// Has the poll tell of it.
    ///
    /// # Errors
    /// The kernel has no memory or no room for another descriptor to watch.
    pub(super) fn watch(&mut self, registry: &Registry) -> io::Result<()> {
        self.watched = true;
        registry.register(&mut self.socket, self.token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Takes note of what the poll said.
    pub(super) fn notice(&mut self, readiness: Readiness) -> Fate {
        self.readable |= readiness.readable || readiness.read_closed;
        self.writable |= readiness.writable;
        self.read_closed |= readiness.read_closed;
        if let Phase::Exchange(running) = &self.phase {
            if readiness.read_closed {
                running.link.mark_disconnected();
            }
            // In this phase nothing may be read or written for long, so a failure would go unseen.
            if readiness.hung_up {
                return Fate::Close;
            }
        }
        Fate::Keep
    }

    /// Does all that can be done now.
    pub(super) fn drive(&mut self, context: &mut Context) -> Fate {
        self.read_bytes = 0;
        loop {
            let step = match &self.phase {
                Phase::Preface => self.read_preface(context),
                Phase::Head { .. } => self.read_head(context),
                Phase::Body(_) => self.read_body(context),
                Phase::Exchange(_) => self.pump(context),
                Phase::Farewell { linger } => self.farewell(*linger, context),
                Phase::Linger { .. } => self.linger(context),
            };
            match step {
                Step::Again => {}
                Step::Wait => return Fate::Keep,
                Step::Close => return Fate::Close,
            }
        }
    }

    /// Reads once into the scratch buffer.
    fn receive(&mut self, context: &mut Context) -> Read {
        if self.end_of_input {
            return Read::End;
        }
        if self.readable && self.read_bytes >= READ_BYTES_MAX {
            context.yielded.push(self.token);
            return Read::Nothing;
        }
        while self.readable {
            match self.socket.receive(&mut context.scratch) {
                Ok(0) => {
                    self.readable = false;
                    self.end_of_input = true;
                    return Read::End;
                }
                Ok(length) => {
                    self.read_bytes += length;
                    context.scoreboard.count_bytes(length as u64, 0);
                    // A short read has drained the socket; the next bytes raise a new edge. The end of the input
                    // may have raised its edge already.
                    self.readable = length == context.scratch.len() || self.read_closed;
                    return Read::Bytes(length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Read::Broken,
            }
        }
        Read::Nothing
    }

    /// Reads once and appends to the input.
    fn receive_input(&mut self, context: &mut Context) -> Read {
        let read = self.receive(context);
        if let Read::Bytes(length) = read {
            self.input.extend_from_slice(&context.scratch[..length]);
        }
        read
    }

    /// A connection that has read nothing ahead holds no buffer.
    fn release_input(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Writes what it can of the output; `None` when the connection is broken, else how many bytes went.
    fn flush(&mut self, context: &mut Context) -> Option<u64> {
        if self.output.is_empty() || !self.writable {
            return Some(0);
        }
        self.recall(context);
        match self.output.write(&self.socket) {
            Ok(progress) => {
                self.writable = progress.writable;
                if progress.writable && !self.output.is_empty() {
                    context.yielded.push(self.token);
                }
                if progress.bytes > 0 {
                    context.scoreboard.count_bytes(0, progress.bytes);
                    self.write_progress_at = context.now;
                }
                Some(progress.bytes)
            }
            Err(error) => {
                log::debug!("cannot write to {:?}: {error}", self.endpoint.peer);
                None
            }
        }
    }
}

impl Drop for Connection {
    /// The application must not wait for a client that is gone.
    fn drop(&mut self) {
        if let Phase::Exchange(running) = &self.phase {
            running.link.mark_gone();
        }
    }
}
