//! The lanes of this process, and what becomes of them when it forks, whoever forks it.
//!
//! A fork copies memory but only one thread. So the locks of all lanes are held while the process forks: no other thread has
//! one at that moment, which would never be released in the child. And the child forgets what waits to be written, since the
//! parent writes it; without a writer thread it writes by itself, until [`write_from_threads`] says that it is a process of
//! this program which will start one.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use crate::sys;
use crate::sys::at_fork::Hooks;

use super::lane::{Lane, State};

static LANES: Mutex<Vec<&'static Lane>> = Mutex::new(Vec::new());

/// All locks, while the process forks.
struct Held {
    lanes: MutexGuard<'static, Vec<&'static Lane>>,
    states: Vec<MutexGuard<'static, State>>,
}

thread_local! {
    /// Of the thread that forks, and so of the only thread of the child.
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// Adds a lane.
pub(super) fn enrol(lane: &'static Lane) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        sys::process::before_exit(super::flush);
        // Without memory for the hooks, nothing else would work either.
        sys::at_fork::register(Hooks { prepare: hold, parent: release, child: reset }).ok();
    });
    lanes().push(lane);
}

/// Waits until what this process has logged is written, each lane for at most `limit`.
pub(super) fn flush_all(limit: Duration) {
    // A copy: a writer thread may fail meanwhile, and log of it.
    let all = lanes().clone();
    for lane in all {
        lane.flush(limit);
    }
}

fn lanes() -> MutexGuard<'static, Vec<&'static Lane>> {
    LANES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hold() {
    let lanes = lanes();
    let states = lanes.iter().map(|lane| lane.lock()).collect();
    let held = Held { lanes, states };
    // A thread at its very end has no place to keep them in: then they are released at once.
    HELD.try_with(|place| *place.borrow_mut() = Some(held)).ok();
}

fn release() {
    HELD.try_with(|place| drop(place.borrow_mut().take())).ok();
}

fn reset() {
    let held = HELD.try_with(|place| place.borrow_mut().take()).ok().flatten();
    let Some(Held { lanes, mut states }) = held else { return };
    states.iter_mut().for_each(|state| state.forget_parent());
    drop(states);
    drop(lanes);
}
