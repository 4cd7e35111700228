//! The reactor: owns every socket of the worker, its timers, and the channel to the master.
//!
//! It is a value; whichever thread holds it turns it: waits once ([`Reactor::poll`]), then takes what is ready to be run
//! ([`Reactor::next_ready`]) until there is no more of it. It never touches Python and never blocks but in its poll, so
//! that reading, writing, timeouts and drain go on whatever the application does. What it does on request of the master,
//! a signal or the application is in `control`; what it does about calls that take too long, in `watching`; what it does for the
//! app thread that turns it and runs the application in between, in `inline`.

mod control;
mod inline;
mod watching;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::ipc::{Channel, FromWorker};
use crate::sys;

use super::accept::{Accepted, Acceptor, BELL};
use super::check::Check;
use super::connection::{Connection, Fate, Readiness};
use super::context::Context;
use super::exchange::WorkerExchange;
use super::record;
use super::timers::Timers;

use control::Recycling;
use inline::Inline;
pub(super) use watching::Watching;

/// The token of the notifier's waker.
pub(super) const WAKER: Token = Token(usize::MAX);
const CHANNEL: Token = Token(usize::MAX - 1);
const SIGNALS: Token = Token(usize::MAX - 2);
const CHECK: Token = Token(usize::MAX - 3);

/// Events taken from one poll.
const EVENTS_MAX: usize = 1024;

/// The reactor turns at least so often, so that the master can tell a reactor that is idle from one that is stuck.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long a worker that is busy without a break leaves the listeners to others.
const REJOIN_AFTER: Duration = Duration::from_millis(10);

/// When the listeners were left.
#[derive(Debug, Clone, Copy)]
struct Left {
    at: Instant,
    /// How many requests were finished by then.
    finished: u64,
}

/// The reactor.
#[derive(Debug)]
pub(super) struct Reactor {
    poll: Poll,
    events: Events,
    batch: Batch,
    /// What the app thread that turns the reactor runs now.
    inline: Option<Inline>,
    connections: Slab<Connection>,
    next_generation: u32,
    timers: Timers,
    acceptor: Acceptor,
    left: Left,
    serving: bool,
    channel: Channel,
    signals: std::fs::File,
    context: Context,
    watching: Watching,
    recycling: Recycling,
    check: Option<Check>,
    /// Kept to reuse their memory.
    notified: Vec<Token>,
    accepted: Vec<Accepted>,
}

/// What one poll has brought, and how far it was handled.
#[derive(Debug, Default)]
struct Batch {
    noticed: Vec<(Token, Readiness)>,
    next: usize,
    /// Connections that gave way to others in the turn before.
    yielded: Vec<Token>,
    stage: Stage,
}

/// How far a turn has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Events are handled.
    Events,
    /// What is due at the end of a turn is done.
    End,
    /// Nothing is left: poll again.
    #[default]
    Over,
}

/// What the reactor is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) poll: Poll,
    pub(super) acceptor: Acceptor,
    pub(super) channel: Channel,
    /// The read end of the pipe that the signal handlers write to.
    pub(super) signals: std::fs::File,
    pub(super) context: Context,
    pub(super) watching: Watching,
}

