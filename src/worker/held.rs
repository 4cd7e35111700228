//! Answers that wait for others of the same turn, so that they go out together: short answers to requests that came at
//! once. The first of them wakes a client that sleeps, and the others find it awake; and the kernel's way out stays in the
//! caches meanwhile.
//!
//! Held back is only what is followed by something just as quick, and not for long: see [`Held::is_due`] and
//! [`super::forecast::Forecast::is_quick`].

use std::time::{Duration, Instant};

use mio::Token;

/// Most answers that are held back, and the longest of them, in bytes.
const ANSWERS_MAX: usize = 16;
const ANSWER_BYTES_MAX: usize = 2048;

/// How long the first of them may have waited when another request is begun.
const WAIT_MAX: Duration = Duration::from_micros(100);

/// The answers that are held back, in order.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Each with the end of its bytes.
    answers: Vec<(Token, usize)>,
    bytes: Vec<u8>,
    since: Option<Instant>,
}

impl Held {
    /// Whether an answer is short enough.
    pub(super) fn takes(answer: &[u8]) -> bool {
        answer.len() <= ANSWER_BYTES_MAX
    }

    /// Holds back an answer on a connection that has none here.
    pub(super) fn push(&mut self, token: Token, answer: &[u8], now: Instant) {
        self.since.get_or_insert(now);
        self.bytes.extend_from_slice(answer);
        self.answers.push((token, self.bytes.len()));
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Whether no more are to be waited for.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let waited = self.since.map(|since| now.saturating_duration_since(since));
        self.answers.len() >= ANSWERS_MAX || waited.is_some_and(|waited| waited >= WAIT_MAX)
    }

    /// Each answer and its connection, in order.
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
            for number in 2..ANSWERS_MAX {
                assert!(!held.is_due(now));
                held.push(Token(number), b"", now);
            }
            assert!(held.is_due(now));
            held.clear();
            assert!(held.is_empty() && !held.is_due(now + WAIT_MAX));
        }
    }
}
