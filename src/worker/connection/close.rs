//! The end of a connection: our own answers to what cannot go to the application, the last write, and the lingering
//! close.
//!
//! A socket that is closed while input is unread sends a reset, and a reset can destroy the answer before the client
//! has read it (RFC 9112 §9.6). So our direction is shut first, and input is read and dropped for a while.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::http::{Method, RequestHead, error_response};
use crate::sys::at_fork::has_forked;

use super::super::context::Context;
use super::super::output::Segment;
use super::super::{record, request_id};
use super::{Connection, Phase, Read, Step};

/// How long a client that was answered is listened to for its end. nginx has 5 s (`lingering_timeout`).
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

impl Connection {
    /// Answers a request that does not go to the application, and closes.
    pub(super) fn reject(
        &mut self,
        status: u16,
        reason: &'static str,
        head: Option<RequestHead>,
        context: &mut Context,
    ) -> Step {
        let id = context.ids.identify(head.as_ref(), &self.endpoint);
        // The others are the client's own doing.
        let level = if matches!(status, 500 | 507) { log::Level::Warn } else { log::Level::Debug };
        log::log!(level, "[{id}] answered {status} to {:?}: {reason}", self.endpoint.peer);
        context.refusals.count(reason);
        let date = httpdate::fmt_http_date(SystemTime::now());
        let is_head = head.as_ref().is_some_and(|head| head.method_kind() == Method::Head);
        let mut answer = Vec::new();
        let told = request_id::told(status, &id);
        error_response(status, &context.shared.server, &date, told.as_slice(), is_head, true, &mut answer);
        if self.output.is_empty() {
            self.write_progress_at = context.now;
        }
        self.output.push(Segment::Memory(Bytes::from(answer)));
        record::rejected(status, head.as_ref(), &self.endpoint, &id, context);
        self.phase = Phase::Farewell { linger: true };
        Step::Again
    }

    /// Writes what is left, then closes or lingers.
    pub(super) fn farewell(&mut self, linger: bool, context: &mut Context) -> Step {
        self.recall(context);
        if self.flush(context).is_none() {
            return Step::Close;
        }
        if !self.output.is_empty() {
            return Step::Wait;
        }
        let closes = !linger || self.end_of_input;
        // A process that the application has forked may hold the socket open beyond our close.
        if !closes || has_forked() {
            self.socket.shutdown_write();
        }
        if closes {
            return Step::Close;
        }
        self.input.clear();
        self.phase = Phase::Linger { until: context.now + LINGER_TIMEOUT };
        Step::Again
    }

    /// Reads and drops.
    pub(super) fn linger(&mut self, context: &mut Context) -> Step {
        loop {
            match self.receive(context) {
                Read::Bytes(_) => {}
                Read::Nothing => return Step::Wait,
                Read::End | Read::Broken => return Step::Close,
            }
        }
    }
}
