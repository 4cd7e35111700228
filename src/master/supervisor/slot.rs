//! The places of a generation: who is in a slot, who comes into it, and how long to wait after failures.
//!
//! A slot holds up to two workers: the one that serves, and the one that boots to take its place. The second is told to
//! serve before the first is told to drain.

use std::time::{Duration, Instant};

use super::event::ProcessId;

/// The wait before the second replacement in a row; doubles from there.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait before a replacement.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A place for one worker of a generation.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot {
    /// The worker that has loaded the application: checking, ready or serving.
    pub(super) current: Option<ProcessId>,
    /// The one that will be it.
    pub(super) coming: Coming,
    pub(super) backoff: Backoff,
}

/// The next worker of a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Coming {
    /// None is wanted.
    #[default]
    Nobody,
    /// One is wanted.
    Waiting {
        /// Not spawned before.
        spawn_deadline: Instant,
    },
    /// It boots.
    Booting(ProcessId),
}

/// The template of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TemplatePlace {
    /// None: the workers import the application themselves.
    Unused,
    /// One is wanted.
    Waiting {
        /// Not spawned before.
        spawn_deadline: Instant,
    },
    /// It boots.
    Booting(ProcessId),
    /// It forks workers.
    Ready(ProcessId),
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts an end and says how long to wait before the replacement.
    pub(super) fn wait(&mut self, died_young: bool) -> Duration {
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

    /// The same for a process that the system could not make: never at once.
    pub(super) fn wait_for_system(&mut self) -> Duration {
        self.failures = self.failures.max(1);
        self.wait(true)
    }
}

impl Slot {
    /// Takes a worker out, if it is in.
    pub(super) fn vacate(&mut self, id: ProcessId) {
        if self.current == Some(id) {
            self.current = None;
        }
        if self.coming == Coming::Booting(id) {
            self.coming = Coming::Nobody;
        }
    }

    /// The workers in it.
    pub(super) fn workers(&self) -> impl Iterator<Item = ProcessId> + use<> {
        let coming = match self.coming {
            Coming::Booting(id) => Some(id),
            Coming::Nobody | Coming::Waiting { .. } => None,
        };
        self.current.into_iter().chain(coming)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_limit_and_resets() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..12).map(|_| backoff.wait(true).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(backoff.wait(false), Duration::ZERO);
        assert_eq!(backoff.wait(true), Duration::ZERO);
        assert_eq!(backoff.wait(true), BACKOFF_MIN);
        assert_eq!(Backoff::default().wait_for_system(), BACKOFF_MIN);
    }
}
