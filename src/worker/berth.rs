//! The berth: where an app thread leaves the reactor while it runs the application, so that the standby can take it over
//! when that takes long.
//!
//! ```text
//!   app thread:  leave ──> (the application runs) ──> regain ──> goes on with its turn
//!                  └──> (the standby has taken it) ──> regain gives nothing: the app thread is one of the pool now
//! ```
//!
//! Invariant: there is one reactor, and it is in one place: with the thread that turns it, in the berth, or on its way to
//! the standby. A reactor in the berth is regained only by the thread that left it.
//!
//! The standby looks every [`TICK`] while reactors come and go here, less often when an app thread is alone and many looks
//! have found nothing to do, and parks when no reactor has come since its last look; an app thread that leaves one then
//! unparks it. So a busy worker pays for no wake-up in a request, and an idle one does not tick. Generic over the reactor, and
//! on the locks of `sync`, so that every interleaving can be tried.

use super::sync::{Condvar, Mutex, MutexGuard};
use std::sync::PoisonError;
use std::time::Duration;

/// How often the standby looks. What a response holds back waits for one tick at most.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// After so many looks in a row that found nothing to do, the standby doubles its pace; so often again, up to
/// [`PACE_MAX`]. Each look costs the app threads' processor a timer and two switches, which a worker that runs nothing but
/// short requests can do without.
const QUIET_LOOKS: u32 = 16;

/// The longest time between two looks where one app thread is alone, in ticks: how long a call may last, after many that were
/// short, until it is noticed. Where there are others, which could do what waits, it is one tick.
const PACE_MAX: u32 = 4;

/// The berth.
#[derive(Debug)]
pub(super) struct Berth<R> {
    place: Mutex<Place<R>>,
    /// Whether the standby was called; apart from the place, so that its looks hold no app thread up.
    called: Mutex<bool>,
    calls: Condvar,
}

#[derive(Debug)]
struct Place<R> {
    left: Option<Left<R>>,
    /// How often a reactor was left here.
    times: u64,
    /// On its way to the standby.
    given: Option<R>,
    standby: Standby,
    /// Looks in a row that found nothing to do.
    quiet: u32,
    /// The longest time between two looks, in ticks.
    pace_max: u32,
}

impl<R> Place<R> {
    /// How long the standby waits for its next look.
    fn pace(&self) -> Duration {
        TICK * (1 << (self.quiet / QUIET_LOOKS).min(self.pace_max.ilog2()))
    }
}

#[derive(Debug)]
struct Left<R> {
    by: usize,
    reactor: R,
    /// The app thread waits for what only a turning reactor brings.
    urgent: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Standby {
    /// Looks every tick, or turns the reactor.
    Awake,
    /// Waits until something is left here.
    Parked,
    /// Is to end.
    Dismissed,
}

/// A reactor for the standby.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<R> {
    /// An app thread gave it away.
    Given(R),
    /// The call of the app thread that left it takes long.
    Over(R),
}

impl<R> Berth<R> {
    /// An empty berth for so many app threads.
    pub(super) fn new(threads: usize) -> Self {
        let pace_max = if threads == 1 { PACE_MAX } else { 1 };
        let place = Place { left: None, times: 0, given: None, standby: Standby::Awake, quiet: 0, pace_max };
        Self { place: Mutex::new(place), called: Mutex::new(false), calls: Condvar::new() }
    }

    // App threads.

    /// Leaves the reactor here. Followed by [`Berth::regain`].
    pub(super) fn leave(&self, by: usize, reactor: R) {
        let mut place = self.lock();
        place.left = Some(Left { by, reactor, urgent: false });
        place.times += 1;
        if place.standby == Standby::Parked {
            place.standby = Standby::Awake;
            drop(place);
            self.call();
        }
    }

    /// Takes the reactor again; `None` when it was taken over.
    pub(super) fn regain(&self, by: usize) -> Option<R> {
        let left = &mut self.lock().left;
        left.take_if(|left| left.by == by).map(|left| left.reactor)
    }

