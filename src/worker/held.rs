//! Answers that wait for others of the same turn, so that they go out together: short answers to requests that came at
//! once. The first of them wakes a client that sleeps, and the others find it awake; and the kernel's way out stays in the
//! caches meanwhile. Those to a client that pipelines go out in one write.
//!
//! Held back is only what is followed by something just as quick, and not for long: see [`Held::is_due`] and
//! [`super::forecast::Forecast::is_quick`].

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mio::Token;

/// Most clients whose answers are held back, the longest of an answer, and the most of all, in bytes.
const CLIENTS_MAX: usize = 16;
const ANSWER_BYTES_MAX: usize = 2048;
const BYTES_MAX: usize = CLIENTS_MAX * ANSWER_BYTES_MAX;

/// How long the first of them may have waited when another request is begun.
const WAIT_MAX: Duration = Duration::from_micros(100);

/// The answers that are held back, in order.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Connections, each with the end of its bytes.
    answers: Vec<(Token, usize)>,
    bytes: Vec<u8>,
    since: Option<Instant>,
}

impl Held {
    /// Whether an answer is short enough.
    pub(super) fn takes(answer: &[u8]) -> bool {
        answer.len() <= ANSWER_BYTES_MAX
    }

    /// Holds back an answer, behind those on the same connection.
    pub(super) fn push(&mut self, token: Token, answer: &[u8], now: Instant) {
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

    /// Whether no more are to be waited for.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let waited = self.since.map(|since| now.saturating_duration_since(since));
        let many = self.answers.len() >= CLIENTS_MAX || self.bytes.len() >= BYTES_MAX;
        many || waited.is_some_and(|waited| waited >= WAIT_MAX)
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

    #[test]
    fn they_come_out_as_they_went_in_and_are_due_after_a_while_or_when_there_are_many() {
        let (mut held, now) = (Held::default(), Instant::now());
        for _ in 0..2 {
            held.push(Token(1), b"one", now);
            held.push(Token(2), b"two", now + WAIT_MAX / 2);
            assert!(!held.is_due(now + WAIT_MAX / 2) && held.is_due(now + WAIT_MAX));
            assert_eq!(held.iter().collect::<Vec<_>>(), [(Token(1), &b"one"[..]), (Token(2), b"two")]);
            for number in 2..CLIENTS_MAX {
                assert!(!held.is_due(now));
                held.push(Token(number + 1), b"", now);
            }
            assert!(held.is_due(now));
            held.clear();
            assert!(held.is_empty() && !held.is_due(now + WAIT_MAX));
        }
    }

    #[test]
    fn those_on_one_connection_are_one_and_can_be_taken_back() {
        let (mut held, now) = (Held::default(), Instant::now());
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
        assert!(held.is_due(now + WAIT_MAX) && !held.is_due(now));
        assert_eq!(held.recall(Token(1)), "");
        held.push(Token(1), &[b'x'; BYTES_MAX], now);
        assert!(held.is_due(now));
    }
}
