//! The monotonic clock as a number that means the same in every process of the machine, and in Python's
//! `time.monotonic()`. `Instant` is for use within one process.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC`, from its zero (about the boot of the machine).
#[must_use]
pub fn monotonic() -> Duration {
    // It cannot fail with a clock that exists.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}
