//! Taking new connections off the listeners that all workers share.
//!
//! The listeners are in the reactor's epoll with `EPOLLEXCLUSIVE`, so that a new connection wakes one worker and not
//! all. mio has no such flag, hence the raw registration on the poll's own descriptor; events come through mio.
//!
//! The kernel wakes the same worker again and again, so a worker that has its share of connections leaves the next ones to
//! others: see [`Roster`].
//!
//! A worker whose app threads are all busy, that has all the connections it may have, or that is out of descriptors,
//! leaves the listeners to the others. A worker that is woken although it is busy takes one connection: the wake went to
//! no one else (`epoll_ctl(2)`, `EPOLLEXCLUSIVE`), and the connection would wait for the next one to come. Between two
//! polls no wake can be lost by leaving, since the kernel wakes only who waits in `epoll_wait`.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Poll, Token};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use crate::config::Trusted;
use crate::ipc::Roster;
use crate::ipc::roster::Entry;
use crate::net::{Address, Endpoint, Listener};
use crate::sys::descriptors;

use super::socket::Socket;

/// Listeners have the tokens from here on; connections never reach them, since generations stay below `u32::MAX`.
const TOKEN_BASE: usize = usize::MAX - 0xffff;

/// The last token of a listener; those above belong to the reactor.
const TOKEN_LAST: usize = usize::MAX - 0xff;

/// The token of the bell that calls workers with few connections.
pub(super) const BELL: Token = Token(usize::MAX - 4);

/// Connections that are taken at one wake, so that others get theirs.
pub(super) const BATCH_MAX: usize = 16;

/// How long a worker that has its share of connections leaves the next one to others.
const DEFERRAL: Duration = Duration::from_millis(1);

/// A worker may have more connections than another by this part of the other's.
const SLACK_PART: usize = 5;

/// How long a worker that is out of descriptors stays away from the listeners.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(500);

/// The listeners as one worker uses them.
#[derive(Debug)]
pub(super) struct Acceptor {
    listeners: Vec<Listener>,
    /// A second descriptor for the reactor's epoll.
    epoll: Epoll,
    joined: bool,
    paused_until: Option<Instant>,
    /// The worker stays away although it could take more; afterwards it takes what nobody else has taken.
    deferred: bool,
    trusted: Trusted,
    roster: Option<Entry>,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.close();
    }
}

/// A new connection.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) socket: Socket,
    pub(super) endpoint: Arc<Endpoint>,
}

