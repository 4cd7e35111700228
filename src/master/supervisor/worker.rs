//! Workers and their slots as the supervisor sees them: phases with their deadlines, and the backoff of a slot.

use std::fmt;
use std::time::{Duration, Instant};

use super::event::WorkerId;

/// A worker that lived shorter than this died young.
pub(super) const YOUNG_AGE: Duration = Duration::from_secs(5);
/// The wait before the second replacement in a row; doubles from there.
pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait before a replacement.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// One worker process.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) generation: u32,
    pub(super) slot: u32,
    pub(super) pid: Option<i32>,
    pub(super) spawned_at: Instant,
    pub(super) phase: Phase,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Loading the application.
    Booting {
        /// Killed when it is not ready by then.
        boot_deadline: Instant,
    },
    /// Loaded; waits until its whole generation is.
    Ready,
    /// Accepts connections.
    Serving,
    /// Expected to exit by itself (it drains, or could not load); out of its slot.
    Ending {
        /// Killed when it has not exited by then.
        kill_deadline: Instant,
    },
    /// Sent `SIGKILL`; out of its slot.
    Killed,
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid.unwrap_or(0);
        write!(f, "worker {} (pid {pid}, generation {})", self.slot, self.generation)
    }
}

/// A place for one worker of a generation.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot {
    pub(super) state: SlotState,
    /// Workers in a row that died young here.
    failures: u32,
}

/// Who is in a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum SlotState {
    /// Nobody yet (the rest of a generation whose canary boots).
    #[default]
    Empty,
    /// A worker that is booting, ready or serving.
    Taken(WorkerId),
    /// Nobody: the next worker is spawned then.
    Waiting {
        /// When.
        spawn_deadline: Instant,
    },
}

impl Slot {
    /// Counts a death and says how long to wait before the replacement.
    pub(super) fn backoff(&mut self, died_young: bool) -> Duration {
        if !died_young {
            self.failures = 0;
            return Duration::ZERO;
        }
        self.failures = self.failures.saturating_add(1);
        match self.failures {
            1 => Duration::ZERO,
            failures => BACKOFF_MAX.min(BACKOFF_MIN.saturating_mul(1 << (failures - 2).min(20))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_limit_and_resets() {
        let mut slot = Slot::default();
        let waits: Vec<u128> = (0..12).map(|_| slot.backoff(true).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(slot.backoff(false), Duration::ZERO);
        assert_eq!(slot.backoff(true), Duration::ZERO);
        assert_eq!(slot.backoff(true), BACKOFF_MIN);
    }
}
