//! A seeded simulation: random forks that fail, workers that die in any phase, late messages, signals at random.
//! `RWSGI_SIM_SEED=N` replays one seed.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::*;
use crate::sys::process::ExitStatus;

const SEEDS: u64 = 256;
const STEPS: u32 = 300;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// A worker process of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    Booting,
    Ready,
    Serving,
    Draining,
    Dying,
}

struct World {
    random: Random,
    now: Instant,
    supervisor: Supervisor,
    processes: BTreeMap<WorkerId, (u32, Process)>,
    failed_generations: Vec<u32>,
    forks_fail: bool,
    exit: Option<i32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut random = Random(seed);
        let (supervisor, actions) = Supervisor::start(plan(&mut random), now);
        let processes = BTreeMap::new();
        let mut world = Self {
            random,
            now,
            supervisor,
            processes,
            failed_generations: Vec::new(),
            forks_fail: false,
            exit: None,
        };
        world.perform(actions);
        world
    }

    fn tell(&mut self, event: Event) {
        let before = self.supervisor.pending_generation();
        let served = self.supervisor.serving_generation();
        let actions = self.supervisor.handle(self.now, event);
        if let Some(number) = before {
            let gone = self.supervisor.pending_generation() != before;
            if gone && self.supervisor.serving_generation() != number {
                self.failed_generations.push(number);
            }
        }
        if self.supervisor.serving_generation() != served {
            let first_drain =
                actions.iter().position(|it| matches!(it, Action::Send { message: ToWorker::Drain, .. }));
            let last_serve =
                actions.iter().rposition(|it| matches!(it, Action::Send { message: ToWorker::Serve, .. }));
            assert!(first_drain.is_none() || last_serve < first_drain, "drained before the new one served");
        }
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            match action {
                Action::Spawn { id, generation, .. } => {
                    assert!(self.exit.is_none());
                    let event = if self.forks_fail && self.random.below(3) == 0 {
                        Event::SpawnFailed { id, error: "no memory".to_owned() }
                    } else {
                        self.processes.insert(id, (generation, Process::Booting));
                        Event::Started { id, pid: 1 }
                    };
                    let before = self.supervisor.pending_generation();
                    queue.extend(self.supervisor.handle(self.now, event));
                    if before.is_some() && self.supervisor.pending_generation().is_none() {
                        self.failed_generations.extend(before);
                    }
                }
                Action::Send { id, message } => {
                    let Some((generation, process)) = self.processes.get_mut(&id) else { continue };
                    match message {
                        ToWorker::Serve => {
                            assert!(
                                !self.failed_generations.contains(generation),
                                "a failed generation serves"
                            );
                            if *process == Process::Ready {
                                *process = Process::Serving;
                            }
                        }
                        ToWorker::Drain | ToWorker::Stop if *process == Process::Serving => {
                            *process = Process::Draining
                        }
                        ToWorker::Drain | ToWorker::Stop | ToWorker::ReopenLogs => {}
                    }
                }
                Action::Kill { id, .. } => {
                    if let Some((_, process)) = self.processes.get_mut(&id) {
                        *process = Process::Dying;
                    }
                }
                Action::Log { .. } => {}
                Action::Exit { code } => {
                    assert!(self.processes.is_empty(), "a worker outlives its master");
                    self.exit = Some(code);
                }
            }
        }
    }

    /// One worker does what it would do next, or something worse.
    fn step_worker(&mut self, faults: bool) {
        let Ok(count) = u64::try_from(self.processes.len()) else { return };
        if count == 0 {
            return;
        }
        let index = usize::try_from(self.random.below(count)).unwrap();
        let (&id, &(_, process)) = self.processes.iter().nth(index).unwrap();
        let fault = faults && self.random.below(6) == 0;
        let event = match process {
            Process::Booting if fault && self.random.below(2) == 0 => {
                self.processes.get_mut(&id).unwrap().1 = Process::Dying;
                Event::BootFailed { id, exit_code: 3, summary: "broken".to_owned(), traceback: None }
            }
            Process::Serving if fault && self.random.below(2) == 0 => {
                self.processes.get_mut(&id).unwrap().1 = Process::Draining;
                Event::Leaving(id)
            }
            Process::Booting if !fault => {
                self.processes.get_mut(&id).unwrap().1 = Process::Ready;
                Event::Ready(id)
            }
            Process::Ready | Process::Serving if !fault => return,
            Process::Booting | Process::Ready | Process::Serving | Process::Draining | Process::Dying => {
                self.processes.remove(&id);
                Event::Exited { id, status: ExitStatus::Signal(9) }
            }
        };
        self.tell(event);
    }

    fn pass_time(&mut self) {
        self.now += Duration::from_millis(self.random.below(3000));
        self.tell(Event::Tick);
        assert!(self.supervisor.next_deadline().is_none_or(|at| at > self.now), "no progress");
    }

    /// No more faults: everything comes to rest.
    fn settle(&mut self) {
        self.forks_fail = false;
        for _ in 0..20_000 {
            self.step_worker(false);
            if self.exit.is_some() {
                return;
            }
            if self.random.below(8) == 0 {
                self.pass_time();
            }
        }
    }
}

fn plan(random: &mut Random) -> Plan {
    Plan {
        count: 1 + u32::try_from(random.below(4)).unwrap(),
        threads: 1,
        boot_timeout: Duration::from_secs(3600),
        graceful_timeout: Duration::from_secs(30),
    }
}

fn simulate(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        match world.random.below(40) {
            0 => {
                let plan = plan(&mut world.random);
                world.tell(Event::Reload(plan));
            }
            1 => world.tell(Event::ScaleUp),
            2 => world.tell(Event::ScaleDown),
            3 => world.forks_fail = !world.forks_fail,
            4 => world.tell(Event::ReopenLogs),
            5..10 => world.pass_time(),
            _ => world.step_worker(true),
        }
        if world.exit.is_some() {
            assert_eq!(world.exit, Some(3), "only a failure to boot may end it");
            return;
        }
    }
    world.settle();
    if world.exit.is_none() {
        let serving = world.supervisor.serving_generation();
        let count = world.supervisor.serving.plan.count as usize;
        assert_eq!(world.processes.len(), count, "{:?}", world.processes);
        assert!(
            world.processes.values().all(|it| *it == (serving, Process::Serving)),
            "{:?}",
            world.processes
        );
        let how = if seed % 2 == 0 { Stop::Graceful } else { Stop::Quick };
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
