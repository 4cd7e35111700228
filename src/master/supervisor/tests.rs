//! The rules of supervision, one test each, on plain values.

use std::time::{Duration, Instant};

use super::*;
use crate::config::Preload;
use crate::sys::process::ExitStatus;

mod recycling;
mod templates;

const SECOND: Duration = Duration::from_secs(1);

fn plan(count: u32) -> Plan {
    Plan {
        count,
        threads: 1,
        boot_timeout: 60 * SECOND,
        graceful_timeout: 30 * SECOND,
        preload: Preload::Never,
        check: None,
        silence_max: 30 * SECOND,
        moves_listeners: false,
    }
}

fn preloading(count: u32) -> Plan {
    Plan { preload: Preload::Auto, ..plan(count) }
}

fn checking(count: u32) -> Plan {
    Plan { check: Some("GET /health".to_owned()), ..plan(count) }
}

fn sends(actions: &[Action], wanted: ToWorker) -> Vec<u64> {
    let is_wanted = |action: &&Action| matches!(action, Action::Send { message, .. } if *message == wanted);
    actions.iter().filter(is_wanted).filter_map(target).collect()
}

fn target(action: &Action) -> Option<u64> {
    match action {
        Action::Send { id, .. }
        | Action::Spawn { id, .. }
        | Action::SpawnTemplate { id, .. }
        | Action::CloseTemplate { id }
        | Action::Kill { id, .. } => Some(id.0),
        Action::Log { .. } | Action::ReloadOver { .. } | Action::Serving { .. } | Action::Exit { .. } => None,
    }
}

fn killed(actions: &[Action]) -> Vec<u64> {
    actions.iter().filter(|action| matches!(action, Action::Kill { .. })).filter_map(target).collect()
}

fn kills(actions: &[Action]) -> usize {
    killed(actions).len()
}

fn spawned(actions: &[Action]) -> Vec<u64> {
    actions.iter().filter(|action| matches!(action, Action::Spawn { .. })).filter_map(target).collect()
}

fn spawns(actions: &[Action]) -> usize {
    spawned(actions).len()
}

/// The workers that this template is to fork.
fn forks(actions: &[Action], from: u64) -> Vec<u64> {
    let is_wanted =
        |action: &&Action| matches!(action, Action::Spawn { template: Some(id), .. } if id.0 == from);
    actions.iter().filter(is_wanted).filter_map(target).collect()
}

fn templates(actions: &[Action]) -> Vec<u64> {
    actions
        .iter()
        .filter(|action| matches!(action, Action::SpawnTemplate { .. }))
        .filter_map(target)
        .collect()
}

#[track_caller]
fn assert_says(actions: &[Action], wanted: &str) {
    let says =
        actions.iter().any(|action| matches!(action, Action::Log { text, .. } if text.contains(wanted)));
    assert!(says, "{wanted:?} is not said: {actions:#?}");
}

fn outcome(actions: &[Action]) -> Option<&Result<String, String>> {
    actions.iter().find_map(|action| match action {
        Action::ReloadOver { outcome, .. } => Some(outcome),
        Action::Send { .. }
        | Action::Spawn { .. }
        | Action::SpawnTemplate { .. }
        | Action::CloseTemplate { .. }
        | Action::Kill { .. }
        | Action::Log { .. }
        | Action::Serving { .. }
        | Action::Exit { .. } => None,
    })
}

fn boot_failed(id: u64, exit_code: u8) -> Event {
    let traceback = Some("Traceback\n".to_owned());
    Event::BootFailed { id: ProcessId(id), exit_code, summary: "broken".to_owned(), traceback }
}

fn exited(id: u64) -> Event {
    Event::Exited { id: ProcessId(id), death: ExitStatus::Signal(9).into() }
}

fn recycle(id: u64) -> Event {
    Event::Recycle { id: ProcessId(id), reason: "it is old".to_owned(), stuck: false }
}

