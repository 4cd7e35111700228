//! Watches over the calls of the app threads: says which are over `workers.request_timeout`, and which do not come back
//! even then.
//!
//! ```text
//!  InTime ──(deadline)──> Asked ──(not moved, or no answer)──> Late ──(timeout_grace)──> Lost
//!     └────────<──(the application has moved it)──┘
//! ```
//!
//! The application is asked ahead of the deadline too: at the deadline itself it may hold the interpreter lock for longer than
//! it has to answer.
//!
//! Watched is the thread and not the connection: a thread is stuck all the same when its client has left or has its whole
//! answer. Pure: the time is an argument. Nothing is done here for a request that stays in time: a deadline only ever moves
//! to later, and a call that begins after a look cannot be over before `request_timeout` has passed, so the next look is
//! known without anybody telling.

use std::time::Duration;

use super::calls::{Call, Calls};
use super::link::Limit;

/// How long the application has to say that it has moved its deadline. It answers at once unless it keeps the interpreter
/// lock to itself, and then a second says no more than a quarter of one.
const ANSWER_PATIENCE: Duration = Duration::from_millis(250);

/// How long before the deadline the application is asked for the first time, at most and as a part of the limit.
const AHEAD_MAX: Duration = Duration::from_secs(5);
const AHEAD_PART: u32 = 4;

/// The furthest that an application can move its deadline, from the start of the request.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How soon a thread is looked at again that waits for its client with hardly any time left.
const PAUSE_LOOK: Duration = Duration::from_millis(50);

/// What is to be done about a call.
#[derive(Debug)]
pub(super) enum Finding {
    /// Ask the application whether it has moved the deadline.
    Ask(Call),
    /// It is over its time.
    TimedOut(Call),
    /// It has not come back within `workers.timeout_grace`: the thread counts as lost.
    Lost(Call),
    /// Its thread counted as lost, and has come back.
    Returned(Call),
}

#[derive(Debug)]
enum State {
    InTime,
    Asked { call: Call, until: Duration },
    Late { call: Call, until: Duration },
    Lost { call: Call },
}

/// The watch. Times are those of [`clock`](crate::sys::clock).
#[derive(Debug)]
pub(super) struct Watch {
    limit: Option<Duration>,
    grace: Duration,
    states: Vec<State>,
    next_look: Option<Duration>,
}

impl Watch {
    /// A watch over so many app threads.
    pub(super) fn new(threads: usize, limit: Option<Duration>, grace: Duration, now: Duration) -> Self {
        let states = (0..threads).map(|_| State::InTime).collect();
        Self { limit, grace, states, next_look: limit.map(|limit| now + limit - ahead(limit)) }
    }

    /// When to look next, if there is no news before.
    pub(super) fn next_look(&self) -> Option<Duration> {
        self.next_look
    }

    /// Threads that do not come back.
    pub(super) fn lost(&self) -> usize {
        self.states.iter().filter(|state| matches!(state, State::Lost { .. })).count()
    }

    /// Looks at all calls.
    pub(super) fn look(&mut self, calls: &Calls, now: Duration) -> Vec<Finding> {
        let mut findings = Vec::new();
        let Some(limit) = self.limit else { return findings };
        let ahead = ahead(limit);
        let mut next_look = now + limit - ahead;
        for (thread, state) in self.states.iter_mut().enumerate() {
            let current = calls.current(thread);
            if let State::Late { call, .. } | State::Lost { call } | State::Asked { call, .. } = &*state
                && !current.as_ref().is_some_and(|current| current.is(call))
            {
                if matches!(state, State::Lost { .. }) {
                    findings.push(Finding::Returned(call.clone()));
                }
                *state = State::InTime;
            }
            let Some(call) = current else { continue };
            if let Some(next) = state.advance(&call, now, (ahead, self.grace), &mut findings) {
                next_look = next_look.min(next);
            }
        }
        self.next_look = Some(next_look);
        findings
    }
}

