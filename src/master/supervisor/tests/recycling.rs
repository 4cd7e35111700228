//! The rules about replacing workers that live: recycling and silence.

use super::*;

#[test]
fn a_worker_is_recycled_after_its_replacement_serves() {
    let mut rig = Rig::serving(1);
    rig.now += 10 * SECOND;
    let actions = rig.tell(recycle(1));
    assert_says(&actions, "worker 0 (pid 1, generation 1) is to be replaced: it is old");
    assert_eq!((spawned(&actions), sends(&actions, ToWorker::Drain)), (vec![2], vec![]));
    assert_eq!(rig.phase_of(1), "recycling");
    assert!(rig.tell(recycle(1)).is_empty(), "asked twice");
    let actions = rig.ready(2);
    assert_eq!((sends(&actions, ToWorker::Serve), sends(&actions, ToWorker::Drain)), (vec![2], vec![1]));
    assert_eq!(spawns(&rig.tell(exited(1))), 0);
}

#[test]
fn planned_recycles_take_turns_and_stuck_workers_do_not_wait() {
    let mut rig = Rig::serving(4);
    assert_eq!(spawned(&rig.tell(recycle(2))), [5]);
    assert!(spawned(&rig.tell(recycle(1))).is_empty());
    assert!(spawned(&rig.tell(recycle(3))).is_empty());
    assert_eq!(spawned(&rig.tell(stuck(4))), [6]);
    assert_eq!(spawned(&rig.tell(stuck(3))), [7], "it was planned and is stuck now");
    assert_eq!(spawned(&rig.ready(5)), [8], "the next in order");
    assert_eq!(sends(&rig.ready(8), ToWorker::Drain), [1]);
}

#[test]
fn workers_that_have_served_enough_within_seconds_are_replaced_at_once() {
    let mut rig = Rig::serving(1);
    for id in 1..10 {
        assert_eq!(spawned(&rig.tell(recycle(id))), [id + 1], "a plan is no crash loop");
        assert_eq!(sends(&rig.ready(id + 1), ToWorker::Drain), [id]);
        rig.tell(exited(id));
    }
    assert_eq!(spawned(&rig.tell(exited(10))), [11], "a first young death");
    rig.ready(11);
    assert!(spawned(&rig.tell(exited(11))).is_empty(), "a second");
}

#[test]
fn a_planned_recycle_waits_for_the_end_of_a_reload() {
    let mut rig = Rig::serving(1);
    rig.tell(Event::Reload(plan(1)));
    assert!(spawned(&rig.tell(recycle(1))).is_empty());
    assert_eq!(spawned(&rig.tell(exited(2))), [3], "the reload has failed");
    assert_eq!(sends(&rig.ready(3), ToWorker::Drain), [1]);

    let mut rig = Rig::serving(1);
    rig.now += 10 * SECOND;
    rig.tell(recycle(1));
    rig.tell(Event::Reload(plan(1)));
    assert!(spawned(&rig.tell(boot_failed(2, 3))).is_empty(), "the second try waits");
    assert_eq!(spawned(&rig.tell(exited(1))), [4], "but not once the slot is empty");
}

#[test]
fn a_replacement_that_cannot_boot_leaves_the_old_worker_serving() {
    let mut rig = Rig::serving(1);
    rig.now += 10 * SECOND;
    rig.tell(recycle(1));
    let actions = rig.tell(boot_failed(2, 3));
    assert_says(
        &actions,
        "worker 0 (pid 0, generation 1) could not boot: broken: worker 0 (pid 1, generation 1) goes on",
    );
    assert_says(&actions, "\nTraceback");
    assert_eq!((spawned(&actions), rig.phase_of(1)), (vec![3], "recycling"));
    assert!(spawned(&rig.tell(boot_failed(3, 3))).is_empty());
    assert_eq!(spawned(&rig.at_deadline()), [4]);
    let actions = rig.tell(exited(1));
    assert_says(&actions, ": its replacement boots already");
    assert!(spawned(&actions).is_empty());
    assert_eq!(sends(&rig.ready(4), ToWorker::Serve), [4]);
}

#[test]
fn the_record_of_a_stuck_worker_that_is_killed_says_why() {
    let mut rig = Rig::serving(1);
    rig.tell(stuck(1));
    assert_eq!(sends(&rig.ready(2), ToWorker::Drain), [1]);
    assert_says(
        &rig.after(31 * SECOND),
        "worker 0 (pid 1, generation 1) did not end in time (a request is stuck: GET /x): killed",
    );
}

#[test]
fn a_silent_worker_is_told_of_once_and_killed_in_the_end() {
    let mut rig = Rig::serving(1);
    let noted = "worker 0 (pid 1, generation 1) has given no sign of life for 5 s (it is stopped): \
                 its connections wait; it is killed after 30s";
    assert_says(&rig.tell(silent(1, 5)), noted);
    assert!(rig.tell(silent(1, 6)).is_empty());
    assert_says(&rig.tell(silent(1, 0)), "worker 0 (pid 1, generation 1) is heard again");
    assert!(rig.tell(silent(1, 0)).is_empty());
    assert_says(&rig.tell(silent(1, 5)), noted);
    let actions = rig.tell(silent(1, 30));
    assert_says(&actions, "gave no sign of life for 30 s (it is stopped): killed, starting a replacement");
    assert_eq!((killed(&actions), spawned(&actions)), (vec![1], vec![2]));
    assert!(rig.tell(silent(1, 31)).is_empty());
    assert_eq!(spawns(&rig.tell(exited(1))), 0);
}
