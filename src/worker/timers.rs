//! Timers that cost nothing while nothing expires.
//!
//! A connection's deadline moves with every request, nearly always to later. So the heap holds at most one entry a
//! connection, for the earliest instant at which it might expire; when that comes, the connection is asked for its
//! deadline of now, and either expires or is put back. Moving a deadline to later touches nothing.
//!
//! Pure: no clock is read here. Entries of connections that are gone are recognised by their token's generation.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use mio::Token;

/// A heap of instants at which to look at a connection again.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Token)>>,
}

impl Timers {
    /// Puts an entry in. `armed` is the connection's entry that is already in, if any; returns what it is afterwards.
    pub(super) fn arm(
        &mut self,
        token: Token,
        deadline: Option<Instant>,
        armed: Option<Instant>,
    ) -> Option<Instant> {
        match (deadline, armed) {
            (None, armed) => armed,
            (Some(deadline), Some(earlier)) if earlier <= deadline => Some(earlier),
            (Some(deadline), _) => {
                self.heap.push(Reverse((deadline, token)));
                Some(deadline)
            }
        }
    }

    /// When to look next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((instant, _))| *instant)
    }

    /// Takes an entry that has come due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, Token)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_that_moves_to_later_adds_no_entry() {
        let start = Instant::now();
        let mut timers = Timers::default();
        let mut armed = None;
        for second in 1..1000 {
            armed = timers.arm(Token(7), Some(start + Duration::from_secs(second)), armed);
        }
        assert_eq!(armed, Some(start + Duration::from_secs(1)));
        assert_eq!(timers.heap.len(), 1);
    }

    #[test]
    fn an_earlier_deadline_comes_first() {
        let start = Instant::now();
        let mut timers = Timers::default();
        let armed = timers.arm(Token(7), Some(start + Duration::from_secs(9)), None);
        let armed = timers.arm(Token(7), Some(start + Duration::from_secs(2)), armed);
        assert_eq!(armed, Some(start + Duration::from_secs(2)));
        assert_eq!(timers.pop(start + Duration::from_secs(1)), None);
        assert_eq!(
            timers.pop(start + Duration::from_secs(2)),
            Some((start + Duration::from_secs(2), Token(7)))
        );
        assert_eq!(timers.next(), Some(start + Duration::from_secs(9)));
    }

    #[test]
    fn no_deadline_leaves_the_entry_that_is_in() {
        let start = Instant::now();
        let mut timers = Timers::default();
        let armed = timers.arm(Token(7), Some(start), None);
        assert_eq!(timers.arm(Token(7), None, armed), Some(start));
        assert_eq!(timers.arm(Token(8), None, None), None);
    }
}
