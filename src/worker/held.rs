//! Answers that wait for others of the same turn, so that they go out together: short answers to requests that came at
//! once. The first of them wakes a client that sleeps, and the others find it awake; and the kernel's way out stays in the
//! caches meanwhile. Those to a client that pipelines go out in one write.
//!
//! Each of them waits for the calls in between, and whoever is behind them in the turn has to wait less:
//! [`Held::may_wait`] weighs one against the other. No clock of ours ends the wait: the call that was expected to be short is,
//! or lasts, and then the reactor is taken over, which sends what is held back.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mio::Token;

/// Most clients whose answers are held back, the longest of an answer, and the most of all, in bytes.
const CLIENTS_MAX: usize = 16;
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const BYTES_MAX: usize = 64 * 1024;

/// A call that takes less keeps nobody waiting who waits for it, for so long in all.
const QUICK: Duration = Duration::from_micros(50);
const QUICK_WAIT_MAX: Duration = Duration::from_micros(100);

/// For longer calls: how many clients must be behind for each answer that waits, so that none waits for more than a part of what
/// the last of them does, and how long the first may wait.
const BEHIND_MIN: usize = 8;
const WAIT_MAX: Duration = Duration::from_millis(2);

/// What is between an answer and the next time that it could be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prospect {
    /// How long a call takes; `None` when that is not known.
    pub(super) call: Option<Duration>,
    /// How many clients are behind it in this turn, as far as is known.
    pub(super) behind: usize,
}

/// The answers that are held back, in order.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Connections, each with the end of its bytes.
    answers: Vec<(Token, usize)>,
    bytes: Vec<u8>,
    /// When the first of them was held back, on the clock of [`clock`](crate::sys::clock).
    since: Option<Duration>,
}

impl Held {
    /// Whether an answer of so many bytes is short enough.
    pub(super) fn takes(length: usize) -> bool {
        length <= ANSWER_BYTES_MAX
    }

    /// Holds back an answer, behind those on the same connection.
    pub(super) fn push(&mut self, token: Token, answer: &[u8], now: Duration) {
        self.since.get_or_insert(now);
        if self.ends_with(token) {
            self.answers.pop();
        }
        self.bytes.extend_from_slice(answer);
        self.answers.push((token, self.bytes.len()));
    }

    /// Whether the last of them is on this connection.
    pub(super) fn ends_with(&self, token: Token) -> bool {
        self.answers.last().is_some_and(|(last, _)| *last == token)
    }

    /// Takes back what is held on a connection.
    pub(super) fn recall(&mut self, token: Token) -> Bytes {
        let (held, mut recalled) = (std::mem::take(self), BytesMut::new());
        let Some(since) = held.since else { return Bytes::new() };
        for (holder, answer) in held.iter() {
            if holder == token {
                recalled.extend_from_slice(answer);
            } else {
                self.push(holder, answer, since);
            }
        }
        recalled.freeze()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Whether one more may wait with them.
    pub(super) fn admits(&self, prospect: Prospect, now: Duration) -> bool {
        prospect.behind > 0 && self.may_wait(self.answers.len() + 1, prospect, now)
    }

    /// Whether they are to be sent before the call that is next.
    pub(super) fn is_due(&self, prospect: Prospect, now: Duration) -> bool {
        !self.may_wait(self.answers.len(), prospect, now)
    }

    fn may_wait(&self, answers: usize, prospect: Prospect, now: Duration) -> bool {
        let Prospect { call: Some(call), behind } = prospect else { return false };
        if self.answers.len() >= CLIENTS_MAX || self.bytes.len() >= BYTES_MAX {
            return false;
        }
        let waited = self.since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        if call < QUICK {
            waited < QUICK_WAIT_MAX
        } else {
            waited + call <= WAIT_MAX && answers * BEHIND_MIN <= behind
        }
    }

    /// The answers on each connection, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, &[u8])> {
        let mut begin = 0;
        self.answers
            .iter()
            .map(move |&(token, end)| (token, &self.bytes[std::mem::replace(&mut begin, end)..end]))
    }

    /// Forgets them, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.answers.clear();
        self.bytes.clear();
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prospect(micros: u64, behind: usize) -> Prospect {
        Prospect { call: Some(Duration::from_micros(micros)), behind }
    }

    #[test]
    fn they_come_out_as_they_went_in_and_are_due_after_a_while_or_when_there_are_many() {
        let (mut held, now) = (Held::default(), Duration::from_secs(7));
        let quick = prospect(5, 1);
        for _ in 0..2 {
            assert!(held.admits(quick, now) && !held.admits(prospect(5, 0), now));
            held.push(Token(1), b"one", now);
            held.push(Token(2), b"two", now + QUICK_WAIT_MAX / 2);
            assert!(
                !held.is_due(quick, now + QUICK_WAIT_MAX / 2) && held.is_due(quick, now + QUICK_WAIT_MAX)
            );
            assert_eq!(held.iter().collect::<Vec<_>>(), [(Token(1), &b"one"[..]), (Token(2), b"two")]);
            for number in 2..CLIENTS_MAX {
                assert!(!held.is_due(quick, now));
                held.push(Token(number + 1), b"", now);
            }
            assert!(held.is_due(quick, now));
            held.clear();
            assert!(held.is_empty() && !held.is_due(quick, now + WAIT_MAX));
        }
    }

    #[test]
    fn they_wait_for_longer_calls_only_where_many_wait_for_longer() {
        let (mut held, now) = (Held::default(), Duration::from_secs(7));
        let unknown = Prospect { call: None, behind: 100 };
        assert!(!held.admits(unknown, now) && !held.admits(prospect(300, BEHIND_MIN - 1), now));
        assert!(held.admits(prospect(300, BEHIND_MIN), now) && !held.admits(prospect(2001, 100), now));
        held.push(Token(1), b"", now);
        assert!(!held.is_due(prospect(300, BEHIND_MIN), now) && held.is_due(unknown, now));
        assert!(held.is_due(prospect(300, BEHIND_MIN - 1), now));
        assert!(
            !held.admits(prospect(300, BEHIND_MIN), now) && held.admits(prospect(300, 2 * BEHIND_MIN), now)
        );
        let later = now + WAIT_MAX - Duration::from_micros(300);
        assert!(!held.is_due(prospect(300, 100), later) && held.is_due(prospect(301, 100), later));
    }

    #[test]
    fn those_on_one_connection_are_one_and_can_be_taken_back() {
        let (mut held, now) = (Held::default(), Duration::from_secs(7));
        for (token, answer) in [(1, "a"), (1, "b"), (2, "c"), (3, "d")] {
            held.push(Token(token), answer.as_bytes(), now);
        }
        assert!(held.ends_with(Token(3)) && !held.ends_with(Token(1)));
        assert_eq!(
            held.iter().collect::<Vec<_>>(),
            [(Token(1), &b"ab"[..]), (Token(2), b"c"), (Token(3), b"d")]
        );
        assert_eq!(held.recall(Token(1)), "ab");
        assert_eq!(held.iter().collect::<Vec<_>>(), [(Token(2), &b"c"[..]), (Token(3), b"d")]);
        let quick = prospect(5, 1);
        assert!(held.is_due(quick, now + QUICK_WAIT_MAX) && !held.is_due(quick, now));
        assert_eq!(held.recall(Token(1)), "");
        held.push(Token(1), &[b'x'; BYTES_MAX], now);
        assert!(held.is_due(quick, now));
    }
}