    /// What `use_it` makes of the reactor where it lies; `None` when it was taken over. `use_it` must not block.
    pub(super) fn with<T>(&self, by: usize, use_it: impl FnOnce(&mut R) -> T) -> Option<T> {
        let mut place = self.lock();
        let left = place.left.as_mut().filter(|left| left.by == by)?;
        Some(use_it(&mut left.reactor))
    }

    /// The same for a `use_it` that leaves something with the reactor which is to be looked at within a [`TICK`].
    pub(super) fn with_soon<T>(&self, by: usize, use_it: impl FnOnce(&mut R) -> T) -> Option<T> {
        let mut place = self.lock();
        let left = place.left.as_mut().filter(|left| left.by == by)?;
        let result = use_it(&mut left.reactor);
        let is_slow = place.pace() > TICK;
        place.quiet = 0;
        drop(place);
        if is_slow {
            self.call();
        }
        Some(result)
    }

    /// Has the standby take the reactor over at once: this thread is about to wait for it.
    pub(super) fn urge(&self, by: usize) {
        if let Some(left) = self.lock().left.as_mut().filter(|left| left.by == by) {
            left.urgent = true;
        }
        self.call();
    }

    /// Gives a reactor to the standby.
    pub(super) fn give(&self, reactor: R) {
        self.lock().given = Some(reactor);
        self.call();
    }

    /// Lets the standby end.
    pub(super) fn dismiss(&self) {
        self.lock().standby = Standby::Dismissed;
        self.call();
    }

    // The standby.

    /// Waits for a reactor to turn; `None` once it was dismissed. Each look at a reactor calls `look`, which says whether the
    /// call of the app thread that left it lasts too long; one that is taken over calls `over`, before the app
    /// thread can learn of it. Neither may block.
    pub(super) fn stand_by(
        &self,
        mut look: impl FnMut(&mut R) -> bool,
        over: impl FnOnce(&mut R),
    ) -> Option<Taken<R>> {
        // What is here already is new to it.
        let mut seen = None;
        loop {
            let Some(mut place) = self.try_lock() else {
                // An app thread is at it, so nothing is stuck.
                self.wait(Some(TICK));
                continue;
            };
            if place.standby == Standby::Dismissed {
                return None;
            }
            if let Some(reactor) = place.given.take() {
                return Some(Taken::Given(reactor));
            }
            let is_same = seen == Some(place.times);
            seen = Some(place.times);
            place.quiet = place.quiet.saturating_add(1);
            if let Some(mut left) = place.left.take_if(|left| left.urgent || look(&mut left.reactor)) {
                place.quiet = 0;
                over(&mut left.reactor);
                return Some(Taken::Over(left.reactor));
            }
            if is_same && place.left.is_none() {
                place.standby = Standby::Parked;
                drop(place);
                self.wait(None);
                self.rise();
                seen = None;
                continue;
            }
            let pace = place.pace();
            drop(place);
            self.wait(Some(pace));
        }
    }

    /// The standby is parked no more, whoever has called it.
    fn rise(&self) {
        let mut place = self.lock();
        place.quiet = 0;
        if place.standby == Standby::Parked {
            place.standby = Standby::Awake;
        }
    }

    /// Calls the standby.
    fn call(&self) {
        *self.called.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.calls.notify_one();
    }

