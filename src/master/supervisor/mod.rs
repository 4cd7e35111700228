//! Supervision of the workers: events in, actions out. Pure: it touches no descriptor, no clock and no process, so that it
//! is tested with plain values and by simulation.
//!
//! A generation is a set of slots. One generation serves; during a reload a second one is pending beside it. A worker is in
//! a slot while it is booting, ready or serving; one that ends (drains, failed or was killed) is out of its slot and only
//! waited for. Workers of a pending generation get `Serve` only when every slot of it is ready, and the old generation
//! is drained only after that.
//!
//! Invariants: a failed generation never serves; no failure of a reload touches the serving generation; once stopping, no
//! worker is spawned.

mod event;
mod generation;
mod lifecycle;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log::Level;

use crate::ipc::ToWorker;

pub(crate) use event::{Action, Event, Plan, Signal, Stop, WorkerId};

use generation::{Generation, Pending};
use worker::{Phase, SlotState, Worker};

/// How long past the graceful timeout a draining worker may take to end by itself.
const KILL_MARGIN: Duration = Duration::from_secs(1);
/// How long a worker may take to end after `SIGINT`, or after it reported that it cannot boot.
const QUICK_TIMEOUT: Duration = Duration::from_secs(1);

/// The state machine.
#[derive(Debug)]
pub(crate) struct Supervisor {
    workers: BTreeMap<WorkerId, Worker>,
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
    /// Waits for the workers to end.
    Stopping { how: Stop, code: i32 },
    /// [`Action::Exit`] was given.
    Ended,
}

impl Supervisor {
    /// Generation 1, and the actions that boot it.
    #[must_use]
    pub(crate) fn start(plan: Plan, now: Instant) -> (Self, Vec<Action>) {
        let mut supervisor = Self {
            workers: BTreeMap::new(),
            serving: Generation::new(1, plan),
            pending: None,
            highest: 1,
            next_id: 1,
            progress: Progress::Starting,
            actions: Vec::new(),
        };
        for slot in 0..plan.count {
            supervisor.spawn(1, slot, now);
        }
        let actions = std::mem::take(&mut supervisor.actions);
        (supervisor, actions)
    }

