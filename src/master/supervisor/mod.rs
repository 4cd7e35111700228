//! Supervision of workers and templates: events in, actions out. Pure: it touches no descriptor, no clock and no process,
//! so that it is tested with plain values and by simulation.
//!
//! A generation is a set of slots, with a template that forks its workers unless it does without. One generation serves;
//! during a reload a second one is pending beside it. A process is in its place while it boots, is ready or serves; one
//! that ends (drains, failed or was killed) is out of it and only waited for. Workers of a pending generation get `Serve`
//! only when every slot of it is ready, and the old generation is drained only after that.
//!
//! Events only note what is wanted, in slots and templates; [`Supervisor::handle`] spawns it at its end, after the records
//! that announce it.
//!
//! Invariants: a failed generation never serves; no failure of a reload touches the serving generation; the death of a
//! template touches no running worker; a worker is recycled only after its replacement serves; once stopping, nothing is
//! spawned, and the master does not end before its last process.

mod event;
mod generation;
mod lifecycle;
mod process;
mod recycle;
mod reload;
#[cfg(test)]
mod simulation;
mod slot;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log::Level;

use crate::ipc::ToWorker;

pub(crate) use event::{Action, Death, Event, PHASES, Plan, ProcessId, ProcessStatus, Signal, Stop};

use generation::Generation;
use process::{Phase, Process, Role};
use reload::Pending;
use slot::Coming;

/// How long past the graceful timeout a draining worker may take to end by itself.
const KILL_MARGIN: Duration = Duration::from_secs(1);
/// How long a process may take to end after `SIGINT`, or after it reported that it cannot boot, or after it was closed.
const QUICK_TIMEOUT: Duration = Duration::from_secs(1);

/// The state machine.
#[derive(Debug)]
pub(crate) struct Supervisor {
    processes: BTreeMap<ProcessId, Process>,
    serving: Generation,
    pending: Option<Pending>,
    /// The highest generation number so far.
    highest: u32,
    next_id: u64,
    progress: Progress,
    actions: Vec<Action>,
}

/// Where the master is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// No worker was ever ready: a failure to boot ends the master.
    Starting,
    /// Replaces what dies.
    Running,
    /// Another master serves for now: spawns no worker.
    Retired,
    /// Waits for the processes to end.
    Stopping { how: Stop, code: i32 },
    /// [`Action::Exit`] was given.
    Ended,
}

impl Supervisor {
    /// The first generation, and the actions that boot it.
    #[must_use]
    pub(crate) fn start(plan: Plan, first_generation: u32, now: Instant) -> (Self, Vec<Action>) {
        let mut serving = Generation::new(first_generation, plan, now);
        serving.want_all(now);
        let mut supervisor = Self {
            processes: BTreeMap::new(),
            serving,
            pending: None,
            highest: first_generation,
            next_id: 1,
            progress: Progress::Starting,
            actions: Vec::new(),
        };
        supervisor.spawn_due(now);
        let actions = std::mem::take(&mut supervisor.actions);
        (supervisor, actions)
    }

    /// The number of the serving generation. Its settings and listeners are still needed, as are those of the pending one.
    #[must_use]
    pub(crate) fn serving_generation(&self) -> u32 {
        self.serving.number
    }

    /// The number of the generation that a reload is booting.
    #[must_use]
    pub(crate) fn pending_generation(&self) -> Option<u32> {
        self.pending.as_ref().map(|pending| pending.generation.number)
    }

    /// The number that the next [`Event::Reload`] will give its generation.
    #[must_use]
    pub(crate) fn next_generation(&self) -> u32 {
        self.highest + 1
    }