impl Reactor {
    /// A reactor that does not accept yet.
    ///
    /// # Errors
    /// The poll refuses a descriptor.
    pub(super) fn new(parts: Parts) -> io::Result<Self> {
        use std::os::fd::AsRawFd;
        let Parts { poll, acceptor, channel, signals, context, watching } = parts;
        let recycling = Recycling::new(&context);
        poll.registry().register(&mut SourceFd(&channel.as_raw_fd()), CHANNEL, Interest::READABLE)?;
        poll.registry().register(&mut SourceFd(&signals.as_raw_fd()), SIGNALS, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            batch: Batch::default(),
            inline: None,
            connections: Slab::new(),
            next_generation: 0,
            timers: Timers::default(),
            acceptor,
            left: Left { at: context.now, finished: 0 },
            serving: false,
            channel,
            signals,
            context,
            watching,
            recycling,
            check: None,
            notified: Vec::new(),
            accepted: Vec::new(),
        })
    }

    /// Tells the master that the worker is ready to serve.
    ///
    /// # Errors
    /// The master is gone.
    pub(super) fn report_ready(&self) -> io::Result<()> {
        self.channel.send_to_master(&FromWorker::Ready)
    }

    /// Ends it once the worker has drained. How many app threads are left that do not come back.
    pub(super) fn conclude(&mut self) -> usize {
        if let Some(summary) = self.context.refusals.summary() {
            log::info!("requests refused by this worker: {summary}");
        }
        // What is left at the end of the graceful timeout is cut.
        self.connections.clear();
        self.context.jobs.running()
    }

    /// Whether the worker has drained.
    pub(super) fn is_finished(&self) -> bool {
        let Some(since) = self.context.draining_since else { return false };
        let idle = self.connections.is_empty() && self.context.orphans.is_empty();
        if idle && self.context.jobs.running() <= self.watching.lost() {
            return true;
        }
        let overdue = self.context.now >= since + self.context.settings.workers.graceful_timeout;
        if overdue && !self.connections.is_empty() {
            log::warn!("{} connections were cut at workers.graceful_timeout", self.connections.len());
        }
        overdue
    }

    /// Waits for events, at most until the next timer if `block`, else not at all; true when there are any.
    pub(super) fn poll(&mut self, block: bool) -> bool {
        let timeout = if self.context.yielded.is_empty() && block {
            let wake = self.next_wake().map(|wake| wake.saturating_duration_since(self.context.now));
            wake.map_or(HEARTBEAT, |wake| wake.min(HEARTBEAT))
        } else {
            Duration::ZERO
        };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            Err(error) => {
                log::error!("the poll failed: {error}");
                sys::exit_now(1);
            }
        }
        self.context.tick();
        let Batch { noticed, next, yielded, stage } = &mut self.batch;
        noticed.clear();
        noticed.extend(self.events.iter().map(|event| (event.token(), Readiness::of(event))));
        std::mem::swap(yielded, &mut self.context.yielded);
        *next = 0;
        let any = !noticed.is_empty() || !yielded.is_empty();
        *stage = if any || block { Stage::Events } else { Stage::Over };
        any
    }

    /// Handles what the poll has brought until a request is ready for the application; `None` when the turn is over.
    pub(super) fn next_ready(&mut self) -> Option<Box<WorkerExchange>> {
        loop {
            if let Some(exchange) = self.context.ready.pop_front() {
                return Some(exchange);
            }
            match self.batch.stage {
                // Other app threads' answers do not wait for the rest of a long batch.
                Stage::Events if self.context.shared.notifier.has_news() => self.handle_notified(),
                Stage::Events => {
                    if let Some(&(token, readiness)) = self.batch.noticed.get(self.batch.next) {
                        self.batch.next += 1;
                        self.handle(token, readiness);
                        if self.context.ready.is_empty() {
                            self.send_held();
                        }
                    } else if let Some(token) = self.batch.yielded.pop() {
                        self.with_connection(token, Connection::drive);
                    } else {
                        self.batch.stage = Stage::End;
                        self.end_turn();
                    }
                }
                Stage::End => self.batch.stage = Stage::Over,
                Stage::Over => {
                    // Also of what was run since the end of the turn. Whoever is next polls, or gives the reactor away.
                    self.send_held();
                    return None;
                }
            }
        }
    }

    fn end_turn(&mut self) {
        self.send_held();
        if self.context.shared.notifier.has_news() {
            self.handle_notified();
        }
        self.handle_timers();
        self.watch();
        self.consider_recycling();
        self.balance();
        self.acceptor.publish(self.connections.len());
        self.context.scoreboard.beat(self.context.time);
        self.context.scoreboard.gauge(self.connections.len(), self.context.jobs.waiting());
    }

    fn next_wake(&self) -> Option<Instant> {
        let drained =
            self.context.draining_since.map(|since| since + self.context.settings.workers.graceful_timeout);
        self.timers
            .next()
            .into_iter()
            .chain(drained)
            .chain(self.acceptor.paused_until())
            .chain(self.next_look())
            .min()
    }

    fn handle(&mut self, token: Token, readiness: Readiness) {
        match token {
            WAKER => {}
            CHANNEL => {
                self.send_held();
                self.handle_channel();
            }
            SIGNALS => {
                self.send_held();
                self.handle_signals();
            }
            BELL => self.answer_bell(),
            CHECK => self.read_check(),
            token => {
                if let Some(index) = self.acceptor.listener_of(token) {
                    self.accept(index);
                    return;
                }
                self.with_connection(token, |connection, context| match connection.notice(readiness) {
                    Fate::Close => Fate::Close,
                    Fate::Keep | Fate::Unchanged => connection.drive(context),
                });
            }
        }
    }

    /// Lets something happen to a connection, if it is still there; keeps its timer armed, or drops it.
    fn with_connection(&mut self, token: Token, happen: impl FnOnce(&mut Connection, &mut Context) -> Fate) {
        let index = token.0 & u32::MAX as usize;
        let Some(connection) =
            self.connections.get_mut(index).filter(|connection| connection.token() == token)
        else {
            return;
        };
        let context = &mut self.context;
        // A bug that one connection runs into closes that connection, not the worker.
        let fate = catch_unwind(AssertUnwindSafe(|| happen(connection, context))).unwrap_or_else(|_| {
            log::error!("a connection was closed because of a bug in rwsgi; please report it");
            Fate::Close
        });
        match fate {
            Fate::Keep => {}
            Fate::Unchanged => return,
            Fate::Close => {
                self.connections.remove(index).abandon(&mut self.context);
                return;
            }
        }
        if connection.wants_watching()
            && let Err(error) = connection.watch(self.poll.registry())
        {
            log::error!("cannot watch a connection: {error}");
            self.connections.remove(index).abandon(&mut self.context);
            return;
        }
        connection.armed = self.timers.arm(token, connection.deadline(&self.context), connection.armed);
    }

    fn handle_notified(&mut self) {
        let mut notified = std::mem::take(&mut self.notified);
        self.context.shared.notifier.take(&mut notified);
        for token in notified.drain(..) {
            self.with_connection(token, Connection::drive);
            self.bury_orphan(token);
        }
        self.notified = notified;
    }

    /// Records an exchange that has ended after its connection.
    fn bury_orphan(&mut self, token: Token) {
        if let Some(end) = self.context.orphans.get(&token).and_then(|link| link.take_news().end) {
            self.context.orphans.remove(&token);
            record::exchange_over(&end.record.over(), &mut self.context);
        }
    }

    fn handle_timers(&mut self) {
        while let Some((due, token)) = self.timers.pop(self.context.now) {
            self.with_connection(token, |connection, context| {
                if connection.armed != Some(due) {
                    return Fate::Keep;
                }
                connection.armed = None;
                match connection.deadline(context) {
                    Some(deadline) if deadline <= context.now => connection.expire(context),
                    Some(_) | None => Fate::Keep,
                }
            });
        }
    }

    /// Takes connections off a listener that has some.
    fn accept(&mut self, index: usize) {
        // Woken although busy: the wake went to no one else, so one connection is taken before the leave.
        let most = if self.is_busy() { 1 } else { self.room() };
        let share = self.acceptor.claim(self.connections.len(), self.context.now);
        self.accept_some(index, most.min(share));
    }

    /// Another worker has its share of connections.
    fn answer_bell(&mut self) {
        if !self.acceptor.joined() || self.is_busy() {
            return;
        }
        for index in 0..self.acceptor.listeners() {
            let share = self.acceptor.share(self.connections.len());
            self.accept_some(index, self.room().min(share));
        }
    }

    /// Takes at most `most` connections; true when more may be waiting.
    fn accept_some(&mut self, index: usize, most: usize) -> bool {
        let mut accepted = std::mem::take(&mut self.accepted);
        let more = self.acceptor.accept(index, most, self.context.now, &mut accepted);
        for Accepted { socket, endpoint } in accepted.drain(..) {
            self.admit(|token, context| Connection::new(socket, token, endpoint, context));
        }
        self.accepted = accepted;
        self.acceptor.publish(self.connections.len());
        more
    }

    /// Takes a new connection in.
    fn admit(&mut self, make: impl FnOnce(Token, &Context) -> Connection) {
        let entry = self.connections.vacant_entry();
        let Ok(index) = u32::try_from(entry.key()) else { return };
        // Below `u32::MAX`, so that no connection has a token of a listener or of the reactor.
        self.next_generation = (self.next_generation + 1) % (u32::MAX - 1);
        let token = Token(((self.next_generation as usize) << 32) | index as usize);
        entry.insert(make(token, &self.context));
        self.with_connection(token, Connection::drive);
    }

    /// How many more connections it may have.
    fn room(&self) -> usize {
        self.context.settings.http.max_connections.saturating_sub(self.connections.len())
    }

    /// Whether new connections are better left to other workers. Under `http.queue_timeout` they are taken all the
    /// same: a connection that waits in the kernel's queue cannot be told that it waits too long.
    fn is_busy(&self) -> bool {
        let settings = &self.context.settings;
        let threads_are_busy = || self.context.jobs.outstanding() >= settings.workers.threads as usize;
        self.room() == 0
            || self.context.all_lost
            || (settings.http.queue_timeout.is_none() && threads_are_busy())
    }

    /// Leaves the listeners while busy, so that no request waits here while another worker is idle; joins them again
    /// when a thread is free. A worker that is busy without a break, but gets on, joins now and then: its clients wait
    /// for it, but so would a new one that nobody takes. One that is stuck does not.
    fn balance(&mut self) {
        self.acceptor.resume(self.context.now);
        if !self.serving || self.context.draining_since.is_some() {
            return;
        }
        let quiet = self.context.jobs.outstanding() == 0 && self.room() > 0 && !self.context.all_lost;
        if quiet && self.acceptor.joined() {
            return;
        }
        // Asked for before the look, or a thread that becomes free in between would wake nobody.
        let shared = Arc::clone(&self.context.shared);
        shared.wants_free_thread.store(true, Ordering::SeqCst);
        let busy = self.is_busy();
        let now = self.context.now;
        let finished = self.context.jobs.finished();
        if self.acceptor.joined() {
            if busy {
                self.acceptor.leave();
                self.left = Left { at: now, finished };
            } else {
                shared.wants_free_thread.store(false, Ordering::SeqCst);
            }
            return;
        }
        let gets_on = finished != self.left.finished && now >= self.left.at + REJOIN_AFTER;
        if !busy || (gets_on && self.room() > 0) {
            shared.wants_free_thread.store(false, Ordering::SeqCst);
            self.acceptor.join();
        }
    }
}

/// The reactor's clock.
pub(super) fn now() -> Instant {
    Instant::now()
}
