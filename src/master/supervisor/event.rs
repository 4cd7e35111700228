//! What the supervisor is told and what it asks for. Plain data.

use std::fmt;
use std::time::Duration;

use crate::config::Settings;
use crate::ipc::ToWorker;
use crate::sys::process::ExitStatus;

/// The identity of one worker process, never used again (a process id may be).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerId(pub u64);

/// What the supervisor needs to know of a generation's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// `workers.count`
    pub count: u32,
    /// `workers.threads`
    pub threads: u32,
    /// `workers.boot_timeout`
    pub boot_timeout: Duration,
    /// `workers.graceful_timeout`
    pub graceful_timeout: Duration,
}

impl From<&Settings> for Plan {
    fn from(settings: &Settings) -> Self {
        Self {
            count: settings.workers.count,
            threads: settings.workers.threads,
            boot_timeout: settings.workers.boot_timeout,
            graceful_timeout: settings.workers.graceful_timeout,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers = if self.count == 1 { "worker" } else { "workers" };
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        write!(f, "{} {workers} × {} {threads}", self.count, self.threads)
    }
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Answer what is in flight first.
    Graceful,
    /// At once.
    Quick,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The process of an [`Action::Spawn`] runs. Every spawn is answered before any other event.
    Started {
        /// Which worker.
        id: WorkerId,
        /// Its process id, for the log.
        pid: i32,
    },
    /// The process could not be made.
    SpawnFailed {
        /// Which worker.
        id: WorkerId,
        /// Why.
        error: String,
    },
    /// The worker has loaded the application.
    Ready(WorkerId),
    /// The worker cannot load the application and exits.
    BootFailed {
        /// Which worker.
        id: WorkerId,
        /// 2, 3 or 4.
        exit_code: u8,
        /// One sentence.
        summary: String,
        /// The application's traceback.
        traceback: Option<String>,
    },
    /// The worker wants to be replaced and drains by itself.
    Leaving(WorkerId),
    /// The process has ended.
    Exited {
        /// Which worker.
        id: WorkerId,
        /// How.
        status: ExitStatus,
    },
    /// Boot a new generation; its number is [`super::Supervisor::next_generation`].
    Reload(Plan),
    /// Stop.
    Stop {
        /// How.
        how: Stop,
        /// What asked for it, for the log.
        reason: &'static str,
    },
    /// One worker more.
    ScaleUp,
    /// One worker fewer.
    ScaleDown,
    /// Have the workers reopen their logs.
    ReopenLogs,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make a process; to be answered at once by [`Event::Started`] or [`Event::SpawnFailed`].
    Spawn {
        /// Which worker it will be.
        id: WorkerId,
        /// Its generation.
        generation: u32,
        /// Its slot.
        slot: u32,
    },
    /// Send a message.
    Send {
        /// To which worker.
        id: WorkerId,
        /// What.
        message: ToWorker,
    },
    /// Send a signal.
    Kill {
        /// To which worker.
        id: WorkerId,
        /// Which.
        signal: Signal,
    },
    /// Write a log record.
    Log {
        /// Its level.
        level: log::Level,
        /// Its text.
        text: String,
    },
    /// No worker is left: end the master.
    Exit {
        /// With this exit code.
        code: i32,
    },
}

/// Signals that the supervisor sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// `SIGINT`: exit at once.
    Interrupt,
    /// `SIGKILL`
    Kill,
}
