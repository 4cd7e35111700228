//! What the supervisor is told and what it asks for. Plain data.

use std::fmt;
use std::time::Duration;

use crate::config::{Preload, Settings};
use crate::ipc::ToWorker;
use crate::sys::process::ExitStatus;

/// How long a worker may give no sign of life at least, whatever `workers.request_timeout` is.
const SILENCE_MIN: Duration = Duration::from_secs(10);
/// The same when requests may take as long as they want.
const SILENCE_DEFAULT: Duration = Duration::from_secs(30);

/// The identity of one process, worker or template; never used again (a process id may be).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ProcessId(pub u64);

/// What the supervisor needs to know of a generation's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// `workers.count`
    pub count: u32,
    /// `workers.threads`
    pub threads: u32,
    /// `workers.boot_timeout`
    pub boot_timeout: Duration,
    /// `workers.graceful_timeout`
    pub graceful_timeout: Duration,
    /// `app.preload`
    pub preload: Preload,
    /// `reload.check` for the log: `GET /health`.
    pub check: Option<String>,
    /// How long a worker may give no sign of life before it is killed.
    pub silence_max: Duration,
    /// Whether the listeners are others than those of the generation before: its workers are then told to stop and not to
    /// drain, so that they take what waits in the old listeners' queues.
    pub moves_listeners: bool,
}

impl From<&Settings> for Plan {
    fn from(settings: &Settings) -> Self {
        let workers = &settings.workers;
        Self {
            count: workers.count,
            threads: workers.threads,
            boot_timeout: workers.boot_timeout,
            graceful_timeout: workers.graceful_timeout,
            preload: settings.app.preload,
            check: settings.reload.check.as_ref().map(|check| format!("GET {}", check.path)),
            silence_max: workers.request_timeout.map_or(SILENCE_DEFAULT, |timeout| timeout.max(SILENCE_MIN)),
            moves_listeners: false,
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
    /// A new master has taken over: as graceful, but what waits in the listeners' queues is left to its workers.
    Handover,
}

/// How a process died, as far as it could be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Death {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// Who did it, when it was not us and is known: `by the kernel's out-of-memory killer (memory.max of its cgroup)`.
    pub by: Option<String>,
    /// What its threads were doing: `GET /slow for 31.2 s (thread 0)`.
    pub doing: Vec<String>,
    /// Stacks of its threads that it left when it crashed.
    pub stacks: Option<String>,
}

/// A death of which only the status is known.
impl From<ExitStatus> for Death {
    fn from(status: ExitStatus) -> Self {
        Self { status, by: None, doing: Vec::new(), stacks: None }
    }
}

/// The clauses that follow the age in a record of the log: `, by …, while it worked on …`.
impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(by) = &self.by {
            write!(f, ", {by}")?;
        }
        match self.doing.as_slice() {
            [] => Ok(()),
            [only] => write!(f, ", while it worked on {only}"),
            [most @ .., last] => write!(f, ", while it worked on {} and {last}", most.join(", ")),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The process of an [`Action::Spawn`] or [`Action::SpawnTemplate`] runs. A fork by the master is answered before any
    /// other event; one by a template may be answered later, even after the worker's own messages.
    Started {
        /// Which process.
        id: ProcessId,
        /// Its process id, for the log.
        pid: i32,
    },
    /// The process could not be made.
    SpawnFailed {
        /// Which process.
        id: ProcessId,
        /// Why.
        error: String,
    },
    /// The worker has loaded the application.
    Ready(ProcessId),
    /// The worker or template cannot load the application and exits.
    BootFailed {
        /// Which process.
        id: ProcessId,
        /// 2, 3 or 4.
        exit_code: u8,
        /// One sentence.
        summary: String,
        /// The application's traceback.
        traceback: Option<String>,
    },
    /// The worker has run the request of `reload.check`.
    Checked {
        /// Which worker.
        id: ProcessId,
        /// What was wrong with the answer.
        failure: Option<String>,
    },
    /// The worker is to be replaced; it goes on serving until then.
    Recycle {
        /// Which worker.
        id: ProcessId,
        /// Why, as a clause: `it has served 1043 requests (workers.max_requests)`.
        reason: String,
        /// Whether it serves less than it should, so that the replacement cannot wait.
        stuck: bool,
    },
    /// Told each second for a serving worker that gave no sign of life for at least 5 s.
    Silent {
        /// Which worker.
        id: ProcessId,
        /// For how long; zero once it is heard again.
        silent_for: Duration,
        /// What the kernel says that it does: `stopped`, `running`, `waiting for a disk`.
        state: &'static str,
    },
    /// The template has loaded the application and can fork workers.
    TemplateReady(ProcessId),
    /// The template has loaded the application, finds that forking it is not safe, and exits.
    TemplateUnsafe {
        /// Which template.
        id: ProcessId,
        /// What it found.
        report: String,
    },
    /// The process has ended.
    Exited {
        /// Which process.
        id: ProcessId,
        /// How.
        death: Death,
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
    /// As many workers as this.
    ScaleTo(u32),
    /// Have the workers reopen their logs.
    ReopenLogs,
    /// An upgrade: have all workers drain and spawn none.
    Retire,
    /// The upgrade has failed: spawn workers again. Nothing unless retired.
    Resume,
    /// Time has passed, and everything that has happened meanwhile was told.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make a worker; to be answered by [`Event::Started`] or [`Event::SpawnFailed`].
    Spawn {
        /// Which worker it will be.
        id: ProcessId,
        /// Its generation.
        generation: u32,
        /// Its slot.
        slot: u32,
        /// The template that is to fork it; without one the master does, and the worker imports the application.
        template: Option<ProcessId>,
    },
    /// Make a template; to be answered at once as [`Action::Spawn`] is.
    SpawnTemplate {
        /// Which template it will be.
        id: ProcessId,
        /// Its generation.
        generation: u32,
    },
    /// Send a message.
    Send {
        /// To which worker.
        id: ProcessId,
        /// What.
        message: ToWorker,
    },
    /// Close a template's channel, so that it exits by itself.
    CloseTemplate {
        /// Which template.
        id: ProcessId,
    },
    /// Send a signal. Given again when the process id of a killed worker becomes known late.
    Kill {
        /// To which process.
        id: ProcessId,
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
    /// A reload has come to its end.
    ReloadOver {
        /// The generation that it was to make.
        generation: u32,
        /// The sentence of the log; or why it failed, with the traceback below.
        outcome: Result<String, String>,
    },
    /// The generation serves in full.
    Serving {
        /// Which.
        generation: u32,
    },
    /// No process is left: end the master.
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

/// Every phase of a worker that [`ProcessStatus::phase`] may name.
pub(crate) const PHASES: [&str; 7] =
    ["booting", "checking", "ready", "serving", "recycling", "draining", "killed"];

/// One process for `rwsgi ctl status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessStatus {
    /// Which process.
    pub id: ProcessId,
    /// Its generation.
    pub generation: u32,
    /// Its slot; `None`: it is a template.
    pub slot: Option<u32>,
    /// Its process id, once known.
    pub pid: Option<i32>,
    /// What it does: `booting`, `checking`, `ready`, `serving`, `recycling` (serves while its replacement boots),
    /// `draining`, `closing` (templates), `killed`.
    pub phase: &'static str,
    /// Since it was spawned.
    pub age: Duration,
}
