//! The listener of `metrics.bind` and its clients. Which page they ask for comes out of [`Endpoint::handle`]; the answer goes
//! back by [`Endpoint::answer`]. What the pages say is not here (`reactor::monitoring`, `crate::metrics`).
//!
//! Invariants: nothing here blocks; a client that is slow, silent, hostile or gone costs a bounded amount of memory for a bounded
//! time. Clients beyond [`CLIENTS_MAX`] wait in the kernel's queue until a place is free.

mod bind;
mod client;
mod process;

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::Socket;

use crate::metrics::{Answer, Page};
use crate::net::Listener;
use crate::sys;

use client::{Client, Input};

pub(super) use bind::{adjust, reconcile};
pub(super) use process::of_this_process;

/// The most clients at a time.
const CLIENTS_MAX: usize = 64;
/// The most addresses that a name may have.
const LISTENERS_MAX: usize = 16;
/// How many tokens it needs: one for each listener, and one for each client.
const TOKENS: usize = LISTENERS_MAX + CLIENTS_MAX;
/// How long after an accept that failed, for want of descriptors, the next is tried.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The place of a client that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientPlace(usize);

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) page: Page,
    pub(super) is_head: bool,
}

/// The listeners and their clients.
#[derive(Debug)]
pub(super) struct Endpoint {
    registry: Registry,
    first_token: usize,
    /// By place; a place that is free is `None`. Those that are watched.
    listeners: [Option<Listener>; LISTENERS_MAX],
    /// By place.
    clients: [Option<Client>; CLIENTS_MAX],
    /// No place was free, or no descriptor: somebody may wait in a queue who is not announced again.
    may_wait: bool,
    accept_at: Option<Instant>,
}

impl Endpoint {
    /// Listens nowhere yet. All tokens from `first_token` on, [`TOKENS`] of them, are its own.
    ///
    /// # Errors
    /// Out of descriptors.
    pub(super) fn new(registry: &Registry, first_token: usize) -> io::Result<Self> {
        Ok(Self {
            registry: registry.try_clone()?,
            first_token,
            listeners: std::array::from_fn(|_| None),
            clients: std::array::from_fn(|_| None),
            may_wait: false,
            accept_at: None,
        })
    }

    /// Accepts from these listeners, and from no other any more. Clients that are here are served on.
    pub(super) fn listen(&mut self, wanted: &[Listener]) {
        for place in &mut self.listeners {
            let is_wanted = |it: &Listener| wanted.iter().any(|other| other.is_same(it));
            if let Some(listener) = place.take_if(|it| !is_wanted(it)) {
                self.registry.deregister(&mut SourceFd(&listener.as_fd().as_raw_fd())).ok();
            }
        }
        for listener in wanted {
            if self.listeners.iter().flatten().any(|other| other.is_same(listener)) {
                continue;
            }
            let Some(free) = self.listeners.iter().position(Option::is_none) else {
                log::error!(
                    "{listener} is not watched: metrics.bind has more than {LISTENERS_MAX} addresses"
                );
                continue;
            };
            let fd = listener.as_fd().as_raw_fd();
            let token = Token(self.first_token + free);
            match self.registry.register(&mut SourceFd(&fd), token, Interest::READABLE) {
                Ok(()) => self.listeners[free] = Some(listener.clone()),
                Err(error) => log::error!("{listener} cannot be watched for metrics.bind: {error}"),
            }
        }
    }

    /// Whether an event with this token is for [`Endpoint::handle`].
    pub(super) fn owns(&self, token: Token) -> bool {
        self.place(token).is_some()
    }

    /// Everything that a child must close, but for the listeners, which the generations have.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let clients = self.clients.iter().flatten().map(AsRawFd::as_raw_fd);
        clients.chain([self.registry.as_raw_fd()]).collect()
    }

    /// Does what an event is about. A request that has arrived is to be answered at once.
    pub(super) fn handle(&mut self, event: &Event, now: Instant) -> Option<(ClientPlace, Request)> {
        let place = self.place(event.token())?;
        let Some(index) = place.checked_sub(LISTENERS_MAX) else {
            self.accept(now);
            return None;
        };
        let client = self.clients[index].as_mut()?;
        match client.read() {
            Input::Nothing => self.update(index, now, |client| client.write(now)),
            Input::Request(request) => return Some((ClientPlace(index), request)),
            Input::Refused(answer) => self.answer(ClientPlace(index), &answer, now),
            Input::Gone => self.update(index, now, |_| false),
        }
        None
    }

    /// Sends an answer, as far as the client takes it; the rest follows, then the connection is closed.
    pub(super) fn answer(&mut self, place: ClientPlace, answer: &Answer, now: Instant) {
        self.update(place.0, now, |client| client.answer(answer, now));
    }

    /// When [`Endpoint::tick`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.clients.iter().flatten().map(Client::deadline).chain(self.accept_at).min()
    }

    /// Closes clients whose time is up.
    pub(super) fn tick(&mut self, now: Instant) {
        for index in 0..CLIENTS_MAX {
            self.update(index, now, |client| now < client.deadline());
        }
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = None;
            self.accept(now);
        }
    }

    fn place(&self, token: Token) -> Option<usize> {
        token.0.checked_sub(self.first_token).filter(|place| *place < TOKENS)
    }

    /// Accepts whoever waits, as far as there are places.
    fn accept(&mut self, now: Instant) {
        self.may_wait = false;
        for place in 0..LISTENERS_MAX {
            let Some(listener) = self.listeners[place].clone() else { continue };
            loop {
                let Some(free) = self.clients.iter().position(Option::is_none) else {
                    self.may_wait = true;
                    return;
                };
                match sys::accept(listener.as_fd()) {
                    Ok((descriptor, _)) => self.admit(free, Socket::from(descriptor), now),
                    Err(error) => match error.raw_os_error() {
                        Some(libc::EAGAIN) => break,
                        // The client of this connection is already gone, or a signal came: try the next.
                        Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => {}
                        _ => {
                            log::debug!("a client of metrics.bind cannot be accepted: {error}");
                            self.accept_at = Some(now + ACCEPT_PAUSE);
                            return;
                        }
                    },
                }
            }
        }
    }

    fn admit(&mut self, free: usize, socket: Socket, now: Instant) {
        let token = Token(self.first_token + LISTENERS_MAX + free);
        let both = Interest::READABLE | Interest::WRITABLE;
        // What the client has sent already is announced by this as well.
        match self.registry.register(&mut SourceFd(&socket.as_raw_fd()), token, both) {
            Ok(()) => self.clients[free] = Some(Client::new(socket, now)),
            Err(error) => log::debug!("a client of metrics.bind cannot be watched: {error}"),
        }
    }

    /// Does something to a client; it is closed when that says false, and its place given to another.
    fn update(&mut self, index: usize, now: Instant, change: impl FnOnce(&mut Client) -> bool) {
        let Some(client) = self.clients[index].as_mut() else { return };
        if change(client) {
            return;
        }
        // Closed, it is watched no more; no other descriptor of it is ever made.
        self.clients[index] = None;
        if self.may_wait {
            self.accept(now);
        }
    }
}
