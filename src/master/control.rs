//! The server side of `rwsgi ctl`: the socket, its clients, their lines. What is done about a request is decided elsewhere:
//! requests come out of [`Control::handle`] with a [`ClientId`], and go back as [`Control::answer`].
//!
//! Invariants: nothing here blocks; a client that is slow, silent, hostile or gone costs a bounded amount of memory for a
//! bounded time; only root and the user that the master runs as are heard.
//!
//! How it is used (`CONTROL_TOKENS` tokens from `first_token` on must be free):
//!
//! ```text
//! start    Control::open(&settings) before the privileges are dropped: Ok(None) without a file and a setting,
//!          Err(text): log it as a warning and go on without
//!          control.register(poll.registry(), first_token)
//! fork     every child closes control.descriptors()
//! loop     timeout: the earlier of control.next_deadline() and the others'
//!          if control.owns(event.token()) { for (client, request) in control.handle(event, now) { … } }
//!          control.tick(now) in every turn
//! answers  Status, Scale, ReopenLogs: control.answer(client, &Answer::…, true, now) at once
//!          Reload { wait: false }: at once, Answer::failed when the configuration is refused
//!          Reload { wait: true }, Dump: keep the ClientId, answer later; a client that has gone meanwhile is no matter
//!          Stop: answer with last = false; the connection is closed by the end of the process
//! end      control.remove_file(), unless a new master has taken over
//! upgrade  old: pass control.as_fd() and control.path(); control.unregister() when it hands over
//!          new: Control::from_fd(fd, path); control.register(…) not before it is in charge
//! ```

mod client;
mod socket;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use crate::config::Settings;
use crate::ipc::control::places::Places;
use crate::ipc::control::{Answer, Request};

use client::{Client, Input};
pub(super) use socket::OwnFile;

/// The most clients at a time.
const CLIENTS_MAX: usize = 32;
/// How many tokens it needs: the listener's, and one for each client.
pub(super) const CONTROL_TOKENS: usize = 1 + CLIENTS_MAX;
/// How long after an accept that failed, for want of descriptors, the next is tried.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A client that waits for an answer. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientId(u64);

/// The control socket and its clients.
#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    file: OwnFile,
    /// `None` until it is registered.
    poll: Option<Registration>,
    /// By place; a place that is free is `None`.
    clients: [Option<(ClientId, Client)>; CLIENTS_MAX],
    next_id: u64,
    accept_at: Option<Instant>,
}

/// Where the descriptors are registered.
#[derive(Debug)]
struct Registration {
    registry: Registry,
    first_token: usize,
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path().display())
    }
}

impl Control {
    /// Opens the socket that `rwsgi ctl` looks for: that of `control.socket`, else the one that follows from the
    /// configuration file; `None` when there is neither. It will belong to the configured user. Takes the place of a socket
    /// that nobody listens on any more.
    ///
    /// # Errors
    /// One sentence: another server listens there, or the socket cannot be made.
    pub(super) fn open(settings: &Settings) -> Result<Option<Self>, String> {
        let path = match (&settings.control_socket, &settings.file) {
            (Some(path), _) => path.clone(),
            (None, Some(file)) => {
                let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
                Places::new(runtime).for_server(file)?
            }
            (None, None) => return Ok(None),
        };
        let user = settings.server.user.as_ref().map(|user| user.id);
        let (listener, file) = socket::open(&path, user)
            .map_err(|said| format!("the control socket {}: {said}", path.display()))?;
        Ok(Some(Self::new(listener, file)))
    }

    /// Takes the socket over from the master before this one.
    ///
    /// # Errors
    /// It is no listening unix socket.
    pub(super) fn from_fd(fd: OwnedFd, path: &Path) -> Result<Self, String> {
        let (listener, file) = socket::adopt(fd, path)
            .map_err(|error| format!("the control socket {}: {error}", path.display()))?;
        Ok(Self::new(listener, file))
    }

    fn new(listener: std::os::unix::net::UnixListener, file: OwnFile) -> Self {
        Self {
            listener: UnixListener::from_std(listener),
            file,
            poll: None,
            clients: std::array::from_fn(|_| None),
            next_id: 0,
            accept_at: None,
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// The socket file.
    pub(super) fn file(&self) -> OwnFile {
        self.file.clone()
    }

    /// Removes the socket file if it is still this one.
    pub(super) fn remove_file(&self) {
        self.file.remove();
    }

    /// Registers the socket; clients follow as they come. All tokens from `first_token` on, `CONTROL_TOKENS` of them, are its
    /// own.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub(super) fn register(&mut self, registry: &Registry, first_token: usize) -> io::Result<()> {
        let registry = registry.try_clone()?;
        registry.register(&mut self.listener, Token(first_token), Interest::READABLE)?;
        self.poll = Some(Registration { registry, first_token });
        Ok(())
    }

    /// Accepts no more clients: they wait for whoever else has the socket. Those that are here are served on.
    pub(super) fn unregister(&mut self) {
        self.accept_at = None;
        if let Some(poll) = &self.poll {
            poll.registry.deregister(&mut self.listener).ok();
        }
    }

    /// Whether an event with this token is for [`Control::handle`].
    pub(super) fn owns(&self, token: Token) -> bool {
        self.place(token).is_some()
    }

    /// Everything that a child must close.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let clients = self.clients.iter().flatten().map(|(_, client)| client.as_raw_fd());
        let poll = self.poll.iter().map(|poll| poll.registry.as_raw_fd());
        clients.chain(poll).chain([self.listener.as_raw_fd()]).collect()
    }

