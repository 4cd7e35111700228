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

/// Seconds since 1970, as of the kernel's last tick: some milliseconds late at most, and read without asking the hardware.
#[must_use]
pub fn seconds_since_1970() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_REALTIME_COARSE).map_or(0, |time| time.tv_sec());
    u64::try_from(time).unwrap_or(0)
}
