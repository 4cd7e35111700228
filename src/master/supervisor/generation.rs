//! Generations: boot of a new one beside the serving one, the change-over, and the number of workers.

use std::time::Instant;

use log::Level;

use crate::ipc::ToWorker;

use super::Supervisor;
use super::event::{Plan, WorkerId};
use super::worker::{Phase, Slot, SlotState};

/// The slots of one generation.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u32,
    /// Its settings; the count follows the scaling.
    pub(super) plan: Plan,
    pub(super) slots: Vec<Slot>,
    /// Whether the log was told that it serves in full.
    pub(super) announced: bool,
}

/// A generation that a reload boots.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) generation: Generation,
    pub(super) stage: Stage,
}

/// How far a pending generation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Slot 0 boots alone.
    Canary,
    /// All slots boot.
    Rest,
}

impl Generation {
    pub(super) fn new(number: u32, plan: Plan) -> Self {
        let slots = (0..plan.count).map(|_| Slot::default()).collect();
        Self { number, plan, slots, announced: false }
    }

    pub(super) fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(slot).ok()?)
    }

    pub(super) fn set(&mut self, slot: u32, state: SlotState) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.state = state;
        }
    }

    /// The workers in the slots; `None` when one has nobody.
    fn crew(&self) -> Option<Vec<WorkerId>> {
        let crew = self.slots.iter().map(|slot| match slot.state {
            SlotState::Taken(id) => Some(id),
            SlotState::Empty | SlotState::Waiting { .. } => None,
        });
        crew.collect()
    }
}

impl Supervisor {
    /// Whether every slot of the generation has a worker in this phase.
    fn all_are(&self, generation: &Generation, phase: Phase) -> bool {
        generation.crew().is_some_and(|crew| {
            crew.iter().all(|id| self.workers.get(id).is_some_and(|worker| worker.phase == phase))
        })
    }

    pub(super) fn reload(&mut self, plan: Plan, now: Instant) {
        if self.is_stopping() {
            return;
        }
        if let Some(number) = self.pending_generation() {
            self.discard_pending();
            self.log(Level::Info, format!("generation {number} discarded: a newer reload takes its place"));
        }
        self.highest += 1;
        let number = self.highest;
        self.pending = Some(Pending { generation: Generation::new(number, plan), stage: Stage::Canary });
        self.log(
            Level::Info,
            format!("reload: generation {number} boots beside generation {}", self.serving.number),
        );
        self.spawn(number, 0, now);
    }

    /// Kills the workers of the pending generation. They serve nobody.
    fn discard_pending(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        for id in self.living() {
            if self.workers.get(&id).is_some_and(|worker| worker.generation == pending.generation.number) {
                self.kill(id);
            }
        }
    }

    /// Gives the pending generation up; the serving one is not touched.
    pub(super) fn fail_pending(&mut self, summary: &str, traceback: Option<&str>) {
        let Some(number) = self.pending_generation() else { return };
        self.discard_pending();
        let serving = self.serving.number;
        let mut text = format!(
            "reload failed: generation {number} discarded: {summary}; generation {serving} keeps serving"
        );
        if let Some(traceback) = traceback {
            text.push('\n');
            text.push_str(traceback.trim_end());
        }
        self.log(Level::Error, text);
    }

    /// Goes on with the pending generation once its booting workers are ready.
    pub(super) fn advance_pending(&mut self, now: Instant) {
        let Some(pending) = &mut self.pending else { return };
        let (number, count) = (pending.generation.number, pending.generation.plan.count);
        if pending.stage == Stage::Canary {
            pending.stage = Stage::Rest;
            for slot in 1..count {
                self.spawn(number, slot, now);
            }
        }
        let is_whole = self.pending.as_ref().is_some_and(|it| self.all_are(&it.generation, Phase::Ready));
        if is_whole {
            self.change_over(now);
        }
    }

    /// First everybody new serves, then everybody old drains.
    fn change_over(&mut self, now: Instant) {
        let Some(pending) = self.pending.take() else { return };
        let old = std::mem::replace(&mut self.serving, pending.generation);
        for id in self.serving.crew().unwrap_or_default() {
            self.serve(id);
        }
        self.serving.announced = true;
        let (number, plan) = (self.serving.number, self.serving.plan);
        let retired = old.number;
        self.log(Level::Info, format!("generation {number} serves: {plan}; retiring generation {retired}"));
        for id in old.slots.iter().filter_map(|slot| match slot.state {
            SlotState::Taken(id) => Some(id),
            SlotState::Empty | SlotState::Waiting { .. } => None,
        }) {
            self.drain_or_kill(id, ToWorker::Drain, old.plan.graceful_timeout, now);
        }
    }

    pub(super) fn serve(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.phase = Phase::Serving;
            self.actions.push(super::Action::Send { id, message: ToWorker::Serve });
        }
    }

    /// Tells the log once when the first generation serves in full.
    pub(super) fn announce(&mut self) {
        if !self.serving.announced && self.all_are(&self.serving, Phase::Serving) {
            self.serving.announced = true;
            let (number, plan) = (self.serving.number, self.serving.plan);
            self.log(Level::Info, format!("generation {number} serves: {plan}"));
        }
    }

    pub(super) fn scale_up(&mut self, now: Instant) {
        if self.is_stopping() {
            return;
        }
        let slot = self.serving.plan.count;
        self.serving.plan.count += 1;
        self.serving.slots.push(Slot::default());
        self.log(
            Level::Info,
            format!("one worker more (SIGTTIN): {} until the next reload", self.serving.plan),
        );
        self.spawn(self.serving.number, slot, now);
    }

    pub(super) fn scale_down(&mut self, now: Instant) {
        if self.is_stopping() {
            return;
        }
        if self.serving.plan.count <= 1 {
            self.log(
                Level::Info,
                "one worker fewer (SIGTTOU) is asked for, but the last one stays".to_owned(),
            );
            return;
        }
        let Some(slot) = self.serving.slots.pop() else { return };
        self.serving.plan.count -= 1;
        self.log(
            Level::Info,
            format!("one worker fewer (SIGTTOU): {} until the next reload", self.serving.plan),
        );
        if let SlotState::Taken(id) = slot.state {
            self.drain_or_kill(id, ToWorker::Drain, self.serving.plan.graceful_timeout, now);
        }
        self.announce();
    }
}
