//! The rules of supervision, one test each, on plain values.

use std::time::{Duration, Instant};

use super::*;
use crate::sys::process::ExitStatus;

fn plan(count: u32) -> Plan {
    let second = Duration::from_secs(1);
    Plan { count, threads: 1, boot_timeout: 60 * second, graceful_timeout: 30 * second }
}

fn sends(actions: &[Action], wanted: ToWorker) -> Vec<u64> {
    let ids = actions.iter().filter_map(|action| match action {
        Action::Send { id, message } if *message == wanted => Some(id.0),
        Action::Send { .. }
        | Action::Spawn { .. }
        | Action::Kill { .. }
        | Action::Log { .. }
        | Action::Exit { .. } => None,
    });
    ids.collect()
}

fn kills(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Kill { .. })).count()
}

fn spawns(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Spawn { .. })).count()
}

fn says(actions: &[Action], wanted: &str) -> bool {
    actions.iter().any(|action| matches!(action, Action::Log { text, .. } if text.contains(wanted)))
}

fn boot_failed(id: u64, exit_code: u8) -> Event {
    Event::BootFailed { id: WorkerId(id), exit_code, summary: "broken".to_owned(), traceback: None }
}

fn exited(id: u64) -> Event {
    Event::Exited { id: WorkerId(id), status: ExitStatus::Signal(9) }
}

/// A supervisor with workers 1 to `count` serving.
fn serving(count: u32) -> (Supervisor, Instant) {
    let now = Instant::now();
    let (mut supervisor, actions) = Supervisor::start(plan(count), now);
    assert_eq!(spawns(&actions), count as usize);
    for id in 1..=u64::from(count) {
        assert_eq!(sends(&supervisor.handle(now, Event::Ready(WorkerId(id))), ToWorker::Serve), [id]);
    }
    (supervisor, now)
}

#[test]
fn the_first_failure_to_boot_ends_the_master_with_its_code() {
    let now = Instant::now();
    let (mut supervisor, _) = Supervisor::start(plan(2), now);
    let actions = supervisor.handle(now, boot_failed(1, 4));
    assert!(says(&actions, "cannot start: broken"));
    assert_eq!(kills(&actions), 1);
    assert!(supervisor.handle(now, boot_failed(2, 4)).is_empty(), "told twice");
    drop(supervisor.handle(now, exited(2)));
    assert!(supervisor.handle(now, exited(1)).contains(&Action::Exit { code: 4 }));
}

#[test]
fn a_boot_that_hangs_ends_the_master_with_3() {
    let now = Instant::now();
    let (mut supervisor, _) = Supervisor::start(plan(1), now);
    let late = supervisor.next_deadline().unwrap();
    assert_eq!(late, now + Duration::from_secs(60));
    let actions = supervisor.handle(late, Event::Tick);
    assert_eq!(kills(&actions), 1);
    assert!(supervisor.handle(late, exited(1)).contains(&Action::Exit { code: 3 }));
}

#[test]
fn a_fork_that_fails_is_tried_again() {
    let now = Instant::now();
    let (mut supervisor, _) = Supervisor::start(plan(1), now);
    let actions = supervisor.handle(now, Event::SpawnFailed { id: WorkerId(1), error: "EAGAIN".to_owned() });
    assert!(says(&actions, "EAGAIN"));
    assert_eq!(spawns(&actions), 0);
    let retry = supervisor.next_deadline().unwrap();
    assert_eq!(spawns(&supervisor.handle(retry, Event::Tick)), 1);
}

#[test]
fn a_dead_worker_is_replaced_at_once_and_then_later() {
    let (mut supervisor, now) = serving(1);
    let actions = supervisor.handle(now, exited(1));
    assert!(says(&actions, "was killed by signal 9 (SIGKILL) after 0.0 s: starting a replacement"));
    assert_eq!(spawns(&actions), 1);
    drop(supervisor.handle(now, Event::Ready(WorkerId(2))));
    let actions = supervisor.handle(now, exited(2));
    assert!(says(&actions, "starting a replacement in 100ms"));
    assert_eq!(spawns(&actions), 0);
    assert_eq!(supervisor.next_deadline(), Some(now + Duration::from_millis(100)));
}

#[test]
fn a_reload_boots_a_canary_then_the_rest_then_changes_over() {
    let (mut supervisor, now) = serving(2);
    assert_eq!(spawns(&supervisor.handle(now, Event::Reload(plan(2)))), 1);
    let actions = supervisor.handle(now, Event::Ready(WorkerId(3)));
    assert_eq!(spawns(&actions), 1);
    assert!(sends(&actions, ToWorker::Serve).is_empty());
    let actions = supervisor.handle(now, Event::Ready(WorkerId(4)));
    assert_eq!(sends(&actions, ToWorker::Serve), [3, 4]);
    assert_eq!(sends(&actions, ToWorker::Drain), [1, 2]);
    assert_eq!(supervisor.serving_generation(), 2);
    assert_eq!(kills(&supervisor.handle(now + Duration::from_secs(30), Event::Tick)), 0);
    assert_eq!(kills(&supervisor.handle(now + Duration::from_secs(31), Event::Tick)), 2);
}

#[test]
fn a_failed_reload_leaves_the_old_generation_alone() {
    for failure in [boot_failed(4, 3), exited(3), exited(4), Event::Leaving(WorkerId(3))] {
        let (mut supervisor, now) = serving(2);
        drop(supervisor.handle(now, Event::Reload(plan(2))));
        drop(supervisor.handle(now, Event::Ready(WorkerId(3))));
        let actions = supervisor.handle(now, failure);
        assert!(says(&actions, "reload failed: generation 2 discarded"), "{actions:?}");
        assert!(says(&actions, "generation 1 keeps serving"));
        assert!(sends(&actions, ToWorker::Drain).is_empty());
        assert_eq!((supervisor.serving_generation(), supervisor.pending_generation()), (1, None));
    }
}

#[test]
fn a_second_term_changes_nothing_and_int_hurries() {
    let (mut supervisor, now) = serving(2);
    let term = Event::Stop { how: Stop::Graceful, reason: "SIGTERM" };
    assert_eq!(sends(&supervisor.handle(now, term.clone()), ToWorker::Stop), [1, 2]);
    assert!(supervisor.handle(now, term).is_empty());
    let actions = supervisor.handle(now, Event::Stop { how: Stop::Quick, reason: "SIGINT" });
    assert_eq!(kills(&actions), 2);
    assert_eq!(kills(&supervisor.handle(now + Duration::from_secs(1), Event::Tick)), 2);
    drop(supervisor.handle(now, exited(1)));
    assert!(supervisor.handle(now, exited(2)).contains(&Action::Exit { code: 0 }));
}

#[test]
fn the_last_worker_is_never_scaled_away() {
    let (mut supervisor, now) = serving(2);
    assert_eq!(sends(&supervisor.handle(now, Event::ScaleDown), ToWorker::Drain), [2]);
    assert!(sends(&supervisor.handle(now, Event::ScaleDown), ToWorker::Drain).is_empty());
    assert_eq!(spawns(&supervisor.handle(now, Event::ScaleUp)), 1);
}

#[test]
fn a_leaving_worker_is_replaced_before_it_is_gone() {
    let (mut supervisor, now) = serving(1);
    assert_eq!(spawns(&supervisor.handle(now, Event::Leaving(WorkerId(1)))), 1);
    assert_eq!(spawns(&supervisor.handle(now, exited(1))), 0);
}
