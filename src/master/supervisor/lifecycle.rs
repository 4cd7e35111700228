//! The life of single processes: started, ready, failed, dead, late, and their replacement.

use std::time::{Duration, Instant};

use log::Level;

use crate::ipc::ToWorker;
use crate::sys::process::ExitStatus;

use super::event::{Action, Death, ProcessId, Signal, Stop};
use super::process::{Phase, Process, Role};
use super::slot::Coming;
use super::template::another;
use super::{Progress, QUICK_TIMEOUT, Supervisor, below};

/// Exit code when the application cannot be imported; also for a crash or a timeout at import.
const EXIT_IMPORT: i32 = 3;

/// What happens about a worker that is out of its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replacement {
    /// Another is spawned after this time.
    After(Duration),
    /// Another boots already.
    Boots,
}

impl std::fmt::Display for Replacement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::After(Duration::ZERO) => f.write_str("starting a replacement"),
            Self::After(wait) => write!(f, "starting a replacement in {wait:?}"),
            Self::Boots => f.write_str("its replacement boots already"),
        }
    }
}

impl Supervisor {
    pub(super) fn started(&mut self, id: ProcessId, pid: i32, now: Instant) {
        let again = Action::Kill { id, signal: Signal::Kill };
        let Some(process) = self.processes.get_mut(&id) else {
            // Its template is long gone; nobody counts on it.
            self.actions.push(again);
            return;
        };
        process.pid = Some(pid);
        match process.phase {
            Phase::Forking { .. } => {
                let generation = process.generation;
                let timeout = self.generation(generation).map(|it| it.plan.boot_timeout).unwrap_or_default();
                if let Some(process) = self.processes.get_mut(&id) {
                    process.phase = Phase::Booting { boot_deadline: now + timeout };
                }
            }
            Phase::Killed | Phase::Lost => {
                process.phase = Phase::Killed;
                self.actions.push(again);
            }
            Phase::Booting { .. }
            | Phase::Checking { .. }
            | Phase::Ready
            | Phase::Serving
            | Phase::Ending { .. } => {}
        }
    }

    pub(super) fn ready(&mut self, id: ProcessId, now: Instant) {
        let Some(process) = self.processes.get(&id).filter(|process| process.phase.is_boot()) else { return };
        let Role::Worker { slot, .. } = process.role else { return };
        let number = process.generation;
        if self.progress == Progress::Starting {
            self.progress = Progress::Running;
        }
        let Some(place) = self.generation_mut(number).and_then(|it| it.slot_mut(slot)) else { return };
        place.vacate(id);
        let relieved = place.current.replace(id);
        if number != self.serving.number {
            self.ready_in_pending(id, now);
            return;
        }
        self.serve(id);
        if let Some(relieved) = relieved {
            self.dismiss(relieved, ToWorker::Drain, self.serving.plan.graceful_timeout, now);
        }
        self.announce();
    }

