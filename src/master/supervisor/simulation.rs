//! A seeded simulation: random forks that fail, processes that die in any phase, templates that are not safe to fork or die
//! with forks unanswered, late messages, checks that fail, silence, and operators at random.
//! `RWSGI_SIM_SEED=N` replays one seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::*;
use crate::config::Preload;
use crate::sys::process::ExitStatus;

const SEEDS: u64 = 256;
const STEPS: u32 = 400;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn one_in(&mut self, limit: u64) -> bool {
        self.below(limit) == 0
    }
}

/// A process of the model.
#[derive(Debug, Clone)]
struct Model {
    generation: u32,
    /// `None`: a template.
    slot: Option<u32>,
    state: State,
    /// Whether its process id was told. It cannot be killed before.
    is_known: bool,
    /// Whether it has asked for a replacement, and only for a planned one.
    is_planned: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Booting,
    Checking,
    Ready,
    Serving,
    Draining,
    Dying,
}

/// An order to fork that a template has not answered.
#[derive(Debug, Clone, Copy)]
struct Order {
    id: ProcessId,
    generation: u32,
    slot: u32,
    template: ProcessId,
}

struct World {
    random: Random,
    now: Instant,
    supervisor: Supervisor,
    processes: BTreeMap<ProcessId, Model>,
    orders: Vec<Order>,
    /// Reloads that are not over.
    reloads: BTreeSet<u32>,
    failed: BTreeSet<u32>,
    /// Generations with a template.
    preloaded: BTreeSet<u32>,
    forks_fail: bool,
    is_retired: bool,
    exit: Option<i32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut random = Random(seed);
        let plan = plan(&mut random);
        let preloads = plan.preload != Preload::Never;
        let (supervisor, actions) = Supervisor::start(plan, 1, now);
        let mut world = Self {
            random,
            now,
            supervisor,
            processes: BTreeMap::new(),
            orders: Vec::new(),
            reloads: BTreeSet::new(),
            failed: BTreeSet::new(),
            preloaded: preloads.then_some(1).into_iter().collect(),
            forks_fail: false,
            is_retired: false,
            exit: None,
        };
        world.perform(actions);
        world
    }

    fn serving(&self) -> usize {
        self.processes.values().filter(|it| it.state == State::Serving).count()
    }

    fn tell(&mut self, event: Event) {
        let may_shrink = match event {
            Event::ScaleDown
            | Event::ScaleTo(_)
            | Event::Retire
            | Event::Stop { .. }
            | Event::Silent { .. } => true,
            // It was given up with its template, or is to be killed now that it can be.
            Event::Started { id, .. } => {
                let mut known = self.supervisor.processes(self.now).into_iter();
                known.all(|it| it.id != id || it.phase == "killed")
            }
            Event::SpawnFailed { .. }
            | Event::Ready(_)
            | Event::BootFailed { .. }
            | Event::Checked { .. }
            | Event::Recycle { .. }
            | Event::TemplateReady(_)
            | Event::TemplateUnsafe { .. }
            | Event::Exited { .. }
            | Event::Reload(_)
            | Event::ScaleUp
            | Event::ReopenLogs
            | Event::Resume
            | Event::Tick => false,
        };
        let before = self.serving();
        let served = self.supervisor.serving_generation();
        let actions = self.supervisor.handle(self.now, event);
        if self.supervisor.serving_generation() != served {
            let drain = |it: &Action| matches!(it, Action::Send { message: ToWorker::Drain, .. });
            let serve = |it: &Action| matches!(it, Action::Send { message: ToWorker::Serve, .. });
            let (drained, last) = (actions.iter().position(drain), actions.iter().rposition(serve));
            assert!(drained.is_none() || last < drained, "drained before the new one served");
        }
        self.perform(actions);
        if !may_shrink {
            let wanted = before.min(self.supervisor.count() as usize);
            assert!(self.serving() >= wanted, "{before} served, now {}", self.serving());
        }
        let planned = self.supervisor.processes(self.now).into_iter().filter(|it| {
            it.phase == "recycling"
                && self.processes.get(&it.id).is_some_and(|model| model.is_planned == Some(true))
        });
        assert!(planned.count() <= 1, "two planned recycles at once");
    }

    fn perform(&mut self, actions: Vec<Action>) {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            match action {
                Action::Spawn { id, generation, slot, template } => {
                    self.check_spawn(generation, slot);
                    match template {
                        Some(template) => self.orders.push(Order { id, generation, slot, template }),
                        None => queue.extend(self.fork(id, generation, Some(slot))),
                    }
                }
                Action::SpawnTemplate { id, generation } => {
                    assert!(self.exit.is_none());
                    queue.extend(self.fork(id, generation, None));
                }
                Action::Send { id, message } => self.deliver(id, message),
                Action::CloseTemplate { id } => {
                    let template = self.processes.get_mut(&id).unwrap();
                    assert!(template.slot.is_none());
                    template.state = State::Dying;
                }
                Action::Kill { id, .. } => {
                    if let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_known) {
                        process.state = State::Dying;
                    }
                }
                Action::ReloadOver { generation, outcome } => {
                    assert!(self.reloads.remove(&generation), "told twice");
                    if outcome.is_err() {
                        self.failed.insert(generation);
                    }
                }
                Action::Serving { generation } => assert!(!self.failed.contains(&generation)),
                Action::Log { .. } => {}
                Action::Exit { code } => {
                    assert!(self.processes.values().all(|it| !it.is_known), "one outlives its master");
                    self.exit = Some(code);
                }
            }
        }
    }

    fn check_spawn(&self, generation: u32, slot: u32) {
        assert!(self.exit.is_none() && !self.is_retired);
        assert!(!self.failed.contains(&generation));
        let is_place = |it: &&ProcessStatus| {
            it.generation == generation
                && it.slot == Some(slot)
                && ["serving", "recycling"].contains(&it.phase)
        };
        let known = self.supervisor.processes(self.now);
        let mut here = known.iter().filter(is_place).filter_map(|it| self.processes.get(&it.id));
        let is_beside = self.supervisor.pending_generation().is_some_and(|pending| pending != generation);
        let is_planned = here.any(|it| it.is_planned == Some(true));
        assert!(!(is_beside && is_planned), "a planned recycle beside a reload");
    }

    /// The master forks.
    fn fork(&mut self, id: ProcessId, generation: u32, slot: Option<u32>) -> Vec<Action> {
        let event = if self.forks_fail && self.random.one_in(3) {
            Event::SpawnFailed { id, error: "no memory".to_owned() }
        } else {
            self.insert(id, generation, slot, true);
            Event::Started { id, pid: 1 }
        };
        self.supervisor.handle(self.now, event)
    }

    fn insert(&mut self, id: ProcessId, generation: u32, slot: Option<u32>, is_known: bool) {
        let state = State::Booting;
        self.processes.insert(id, Model { generation, slot, state, is_known, is_planned: None });
    }

    fn deliver(&mut self, id: ProcessId, message: ToWorker) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        assert!(process.slot.is_some(), "a template gets no messages");
        match (message, process.state) {
            (ToWorker::Serve, state) => {
                assert!(!self.failed.contains(&process.generation), "a failed generation serves");
                if state == State::Ready {
                    process.state = State::Serving;
                }
            }
            (ToWorker::Drain | ToWorker::Stop, State::Serving) => process.state = State::Draining,
            (ToWorker::Check, State::Ready) => process.state = State::Checking,
            (
                ToWorker::Drain | ToWorker::Stop | ToWorker::Check | ToWorker::ReopenLogs | ToWorker::Dump,
                _,
            ) => {}
        }
    }

    /// One process does what it would do next, or something worse.
    fn step_process(&mut self, faults: bool) {
        let count = self.processes.len() as u64;
        if count == 0 {
            return;
        }
        let index = usize::try_from(self.random.below(count)).unwrap();
        let (&id, process) = self.processes.iter().nth(index).unwrap();
        let process = process.clone();
        let is_fault = faults && self.random.one_in(6);
        if !process.is_known && self.random.one_in(2) {
            self.processes.get_mut(&id).unwrap().is_known = true;
            self.tell(Event::Started { id, pid: 1 });
        } else if is_fault && (process.is_known || process.slot.is_none()) && self.random.one_in(2) {
            self.die(id);
        } else if process.slot.is_none() {
            self.step_template(id, process.state, is_fault);
        } else {
            self.step_worker(id, &process, is_fault);
        }
    }

    fn set_state(&mut self, id: ProcessId, state: State) {
        self.processes.get_mut(&id).unwrap().state = state;
    }

    fn step_template(&mut self, id: ProcessId, state: State, is_fault: bool) {
        let generation = self.processes[&id].generation;
        match state {
            State::Booting if is_fault => {
                self.set_state(id, State::Dying);
                self.tell(boot_failed(id));
            }
            State::Booting if self.random.one_in(10) => {
                self.set_state(id, State::Dying);
                self.preloaded.remove(&generation);
                self.tell(Event::TemplateUnsafe { id, report: "a thread".to_owned() });
            }
            State::Booting => {
                self.set_state(id, State::Ready);
                self.tell(Event::TemplateReady(id));
            }
            State::Dying => self.die(id),
            State::Checking | State::Ready | State::Serving | State::Draining => {
                self.answer_order(id, is_fault);
            }
        }
    }

    /// A template forks, and tells so at once or later.
    fn answer_order(&mut self, template: ProcessId, is_fault: bool) {
        let Some(at) = self.orders.iter().position(|order| order.template == template) else { return };
        let Order { id, generation, slot, .. } = self.orders.remove(at);
        if is_fault {
            return self.tell(Event::SpawnFailed { id, error: "no memory".to_owned() });
        }
        let is_known = !self.random.one_in(4);
        self.insert(id, generation, Some(slot), is_known);
        if is_known {
            self.tell(Event::Started { id, pid: 1 });
        }
    }

    fn step_worker(&mut self, id: ProcessId, process: &Model, is_fault: bool) {
        match process.state {
            State::Booting if is_fault => {
                self.set_state(id, State::Dying);
                self.tell(boot_failed(id));
            }
            State::Booting => {
                self.set_state(id, State::Ready);
                self.tell(Event::Ready(id));
            }
            State::Checking => {
                self.set_state(id, State::Ready);
                let failure = is_fault.then(|| "GET / was answered 500".to_owned());
                self.tell(Event::Checked { id, failure });
            }
            State::Ready | State::Serving if is_fault && self.random.one_in(2) => {
                let stuck = self.random.one_in(2);
                let is_planned = &mut self.processes.get_mut(&id).unwrap().is_planned;
                *is_planned = Some(!stuck && *is_planned != Some(false));
                self.tell(Event::Recycle { id, reason: "it is old".to_owned(), stuck });
            }
            State::Serving if is_fault => {
                let silent_for =
                    Duration::from_secs([0, 5, 40][usize::try_from(self.random.below(3)).unwrap()]);
                self.tell(Event::Silent { id, silent_for, state: "stopped" });
            }
            State::Ready | State::Serving => {}
            State::Draining | State::Dying if process.is_known => self.die(id),
            State::Draining | State::Dying => {}
        }
    }

    /// It ends; a template that does may have forked without telling.
    fn die(&mut self, id: ProcessId) {
        self.processes.remove(&id);
        let (mut left, kept) = self.orders.iter().copied().partition::<Vec<_>, _>(|it| it.template == id);
        self.orders = kept;
        left.retain(|_| self.random.one_in(2));
        for order in left {
            self.insert(order.id, order.generation, Some(order.slot), false);
        }
        self.tell(Event::Exited { id, death: ExitStatus::Signal(9).into() });
    }

    fn pass_time(&mut self) {
        self.now += Duration::from_millis(self.random.below(3000));
        self.tell(Event::Tick);
        assert!(self.supervisor.next_deadline().is_none_or(|at| at > self.now), "no progress");
    }

    fn operate(&mut self) {
        match self.random.below(10) {
            0..3 => {
                let plan = plan(&mut self.random);
                let number = self.supervisor.next_generation();
                self.reloads.insert(number);
                if plan.preload != Preload::Never {
                    self.preloaded.insert(number);
                }
                self.tell(Event::Reload(plan));
            }
            3 => self.tell(Event::ScaleUp),
            4 => self.tell(Event::ScaleDown),
            5 => {
                let count = u32::try_from(self.random.below(7)).unwrap();
                self.tell(Event::ScaleTo(count));
            }
            6 => self.forks_fail = !self.forks_fail,
            7 => self.tell(Event::ReopenLogs),
            8 if self.random.one_in(3) => {
                self.tell(Event::Retire);
                self.is_retired = true;
            }
            _ => self.resume(),
        }
    }

    fn resume(&mut self) {
        self.is_retired = false;
        self.tell(Event::Resume);
    }

    /// No more faults: everything comes to rest.
    fn settle(&mut self) {
        self.forks_fail = false;
        for _ in 0..20_000 {
            self.step_process(false);
            if self.exit.is_some() && self.processes.is_empty() {
                return;
            }
            if self.random.one_in(8) {
                self.pass_time();
            }
        }
    }

    fn assert_at_rest(&self) {
        let serving = self.supervisor.serving_generation();
        let (templates, workers): (Vec<_>, Vec<_>) =
            self.processes.values().partition(|it| it.slot.is_none());
        assert_eq!(workers.len(), self.supervisor.count() as usize, "{workers:?}");
        assert!(
            workers.iter().all(|it| (it.generation, it.state) == (serving, State::Serving)),
            "{workers:?}"
        );
        assert_eq!(templates.len(), usize::from(self.preloaded.contains(&serving)), "{templates:?}");
        assert!(templates.iter().all(|it| (it.generation, it.state) == (serving, State::Ready)));
        assert_eq!(self.supervisor.processes(self.now).len(), self.processes.len());
        assert!(self.orders.is_empty() && self.reloads.is_empty());
    }
}