    /// The number of the serving generation.
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

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let workers = self.workers.values().filter_map(|worker| match worker.phase {
            Phase::Booting { boot_deadline } => Some(boot_deadline),
            Phase::Ending { kill_deadline } => Some(kill_deadline),
            Phase::Ready | Phase::Serving | Phase::Killed => None,
        });
        let slots = self.serving.slots.iter().filter_map(|slot| match slot.state {
            SlotState::Waiting { spawn_deadline } => Some(spawn_deadline),
            SlotState::Empty | SlotState::Taken(_) => None,
        });
        let slots = slots.filter(|_| !self.is_stopping());
        workers.chain(slots).min()
    }

    /// Takes note of an event and says what to do about it, in order.
    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        match event {
            Event::Started { id, pid } => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.pid = Some(pid);
                }
            }
            Event::SpawnFailed { id, error } => self.spawn_failed(id, &error, now),
            Event::Ready(id) => self.ready(id, now),
            Event::BootFailed { id, exit_code, summary, traceback } => {
                self.boot_failed(id, i32::from(exit_code), &summary, traceback.as_deref(), now);
            }
            Event::Leaving(id) => self.leaving(id, now),
            Event::Exited { id, status } => self.exited(id, status, now),
            Event::Reload(plan) => self.reload(plan, now),
            Event::Stop { how, reason } => self.stop(how, reason, now),
            Event::ScaleUp => self.scale_up(now),
            Event::ScaleDown => self.scale_down(now),
            Event::ReopenLogs => self.reopen_logs(),
            Event::Tick => {}
        }
        self.expire(now);
        self.end_when_empty();
        std::mem::take(&mut self.actions)
    }

    fn is_stopping(&self) -> bool {
        matches!(self.progress, Progress::Stopping { .. } | Progress::Ended)
    }

    /// Workers that are booting, ready or serving.
    fn living(&self) -> Vec<WorkerId> {
        let living = self.workers.values().filter(|worker| match worker.phase {
            Phase::Booting { .. } | Phase::Ready | Phase::Serving => true,
            Phase::Ending { .. } | Phase::Killed => false,
        });
        living.map(|worker| worker.id).collect()
    }

    fn stop(&mut self, how: Stop, reason: &str, now: Instant) {
        let graceful = match self.progress {
            Progress::Ended => return,
            Progress::Stopping { how: Stop::Quick, .. } => return,
            Progress::Stopping { how: Stop::Graceful, .. } if how == Stop::Graceful => return,
            Progress::Stopping { code, .. } => {
                self.progress = Progress::Stopping { how, code };
                false
            }
            Progress::Starting | Progress::Running => {
                self.progress = Progress::Stopping { how, code: 0 };
                how == Stop::Graceful
            }
        };
        self.pending = None;
        let timeout = self.serving.plan.graceful_timeout;
        if graceful {
            let count = self.workers.values().filter(|worker| worker.phase == Phase::Serving).count();
            let workers = if count == 1 { "worker" } else { "workers" };
            self.log(
                Level::Info,
                format!("stopping ({reason}): draining {count} {workers}, at most {timeout:?}"),
            );
            for id in self.living() {
                self.drain_or_kill(id, ToWorker::Stop, timeout, now);
            }
        } else {
            self.log(Level::Info, format!("stopping ({reason}): at once"));
            let kill_deadline = now + QUICK_TIMEOUT;
            let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
            for id in ids {
                self.interrupt(id, kill_deadline);
            }
        }
    }

    fn interrupt(&mut self, id: WorkerId, kill_deadline: Instant) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.phase != Phase::Killed {
            worker.phase = Phase::Ending { kill_deadline };
            self.actions.push(Action::Kill { id, signal: Signal::Interrupt });
        }
    }

    fn end_when_empty(&mut self) {
        if let Progress::Stopping { code, .. } = self.progress {
            if self.workers.is_empty() {
                self.progress = Progress::Ended;
                self.actions.push(Action::Exit { code });
            }
        }
    }

    fn reopen_logs(&mut self) {
        for id in self.living() {
            self.actions.push(Action::Send { id, message: ToWorker::ReopenLogs });
        }
        // A draining worker still writes its access log.
        let ending: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|worker| matches!(worker.phase, Phase::Ending { .. }))
            .map(|worker| worker.id)
            .collect();
        for id in ending {
            self.actions.push(Action::Send { id, message: ToWorker::ReopenLogs });
        }
    }

    fn spawn(&mut self, generation: u32, slot: u32, now: Instant) {
        let id = WorkerId(self.next_id);
        self.next_id += 1;
        let Some(of) = self.generation_mut(generation) else { return };
        let boot_deadline = now + of.plan.boot_timeout;
        of.set(slot, SlotState::Taken(id));
        let phase = Phase::Booting { boot_deadline };
        self.workers.insert(id, Worker { id, generation, slot, pid: None, spawned_at: now, phase });
        self.actions.push(Action::Spawn { id, generation, slot });
    }

    fn generation_mut(&mut self, number: u32) -> Option<&mut Generation> {
        if self.serving.number == number {
            return Some(&mut self.serving);
        }
        self.pending.as_mut().map(|pending| &mut pending.generation).filter(|it| it.number == number)
    }

    /// Has a serving worker drain; one that serves nobody yet is killed.
    fn drain_or_kill(&mut self, id: WorkerId, message: ToWorker, timeout: Duration, now: Instant) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match worker.phase {
            Phase::Serving => {
                worker.phase = Phase::Ending { kill_deadline: now + timeout + KILL_MARGIN };
                self.actions.push(Action::Send { id, message });
            }
            Phase::Booting { .. } | Phase::Ready => self.kill(id),
            Phase::Ending { .. } | Phase::Killed => {}
        }
    }

    fn kill(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.phase != Phase::Killed {
            worker.phase = Phase::Killed;
            self.actions.push(Action::Kill { id, signal: Signal::Kill });
        }
    }

    fn log(&mut self, level: Level, text: String) {
        self.actions.push(Action::Log { level, text });
    }
}
