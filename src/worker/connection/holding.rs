//! What is held back on a connection until others are answered too: when an answer may wait, how it is sent, and how it
//! stays in front of whatever else is written. The bytes are with [`Held`].

use std::io;

use bytes::Bytes;

use super::super::context::Context;
use super::super::held::Held;
use super::super::output::Segment;
use super::super::rest::Rest;
use super::{Connection, Fate};

impl Connection {
    /// Whether an answer is to wait for others: a short one that has nothing to do before the client sends more, or that is
    /// followed by another to the same client. Before a `close()` of the application, which may take its time, nothing is
    /// held back.
    pub(super) fn may_wait(&self, rest: &Rest<'_>, may_hold: bool, context: &Context) -> bool {
        let is_next = rest.segments.is_empty() && !rest.linked && self.output.is_empty() && self.writable;
        let stays = rest.is_last && rest.keep_alive && !context.settings.http.keep_alive.is_zero();
        let is_short = rest.large.is_none() && !rest.gathered.is_empty() && Held::takes(rest.gathered);
        let is_followed = !self.input.is_empty() || (!self.readable && (may_hold || self.holds));
        // What is held for one client is in one piece.
        let fits = !self.holds || context.held.ends_with(self.token);
        is_next
            && stays
            && is_short
            && is_followed
            && fits
            && self.watched
            && context.draining_since.is_none()
    }

    /// Puts what is held back in front of the output.
    pub(super) fn recall(&mut self, context: &mut Context) {
        if std::mem::take(&mut self.holds) {
            self.output.push_front(Segment::Memory(context.held.recall(self.token)));
        }
    }

    /// Writes an answer that was held back.
    pub(in crate::worker) fn send_held(&mut self, answer: &[u8], context: &mut Context) -> Fate {
        self.holds = false;
        let sent = match self.socket.send(answer) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Fate::Close,
        };
        context.scoreboard.count_bytes(0, sent as u64);
        if sent == answer.len() {
            return Fate::Keep;
        }
        self.writable = false;
        self.write_progress_at = context.now;
        self.output.push_front(Segment::Memory(Bytes::copy_from_slice(&answer[sent..])));
        Fate::Keep
    }
}