    /// Waits until the standby is called, at most for `patience`.
    fn wait(&self, patience: Option<Duration>) {
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        if !*called {
            called = match patience {
                Some(patience) => {
                    self.calls.wait_timeout(called, patience).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.calls.wait(called).unwrap_or_else(PoisonError::into_inner),
            };
        }
        *called = false;
    }

    fn lock(&self) -> MutexGuard<'_, Place<R>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place, unless an app thread is at it.
    fn try_lock(&self) -> Option<MutexGuard<'_, Place<R>>> {
        // Nothing times out in loom, so nothing would look again.
        #[cfg(loom)]
        return Some(self.lock());
        #[cfg(not(loom))]
        match self.place.try_lock() {
            Ok(place) => Some(place),
            Err(std::sync::TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn a_call_that_lasts_is_taken_over_and_its_thread_learns_of_it() {
        let berth = Arc::new(Berth::new(1));
        let standby = {
            let berth = Arc::clone(&berth);
            thread::spawn(move || {
                let mut looks = 0;
                let third = |_: &mut _| {
                    looks += 1;
                    looks == 3
                };
                let taken = berth.stand_by(third, |reactor| *reactor = "taken");
                (taken, looks)
            })
        };
        berth.leave(0, "left");
        let (taken, looks) = standby.join().unwrap();
        assert_eq!(taken, Some(Taken::Over("taken")));
        assert_eq!(looks, 3);
        assert_eq!(berth.regain(0), None);
    }

    #[test]
    fn the_pace_is_slow_only_while_nothing_is_held_back() {
        let berth = Berth::new(1);
        berth.leave(0, ());
        for (looks, ticks) in [(0, 1), (15, 1), (16, 2), (32, 4), (u32::MAX, 4)] {
            berth.lock().quiet = looks;
            assert_eq!(berth.lock().pace(), TICK * ticks, "after {looks} looks");
        }
        berth.with(0, |()| ());
        assert!(berth.lock().pace() > TICK);
        berth.with_soon(0, |()| ());
        assert_eq!(berth.lock().pace(), TICK);
        assert!(*berth.called.lock().unwrap(), "the standby sleeps on");
        let berth = Berth::<()>::new(2);
        berth.lock().quiet = u32::MAX;
        assert_eq!(berth.lock().pace(), TICK);
    }

    #[test]
    fn a_reactor_is_only_of_use_to_the_thread_that_left_it() {
        let berth = Berth::new(1);
        berth.leave(1, "left");
        assert_eq!((berth.regain(0), berth.with(0, |_| ())), (None, None));
        assert_eq!(berth.with(1, |reactor| reactor.len()), Some(4));
        assert_eq!(berth.regain(1), Some("left"));
    }
}

/// Every interleaving of the berth's locks. Nothing times out here, so the standby looks only when it is told to.
#[cfg(all(test, loom))]
mod interleavings {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn one_of_both_has_the_reactor() {
        loom::model(|| {
            let berth = Arc::new(Berth::new(1));
            let shared = Arc::clone(&berth);
            let standby = thread::spawn(move || shared.stand_by(|_| false, |reactor| *reactor += 1));
            berth.leave(0, 1);
            berth.urge(0);
            let regained = berth.regain(0);
            berth.dismiss();
            match (regained, standby.join().unwrap()) {
                (Some(1), None) | (None, Some(Taken::Over(2))) => {}
                other => panic!("{other:?}"),
            }
        });
    }

    #[test]
    fn a_thread_never_gets_what_another_has_left() {
        loom::model(|| {
            let berth = Arc::new(Berth::new(1));
            let shared = Arc::clone(&berth);
            let other = thread::spawn(move || {
                let taken = shared.stand_by(|_| false, |_| ());
                let Some(Taken::Over(reactor)) = taken else { return };
                // As the app thread that it is offered to.
                shared.leave(1, reactor);
                assert!(shared.regain(1).is_some());
            });
            berth.leave(0, ());
            berth.urge(0);
            let regained = berth.regain(0);
            assert_eq!(berth.regain(0), None, "{regained:?}");
            berth.dismiss();
            other.join().unwrap();
        });
    }

    #[test]
    fn a_reactor_that_is_given_arrives_although_the_standby_parks() {
        loom::model(|| {
            let berth = Arc::new(Berth::new(1));
            let shared = Arc::clone(&berth);
            let standby = thread::spawn(move || shared.stand_by(|()| false, |()| ()));
            berth.give(());
            assert_eq!(standby.join().unwrap(), Some(Taken::Given(())));
        });
    }
}
