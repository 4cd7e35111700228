//! Generations: their slots, what is wanted in them, and the number of workers.

use std::collections::VecDeque;
use std::time::Instant;

use log::Level;

use crate::config::Preload;
use crate::ipc::ToWorker;

use super::event::{Action, Plan, ProcessId};
use super::process::{Phase, Process, Role};
use super::slot::{Backoff, Coming, Slot, TemplatePlace};
use super::{Progress, Supervisor, workers_text};

/// The most workers that scaling makes.
const COUNT_MAX: u32 = 1024;

/// The most orders to fork that a template has at a time: its channel holds less than three hundred.
const ORDERS_MAX: usize = 32;

/// The slots of one generation and its template.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u32,
    /// Its settings; the count follows the scaling.
    pub(super) plan: Plan,
    pub(super) slots: Vec<Slot>,
    pub(super) template: TemplatePlace,
    pub(super) template_backoff: Backoff,
    /// Workers whose planned replacement waits for its turn, in order of arrival.
    pub(super) recycles: VecDeque<ProcessId>,
    /// Whether the log was told that it serves in full.
    pub(super) announced: bool,
}

/// A worker that can be spawned as soon as its time has come.
pub(super) struct Wanted {
    generation: u32,
    slot: u32,
    template: Option<ProcessId>,
    pub(super) spawn_deadline: Instant,
}

impl Generation {
    pub(super) fn new(number: u32, plan: Plan, now: Instant) -> Self {
        let template = match plan.preload {
            Preload::Never => TemplatePlace::Unused,
            Preload::Auto | Preload::Always => TemplatePlace::Waiting { spawn_deadline: now },
        };
        Self {
            number,
            slots: (0..plan.count).map(|_| Slot::default()).collect(),
            plan,
            template,
            template_backoff: Backoff::default(),
            recycles: VecDeque::new(),
            announced: false,
        }
    }

    /// Wants a worker in every slot that has none.
    pub(super) fn want_all(&mut self, now: Instant) {
        for slot in &mut self.slots {
            if slot.workers().next().is_none() {
                slot.coming = Coming::Waiting { spawn_deadline: now };
            }
        }
    }

    pub(super) fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(slot).ok()?)
    }

    /// The slot that a worker of this generation is in; `None` when it is out of it.
    pub(super) fn slot_of(&self, process: &Process) -> Option<&Slot> {
        if process.generation != self.number {
            return None;
        }
        let slot = self.slots.get(usize::try_from(process.slot()?).ok()?)?;
        slot.workers().any(|id| id == process.id).then_some(slot)
    }

    /// The template that can fork a worker now: `Some(None)` when none is used, `None` when there is none yet.
    fn forker(&self) -> Option<Option<ProcessId>> {
        match self.template {
            TemplatePlace::Unused => Some(None),
            TemplatePlace::Ready(id) => Some(Some(id)),
            TemplatePlace::Waiting { .. } | TemplatePlace::Booting(_) => None,
        }
    }
}

impl Supervisor {
    /// Workers that only wait for their time.
    pub(super) fn wanted_workers(&self) -> impl Iterator<Item = Wanted> {
        let pending = self.pending.as_ref().map(|pending| &pending.generation);
        let generations = [Some(&self.serving), pending].into_iter().flatten();
        generations.filter(|_| self.keeps_workers()).flat_map(|generation| {
            let forker = generation.forker().filter(|&template| self.takes_orders(template));
            let wanted = generation.slots.iter().zip(0..).filter_map(|(slot, number)| match slot.coming {
                Coming::Waiting { .. } if self.is_held(slot) => None,
                Coming::Waiting { spawn_deadline } => Some(Wanted {
                    generation: generation.number,
                    slot: number,
                    template: forker?,
                    spawn_deadline,
                }),
                Coming::Nobody | Coming::Booting(_) => None,
            });
            wanted.collect::<Vec<_>>()
        })
    }

    /// Whether another worker can be asked of the template, if it is one. When it answers, there is room again.
    fn takes_orders(&self, template: Option<ProcessId>) -> bool {
        let Some(template) = template else { return true };
        self.processes.values().filter(|process| process.awaits(template)).count() < ORDERS_MAX
    }

    /// Generations that only wait for the time to spawn their template.
    pub(super) fn wanted_templates(&self) -> impl Iterator<Item = (u32, Instant)> {
        let pending = self.pending.as_ref().map(|pending| &pending.generation);
        let generations = [Some(&self.serving), pending].into_iter().flatten();
        generations.filter(|_| !self.is_stopping()).filter_map(|generation| match generation.template {
            TemplatePlace::Waiting { spawn_deadline } => Some((generation.number, spawn_deadline)),
            TemplatePlace::Unused | TemplatePlace::Booting(_) | TemplatePlace::Ready(_) => None,
        })
    }

