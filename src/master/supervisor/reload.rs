//! Reloads: a generation boots beside the serving one, is checked, and takes its place or is discarded.
//!
//! Its template comes first, then one worker alone (the canary), which runs the request of `reload.check`, then the rest.

use std::time::Instant;

use log::Level;

use crate::ipc::ToWorker;

use super::event::{Action, Plan, ProcessId};
use super::generation::Generation;
use super::process::Phase;
use super::slot::{Coming, TemplatePlace};
use super::{Progress, Supervisor, below};

/// A generation that a reload boots.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) generation: Generation,
    stage: Stage,
}

/// How far a pending generation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Slot 0 boots alone.
    Canary,
    /// All slots boot.
    Rest,
}

impl Supervisor {
    pub(super) fn reload(&mut self, plan: Plan, now: Instant) {
        self.highest += 1;
        let number = self.highest;
        let refusal = match self.progress {
            Progress::Starting | Progress::Running => None,
            Progress::Retired => Some("the workers are retired"),
            Progress::Stopping { .. } | Progress::Ended => Some("the server stops"),
        };
        if let Some(refusal) = refusal {
            self.log(Level::Warn, format!("reload refused: {refusal}"));
            self.actions.push(Action::ReloadOver { generation: number, outcome: Err(refusal.to_owned()) });
            return;
        }
        self.discard_pending("a newer reload takes its place");
        let mut generation = Generation::new(number, plan, now);
        if let Some(canary) = generation.slot_mut(0) {
            canary.coming = Coming::Waiting { spawn_deadline: now };
        }
        self.pending = Some(Pending { generation, stage: Stage::Canary });
        self.log(
            Level::Info,
            format!("reload: generation {number} boots beside generation {}", self.serving.number),
        );
    }

    /// Gives the pending generation up because something else is wanted.
    pub(super) fn discard_pending(&mut self, reason: &str) {
        let Some(number) = self.kill_pending() else { return };
        let text = format!("generation {number} discarded: {reason}");
        self.log(Level::Info, text.clone());
        self.actions.push(Action::ReloadOver { generation: number, outcome: Err(text) });
    }

    /// Gives the pending generation up because it has failed; the serving one is not touched.
    pub(super) fn fail_pending(&mut self, summary: &str, traceback: Option<&str>) {
        let Some(number) = self.kill_pending() else { return };
        let serving = self.serving.number;
        let traceback = below(traceback);
        self.log(
            Level::Error,
            format!(
                "reload failed: generation {number} discarded: {summary}; generation {serving} keeps serving{traceback}"
            ),
        );
        let outcome = Err(format!("{summary}{traceback}"));
        self.actions.push(Action::ReloadOver { generation: number, outcome });
    }

    /// Kills the template and the workers of the pending generation. They serve nobody.
    fn kill_pending(&mut self) -> Option<u32> {
        let number = self.pending.take()?.generation.number;
        for id in self.living() {
            if self.processes.get(&id).is_some_and(|process| process.generation == number) {
                self.kill(id);
            }
        }
        Some(number)
    }

    /// A worker of the pending generation has loaded the application.
    pub(super) fn ready_in_pending(&mut self, id: ProcessId, now: Instant) {
        let (Some(pending), Some(process)) = (&mut self.pending, self.processes.get_mut(&id)) else { return };
        let plan = &pending.generation.plan;
        if pending.stage == Stage::Canary && plan.check.is_some() {
            process.phase = Phase::Checking { check_deadline: now + plan.boot_timeout };
            self.actions.push(Action::Send { id, message: ToWorker::Check });
        } else {
            process.phase = Phase::Ready;
            self.advance_pending(now);
        }
    }

    /// The canary has run the request of `reload.check`.
    pub(super) fn checked(&mut self, id: ProcessId, failure: Option<&str>, now: Instant) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        let Phase::Checking { .. } = process.phase else { return };
        process.phase = Phase::Ready;
        match failure {
            Some(failure) => self.fail_pending(failure, None),
            None => self.advance_pending(now),
        }
    }

    /// The check of the pending generation, for the log.
    pub(super) fn check_text(&self) -> String {
        let check = self.pending.as_ref().and_then(|pending| pending.generation.plan.check.clone());
        check.unwrap_or_default()
    }

    /// Goes on with the pending generation once its booting workers are ready.
    fn advance_pending(&mut self, now: Instant) {
        let Some(pending) = &mut self.pending else { return };
        if pending.stage == Stage::Canary {
            pending.stage = Stage::Rest;
            pending.generation.want_all(now);
        }
        let is_whole = self.pending.as_ref().is_some_and(|it| self.all_are(&it.generation, Phase::Ready));
        if is_whole {
            self.change_over(now);
        }
    }

    /// First everybody new serves, then everybody old drains, then the old template closes.
    fn change_over(&mut self, now: Instant) {
        let Some(pending) = self.pending.take() else { return };
        let old = std::mem::replace(&mut self.serving, pending.generation);
        let crew: Vec<ProcessId> = self.serving.slots.iter().filter_map(|slot| slot.current).collect();
        for id in crew {
            self.serve(id);
        }
        self.serving.announced = true;
        let (number, retired) = (self.serving.number, old.number);
        let text =
            format!("generation {number} serves: {}; retiring generation {retired}", self.serving.plan);
        self.log(Level::Info, text.clone());
        let farewell = if self.serving.plan.moves_listeners { ToWorker::Stop } else { ToWorker::Drain };
        let timeout = old.plan.graceful_timeout;
        for id in old.slots.iter().flat_map(|slot| slot.workers()) {
            self.dismiss(id, farewell, timeout, now);
        }
        match old.template {
            TemplatePlace::Booting(id) | TemplatePlace::Ready(id) => self.dismiss(id, farewell, timeout, now),
            TemplatePlace::Unused | TemplatePlace::Waiting { .. } => {}
        }
        self.actions.push(Action::Serving { generation: number });
        self.actions.push(Action::ReloadOver { generation: number, outcome: Ok(text) });
    }
}