fn stuck(id: u64) -> Event {
    Event::Recycle { id: ProcessId(id), reason: "a request is stuck: GET /x".to_owned(), stuck: true }
}

fn spawn_failed(id: u64) -> Event {
    Event::SpawnFailed { id: ProcessId(id), error: "EAGAIN".to_owned() }
}

fn checked(id: u64, failure: Option<&str>) -> Event {
    Event::Checked { id: ProcessId(id), failure: failure.map(str::to_owned) }
}

fn silent(id: u64, seconds: u32) -> Event {
    Event::Silent { id: ProcessId(id), silent_for: seconds * SECOND, state: "stopped" }
}

fn stop(how: Stop) -> Event {
    Event::Stop { how, reason: "SIGTERM" }
}

/// A supervisor and its clock.
struct Rig {
    supervisor: Supervisor,
    now: Instant,
}

impl Rig {
    fn start(plan: Plan) -> (Self, Vec<Action>) {
        let now = Instant::now();
        let (supervisor, actions) = Supervisor::start(plan, 1, now);
        (Self { supervisor, now }, actions)
    }

    /// Workers 1 to `count` serve.
    fn serving(count: u32) -> Self {
        let (mut rig, actions) = Self::start(plan(count));
        assert_eq!(spawns(&actions), count as usize);
        for id in 1..=u64::from(count) {
            rig.tell(Event::Started { id: ProcessId(id), pid: i32::try_from(id).unwrap() });
            assert_eq!(sends(&rig.ready(id), ToWorker::Serve), [id]);
        }
        rig
    }

    /// Template 1 is ready, workers 2 to `count` + 1 serve.
    fn forked(count: u32) -> Self {
        let (mut rig, actions) = Self::start(preloading(count));
        assert_eq!((templates(&actions), spawns(&actions)), (vec![1], 0));
        rig.tell(Event::Started { id: ProcessId(1), pid: 1 });
        let wanted: Vec<u64> = (2..2 + u64::from(count)).collect();
        assert_eq!(forks(&rig.template_ready(1), 1), wanted);
        for id in wanted {
            rig.tell(Event::Started { id: ProcessId(id), pid: i32::try_from(id).unwrap() });
            assert_eq!(sends(&rig.ready(id), ToWorker::Serve), [id]);
        }
        rig
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.supervisor.handle(self.now, event)
    }

    fn ready(&mut self, id: u64) -> Vec<Action> {
        self.tell(Event::Ready(ProcessId(id)))
    }

    fn template_ready(&mut self, id: u64) -> Vec<Action> {
        self.tell(Event::TemplateReady(ProcessId(id)))
    }

    fn after(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.tell(Event::Tick)
    }

    fn at_deadline(&mut self) -> Vec<Action> {
        self.now = self.supervisor.next_deadline().unwrap();
        self.tell(Event::Tick)
    }

    fn phase_of(&self, id: u64) -> &'static str {
        self.supervisor.processes(self.now).iter().find(|it| it.id.0 == id).map_or("gone", |it| it.phase)
    }
}

#[test]
fn the_first_failure_to_boot_ends_the_master_with_its_code() {
    let (mut rig, _) = Rig::start(plan(2));
    let actions = rig.tell(boot_failed(1, 4));
    assert_says(&actions, "cannot start: broken\nTraceback");
    assert_eq!(kills(&actions), 1);
    assert!(rig.tell(boot_failed(2, 4)).is_empty(), "told twice");
    rig.tell(exited(2));
    assert!(rig.tell(exited(1)).contains(&Action::Exit { code: 4 }));
}

#[test]
fn a_boot_that_hangs_ends_the_master_with_3() {
    for plan in [plan(1), preloading(1)] {
        let (mut rig, _) = Rig::start(plan);
        assert_eq!(rig.supervisor.next_deadline().unwrap(), rig.now + 60 * SECOND);
        let actions = rig.at_deadline();
        assert_eq!(kills(&actions), 1);
        assert_says(&actions, "was not ready within 60s");
        assert!(rig.tell(exited(1)).contains(&Action::Exit { code: 3 }));
    }
}