    /// Spawns everything that is wanted and due.
    pub(super) fn spawn_due(&mut self, now: Instant) {
        let templates: Vec<_> = self.wanted_templates().filter(|&(_, at)| at <= now).collect();
        for (generation, _) in templates {
            self.spawn_template(generation, now);
        }
        let workers: Vec<_> = self.wanted_workers().filter(|wanted| wanted.spawn_deadline <= now).collect();
        for wanted in workers {
            if self.takes_orders(wanted.template) {
                self.spawn_worker(&wanted, now);
            }
        }
    }

    fn spawn_worker(&mut self, wanted: &Wanted, now: Instant) {
        let &Wanted { generation, slot, template, .. } = wanted;
        let Some(timeout) = self.generation(generation).map(|it| it.plan.boot_timeout) else { return };
        let phase = match template {
            Some(_) => Phase::Forking { fork_deadline: now + timeout },
            None => Phase::Booting { boot_deadline: now + timeout },
        };
        let id = self.enroll(generation, Role::Worker { slot, template }, phase, now);
        if let Some(slot) = self.generation_mut(generation).and_then(|it| it.slot_mut(slot)) {
            slot.coming = Coming::Booting(id);
        }
        self.actions.push(Action::Spawn { id, generation, slot, template });
    }

    /// Whether every slot of the generation has a worker in this phase.
    pub(super) fn all_are(&self, generation: &Generation, phase: Phase) -> bool {
        generation.slots.iter().all(|slot| {
            slot.current.and_then(|id| self.processes.get(&id)).is_some_and(|it| it.phase == phase)
        })
    }

    pub(super) fn serve(&mut self, id: ProcessId) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.phase = Phase::Serving;
            self.actions.push(Action::Send { id, message: ToWorker::Serve });
        }
    }

    /// Tells once that the first generation serves in full.
    pub(super) fn announce(&mut self) {
        if !self.serving.announced && self.all_are(&self.serving, Phase::Serving) {
            self.serving.announced = true;
            let number = self.serving.number;
            self.log(Level::Info, format!("generation {number} serves: {}", self.serving.plan));
            self.actions.push(Action::Serving { generation: number });
        }
    }

    pub(super) fn scale_up(&mut self, now: Instant) {
        if self.is_stopping() {
            return;
        }
        if self.serving.plan.count >= COUNT_MAX {
            self.log(
                Level::Info,
                format!("one worker more (SIGTTIN) is asked for, but {COUNT_MAX} are the most"),
            );
            return;
        }
        self.add_slot(now);
        self.log(
            Level::Info,
            format!("one worker more (SIGTTIN): {} until the next reload", self.serving.plan),
        );
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
        let plan = Plan { count: self.serving.plan.count - 1, ..self.serving.plan.clone() };
        self.log(Level::Info, format!("one worker fewer (SIGTTOU): {plan} until the next reload"));
        self.remove_slot(now);
        self.announce();
    }

    pub(super) fn scale_to(&mut self, count: u32, now: Instant) {
        if self.is_stopping() {
            return;
        }
        let count = count.clamp(1, COUNT_MAX);
        let workers = workers_text(count as usize);
        self.log(Level::Info, format!("{workers} (rwsgi ctl scale) until the next reload"));
        while self.serving.plan.count < count {
            self.add_slot(now);
        }
        while self.serving.plan.count > count {
            self.remove_slot(now);
        }
        self.announce();
    }

    fn add_slot(&mut self, now: Instant) {
        let coming = Coming::Waiting { spawn_deadline: now };
        self.serving.slots.push(Slot { coming, ..Slot::default() });
        self.serving.plan.count += 1;
    }

    fn remove_slot(&mut self, now: Instant) {
        let Some(slot) = self.serving.slots.pop() else { return };
        self.serving.plan.count -= 1;
        for id in slot.workers() {
            self.dismiss(id, ToWorker::Drain, self.serving.plan.graceful_timeout, now);
        }
    }

    /// Has all workers drain while the templates stay.
    pub(super) fn retire(&mut self, now: Instant) {
        if !self.keeps_workers() {
            return;
        }
        self.progress = Progress::Retired;
        let (workers, timeout) = (self.serving_workers(), self.serving.plan.graceful_timeout);
        self.log(
            Level::Info,
            format!("retiring {workers}: they drain, at most {timeout:?}; none is started"),
        );
        self.discard_pending("the workers are retired");
        for slot in 0..self.serving.plan.count {
            let Some(slot) = self.serving.slot_mut(slot) else { continue };
            let workers = slot.workers();
            (slot.current, slot.coming) = (None, Coming::Nobody);
            for id in workers {
                self.dismiss(id, ToWorker::Drain, timeout, now);
            }
        }
    }

    /// Takes the work up again after [`Supervisor::retire`].
    pub(super) fn resume(&mut self, now: Instant) {
        if self.progress != Progress::Retired {
            return;
        }
        self.progress = Progress::Running;
        self.serving.announced = false;
        self.serving.want_all(now);
        let workers = workers_text(self.serving.slots.len());
        self.log(Level::Info, format!("resuming: starting {workers}"));
    }
}
