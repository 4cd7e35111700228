//! How long a request will be with the application, from how long others of its kind were.
//!
//! A kind is the method and the beginning of the path. The table is small and forgets: a wrong guess costs one request some
//! time, never its answer. Pure.

use std::time::Duration;

use crate::http::RequestHead;

/// A call that takes this long is better run by another thread than by the one that polls: several times what a hand-over
/// costs.
pub(super) const SLOW: Duration = Duration::from_micros(400);

/// Kinds that are kept. Each is one word, so the table is a page.
const KINDS: u32 = 512;

/// So much of a path is looked at: its first two segments, and no more bytes than this.
const PREFIX_BYTES: usize = 32;
const PREFIX_SEGMENTS: usize = 2;

/// A kind of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(u32);

impl Kind {
    /// The kind of a request.
    pub(super) fn of(head: &RequestHead) -> Self {
        // FNV-1a: short inputs, and nothing depends on its quality.
        let mut hash: u32 = 0x811c_9dc5;
        let mut mix = |byte: u8| hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        mix(head.method().first().copied().unwrap_or_default());
        let mut slashes = 0;
        for &byte in head.path().iter().take(PREFIX_BYTES) {
            slashes += usize::from(byte == b'/');
            if slashes > PREFIX_SEGMENTS {
                break;
            }
            mix(byte);
        }
        Self(hash)
    }
}

/// Running averages by kind.
#[derive(Debug)]
pub(super) struct Forecast {
    averages: Box<[Average]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Average {
    kind: u32,
    micros: u32,
}

impl Forecast {
    /// Nothing is known.
    pub(super) fn new() -> Self {
        Self { averages: vec![Average::default(); KINDS as usize].into_boxed_slice() }
    }

    /// Whether requests of this kind take long.
    pub(super) fn is_slow(&self, kind: Kind) -> bool {
        self.expected(kind).is_some_and(|expected| expected >= SLOW)
    }

    /// How long requests of this kind take; `None` when that is not known.
    pub(super) fn expected(&self, kind: Kind) -> Option<Duration> {
        let average = self.averages[(kind.0 % KINDS) as usize];
        (average.kind == kind.0).then(|| Duration::from_micros(average.micros.into()))
    }

    /// A request of this kind took so long.
    pub(super) fn learn(&mut self, kind: Kind, took: Duration) {
        let average = &mut self.averages[(kind.0 % KINDS) as usize];
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        *average = if average.kind == kind.0 {
            let (old, new) = (u64::from(average.micros), u64::from(micros));
            // A quarter of the weight is the new one's.
            let micros = u32::try_from((old * 3 + new) / 4).unwrap_or(u32::MAX);
            Average { kind: kind.0, micros }
        } else {
            Average { kind: kind.0, micros }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_micros(20);
    const LONG: Duration = Duration::from_millis(10);

    #[test]
    fn what_was_slow_is_expected_to_be_slow_until_it_is_quick_again() {
        let mut forecast = Forecast::new();
        let (kind, other) = (Kind(7), Kind(7 + KINDS));
        assert!(!forecast.is_slow(kind) && forecast.expected(kind).is_none());
        forecast.learn(kind, LONG);
        assert_eq!(forecast.expected(kind), Some(LONG));
        assert!(forecast.is_slow(kind) && !forecast.is_slow(other));
        for _ in 0..40 {
            forecast.learn(kind, FAST);
        }
        assert!(!forecast.is_slow(kind) && forecast.expected(kind) < Some(2 * FAST));
        // One that is slow now and then does not make the others slow.
        forecast.learn(kind, Duration::from_millis(1));
        assert!(!forecast.is_slow(kind) && forecast.expected(kind) > Some(10 * FAST));
        // Two kinds in one place: the last one counts.
        forecast.learn(other, LONG);
        assert!(!forecast.is_slow(kind) && forecast.is_slow(other));
    }
}
