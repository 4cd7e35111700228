//! The rules about templates.

use super::*;

fn not_safe(id: u64) -> Event {
    Event::TemplateUnsafe { id: ProcessId(id), report: "a thread named pool".to_owned() }
}

fn started(id: u64) -> Event {
    Event::Started { id: ProcessId(id), pid: i32::try_from(id).unwrap() }
}

#[test]
fn a_template_that_cannot_boot_ends_the_first_start_with_its_code() {
    let (mut rig, _) = Rig::start(preloading(2));
    assert_says(&rig.tell(boot_failed(1, 4)), "cannot start: broken");
    assert!(rig.tell(exited(1)).contains(&Action::Exit { code: 4 }));
}

#[test]
fn workers_import_the_application_when_forking_is_not_safe() {
    let (mut rig, _) = Rig::start(preloading(2));
    let actions = rig.tell(not_safe(1));
    assert_says(
        &actions,
        "generation 1: the application is not safe to fork: a thread named pool: \
         each worker imports it (app.preload = \"auto\")",
    );
    assert_eq!(spawned(&actions), [2, 3]);
    assert!(forks(&actions, 1).is_empty());
    let gone = Event::Exited { id: ProcessId(1), death: ExitStatus::Code(0).into() };
    assert!(templates(&rig.tell(gone)).is_empty());
}

#[test]
fn a_dead_worker_is_forked_from_the_template_at_once() {
    let mut rig = Rig::forked(1);
    assert_eq!(forks(&rig.tell(exited(2)), 1), [3]);
}

/// More would not fit its channel, and a reload of hundreds of workers would fail.
#[test]
fn a_template_has_few_orders_at_a_time() {
    let (mut rig, _) = Rig::start(preloading(100));
    let first = forks(&rig.template_ready(1), 1);
    assert_eq!(first, (2..34).collect::<Vec<u64>>());
    assert!(rig.supervisor.next_deadline().unwrap() > rig.now, "nothing is due until it answers");
    assert_eq!(forks(&rig.tell(started(2)), 1), [34]);
    let failed = Event::SpawnFailed { id: ProcessId(3), error: "out of memory".to_owned() };
    assert_eq!(forks(&rig.tell(failed), 1), [35]);
}

#[test]
fn the_death_of_a_template_touches_no_worker() {
    let mut rig = Rig::forked(2);
    rig.now += Duration::from_millis(7500);
    let actions = rig.tell(exited(1));
    assert_says(
        &actions,
        "template (pid 1, generation 1) was killed by signal 9 (SIGKILL) after 7.5 s: starting another; \
         no worker is touched",
    );
    assert_eq!((templates(&actions), kills(&actions), spawns(&actions)), (vec![4], 0, 0));
    assert_eq!(spawns(&rig.tell(exited(2))), 0, "it waits for the template");
    assert_eq!(forks(&rig.template_ready(4), 4), [5]);
}

#[test]
fn a_second_template_that_cannot_boot_is_tried_again() {
    let mut rig = Rig::forked(1);
    rig.now += 10 * SECOND;
    assert_eq!(templates(&rig.tell(exited(1))), [3]);
    let actions = rig.tell(boot_failed(3, 3));
    assert_says(&actions, "could not boot: broken: starting another; no worker is touched\nTraceback");
    assert_eq!(templates(&actions), [4]);
    assert_says(&rig.tell(exited(4)), "starting another in 100ms");
    assert_eq!(templates(&rig.at_deadline()), [5]);
    rig.tell(exited(2));
    assert_eq!(spawned(&rig.tell(not_safe(5))), [6], "it goes on without");
}

#[test]
fn forks_that_a_dead_template_left_unanswered_are_asked_for_again() {
    let (mut rig, _) = Rig::start(preloading(2));
    rig.template_ready(1);
    rig.tell(started(2));
    assert_eq!(templates(&rig.tell(exited(1))), [4]);
    assert_eq!(forks(&rig.template_ready(4), 4), [5], "worker 2 boots, worker 3 was never heard of");
    assert_eq!(killed(&rig.tell(started(3))), [3], "a late answer is of no use");
    assert_eq!(rig.phase_of(2), "booting");
}