    /// Does what an event is about. Gives the requests that have arrived, each of which is answered once (or never, if the
    /// client is gone).
    pub(super) fn handle(&mut self, event: &Event, now: Instant) -> Vec<(ClientId, Request)> {
        match self.place(event.token()) {
            None => Vec::new(),
            Some(0) => {
                self.accept(now);
                // What a client sent before it was registered is not announced again.
                (0..CLIENTS_MAX).filter_map(|index| self.read(index, now)).collect()
            }
            Some(place) => {
                let index = place - 1;
                let request = self.read(index, now);
                // Registration is for both directions; an answer that did not fit goes on here.
                self.update(index, |client| client.write(now) && !event.is_write_closed());
                request.into_iter().collect()
            }
        }
    }

    /// Sends an answer, as far as the client takes it; the rest follows. With `last` the connection is closed after it. A
    /// client that is gone is no matter.
    pub(super) fn answer(&mut self, id: ClientId, answer: &Answer, last: bool, now: Instant) {
        let is_it =
            |place: &Option<(ClientId, Client)>| place.as_ref().is_some_and(|(other, _)| *other == id);
        if let Some(index) = self.clients.iter().position(is_it) {
            self.update(index, |client| client.answer(answer, last, now));
        }
    }

    /// When [`Control::tick`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let clients = self.clients.iter().flatten().filter_map(|(_, client)| client.deadline());
        clients.chain(self.accept_at).min()
    }

    /// Closes clients whose time is up.
    pub(super) fn tick(&mut self, now: Instant) {
        for index in 0..CLIENTS_MAX {
            self.update(index, |client| client.deadline().is_none_or(|deadline| now < deadline));
        }
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = None;
            self.accept(now);
        }
    }

    fn place(&self, token: Token) -> Option<usize> {
        let place = token.0.checked_sub(self.poll.as_ref()?.first_token)?;
        (place < CONTROL_TOKENS).then_some(place)
    }

    /// Accepts whoever waits.
    fn accept(&mut self, now: Instant) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    log::debug!("a client of the control socket cannot be accepted: {error}");
                    self.accept_at = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, mut stream: UnixStream, now: Instant) {
        let free = self.clients.iter().position(Option::is_none);
        let refusal = match free {
            _ if !may_speak(&stream) => {
                Some("only root and the user that the server runs as may do this".to_owned())
            }
            None => Some(format!("{CLIENTS_MAX} clients are connected already")),
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            // A fresh connection has room for a line; whoever does not read it learns nothing.
            client::send(&mut stream, &Answer::failed(refusal).line()).ok();
            return;
        }
        let (Some(index), Some(poll)) = (free, &self.poll) else { return };
        let token = Token(poll.first_token + 1 + index);
        let both = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = poll.registry.register(&mut stream, token, both) {
            log::debug!("a client of the control socket cannot be watched: {error}");
            return;
        }
        self.clients[index] = Some((ClientId(self.next_id), Client::new(stream, now)));
        self.next_id += 1;
    }

    /// Reads what a client sent.
    fn read(&mut self, index: usize, now: Instant) -> Option<(ClientId, Request)> {
        let (id, client) = self.clients[index].as_mut()?;
        let id = *id;
        match client.read() {
            Input::Nothing => None,
            Input::Request(request) => Some((id, request)),
            Input::Refused(said) => {
                self.update(index, |client| client.answer(&Answer::failed(said), true, now));
                None
            }
            Input::Gone => {
                self.update(index, |_| false);
                None
            }
        }
    }

    /// Does something to a client; it is closed when that says false.
    fn update(&mut self, index: usize, change: impl FnOnce(&mut Client) -> bool) {
        let Some((_, client)) = self.clients[index].as_mut() else { return };
        if change(client) {
            return;
        }
        if let Some((_, mut client)) = self.clients[index].take() {
            if let Some(poll) = &self.poll {
                client.deregister(&poll.registry);
            }
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Whether the process at the other end belongs to root or to the user that this process runs as (`SO_PEERCRED`, unix(7)).
fn may_speak(stream: &UnixStream) -> bool {
    getsockopt(stream, PeerCredentials).is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}

#[cfg(test)]
mod tests;
