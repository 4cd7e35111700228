//! Replacing workers that live: those that ask for it, and those that give no sign of life.
//!
//! Invariants: a worker is recycled only after its replacement serves; of the planned recycles one is under way at a time,
//! and none is begun beside a reload, which replaces everybody anyway.

use std::time::{Duration, Instant};

use log::Level;

use super::Supervisor;
use super::event::ProcessId;
use super::process::{Phase, Process, Recycle};
use super::slot::{Coming, Slot};

/// After how long a worker that gives no sign of life is worth a warning.
const SILENCE_NOTED: Duration = Duration::from_secs(5);

impl Supervisor {
    pub(super) fn recycle(&mut self, id: ProcessId, reason: String, is_stuck: bool) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.slot().is_none() || !process.phase.is_living() {
            return;
        }
        if process.generation != self.serving.number {
            let summary = format!("{process} left before it served: {reason}");
            self.fail_pending(&summary, None);
            return;
        }
        // A worker that boots has nothing to be replaced for, and a plan is not made twice.
        let is_known = process.recycle.as_ref().is_some_and(|known| known.is_stuck || !is_stuck);
        if process.phase != Phase::Serving || is_known {
            return;
        }
        let text = format!("{process} is to be replaced: {reason}");
        process.recycle = Some(Recycle { reason, is_stuck });
        if !is_stuck {
            self.serving.recycles.push_back(id);
        }
        self.log(if is_stuck { Level::Warn } else { Level::Info }, text);
    }

    /// Wants the replacements of the workers whose turn it is.
    pub(super) fn start_recycles(&mut self, now: Instant) {
        if !self.keeps_workers() {
            return;
        }
        let stuck = |process: &&Process| {
            process.phase == Phase::Serving && process.recycle.as_ref().is_some_and(|it| it.is_stuck)
        };
        let stuck: Vec<Process> = self.processes.values().filter(stuck).cloned().collect();
        for worker in stuck {
            self.relieve(&worker, now);
        }
        while self.pending.is_none() && !self.serving.slots.iter().any(|slot| self.is_planned(slot)) {
            let Some(id) = self.serving.recycles.pop_front() else { return };
            if let Some(worker) = self.processes.get(&id).filter(|it| it.phase == Phase::Serving).cloned() {
                self.relieve(&worker, now);
            }
        }
    }

    /// Wants another worker in the slot of one that goes on serving until then.
    fn relieve(&mut self, worker: &Process, now: Instant) {
        let place = worker.slot().and_then(|slot| self.serving.slot_mut(slot));
        let Some(slot) = place.filter(|slot| slot.current == Some(worker.id)) else { return };
        if slot.coming == Coming::Nobody {
            // Having served enough is no failure, however soon; that a worker is stuck soon may be one.
            let is_stuck = worker.recycle.as_ref().is_some_and(|recycle| recycle.is_stuck);
            let wait = if is_stuck { slot.backoff.wait(worker.is_young(now)) } else { Duration::ZERO };
            slot.coming = Coming::Waiting { spawn_deadline: now + wait };
        }
    }

    /// Whether a planned recycle is under way in this slot.
    fn is_planned(&self, slot: &Slot) -> bool {
        let current = slot.current.and_then(|id| self.processes.get(&id));
        let recycle = current.and_then(|process| process.recycle.as_ref());
        slot.coming != Coming::Nobody && recycle.is_some_and(|recycle| !recycle.is_stuck)
    }

    /// Whether a worker that is wanted in this slot has to wait for the end of the reload.
    pub(super) fn is_held(&self, slot: &Slot) -> bool {
        self.pending.is_some() && self.is_planned(slot)
    }

    /// A serving worker has given no sign of life for some time, or is heard again.
    pub(super) fn silent(&mut self, id: ProcessId, silent_for: Duration, state: &str, now: Instant) {
        let silence_max = self.serving.plan.silence_max;
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.phase != Phase::Serving {
            return;
        }
        let was_silent = process.is_silent;
        process.is_silent = silent_for >= SILENCE_NOTED;
        let seconds = silent_for.as_secs();
        if silent_for >= silence_max {
            let worker = process.clone();
            self.kill(id);
            let replacement = self.replace(&worker, worker.is_young(now), now);
            let text = format!(
                "{worker} gave no sign of life for {seconds} s (it is {state}): killed, {replacement}"
            );
            self.log(Level::Error, text);
        } else if process.is_silent && !was_silent {
            let text = format!(
                "{process} has given no sign of life for {seconds} s (it is {state}): its connections wait; \
                 it is killed after {silence_max:?}"
            );
            self.log(Level::Warn, text);
        } else if was_silent && !process.is_silent {
            let text = format!("{process} is heard again");
            self.log(Level::Info, text);
        }
    }
}
