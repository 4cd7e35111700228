//! What the reactor does for the app thread that turns it and runs the application in between: remembers what is run while
//! it lies in the berth, and writes what is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mio::Token;

use crate::app::Sent;

use super::super::calls::Call;
use super::super::connection::{Connection, Fate};
use super::super::exchange::WorkerExchange;
use super::super::held::Prospect;
use super::super::link::Link;
use super::super::record;
use super::super::rest::Rest;
use super::Reactor;

/// A request that the app thread runs which turns the reactor.
#[derive(Debug)]
pub(super) struct Inline {
    thread: usize,
    link: Arc<Link>,
    /// As [`Context::time`](super::super::context::Context::time).
    began: Duration,
    /// How long others of its kind took.
    expected: Option<Duration>,
}

impl Reactor {
    /// App thread `thread` is about to run a request; it leaves the reactor in the berth next.
    pub(in crate::worker) fn begin_inline(
        &mut self,
        thread: usize,
        exchange: &mut WorkerExchange,
        limit: Option<Duration>,
    ) {
        let expected = self.context.forecast.expected(exchange.kind());
        // Itself, and those behind it.
        let prospect = Prospect { call: expected, behind: 1 + self.behind() };
        if self.context.held.is_due(prospect, self.context.time) {
            self.send_held();
        }
        let (link, started) = (Arc::clone(exchange.link()), self.context.time);
        exchange.run_inline(thread, started, limit);
        let head = &link.request.head;
        self.context.scoreboard.begin(thread, head.method(), head.path(), started);
        self.inline = Some(Inline { thread, link, began: started, expected });
    }

    /// The app thread is back, and has the reactor again.
    pub(in crate::worker) fn end_inline(&mut self, exchange: Box<WorkerExchange>) {
        let Some(Inline { thread, link, began, .. }) = self.inline.take() else { return };
        self.context.scoreboard.end(thread);
        let took = self.context.time.saturating_sub(began);
        self.context.forecast.learn(exchange.kind(), took);
        drop(link);
        self.context.spare(exchange);
    }

    /// The call takes long, and another thread has the reactor from now on: what is run counts as handed over.
    pub(in crate::worker) fn adopt(&mut self) {
        self.send_held();
        let Some(Inline { thread, link, .. }) = self.inline.take() else { return };
        self.context.jobs.adopt();
        self.context.tick();
        let token = link.token();
        self.watching.calls.adopt(thread, Call { link });
        self.attend(token);
        self.pump(token);
    }

    /// The standby's look: whether the request that is run has been for as long as `overdue`. Transmits what it has held back.
    pub(in crate::worker) fn look_in(&mut self, overdue: Duration) -> bool {
        let Some(inline) = &self.inline else { return false };
        let (began, holds_output) = (inline.began, inline.link.holds_output());
        let token = inline.link.token();
        if self.context.time_now().saturating_sub(began) >= overdue {
            return true;
        }
        if holds_output {
            self.context.tick();
            self.pump(token);
        }
        false
    }

    /// Sends the answers that wait for others, unless that on this connection, the latest, waits with them: what wakes a client
    /// that sleeps had better bring all.
    fn send_held_with(&mut self, token: Token) {
        if !self.context.held.ends_with(token) {
            self.send_held();
        }
    }

    /// Sends the answers that wait for others.
    pub(in crate::worker) fn send_held(&mut self) {
        if self.context.held.is_empty() {
            return;
        }
        let mut held = std::mem::take(&mut self.context.held);
        for (token, answer) in held.iter() {
            self.with_connection(token, |connection, context| connection.send_held(answer, context));
        }
        held.clear();
        self.context.held = held;
    }

    /// Whether others of its kind took long.
    pub(in crate::worker) fn is_slow(&self, exchange: &WorkerExchange) -> bool {
        self.context.forecast.is_slow(exchange.kind())
    }

    /// Hands a request over to the app threads.
    pub(in crate::worker) fn hand_over(&mut self, exchange: Box<WorkerExchange>) {
        if self.context.all_lost {
            return exchange.shed();
        }
        self.attend(exchange.token());
        self.context.jobs.push(exchange);
    }

    /// Takes back what was handed over and not begun, for the app thread that turns the reactor next to run.
    pub(in crate::worker) fn take_back(&mut self) {
        let waiting = self.context.jobs.withdraw_all();
        self.context.ready.extend(waiting);
    }

    /// Moves what can be moved between a connection and its exchange.
    pub(in crate::worker) fn pump(&mut self, token: Token) {
        self.with_connection(token, Connection::drive);
    }

    /// Watches a connection whose request will not be answered at once.
    pub(in crate::worker) fn attend(&mut self, token: Token) {
        self.with_connection(token, |connection, _| connection.attend());
    }

    /// Whether what is answered now may wait for what is next: for a call like this one, most likely.
    fn may_hold(&self) -> bool {
        let call = self.inline.as_ref().and_then(|inline| inline.expected);
        self.context.held.admits(Prospect { call, behind: self.behind() }, self.context.time)
    }

    /// How many requests are behind the one that is run, if whatever else the poll has brought is one.
    fn behind(&self) -> usize {
        self.context.ready.len() + self.batch.noticed.len() - self.batch.next
    }

    /// Writes a whole response, whose exchange goes on until the application has closed it.
    pub(in crate::worker) fn transmit(
        &mut self,
        link: &Arc<Link>,
        gathered: &mut Vec<u8>,
        large: &mut Option<Bytes>,
        keep_alive: bool,
    ) -> Sent {
        self.context.tick();
        let may_hold = keep_alive && self.may_hold();
        let mut sent = Sent::Gone;
        self.with_connection(link.token(), |connection, context| {
            sent = connection.transmit(link, gathered, large, may_hold, context);
            Fate::Keep
        });
        self.send_held_with(link.token());
        sent
    }

    /// Writes the last of a response, or all of it.
    pub(in crate::worker) fn answer(&mut self, link: &Arc<Link>, mut rest: Rest<'_>) {
        self.context.tick();
        let may_hold = self.may_hold();
        let mut there = false;
        self.with_connection(link.token(), |connection, context| {
            there = true;
            connection.answer(link, &mut rest, may_hold, context)
        });
        if !there && self.context.orphans.remove(&link.token()).is_some() {
            record::exchange_over(&rest.over(&link.request), &mut self.context);
        }
        self.send_held_with(link.token());
    }
}