fn boot_failed(id: ProcessId) -> Event {
    Event::BootFailed { id, exit_code: 3, summary: "broken".to_owned(), traceback: None }
}

fn plan(random: &mut Random) -> Plan {
    Plan {
        count: 1 + u32::try_from(random.below(4)).unwrap(),
        threads: 1,
        boot_timeout: Duration::from_secs(if random.one_in(2) { 3600 } else { 15 }),
        graceful_timeout: Duration::from_secs(30),
        preload: if random.one_in(3) { Preload::Never } else { Preload::Auto },
        check: random.one_in(2).then(|| "GET /".to_owned()),
        silence_max: Duration::from_secs(30),
        moves_listeners: random.one_in(4),
    }
}

fn simulate(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        match world.random.below(40) {
            0..3 => world.operate(),
            3..8 => world.pass_time(),
            _ => world.step_process(true),
        }
        if world.exit.is_some() {
            assert_eq!(world.exit, Some(3), "only a failure to boot may end it");
            world.settle();
            assert!(world.processes.is_empty());
            return;
        }
    }
    world.resume();
    world.settle();
    if world.exit.is_none() {
        world.assert_at_rest();
        let how = [Stop::Graceful, Stop::Quick, Stop::Handover][usize::try_from(seed % 3).unwrap()];
        world.tell(Event::Stop { how, reason: "a test" });
        world.settle();
        assert_eq!(world.exit, Some(0));
    }
    assert!(world.processes.is_empty());
}

#[test]
fn every_seed_comes_to_rest() {
    if let Some(seed) = std::env::var("RWSGI_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return simulate(seed);
    }
    for seed in 0..SEEDS {
        if let Err(panic) = std::panic::catch_unwind(|| simulate(seed)) {
            eprintln!("replay with RWSGI_SIM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