    /// How many workers the serving generation is to have.
    #[must_use]
    pub(crate) fn count(&self) -> u32 {
        self.serving.plan.count
    }

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let processes = self.processes.values().filter_map(|process| process.phase.deadline());
        let workers = self.wanted_workers().map(|wanted| wanted.spawn_deadline);
        let templates = self.wanted_templates().map(|(_, spawn_deadline)| spawn_deadline);
        processes.chain(workers).chain(templates).min()
    }

    /// Every process there is, workers and templates.
    #[must_use]
    pub(crate) fn processes(&self, now: Instant) -> Vec<ProcessStatus> {
        let known = self.processes.values().filter(|process| process.phase != Phase::Lost);
        let status = |process: &Process| ProcessStatus {
            id: process.id,
            generation: process.generation,
            slot: process.slot(),
            pid: process.pid,
            phase: self.phase_name(process),
            age: process.age(now),
        };
        known.map(status).collect()
    }

    fn phase_name(&self, process: &Process) -> &'static str {
        let is_relieved = self.serving.slot_of(process).is_some_and(|slot| slot.coming != Coming::Nobody);
        match process.phase {
            Phase::Forking { .. } | Phase::Booting { .. } => "booting",
            Phase::Checking { .. } => "checking",
            Phase::Ready => "ready",
            Phase::Serving if is_relieved => "recycling",
            Phase::Serving => "serving",
            Phase::Ending { .. } if process.role == Role::Template => "closing",
            Phase::Ending { .. } => "draining",
            Phase::Killed | Phase::Lost => "killed",
        }
    }

    /// Takes note of an event and says what to do about it, in order.
    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        match event {
            Event::Started { id, pid } => self.started(id, pid, now),
            Event::SpawnFailed { id, error } => self.spawn_failed(id, &error, now),
            Event::Ready(id) => self.ready(id, now),
            Event::BootFailed { id, exit_code, summary, traceback } => {
                self.boot_failed(id, i32::from(exit_code), &summary, traceback.as_deref(), now);
            }
            Event::Checked { id, failure } => self.checked(id, failure.as_deref(), now),
            Event::Recycle { id, reason, stuck } => self.recycle(id, reason, stuck),
            Event::Silent { id, silent_for, state } => self.silent(id, silent_for, state, now),
            Event::TemplateReady(id) => self.template_ready(id),
            Event::TemplateUnsafe { id, report } => self.template_unsafe(id, &report, now),
            Event::Exited { id, death } => self.exited(id, &death, now),
            Event::Reload(plan) => self.reload(plan, now),
            Event::Stop { how, reason } => self.stop(how, reason, now),
            Event::ScaleUp => self.scale_up(now),
            Event::ScaleDown => self.scale_down(now),
            Event::ScaleTo(count) => self.scale_to(count, now),
            Event::ReopenLogs => self.reopen_logs(),
            Event::Retire => self.retire(now),
            Event::Resume => self.resume(now),
            // Only now, when everything that has happened was told: a master that did not run for some time must not take
            // a worker for late whose message it has not read yet.
            Event::Tick => self.expire(now),
        }
        self.start_recycles(now);
        self.spawn_due(now);
        self.end_when_empty();
        std::mem::take(&mut self.actions)
    }

    fn is_stopping(&self) -> bool {
        matches!(self.progress, Progress::Stopping { .. } | Progress::Ended)
    }

    /// Whether workers are to be spawned.
    fn keeps_workers(&self) -> bool {
        matches!(self.progress, Progress::Starting | Progress::Running)
    }

    /// Processes that are in their places.
    fn living(&self) -> Vec<ProcessId> {
        let living = self.processes.values().filter(|process| process.phase.is_living());
        living.map(|process| process.id).collect()
    }

    fn stop(&mut self, how: Stop, reason: &str, now: Instant) {
        let is_first = match self.progress {
            Progress::Ended | Progress::Stopping { how: Stop::Quick, .. } => return,
            Progress::Stopping { .. } if how != Stop::Quick => return,
            Progress::Stopping { code, .. } => {
                self.progress = Progress::Stopping { how, code };
                false
            }
            Progress::Starting | Progress::Running | Progress::Retired => {
                self.progress = Progress::Stopping { how, code: 0 };
                true
            }
        };
        let message = match how {
            Stop::Graceful => ToWorker::Stop,
            Stop::Handover => ToWorker::Drain,
            Stop::Quick => {
                self.log(Level::Info, format!("stopping ({reason}): at once"));
                if is_first {
                    self.discard_pending("the server stops");
                }
                let ids: Vec<ProcessId> = self.processes.keys().copied().collect();
                for id in ids {
                    self.interrupt(id, now);
                }
                return;
            }
        };
        let (timeout, workers) = (self.serving.plan.graceful_timeout, self.serving_workers());
        self.log(Level::Info, format!("stopping ({reason}): draining {workers}, at most {timeout:?}"));
        self.discard_pending("the server stops");
        for id in self.living() {
            self.dismiss(id, message, timeout, now);
        }
    }

    /// `2 workers`, for the log.
    fn serving_workers(&self) -> String {
        workers_text(self.processes.values().filter(|process| process.phase == Phase::Serving).count())
    }

    /// Has a process end at once.
    fn interrupt(&mut self, id: ProcessId, now: Instant) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        match (process.role, process.phase) {
            (_, Phase::Killed | Phase::Lost) => {}
            // A template ends as soon as it is closed, and an import may not end for a signal.
            (Role::Template, _)
            | (_, Phase::Forking { .. } | Phase::Booting { .. } | Phase::Checking { .. } | Phase::Ready) => {
                self.dismiss(id, ToWorker::Stop, QUICK_TIMEOUT, now);
            }
            (Role::Worker { .. }, Phase::Serving | Phase::Ending { .. }) => {
                process.phase = Phase::Ending { kill_deadline: now + QUICK_TIMEOUT };
                self.actions.push(Action::Kill { id, signal: Signal::Interrupt });
            }
        }
    }

    fn end_when_empty(&mut self) {
        if let Progress::Stopping { code, .. } = self.progress {
            if self.processes.values().all(|process| process.phase == Phase::Lost) {
                self.progress = Progress::Ended;
                self.actions.push(Action::Exit { code });
            }
        }
    }

    /// A draining worker still writes its access log.
    fn reopen_logs(&mut self) {
        let writes = |process: &&Process| {
            let is_ending = matches!(process.phase, Phase::Ending { .. });
            process.role != Role::Template && (process.phase.is_living() || is_ending)
        };
        let sends = self.processes.values().filter(writes);
        let sends = sends.map(|process| Action::Send { id: process.id, message: ToWorker::ReopenLogs });
        self.actions.extend(sends);
    }

    fn generation(&self, number: u32) -> Option<&Generation> {
        let pending = self.pending.as_ref().map(|pending| &pending.generation);
        [Some(&self.serving), pending].into_iter().flatten().find(|it| it.number == number)
    }

    fn generation_mut(&mut self, number: u32) -> Option<&mut Generation> {
        let pending = self.pending.as_mut().map(|pending| &mut pending.generation);
        [Some(&mut self.serving), pending].into_iter().flatten().find(|it| it.number == number)
    }

    /// Puts a new process on record and returns its identity.
    fn enroll(&mut self, generation: u32, role: Role, phase: Phase, now: Instant) -> ProcessId {
        let id = ProcessId(self.next_id);
        self.next_id += 1;
        let process = Process {
            id,
            generation,
            role,
            pid: None,
            spawned_at: now,
            phase,
            recycle: None,
            is_silent: false,
        };
        self.processes.insert(id, process);
        id
    }

    /// Has a serving worker drain and a template that is ready close; what serves nobody yet is killed.
    fn dismiss(&mut self, id: ProcessId, message: ToWorker, timeout: Duration, now: Instant) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        match process.phase {
            Phase::Serving => {
                process.phase = Phase::Ending { kill_deadline: now + timeout + KILL_MARGIN };
                self.actions.push(Action::Send { id, message });
            }
            Phase::Ready if process.role == Role::Template => {
                process.phase = Phase::Ending { kill_deadline: now + QUICK_TIMEOUT };
                self.actions.push(Action::CloseTemplate { id });
            }
            Phase::Forking { .. } | Phase::Booting { .. } | Phase::Checking { .. } | Phase::Ready => {
                self.kill(id);
            }
            Phase::Ending { .. } | Phase::Killed | Phase::Lost => {}
        }
    }

    fn kill(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.phase != Phase::Killed {
            process.phase = Phase::Killed;
            self.actions.push(Action::Kill { id, signal: Signal::Kill });
        }
    }

    fn log(&mut self, level: Level, text: String) {
        self.actions.push(Action::Log { level, text });
    }
}

/// `1 worker`, `2 workers`.
fn workers_text(count: usize) -> String {
    if count == 1 { "1 worker".to_owned() } else { format!("{count} workers") }
}

/// A traceback or stacks as the lines below a record.
fn below(text: Option<&str>) -> String {
    text.map(|text| format!("\n{}", text.trim_end())).unwrap_or_default()
}
