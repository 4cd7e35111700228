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
    /// Whether the answer that ends with `rest` waits for others: it is held back as a whole, or was before the application's
    /// `close()`. `may_hold`: others of the same turn are worth it.
    pub(super) fn holds_back(&mut self, rest: &mut Rest<'_>, may_hold: bool, context: &mut Context) -> bool {
        let stays = rest.keep_alive && !context.settings.http.keep_alive.is_zero();
        if !stays || !rest.segments.is_empty() || rest.linked {
            return false;
        }
        if rest.gathered.is_empty() && rest.large.is_none() {
            return self.holds;
        }
        // Another to the same client is next, too.
        let may_hold = may_hold || self.holds || !self.input.is_empty();
        rest.is_last && may_hold && self.hold(rest.gathered, rest.large, context)
    }

    /// Holds back what is left of an answer, if it is short and the client has nothing to do but to wait for it.
    pub(super) fn hold(
        &mut self,
        gathered: &mut Vec<u8>,
        large: &mut Option<Bytes>,
        context: &mut Context,
    ) -> bool {
        let is_next = self.output.is_empty() && self.writable;
        let is_short = Held::takes(gathered.len() + large.as_ref().map_or(0, Bytes::len));
        // What has been read of the next request is run next.
        let waits = !self.readable || !self.input.is_empty();
        // What is held for one client is in one piece.
        let fits = !self.holds || context.held.ends_with(self.token);
        if !(is_next && is_short && waits && fits && self.watched && context.draining_since.is_none()) {
            return false;
        }
        self.holds = true;
        context.held.push(self.token, gathered, context.time);
        gathered.clear();
        if let Some(large) = large.take() {
            context.held.push(self.token, &large, context.time);
        }
        true
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
            return Fate::Unchanged;
        }
        self.writable = false;
        self.write_progress_at = context.now;
        self.output.push_front(Segment::Memory(Bytes::copy_from_slice(&answer[sent..])));
        Fate::Keep
    }
}