#[test]
fn a_fork_that_fails_is_tried_again() {
    let (mut rig, _) = Rig::start(plan(1));
    let actions = rig.tell(spawn_failed(1));
    assert_says(&actions, "EAGAIN");
    assert_eq!(spawns(&actions), 0);
    assert_eq!(spawns(&rig.at_deadline()), 1);

    let (mut rig, _) = Rig::start(preloading(1));
    assert_says(&rig.tell(spawn_failed(1)), "template: no process can be made: EAGAIN: starting another in");
    assert_eq!(templates(&rig.at_deadline()), [2]);
}

#[test]
fn a_dead_worker_is_replaced_at_once_and_then_later() {
    let mut rig = Rig::serving(1);
    let actions = rig.tell(exited(1));
    let said =
        "worker 0 (pid 1, generation 1) was killed by signal 9 (SIGKILL) after 0.0 s: starting a replacement";
    assert!(actions.contains(&Action::Log { level: Level::Warn, text: said.to_owned() }), "{actions:?}");
    assert_eq!(spawns(&actions), 1);
    rig.ready(2);
    let actions = rig.tell(exited(2));
    assert_says(&actions, "starting a replacement in 100ms");
    assert_eq!(spawns(&actions), 0);
    assert_eq!(rig.supervisor.next_deadline(), Some(rig.now + Duration::from_millis(100)));
}

#[test]
fn a_death_record_tells_all_that_is_known() {
    let mut rig = Rig::serving(1);
    rig.now += Duration::from_millis(3200);
    let death = Death {
        status: ExitStatus::Signal(9),
        by: Some("by the kernel's out-of-memory killer (memory.max of its cgroup)".to_owned()),
        doing: vec!["GET /a for 1.2 s".to_owned(), "GET /b for 0.1 s".to_owned()],
        stacks: Some("Thread 1\n  File x\n".to_owned()),
    };
    let actions = rig.tell(Event::Exited { id: ProcessId(1), death });
    assert_says(
        &actions,
        "worker 0 (pid 1, generation 1) was killed by signal 9 (SIGKILL) after 3.2 s, by the kernel's out-of-memory \
         killer (memory.max of its cgroup), while it worked on GET /a for 1.2 s and GET /b for 0.1 s: \
         starting a replacement\nThread 1\n  File x",
    );
}

#[test]
fn a_reload_boots_a_canary_then_the_rest_then_changes_over() {
    let mut rig = Rig::serving(2);
    assert_eq!(spawns(&rig.tell(Event::Reload(plan(2)))), 1);
    let actions = rig.ready(3);
    assert_eq!(spawns(&actions), 1);
    assert!(sends(&actions, ToWorker::Serve).is_empty());
    let actions = rig.ready(4);
    assert_eq!(sends(&actions, ToWorker::Serve), [3, 4]);
    assert_eq!(sends(&actions, ToWorker::Drain), [1, 2]);
    assert!(actions.contains(&Action::Serving { generation: 2 }));
    let told = "generation 2 serves: 2 workers × 1 thread; retiring generation 1";
    assert_eq!(outcome(&actions), Some(&Ok(told.to_owned())));
    assert_eq!(rig.supervisor.serving_generation(), 2);
    assert_eq!(kills(&rig.after(30 * SECOND)), 0);
    assert_eq!(kills(&rig.after(SECOND)), 2);
}

