//! Processes as the supervisor sees them, workers and templates alike: what they are, and their phases with the deadlines.

use std::fmt;
use std::time::{Duration, Instant};

use super::event::ProcessId;

/// A process that lived shorter than this died young.
const YOUNG_AGE: Duration = Duration::from_secs(5);

/// One process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) id: ProcessId,
    pub(super) generation: u32,
    pub(super) role: Role,
    pub(super) pid: Option<i32>,
    pub(super) spawned_at: Instant,
    pub(super) phase: Phase,
    /// Why it is to be replaced, once it is.
    pub(super) recycle: Option<Recycle>,
    /// Whether the log was told that it gives no sign of life.
    pub(super) is_silent: bool,
}

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It serves in a slot.
    Worker {
        /// Which.
        slot: u32,
        /// The template that forks it.
        template: Option<ProcessId>,
    },
    /// It forks workers.
    Template,
}

/// Why a worker is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recycle {
    pub(super) reason: String,
    /// Not planned: at once, whatever else goes on.
    pub(super) is_stuck: bool,
}

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// A template is asked to fork it; until that answers, there may be no process.
    Forking {
        /// The template is taken for dead when it has not answered by then.
        fork_deadline: Instant,
    },
    /// Loading the application.
    Booting {
        /// Killed when it is not ready by then.
        boot_deadline: Instant,
    },
    /// A canary that runs the request of `reload.check`.
    Checking {
        /// The reload fails when there is no answer by then.
        check_deadline: Instant,
    },
    /// Loaded; a worker waits until its whole generation is, a template for orders.
    Ready,
    /// Accepts connections.
    Serving,
    /// Expected to exit by itself (it drains, is closed, or could not load); out of its slot.
    Ending {
        /// Killed when it has not exited by then.
        kill_deadline: Instant,
    },
    /// Sent `SIGKILL`; out of its slot.
    Killed,
    /// Its template is gone and never said whether it had forked it: most likely there is no process. Kept only to kill
    /// the worker should the answer come late.
    Lost,
}

impl Phase {
    /// When something is to be done about a process in this phase.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Forking { fork_deadline: at }
            | Self::Booting { boot_deadline: at }
            | Self::Checking { check_deadline: at }
            | Self::Ending { kill_deadline: at } => Some(at),
            Self::Ready | Self::Serving | Self::Killed | Self::Lost => None,
        }
    }

    /// Whether the process has its place: it boots, is ready or serves.
    pub(super) fn is_living(self) -> bool {
        match self {
            Self::Forking { .. }
            | Self::Booting { .. }
            | Self::Checking { .. }
            | Self::Ready
            | Self::Serving => true,
            Self::Ending { .. } | Self::Killed | Self::Lost => false,
        }
    }

    /// Whether it has not said yet that it has loaded the application.
    pub(super) fn is_boot(self) -> bool {
        match self {
            Self::Forking { .. } | Self::Booting { .. } => true,
            Self::Checking { .. }
            | Self::Ready
            | Self::Serving
            | Self::Ending { .. }
            | Self::Killed
            | Self::Lost => false,
        }
    }
}

impl Process {
    pub(super) fn is_young(&self, now: Instant) -> bool {
        self.age(now) < YOUNG_AGE
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.spawned_at)
    }

    /// Its slot, for a worker.
    pub(super) fn slot(&self) -> Option<u32> {
        match self.role {
            Role::Worker { slot, .. } => Some(slot),
            Role::Template => None,
        }
    }

    /// Whether this template was asked for it and has not said that it runs.
    pub(super) fn awaits(&self, wanted: ProcessId) -> bool {
        match self.role {
            Role::Worker { template, .. } => template == Some(wanted) && self.pid.is_none(),
            Role::Template => false,
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pid, generation) = (self.pid.unwrap_or(0), self.generation);
        match self.role {
            Role::Worker { slot, .. } => write!(f, "worker {slot} (pid {pid}, generation {generation})"),
            Role::Template => write!(f, "template (pid {pid}, generation {generation})"),
        }
    }
}
