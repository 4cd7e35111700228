//! The life of single workers: ready, failed, leaving, dead, late, and their replacement.

use std::time::{Duration, Instant};

use log::Level;

use crate::sys::process::ExitStatus;

use super::event::{Stop, WorkerId};
use super::worker::{Phase, SlotState, Worker, YOUNG_AGE};
use super::{KILL_MARGIN, Progress, QUICK_TIMEOUT, Supervisor};

/// Exit code when the application cannot be imported; also for a crash or a timeout at import.
const EXIT_IMPORT: i32 = 3;

impl Supervisor {
    pub(super) fn ready(&mut self, id: WorkerId, now: Instant) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Phase::Booting { .. } = worker.phase else { return };
        if self.progress == Progress::Starting {
            self.progress = Progress::Running;
        }
        if worker.generation == self.serving.number {
            self.serve(id);
            self.announce();
        } else {
            worker.phase = Phase::Ready;
            self.advance_pending(now);
        }
    }

    pub(super) fn boot_failed(
        &mut self,
        id: WorkerId,
        code: i32,
        summary: &str,
        traceback: Option<&str>,
        now: Instant,
    ) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Phase::Booting { .. } = worker.phase else { return };
        worker.phase = Phase::Ending { kill_deadline: now + QUICK_TIMEOUT };
        let worker = worker.clone();
        self.lost_in_boot(&worker, code, summary, traceback, now);
    }

    /// A worker has failed to boot and is out of its slot.
    fn lost_in_boot(
        &mut self,
        worker: &Worker,
        code: i32,
        summary: &str,
        traceback: Option<&str>,
        now: Instant,
    ) {
        if self.is_stopping() {
            return;
        }
        if worker.generation != self.serving.number {
            if Some(worker.generation) == self.pending_generation() {
                self.fail_pending(summary, traceback);
            }
            return;
        }
        let traceback = traceback.map(|text| format!("\n{}", text.trim_end())).unwrap_or_default();
        if self.progress == Progress::Starting {
            self.progress = Progress::Stopping { how: Stop::Quick, code };
            self.pending = None;
            self.log(Level::Error, format!("cannot start: {summary}{traceback}"));
            for id in self.living() {
                self.kill(id);
            }
            return;
        }
        let wait = self.replace(worker, true, now);
        self.log(
            Level::Error,
            format!("{worker} could not boot: {summary}: {}{traceback}", replacement(wait)),
        );
    }

    /// Arms the replacement of a worker that is out of its slot; returns the wait. The replacement is spawned by
    /// [`Supervisor::expire`], after the log record that announces it.
    fn replace(&mut self, worker: &Worker, died_young: bool, now: Instant) -> Duration {
        let Some(slot) = self.serving.slot_mut(worker.slot) else { return Duration::ZERO };
        let wait = slot.backoff(died_young);
        slot.state = SlotState::Waiting { spawn_deadline: now + wait };
        wait
    }

    pub(super) fn spawn_failed(&mut self, id: WorkerId, error: &str, now: Instant) {
        let Some(worker) = self.workers.remove(&id) else { return };
        if self.is_stopping() {
            return;
        }
        let summary = format!("no process can be made: {error}");
        if worker.generation != self.serving.number {
            if Some(worker.generation) == self.pending_generation() {
                self.fail_pending(&summary, None);
            }
            return;
        }
        // Not the application's fault: even the first generation tries again, and never at once.
        self.replace(&worker, true, now);
        let wait = self.replace(&worker, true, now);
        self.log(Level::Error, format!("worker {}: {summary}: {}", worker.slot, replacement(wait)));
    }

    pub(super) fn leaving(&mut self, id: WorkerId, now: Instant) {
        let timeout = self.serving.plan.graceful_timeout;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match worker.phase {
            Phase::Ending { .. } | Phase::Killed => return,
            Phase::Booting { .. } | Phase::Ready | Phase::Serving => {}
        }
        worker.phase = Phase::Ending { kill_deadline: now + timeout + KILL_MARGIN };
        let worker = worker.clone();
        if worker.generation != self.serving.number {
            self.fail_pending(&format!("{worker} left before it served"), None);
            return;
        }
        let wait = self.replace(&worker, worker.is_young(now), now);
        self.log(Level::Info, format!("{worker} leaves on its own request: {}", replacement(wait)));
    }

    pub(super) fn exited(&mut self, id: WorkerId, status: ExitStatus, now: Instant) {
        let Some(worker) = self.workers.remove(&id) else { return };
        let age = format!("{:.1} s", now.saturating_duration_since(worker.spawned_at).as_secs_f64());
        match worker.phase {
            Phase::Ending { .. } if status == ExitStatus::Code(0) => {
                self.log(Level::Debug, format!("{worker} has ended"));
            }
            Phase::Ending { .. } => {
                // A crash. An interrupt is how a quick stop ends a worker that cannot answer it yet.
                let crashed = matches!(status, ExitStatus::Signal(signal) if signal != libc::SIGINT);
                let level = if crashed { Level::Warn } else { Level::Debug };
                self.log(level, format!("{worker} {status} while it ended, after {age}"));
            }
            Phase::Killed => self.log(Level::Debug, format!("{worker} {status}, as asked")),
            Phase::Booting { .. } => {
                let summary = format!("{worker} {status} after {age}, while it loaded the application");
                self.lost_in_boot(&worker, EXIT_IMPORT, &summary, None, now);
            }
            Phase::Ready | Phase::Serving if worker.generation != self.serving.number => {
                self.fail_pending(&format!("{worker} {status} after {age}"), None);
            }
            Phase::Ready | Phase::Serving => {
                let wait = self.replace(&worker, worker.is_young(now), now);
                self.log(Level::Warn, format!("{worker} {status} after {age}: {}", replacement(wait)));
            }
        }
    }

    /// Does everything that is due.
    pub(super) fn expire(&mut self, now: Instant) {
        let due = |worker: &&Worker| match worker.phase {
            Phase::Booting { boot_deadline } => boot_deadline <= now,
            Phase::Ending { kill_deadline } => kill_deadline <= now,
            Phase::Ready | Phase::Serving | Phase::Killed => false,
        };
        let late: Vec<Worker> = self.workers.values().filter(due).cloned().collect();
        for worker in late {
            self.kill_late(&worker, now);
        }
        if self.is_stopping() {
            return;
        }
        for slot in 0..self.serving.plan.count {
            let state = self.serving.slot_mut(slot).map(|slot| slot.state);
            if matches!(state, Some(SlotState::Waiting { spawn_deadline }) if spawn_deadline <= now) {
                self.spawn(self.serving.number, slot, now);
            }
        }
    }

    fn kill_late(&mut self, worker: &Worker, now: Instant) {
        // An earlier one of the late workers may have had this one killed.
        if self.workers.get(&worker.id).is_none_or(|it| it.phase != worker.phase) {
            return;
        }
        self.kill(worker.id);
        match worker.phase {
            Phase::Booting { boot_deadline } => {
                let timeout = boot_deadline.saturating_duration_since(worker.spawned_at);
                let summary = format!(
                    "{worker} was not ready within {timeout:?}: killed (workers.boot_timeout sets the limit)"
                );
                self.lost_in_boot(worker, EXIT_IMPORT, &summary, None, now);
            }
            Phase::Ending { .. } => {
                self.log(Level::Warn, format!("{worker} did not end in time: killed"));
            }
            Phase::Ready | Phase::Serving | Phase::Killed => {}
        }
    }
}

impl Worker {
    fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.spawned_at) < YOUNG_AGE
    }
}

fn replacement(wait: Duration) -> String {
    if wait.is_zero() {
        "starting a replacement".to_owned()
    } else {
        format!("starting a replacement in {wait:?}")
    }
}