#[test]
fn the_master_waits_for_a_worker_whose_fork_was_answered_late() {
    let mut rig = Rig::forked(1);
    rig.tell(exited(2));
    rig.tell(exited(1));
    rig.tell(started(3));
    rig.tell(stop(Stop::Quick));
    assert!(!rig.tell(exited(4)).contains(&Action::Exit { code: 0 }));
    assert!(rig.tell(exited(3)).contains(&Action::Exit { code: 0 }));
}

#[test]
fn a_template_that_does_not_answer_is_replaced() {
    let mut rig = Rig::forked(1);
    rig.now += 10 * SECOND;
    assert_eq!(forks(&rig.tell(exited(2)), 1), [3]);
    let actions = rig.at_deadline();
    assert_says(
        &actions,
        "template (pid 1, generation 1) has not forked a worker within 60s: killed: starting another",
    );
    assert_eq!(templates(&actions), [4]);
    rig.tell(exited(1));
    assert_eq!(forks(&rig.template_ready(4), 4), [5]);
}

#[test]
fn a_worker_may_be_ready_before_its_template_tells_of_it() {
    let (mut rig, _) = Rig::start(preloading(1));
    rig.template_ready(1);
    assert_eq!(sends(&rig.ready(2), ToWorker::Serve), [2]);
    rig.tell(started(2));
    assert_eq!(rig.phase_of(2), "serving");
    rig.tell(exited(1));
    assert_eq!(rig.phase_of(2), "serving");
}

#[test]
fn a_reload_makes_a_template_and_closes_the_old_one_in_the_end() {
    let mut rig = Rig::forked(1);
    let actions = rig.tell(Event::Reload(preloading(1)));
    assert_eq!((templates(&actions), spawns(&actions)), (vec![3], 0));
    assert_eq!(forks(&rig.template_ready(3), 3), [4]);
    let actions = rig.ready(4);
    let drained =
        actions.iter().position(|it| *it == Action::Send { id: ProcessId(2), message: ToWorker::Drain });
    let closed = actions.iter().position(|it| *it == Action::CloseTemplate { id: ProcessId(1) });
    assert!(drained.is_some() && drained < closed, "{actions:?}");
    assert_eq!(rig.phase_of(1), "closing");
    assert_eq!(killed(&rig.after(SECOND)), [1], "it has not ended by itself");
}

#[test]
fn a_reload_fails_with_its_template() {
    for failure in [boot_failed(3, 3), exited(3), spawn_failed(3)] {
        let mut rig = Rig::forked(1);
        rig.tell(Event::Reload(preloading(1)));
        let actions = rig.tell(failure);
        assert_says(&actions, "reload failed: generation 2 discarded");
        assert_eq!((rig.phase_of(1), rig.phase_of(2)), ("ready", "serving"));
    }
    let mut rig = Rig::forked(1);
    rig.tell(Event::Reload(preloading(1)));
    rig.template_ready(3);
    assert_says(
        &rig.tell(exited(3)),
        "reload failed: generation 2 discarded: template (pid 0, generation 2) was killed",
    );
    assert_eq!(spawns(&rig.after(SECOND)), 0);
}

#[test]
fn a_template_is_closed_as_soon_as_the_server_stops() {
    for how in [Stop::Graceful, Stop::Quick, Stop::Handover] {
        let mut rig = Rig::forked(1);
        let actions = rig.tell(stop(how));
        assert!(actions.contains(&Action::CloseTemplate { id: ProcessId(1) }));
        assert!(!rig.tell(exited(2)).contains(&Action::Exit { code: 0 }), "the template is still there");
        assert!(rig.tell(exited(1)).contains(&Action::Exit { code: 0 }));
    }
}