#[test]
fn a_failed_reload_leaves_the_old_generation_alone() {
    for failure in [boot_failed(4, 3), exited(3), exited(4), recycle(3), stuck(4), spawn_failed(4)] {
        let mut rig = Rig::serving(2);
        rig.tell(Event::Reload(plan(2)));
        rig.ready(3);
        let actions = rig.tell(failure);
        assert_says(&actions, "reload failed: generation 2 discarded");
        assert_says(&actions, "generation 1 keeps serving");
        assert!(matches!(outcome(&actions), Some(Err(_))));
        assert!(sends(&actions, ToWorker::Drain).is_empty());
        assert_eq!((rig.supervisor.serving_generation(), rig.supervisor.pending_generation()), (1, None));
    }
}

#[test]
fn a_reload_is_over_when_another_or_a_stop_takes_its_place() {
    let mut rig = Rig::serving(1);
    rig.tell(Event::Reload(plan(1)));
    let actions = rig.tell(Event::Reload(plan(1)));
    let told = "generation 2 discarded: a newer reload takes its place";
    assert_eq!(outcome(&actions), Some(&Err(told.to_owned())));
    assert_eq!((killed(&actions), spawned(&actions)), (vec![2], vec![3]));
    let actions = rig.tell(stop(Stop::Graceful));
    assert!(actions.contains(&Action::ReloadOver {
        generation: 3,
        outcome: Err("generation 3 discarded: the server stops".to_owned())
    }));
    assert_eq!(outcome(&rig.tell(Event::Reload(plan(1)))), Some(&Err("the server stops".to_owned())));
}

#[test]
fn the_canary_is_checked_before_the_rest_boots() {
    let mut rig = Rig::serving(2);
    rig.tell(Event::Reload(checking(2)));
    let actions = rig.ready(3);
    assert_eq!((sends(&actions, ToWorker::Check), spawns(&actions)), (vec![3], 0));
    assert_eq!(rig.phase_of(3), "checking");
    assert_eq!(spawned(&rig.tell(checked(3, None))), [4]);
    let actions = rig.ready(4);
    assert!(sends(&actions, ToWorker::Check).is_empty(), "only the canary is checked");
    assert_eq!(sends(&actions, ToWorker::Serve), [3, 4]);
}

/// Something that goes wrong.
type Fail = fn(&mut Rig) -> Vec<Action>;

#[test]
fn a_check_that_fails_or_is_not_answered_fails_the_reload() {
    let failed = |rig: &mut Rig| rig.tell(checked(2, Some("GET /health was answered 500")));
    let late = |rig: &mut Rig| rig.at_deadline();
    let died = |rig: &mut Rig| rig.tell(exited(2));
    let cases: [(Fail, &str); 3] = [
        (failed, "discarded: GET /health was answered 500; generation 1 keeps serving"),
        (late, "discarded: the check GET /health was not answered within 60s; generation 1"),
        (died, "after 0.0 s, while it answered the check GET /health; generation 1"),
    ];
    for (fail, told) in cases {
        let mut rig = Rig::serving(1);
        rig.tell(Event::Reload(checking(1)));
        rig.ready(2);
        assert_says(&fail(&mut rig), told);
        assert_eq!(rig.supervisor.pending_generation(), None);
        assert_eq!(rig.phase_of(1), "serving");
    }
}

#[test]
fn old_workers_stop_when_the_listeners_move() {
    let mut rig = Rig::serving(1);
    rig.tell(Event::Reload(Plan { moves_listeners: true, ..plan(1) }));
    assert_eq!(sends(&rig.ready(2), ToWorker::Stop), [1]);
}

#[test]
fn a_second_term_changes_nothing_and_int_hurries() {
    let mut rig = Rig::serving(2);
    assert_eq!(sends(&rig.tell(stop(Stop::Graceful)), ToWorker::Stop), [1, 2]);
    assert!(rig.tell(stop(Stop::Graceful)).is_empty());
    assert_eq!(kills(&rig.tell(stop(Stop::Quick))), 2);
    assert_eq!(kills(&rig.after(SECOND)), 2);
    rig.tell(exited(1));
    assert!(rig.tell(exited(2)).contains(&Action::Exit { code: 0 }));
}

