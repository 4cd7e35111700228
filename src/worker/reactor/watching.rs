//! What the reactor does about calls that take too long. It answers the client at once; what takes longer than that is left
//! to helper threads, which nobody waits for.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use crate::ipc::FromWorker;
use crate::sys::clock;

use super::super::calls::{Call, Calls};
use super::super::connection::TimedOut;
use super::super::observer::Task;
use super::super::overseer::Word;
use super::super::record::{self, Over};
use super::super::watch::{Finding, Watch};
use super::{Reactor, now};

/// The watch over the calls, and the helpers.
#[derive(Debug)]
pub(in crate::worker) struct Watching {
    pub(in crate::worker) calls: Arc<Calls>,
    pub(in crate::worker) watch: Watch,
    /// To the overseer.
    pub(in crate::worker) words: Sender<Word>,
    /// To the observer.
    pub(in crate::worker) tasks: Sender<Task>,
    /// Stacks that the master has asked for.
    pub(in crate::worker) dumps: Receiver<String>,
}

impl Watching {
    /// Threads that do not come back.
    pub(super) fn lost(&self) -> usize {
        self.watch.lost()
    }

    /// Has the stacks dumped for the master.
    pub(super) fn ask_for_dump(&self) {
        // It ends only after the reactor.
        drop(self.tasks.send(Task::Dump));
    }
}

impl Reactor {
    /// When a call may be over its time.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let left = self.watching.watch.next_look()?.saturating_sub(clock::monotonic());
        Some(now() + left)
    }

    /// Looks at the calls if it is time to, and passes on what the helpers have brought.
    pub(super) fn watch(&mut self) {
        while let Ok(text) = self.watching.dumps.try_recv() {
            self.tell(&FromWorker::Dumped { text });
        }
        let time = self.context.time;
        let due = self.watching.watch.next_look().is_some_and(|next| next <= time);
        if !self.watching.calls.take_news() && !due {
            return;
        }
        let findings = self.watching.watch.look(&self.watching.calls, time);
        for finding in findings {
            match finding {
                // It ends only after the reactor.
                Finding::Ask(call) => drop(self.watching.words.send(Word::Deadline(call))),
                Finding::TimedOut(call) => self.time_out(call, time),
                Finding::Lost(call) => self.give_up(&call, time),
                Finding::Returned(call) => log::warn!(
                    "[{}] {} has come back after {:.1} s: its app thread serves again",
                    call.request().id,
                    call.title(),
                    call.link.age(time).as_secs_f64()
                ),
            }
        }
        self.context.all_lost = self.watching.lost() == self.watching.calls.threads();
        if self.context.all_lost {
            self.shed_all();
        }
    }

    /// A call is over its time.
    fn time_out(&mut self, call: Call, time: Duration) {
        self.context.scoreboard.count_timeout();
        let token = call.link.token();
        let mut outcome = TimedOut::Complete;
        self.with_connection(token, |connection, context| {
            outcome = connection.time_out(&call, context);
            connection.drive(context)
        });
        call.link.time_out();
        let mut became = match outcome {
            TimedOut::Answered => "answered 504",
            TimedOut::Cut => "the response had begun and was cut",
            TimedOut::Complete => "the response is complete, but its app thread does not come back",
        };
        if self.context.orphans.get(&token).is_some_and(|link| Arc::ptr_eq(link, &call.link)) {
            self.context.orphans.remove(&token);
            became = "its client had left";
            let (request, queued) = (call.request(), call.link.queued());
            let record = Over { request, head: None, status: 504, body_bytes: 0, queued };
            record::exchange_over(&record, &mut self.context);
        }
        let (id, title, age) = (&call.request().id, call.title(), call.link.age(time).as_secs_f64());
        let told = format!("[{id}] {title} timed out after {age:.1} s (workers.request_timeout): {became}");
        // It ends only after the reactor.
        drop(self.watching.tasks.send(Task::TimedOut { call, told }));
    }

    /// A thread does not come back.
    fn give_up(&mut self, call: &Call, time: Duration) {
        let path = String::from_utf8_lossy(call.request().head.path()).into_owned();
        let method = String::from_utf8_lossy(call.request().head.method()).into_owned();
        let age = call.link.age(time).as_secs_f64();
        self.report_stuck(format!("a request is stuck: {method} {path} for {age:.1} s"));
    }

    /// No thread is left that could take what waits.
    fn shed_all(&mut self) {
        let waiting = self.context.jobs.withdraw_all();
        if !waiting.is_empty() {
            log::warn!(
                "no app thread comes back from its request: answered 503 to {} that wait",
                waiting.len()
            );
        }
        for exchange in waiting {
            exchange.shed();
        }
        // What is shed is notified, and handled in the next turn.
    }
}
