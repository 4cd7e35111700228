//! What a worker has counted since it was forked, and only ever goes up: plain numbers that can be added, so that the master
//! keeps the sum of the workers that are gone.

use std::time::Duration;

/// Upper bounds of the buckets of every histogram, in microseconds; one more bucket holds what is slower.
pub const BOUNDS_MICROS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];
/// All buckets of a histogram.
pub const BUCKETS: usize = BOUNDS_MICROS.len() + 1;

/// Why the server itself answered a request, with the status that it gave. Several causes may share a status; which one it
/// was is in the log at `debug`.
pub const REFUSALS: [(u16, &str); 10] = [
    (400, "malformed"),
    (404, "outside_mount"),
    (408, "too_slow"),
    (413, "body_too_large"),
    (414, "request_line_too_long"),
    (417, "expectation"),
    (431, "head_too_large"),
    (501, "not_implemented"),
    (503, "overloaded"),
    (505, "http_version"),
];

/// Durations by how long they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many fell into each bucket, and not into one below; bounds in [`BOUNDS_MICROS`].
    pub buckets: [u64; BUCKETS],
    /// All of them together, in nanoseconds.
    pub sum_nanos: u64,
}

/// Everything that a worker, or all workers that have been, have counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Answers by the first digit of their status, 1xx first; the last is of connections that were cut without one.
    pub statuses: [u64; 6],
    /// Requests that the application did not get to see or was not waited for, by [`REFUSALS`].
    pub refusals: [u64; REFUSALS.len()],
    /// Requests that were over `workers.request_timeout`.
    pub timeouts: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
    /// Requests by how long they took from their first byte to the end of the answer.
    pub latency: Histogram,
    /// Requests by how long they waited for an app thread.
    pub queue_wait: Histogram,
    /// Waits of app threads for the interpreter lock.
    pub gil_wait: Histogram,
}

impl Histogram {
    /// The bucket for a duration.
    pub(super) fn bucket(took: Duration) -> usize {
        let nanos = super::nanos(took);
        BOUNDS_MICROS.partition_point(|&bound| bound * 1000 < nanos)
    }

    /// How many durations there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        add_each(&mut self.buckets, &other.buckets);
        self.sum_nanos += other.sum_nanos;
    }
}

impl Totals {
    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        add_each(&mut self.statuses, &other.statuses);
        add_each(&mut self.refusals, &other.refusals);
        self.timeouts += other.timeouts;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.latency.add(&other.latency);
        self.queue_wait.add(&other.queue_wait);
        self.gil_wait.add(&other.gil_wait);
    }
}

fn add_each(sums: &mut [u64], others: &[u64]) {
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum += other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_is_not_below_it() {
        let bucket = |nanos| Histogram::bucket(Duration::from_nanos(nanos));
        assert_eq!((bucket(0), bucket(500_000), bucket(500_001), bucket(1_000_000)), (0, 0, 1, 1));
        assert_eq!((bucket(10_000_000_000), bucket(10_000_000_001), bucket(u64::MAX)), (13, 14, 14));
    }

    #[test]
    fn totals_add_up_field_by_field() {
        let mut one = Totals { timeouts: 1, bytes_in: 2, bytes_out: 3, ..Totals::default() };
        one.statuses[1] = 4;
        one.refusals[0] = 5;
        for (histogram, count) in
            [&mut one.latency, &mut one.queue_wait, &mut one.gil_wait].into_iter().zip(6..)
        {
            histogram.buckets[14] = count;
            histogram.sum_nanos = 10 * count;
        }
        let mut sum = one;
        sum.add(&one);
        assert_eq!((sum.timeouts, sum.bytes_in, sum.bytes_out), (2, 4, 6));
        assert_eq!((sum.statuses[1], sum.refusals[0]), (8, 10));
        assert_eq!((sum.latency.count(), sum.queue_wait.count(), sum.gil_wait.count()), (12, 14, 16));
        assert_eq!(
            (sum.latency.sum_nanos, sum.queue_wait.sum_nanos, sum.gil_wait.sum_nanos),
            (120, 140, 160)
        );
    }
}