impl State {
    /// Goes on to what is so now; returns when to look again.
    fn advance(
        &mut self,
        call: &Call,
        now: Duration,
        (ahead, grace): (Duration, Duration),
        findings: &mut Vec<Finding>,
    ) -> Option<Duration> {
        match self {
            Self::InTime => {
                call.link.take_answer(DEADLINE_MAX);
                let next = in_time_until(call, now)?;
                if next > now + ahead {
                    return Some(next - ahead);
                }
                if next > now {
                    if call.link.ask_ahead() {
                        findings.push(Finding::Ask(call.clone()));
                    }
                    return Some(next);
                }
                call.link.ask();
                findings.push(Finding::Ask(call.clone()));
                let until = now + ANSWER_PATIENCE;
                *self = Self::Asked { call: call.clone(), until };
                Some(until)
            }
            Self::Asked { until, .. } => {
                let answered = call.link.take_answer(DEADLINE_MAX);
                let next = in_time_until(call, now)?;
                if next > now {
                    *self = Self::InTime;
                    return Some(next.saturating_sub(ahead).max(now));
                }
                if !answered && *until > now {
                    return Some(*until);
                }
                findings.push(Finding::TimedOut(call.clone()));
                let until = now + grace;
                *self = Self::Late { call: call.clone(), until };
                Some(until)
            }
            Self::Late { until, .. } if *until > now => Some(*until),
            Self::Late { .. } => {
                findings.push(Finding::Lost(call.clone()));
                *self = Self::Lost { call: call.clone() };
                None
            }
            Self::Lost { .. } => None,
        }
    }
}

fn ahead(limit: Duration) -> Duration {
    AHEAD_MAX.min(limit / AHEAD_PART)
}

/// The earliest that a call can be over its time; `None` when it has no limit.
fn in_time_until(call: &Call, now: Duration) -> Option<Duration> {
    match call.link.limit(now) {
        Limit::Off => None,
        Limit::At(deadline) => Some(deadline),
        Limit::Paused(left) => Some(now + left.max(PAUSE_LOOK)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mio::Token;

    use super::*;
    use crate::app::Request;
    use crate::sys::clock;
    use crate::worker::link::Link;

    const LIMIT: Duration = Duration::from_secs(20);
    const GRACE: Duration = Duration::from_secs(3);

    fn call() -> Call {
        Call { link: Arc::new(Link::new(Request::for_tests(), Token(0), Duration::ZERO)) }
    }

    /// What is found so many seconds after the start, and when to look next, in milliseconds after the start.
    fn look_from(
        start: Duration,
        state: &mut State,
        call: &Call,
        seconds: f64,
    ) -> (Vec<&'static str>, Option<u128>) {
        let mut findings = Vec::new();
        let now = start + Duration::from_secs_f64(seconds);
        let next = state.advance(call, now, (ahead(LIMIT), GRACE), &mut findings);
        let names = findings.iter().map(|finding| match finding {
            Finding::Ask(_) => "ask",
            Finding::TimedOut(_) => "timed out",
            Finding::Lost(_) => "lost",
            Finding::Returned(_) => "returned",
        });
        (names.collect(), next.map(|next| next.saturating_sub(start).as_millis()))
    }

    #[test]
    fn a_call_is_asked_ahead_and_at_its_deadline_and_given_up_after_the_grace() {
        let (mut state, call) = (State::InTime, call());
        call.link.begin(clock::monotonic(), Some(LIMIT));
        let start = call.link.deadline().unwrap() - LIMIT;
        let mut look = |seconds| look_from(start, &mut state, &call, seconds);
        assert_eq!(look(1.0), (vec![], Some(15000)));
        assert_eq!(look(15.0), (vec!["ask"], Some(20000)));
        assert_eq!(look(16.0), (vec![], Some(20000)));
        call.link.answer(None);
        assert_eq!(look(20.0), (vec!["ask"], Some(20250)));
        assert_eq!(look(20.25), (vec!["timed out"], Some(23250)));
        assert_eq!(look(23.25), (vec!["lost"], None));
    }

    #[test]
    fn a_deadline_moved_early_counts_though_the_interpreter_is_held_when_it_was_due() {
        let (mut state, call) = (State::InTime, call());
        call.link.begin(clock::monotonic(), Some(LIMIT));
        let start = call.link.deadline().unwrap() - LIMIT;
        let mut look = |seconds| look_from(start, &mut state, &call, seconds);
        assert_eq!(look(15.0), (vec!["ask"], Some(20000)));
        call.link.answer(Some(start + LIMIT * 3));
        // No question at the old deadline, that nobody could answer.
        assert_eq!(look(20.0), (vec![], Some(55000)));
        assert_eq!(look(55.0), (vec!["ask"], Some(60000)));
        assert_eq!(look(60.0), (vec!["ask"], Some(60250)));
        assert_eq!(look(60.25), (vec!["timed out"], Some(63250)));
    }
}