impl Acceptor {
    /// The listeners, not yet joined.
    ///
    /// # Errors
    /// Out of descriptors.
    pub(super) fn new(
        poll: &Poll,
        listeners: Vec<Listener>,
        trusted: Trusted,
        roster: &Arc<Roster>,
    ) -> io::Result<Self> {
        let epoll = Epoll(crate::sys::duplicate(poll)?);
        let bell = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, BELL.0 as u64);
        epoll.add(roster.bell(), bell)?;
        let roster = roster.enter(std::process::id());
        Ok(Self { listeners, epoll, joined: false, paused_until: None, deferred: false, trusted, roster })
    }

    /// Tells the other workers how many connections this one has.
    pub(super) fn publish(&self, connections: usize) {
        if let Some(entry) = &self.roster {
            entry.publish((self.joined || self.deferred).then_some(connections));
        }
    }

    /// How many connections the worker should have more, beside the others.
    pub(super) fn share(&self, own: usize) -> usize {
        self.roster.as_ref().map_or(usize::MAX, |entry| share(own, entry.fewest_of_others()))
    }

    /// How many connections the worker may take now that has `own` already. When it has its share, it calls the others and
    /// stays away for a moment.
    pub(super) fn claim(&mut self, own: usize, now: Instant) -> usize {
        let Some(entry) = &self.roster else { return usize::MAX };
        let share = share(own, entry.fewest_of_others());
        if share > 0 || std::mem::take(&mut self.deferred) {
            return share.max(1);
        }
        entry.ring();
        self.leave();
        self.deferred = true;
        self.paused_until = Some(now + DEFERRAL);
        0
    }

    /// Whether the worker is woken for new connections.
    pub(super) fn joined(&self) -> bool {
        self.joined
    }

    /// When to join again after running out of descriptors.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Ends a pause that is over.
    pub(super) fn resume(&mut self, now: Instant) {
        self.paused_until = self.paused_until.filter(|until| *until > now);
    }

    /// Joins the listeners, unless it pauses. Level-triggered: what is already in the queue wakes at once.
    pub(super) fn join(&mut self) {
        if self.joined || self.paused_until.is_some() {
            return;
        }
        for (index, listener) in self.listeners.iter().enumerate() {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
            let event = EpollEvent::new(flags, (TOKEN_BASE + index) as u64);
            if let Err(error) = self.epoll.add(listener.as_fd(), event) {
                log::error!("cannot watch a listener: {error}");
            }
        }
        self.joined = true;
    }

    /// Leaves the listeners to the other workers.
    pub(super) fn leave(&mut self) {
        self.deferred = false;
        if !self.joined {
            return;
        }
        for listener in &self.listeners {
            if let Err(error) = self.epoll.delete(listener.as_fd()) {
                log::error!("cannot leave a listener: {error}");
            }
        }
        self.joined = false;
    }

    /// How many listeners there are.
    pub(super) fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// The address of the first listener.
    pub(super) fn local(&self) -> Option<Address> {
        self.listeners.first().map(|listener| listener.local.clone())
    }

    /// Closes the listeners for good.
    pub(super) fn close(&mut self) {
        self.leave();
        for listener in self.listeners.drain(..) {
            descriptors::grant_to_forks(listener.as_fd().as_raw_fd());
        }
    }

    /// The listener that a token stands for.
    pub(super) fn listener_of(&self, token: Token) -> Option<usize> {
        let index = token.0.checked_sub(TOKEN_BASE)?;
        (token.0 <= TOKEN_LAST && index < self.listeners.len()).then_some(index)
    }

    /// Takes at most `most` connections off a listener, and a bounded number at once. True when more may be waiting.
    pub(super) fn accept(
        &mut self,
        index: usize,
        most: usize,
        now: Instant,
        accepted: &mut Vec<Accepted>,
    ) -> bool {
        let listener = self.listeners[index].clone();
        let mut taken = 0;
        while taken < most.min(BATCH_MAX) {
            match Socket::accept(listener.as_fd()) {
                Ok((socket, peer)) => {
                    taken += 1;
                    accepted.push(self.welcome(socket, peer, &listener));
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return false,
                    // The client of this connection is already gone, or a signal came: try the next.
                    Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => {}
                    _ => {
                        self.exhausted(&error, now);
                        return false;
                    }
                },
            }
        }
        true
    }

    fn welcome(&self, socket: Socket, peer: Address, listener: &Listener) -> Accepted {
        let local = match &listener.local {
            Address::Tcp(address) if address.ip().is_unspecified() => socket.local(),
            Address::Tcp(_) | Address::Unix(_) => None,
        };
        let local = local.unwrap_or_else(|| listener.local.clone());
        let trusted = self.trusted.contains(&peer);
        Accepted { socket, endpoint: Arc::new(Endpoint { local, peer, trusted }) }
    }

    /// Out of descriptors or memory: stay away for a moment instead of spinning on a queue that stays full.
    fn exhausted(&mut self, error: &io::Error, now: Instant) {
        log::warn!(
            "cannot accept connections: {error}: trying again in {EXHAUSTED_PAUSE:?} (raise LimitNOFILE= or ulimit -n, \
             or lower http.max_connections)"
        );
        self.leave();
        self.paused_until = Some(now + EXHAUSTED_PAUSE);
    }
}

/// How many connections a worker may take that has `own`, when the one with the fewest that takes any has `fewest`.
fn share(own: usize, fewest: Option<usize>) -> usize {
    fewest.map_or(usize::MAX, |fewest| (fewest + fewest / SLACK_PART + 1).saturating_sub(own))
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn a_worker_takes_no_more_than_its_share() {
        assert_eq!(share(0, None), usize::MAX);
        assert_eq!(share(100, None), usize::MAX);
        // Few connections are spread one by one, many within a fifth.
        for (own, fewest, most) in [
            (0, 0, 1),
            (1, 0, 0),
            (1, 1, 1),
            (3, 4, 2),
            (4, 4, 1),
            (19, 16, 1),
            (20, 16, 0),
            (500, 16, 0),
            (0, 16, 20),
        ] {
            assert_eq!(share(own, Some(fewest)), most, "{own} beside {fewest}");
        }
    }
}
