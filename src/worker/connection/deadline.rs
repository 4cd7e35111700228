//! When a connection expires, derived from what it is doing, and what happens then.

use std::time::{Duration, Instant};

use crate::config::Settings;

use super::super::context::Context;
use super::{Connection, Fate, Phase, Step};

/// A draining worker keeps an idle connection this long after its last answer: a busy client's next request may be on
/// its way, and closing in front of it would fail that request. It is answered, with `Connection: close`.
const DRAIN_IDLE: Duration = Duration::from_secs(1);

/// How long a request may wait for an app thread, and the setting that says so. One that has waited for as long as it may
/// take is not begun: its client has no use for it by then.
pub(super) fn queue_limit(settings: &Settings) -> Option<(Duration, &'static str)> {
    let queue = settings.http.queue_timeout.map(|timeout| (timeout, "http.queue_timeout"));
    let request = settings.workers.request_timeout.map(|timeout| (timeout, "workers.request_timeout"));
    queue.into_iter().chain(request).min_by_key(|(timeout, _)| *timeout)
}

impl Connection {
    /// When it expires if nothing happens; `None` while it is the application's turn.
    pub(in crate::worker) fn deadline(&self, context: &Context) -> Option<Instant> {
        let http = &context.settings.http;
        if !self.output.is_empty() {
            return Some(self.write_progress_at + http.write_timeout);
        }
        match &self.phase {
            Phase::Preface => Some(self.idle_since + http.header_timeout),
            Phase::Head { begun_at: Some(begun) } => Some(*begun + http.header_timeout),
            Phase::Head { begun_at: None } => {
                let patience = if self.served == 0 { http.header_timeout } else { http.keep_alive };
                let patience =
                    if context.draining_since.is_some() { patience.min(DRAIN_IDLE) } else { patience };
                Some(self.idle_since + patience)
            }
            Phase::Body(gathering) => Some(gathering.deadline(http.body_timeout)),
            Phase::Exchange(running) => {
                // What is run in place at once waits for nobody.
                let waits = running.waiting && running.attended;
                let queue = queue_limit(&context.settings).filter(|_| waits);
                let queue = queue.map(|(timeout, _)| running.queued_at + timeout);
                let arriving = running.arriving.as_ref().filter(|arriving| !arriving.paused);
                let body = arriving.map(|arriving| arriving.pace.deadline(http.body_timeout));
                queue.into_iter().chain(body).min()
            }
            Phase::Farewell { .. } => None,
            Phase::Linger { until } => Some(*until),
        }
    }

    /// Its deadline has passed.
    pub(in crate::worker) fn expire(&mut self, context: &mut Context) -> Fate {
        if !self.output.is_empty() {
            log::debug!("closed {:?}: it has read nothing for http.write_timeout", self.endpoint.peer);
            return Fate::Close;
        }
        let step = match &self.phase {
            Phase::Preface | Phase::Head { begun_at: None } | Phase::Linger { .. } => Step::Close,
            Phase::Head { begun_at: Some(_) } => self.reject(408, "the head is too slow", None, context),
            Phase::Body(_) => self.body_expired(context),
            Phase::Exchange(_) => self.exchange_expired(context),
            Phase::Farewell { .. } => Step::Again,
        };
        match step {
            Step::Close => Fate::Close,
            Step::Again | Step::Wait => self.drive(context),
        }
    }

    /// The worker begins to drain: what has already arrived is still read, so that no request is lost that a client
    /// had sent before; then the deadline says how long an idle connection stays.
    pub(in crate::worker) fn drain(&mut self, context: &mut Context) -> Fate {
        self.readable = true;
        match self.drive(context) {
            Fate::Keep if self.deadline(context).is_some_and(|deadline| deadline <= context.now) => {
                self.expire(context)
            }
            fate @ (Fate::Keep | Fate::Unchanged | Fate::Close) => fate,
        }
    }
}