    pub(super) fn boot_failed(
        &mut self,
        id: ProcessId,
        code: i32,
        summary: &str,
        traceback: Option<&str>,
        now: Instant,
    ) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if !process.phase.is_boot() {
            return;
        }
        process.phase = Phase::Ending { kill_deadline: now + QUICK_TIMEOUT };
        let process = process.clone();
        self.lost_in_boot(&process, code, summary, traceback, now);
    }

    /// A process has failed to boot and is out of its place.
    fn lost_in_boot(
        &mut self,
        process: &Process,
        code: i32,
        summary: &str,
        traceback: Option<&str>,
        now: Instant,
    ) {
        if self.is_stopping() {
            return;
        }
        if process.generation != self.serving.number {
            if Some(process.generation) == self.pending_generation() {
                self.fail_pending(summary, traceback);
            }
            return;
        }
        let traceback = below(traceback);
        if self.progress == Progress::Starting {
            self.progress = Progress::Stopping { how: Stop::Quick, code };
            self.discard_pending("the server stops");
            self.log(Level::Error, format!("cannot start: {summary}{traceback}"));
            for id in self.living() {
                self.kill(id);
            }
            return;
        }
        let outlook = match process.role {
            Role::Worker { slot, .. } => {
                let replacement = self.replace(process, true, now);
                let current = self.serving.slot_mut(slot).and_then(|slot| slot.current);
                match current.and_then(|id| self.processes.get(&id)) {
                    Some(current) => format!("{current} goes on serving, {replacement}"),
                    None => replacement.to_string(),
                }
            }
            Role::Template => {
                let wait = self.serving.template_backoff.wait(true);
                self.want_template(wait, now);
                format!("{}; no worker is touched", another(wait))
            }
        };
        self.log(Level::Error, format!("{process} could not boot: {summary}: {outlook}{traceback}"));
    }

    /// Takes a worker of the serving generation out of its slot and wants another there, if none comes already. It is
    /// spawned after the log record that announces it.
    pub(super) fn replace(&mut self, worker: &Process, died_young: bool, now: Instant) -> Replacement {
        let place = worker.slot().and_then(|slot| self.serving.slot_mut(slot));
        let Some(slot) = place else { return Replacement::After(Duration::ZERO) };
        slot.vacate(worker.id);
        match slot.coming {
            Coming::Booting(_) => Replacement::Boots,
            Coming::Waiting { spawn_deadline } => {
                Replacement::After(spawn_deadline.saturating_duration_since(now))
            }
            Coming::Nobody => {
                let wait = slot.backoff.wait(died_young);
                slot.coming = Coming::Waiting { spawn_deadline: now + wait };
                Replacement::After(wait)
            }
        }
    }

    pub(super) fn spawn_failed(&mut self, id: ProcessId, error: &str, now: Instant) {
        let Some(process) = self.processes.remove(&id) else { return };
        if self.is_stopping() || !process.phase.is_living() {
            return;
        }
        let summary = format!("no process can be made: {error}");
        if process.generation != self.serving.number {
            if Some(process.generation) == self.pending_generation() {
                self.fail_pending(&summary, None);
            }
            return;
        }
        // Not the application's fault: even the first generation tries again, and never at once.
        let text = match process.role {
            Role::Worker { slot, .. } => {
                let Some(place) = self.serving.slot_mut(slot) else { return };
                place.vacate(id);
                let wait = place.backoff.wait_for_system();
                place.coming = Coming::Waiting { spawn_deadline: now + wait };
                format!("worker {slot}: {summary}: {}", Replacement::After(wait))
            }
            Role::Template => {
                let wait = self.serving.template_backoff.wait_for_system();
                self.want_template(wait, now);
                format!("template: {summary}: {}", another(wait))
            }
        };
        self.log(Level::Error, text);
    }

    pub(super) fn exited(&mut self, id: ProcessId, death: &Death, now: Instant) {
        let Some(process) = self.processes.remove(&id) else { return };
        if process.role == Role::Template {
            self.give_up_forks(id, now);
        }
        let (status, stacks) = (death.status, death.stacks.as_deref());
        let died = format!("{process} {status} after {:.1} s{death}", process.age(now).as_secs_f64());
        match process.phase {
            Phase::Ending { .. } if status == ExitStatus::Code(0) => {
                self.log(Level::Debug, format!("{process} has ended"));
            }
            Phase::Ending { .. } => {
                // A crash. An interrupt is how a quick stop ends a worker that cannot answer it yet.
                let crashed = matches!(status, ExitStatus::Signal(signal) if signal != libc::SIGINT);
                let level = if crashed { Level::Warn } else { Level::Debug };
                let age = process.age(now).as_secs_f64();
                let below = below(stacks);
                self.log(level, format!("{process} {status} while it ended, after {age:.1} s{death}{below}"));
            }
            Phase::Killed | Phase::Lost => self.log(Level::Debug, format!("{process} {status}, as asked")),
            Phase::Forking { .. } | Phase::Booting { .. } => {
                let summary = format!("{died}, while it loaded the application");
                self.lost_in_boot(&process, EXIT_IMPORT, &summary, stacks, now);
            }
            Phase::Checking { .. } => {
                let summary = format!("{died}, while it answered the check {}", self.check_text());
                self.fail_pending(&summary, stacks);
            }
            Phase::Ready | Phase::Serving => match process.role {
                Role::Template => self.template_lost(&process, Level::Warn, &died, stacks, now),
                Role::Worker { .. } if process.generation != self.serving.number => {
                    self.fail_pending(&died, stacks);
                }
                Role::Worker { .. } => {
                    let replacement = self.replace(&process, process.is_young(now), now);
                    self.log(Level::Warn, format!("{died}: {replacement}{}", below(stacks)));
                }
            },
        }
    }

    /// Does everything that is due.
    pub(super) fn expire(&mut self, now: Instant) {
        let due = |process: &&Process| process.phase.deadline().is_some_and(|at| at <= now);
        let late: Vec<Process> = self.processes.values().filter(due).cloned().collect();
        for process in late {
            // An earlier one of the late processes may have had this one killed.
            if self.processes.get(&process.id).is_some_and(|it| it.phase == process.phase) {
                self.end_late(&process, now);
            }
        }
    }

    fn end_late(&mut self, process: &Process, now: Instant) {
        match process.phase {
            Phase::Forking { .. } => {
                if let Role::Worker { template: Some(template), .. } = process.role {
                    self.template_is_deaf(template, now);
                }
            }
            Phase::Booting { .. } => {
                self.kill(process.id);
                let timeout = self.generation(process.generation).map(|it| it.plan.boot_timeout);
                let summary = format!(
                    "{process} was not ready within {:?}: killed (workers.boot_timeout sets the limit)",
                    timeout.unwrap_or_default()
                );
                self.lost_in_boot(process, EXIT_IMPORT, &summary, None, now);
            }
            Phase::Checking { .. } => {
                let timeout = self.generation(process.generation).map(|it| it.plan.boot_timeout);
                let summary = format!(
                    "the check {} was not answered within {:?}",
                    self.check_text(),
                    timeout.unwrap_or_default()
                );
                self.fail_pending(&summary, None);
            }
            Phase::Ending { .. } => {
                self.kill(process.id);
                let why = match &process.recycle {
                    Some(recycle) if recycle.is_stuck => format!(" ({})", recycle.reason),
                    Some(_) | None => String::new(),
                };
                self.log(Level::Warn, format!("{process} did not end in time{why}: killed"));
            }
            Phase::Ready | Phase::Serving | Phase::Killed | Phase::Lost => {}
        }
    }
}
