//! Templates: their boot, their verdict on forking, their death, and the forks that they leave unanswered.
//!
//! Invariant: whatever happens to the template of the serving generation, no worker that runs is touched.

use std::time::{Duration, Instant};

use log::Level;

use super::event::{Action, ProcessId};
use super::process::{Phase, Process, Role};
use super::slot::{Coming, TemplatePlace};
use super::{QUICK_TIMEOUT, Supervisor, below};

/// Unanswered forks that are remembered: as many as there can be workers.
const LOST_MAX: usize = 1024;

impl Supervisor {
    pub(super) fn spawn_template(&mut self, generation: u32, now: Instant) {
        let Some(timeout) = self.generation(generation).map(|it| it.plan.boot_timeout) else { return };
        let phase = Phase::Booting { boot_deadline: now + timeout };
        let id = self.enroll(generation, Role::Template, phase, now);
        self.set_template(generation, TemplatePlace::Booting(id));
        self.actions.push(Action::SpawnTemplate { id, generation });
    }

    fn set_template(&mut self, generation: u32, place: TemplatePlace) {
        if let Some(generation) = self.generation_mut(generation) {
            generation.template = place;
        }
    }

    pub(super) fn template_ready(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        let (Role::Template, Phase::Booting { .. }) = (process.role, process.phase) else { return };
        process.phase = Phase::Ready;
        let generation = process.generation;
        self.set_template(generation, TemplatePlace::Ready(id));
    }

    pub(super) fn template_unsafe(&mut self, id: ProcessId, report: &str, now: Instant) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        let (Role::Template, Phase::Booting { .. }) = (process.role, process.phase) else { return };
        process.phase = Phase::Ending { kill_deadline: now + QUICK_TIMEOUT };
        let generation = process.generation;
        self.set_template(generation, TemplatePlace::Unused);
        let text = format!(
            "generation {generation}: the application is not safe to fork: {report}: \
             each worker imports it (app.preload = \"auto\")"
        );
        self.log(Level::Warn, text);
    }

    /// A template has not answered an order to fork.
    pub(super) fn template_is_deaf(&mut self, id: ProcessId, now: Instant) {
        let Some(template) = self.processes.get(&id).cloned() else { return };
        let limit = self.generation(template.generation).map(|it| it.plan.boot_timeout).unwrap_or_default();
        let summary = format!("{template} has not forked a worker within {limit:?}: killed");
        self.kill(id);
        self.give_up_forks(id, now);
        self.template_lost(&template, Level::Error, &summary, None, now);
    }

    /// A template that was ready is out of its place: the pending generation fails, the serving one gets another.
    pub(super) fn template_lost(
        &mut self,
        template: &Process,
        level: Level,
        summary: &str,
        stacks: Option<&str>,
        now: Instant,
    ) {
        if template.generation != self.serving.number {
            if Some(template.generation) == self.pending_generation() {
                self.fail_pending(summary, stacks);
            }
            return;
        }
        let wait = self.serving.template_backoff.wait(template.is_young(now));
        self.want_template(wait, now);
        let (another, stacks) = (another(wait), below(stacks));
        self.log(level, format!("{summary}: {another}; no worker is touched{stacks}"));
    }

    /// Has the serving generation get another template.
    pub(super) fn want_template(&mut self, wait: Duration, now: Instant) {
        self.serving.template = TemplatePlace::Waiting { spawn_deadline: now + wait };
    }

    /// Workers whose fork this template has not answered, now that it is gone: most likely they do not exist. Their slots
    /// get others as soon as they can.
    pub(super) fn give_up_forks(&mut self, template: ProcessId, now: Instant) {
        let unanswered: Vec<Process> =
            self.processes.values().filter(|process| process.awaits(template)).cloned().collect();
        for worker in unanswered {
            if worker.phase.is_living() {
                self.kill(worker.id);
                let slot = worker.slot();
                let generation = self.generation_mut(worker.generation);
                if let Some(slot) = generation.zip(slot).and_then(|(it, slot)| it.slot_mut(slot)) {
                    slot.vacate(worker.id);
                    if slot.coming == Coming::Nobody {
                        slot.coming = Coming::Waiting { spawn_deadline: now };
                    }
                }
            }
            if let Some(process) = self.processes.get_mut(&worker.id) {
                process.phase = Phase::Lost;
            }
        }
        self.forget_lost();
    }

    /// Forgets the oldest of the workers whose fork was never answered, so that they do not add up over the years.
    fn forget_lost(&mut self) {
        let lost = self.processes.values().filter(|process| process.phase == Phase::Lost);
        let lost: Vec<ProcessId> = lost.map(|process| process.id).collect();
        for id in lost.iter().take(lost.len().saturating_sub(LOST_MAX)) {
            self.processes.remove(id);
        }
    }
}

/// What happens about a template that is gone.
pub(super) fn another(wait: Duration) -> String {
    if wait.is_zero() { "starting another".to_owned() } else { format!("starting another in {wait:?}") }
}