#[test]
fn a_handover_drains() {
    let mut rig = Rig::serving(2);
    assert_eq!(sends(&rig.tell(stop(Stop::Handover)), ToWorker::Drain), [1, 2]);
}

#[test]
fn the_last_worker_is_never_scaled_away() {
    let mut rig = Rig::serving(2);
    assert_eq!(sends(&rig.tell(Event::ScaleDown), ToWorker::Drain), [2]);
    assert!(sends(&rig.tell(Event::ScaleDown), ToWorker::Drain).is_empty());
    assert_eq!(spawns(&rig.tell(Event::ScaleUp)), 1);
}

#[test]
fn scaling_to_a_number_goes_both_ways_until_the_next_reload() {
    let mut rig = Rig::serving(2);
    let actions = rig.tell(Event::ScaleTo(4));
    assert_says(&actions, "4 workers (rwsgi ctl scale) until the next reload");
    assert_eq!(spawned(&actions), [3, 4]);
    rig.ready(3);
    let actions = rig.tell(Event::ScaleTo(1));
    assert_eq!((sends(&actions, ToWorker::Drain), killed(&actions)), (vec![3, 2], vec![4]));
    assert_eq!(rig.supervisor.count(), 1);
    rig.tell(Event::ScaleTo(0));
    assert_eq!(rig.supervisor.count(), 1);
    rig.tell(Event::Reload(plan(2)));
    rig.ready(5);
    rig.ready(6);
    assert_eq!(rig.supervisor.count(), 2);
}

#[test]
fn retired_workers_drain_and_come_back_when_asked_to() {
    let mut rig = Rig::forked(2);
    rig.tell(Event::Reload(plan(1)));
    let actions = rig.tell(Event::Retire);
    assert_eq!((sends(&actions, ToWorker::Drain), killed(&actions)), (vec![2, 3], vec![4]));
    assert!(matches!(outcome(&actions), Some(Err(_))));
    assert_eq!(rig.phase_of(1), "ready", "the template stays");
    for id in [2, 3, 4] {
        assert_eq!(spawns(&rig.tell(exited(id))), 0);
    }
    assert_eq!(outcome(&rig.tell(Event::Reload(plan(1)))), Some(&Err("the workers are retired".to_owned())));
    assert_eq!(forks(&rig.tell(Event::Resume), 1), [5, 6]);
    rig.ready(5);
    assert!(rig.ready(6).contains(&Action::Serving { generation: 1 }));
    assert!(rig.tell(Event::Resume).is_empty());
}

#[test]
fn an_upgraded_master_counts_on() {
    let now = Instant::now();
    let (mut supervisor, _) = Supervisor::start(plan(1), 7, now);
    let actions = supervisor.handle(now, Event::Ready(ProcessId(1)));
    assert_says(&actions, "generation 7 serves: 1 worker × 1 thread");
    assert!(actions.contains(&Action::Serving { generation: 7 }));
    assert_eq!(supervisor.next_generation(), 8);
}

/// Their messages wait behind each other while the master does not run.
#[test]
fn a_master_that_was_stopped_kills_no_worker_that_became_ready_meanwhile() {
    let (mut rig, _) = Rig::start(plan(2));
    rig.now += 100 * SECOND;
    for id in [1, 2] {
        let actions = rig.ready(id);
        assert_eq!((sends(&actions, ToWorker::Serve), kills(&actions)), (vec![id], 0));
    }
    assert_eq!(kills(&rig.after(SECOND)), 0);
}

/// The log would warn of a worker that did not end in time.
#[test]
fn a_quick_stop_does_not_wait_for_an_import() {
    let (mut rig, _) = Rig::start(plan(2));
    let actions = rig.tell(stop(Stop::Quick));
    let kill = |id| Action::Kill { id: ProcessId(id), signal: Signal::Kill };
    assert!([kill(1), kill(2)].iter().all(|kill| actions.contains(kill)), "{actions:?}");
}
