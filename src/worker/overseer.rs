//! The thread that speaks to the application about requests that are over their time. Each word needs the interpreter
//! lock and may wait for ever, so nobody waits for this thread.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use crate::app::Overseer;

use super::calls::{Call, Calls};
use super::exchange::Shared;

/// What to say.
#[derive(Debug)]
pub(super) enum Word {
    /// Has the application moved its deadline? The answer goes to the call's link.
    Deadline(Call),
    /// Raise `RequestTimeout` in the thread.
    Interrupt(Call),
}

/// Starts the thread; it ends when every sender is gone.
///
/// # Errors
/// Out of threads.
pub(super) fn start(
    overseer: Arc<dyn Overseer>,
    calls: Arc<Calls>,
    shared: Arc<Shared>,
) -> io::Result<(Sender<Word>, JoinHandle<()>)> {
    let (sender, words) = channel();
    let body = move || oversee(&*overseer, &words, &calls, &shared);
    Ok((sender, thread::Builder::new().name("rwsgi-overseer".to_owned()).spawn(body)?))
}

fn oversee(overseer: &dyn Overseer, words: &Receiver<Word>, calls: &Calls, shared: &Shared) {
    for word in words {
        match word {
            Word::Deadline(call) => {
                call.link.answer(overseer.deadline(&call.request().id));
                calls.report_news(&shared.notifier);
            }
            Word::Interrupt(call) => {
                if !overseer.interrupt(&call.request().id) {
                    log::debug!("[{}] it was over before it could be interrupted", call.request().id);
                }
            }
        }
    }
}
