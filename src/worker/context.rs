//! What the connections of a worker share while the reactor drives them: settings, the queue to the app threads,
//! the clock of this turn, the read buffer, logs.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Token;

use crate::app::{Endpoint, Request, RequestId};
use crate::config::Settings;
use crate::http::{Limits, RequestHead};
use crate::ipc::Scoreboard;
use crate::log::access::AccessLog;
use crate::sys::clock;

use super::connection::Opening;
use super::exchange::{Shared, WorkerExchange};
use super::forecast::{Forecast, Kind};
use super::held::Held;
use super::jobs::Jobs;
use super::link::Link;
use super::request_id::RequestIds;

/// Size of the one read buffer, in bytes.
const SCRATCH_BYTES: usize = 64 * 1024;

/// State of the reactor that is not about one connection.
#[derive(Debug)]
pub(super) struct Context {
    /// The settings of this generation.
    pub(super) settings: Arc<Settings>,
    /// Limits on requests, from the settings.
    pub(super) limits: Limits,
    /// What exchanges share.
    pub(super) shared: Arc<Shared>,
    /// Requests on their way to app threads.
    pub(super) jobs: Arc<Jobs>,
    /// The time, as of the last event or the last answer.
    pub(super) now: Instant,
    /// The same on the clock of [`clock`].
    pub(super) time: Duration,
    /// Requests that are complete, for whoever turns the reactor to run or to hand over.
    pub(super) ready: VecDeque<Box<WorkerExchange>>,
    /// An exchange that is over, kept for its memory: requests that are run in place come one at a time.
    spare: Option<Box<WorkerExchange>>,
    /// Answers that wait for others of this turn.
    pub(super) held: Held,
    /// What is known of how long requests take.
    pub(super) forecast: Forecast,
    /// Every read of a socket goes here first.
    pub(super) scratch: Box<[u8]>,
    /// Request heads are read into it, and one that is whole stays there until a request, a body that is gathered or a refusal
    /// takes it; it has the memory of one that is over.
    pub(super) head: RequestHead,
    /// The access log, if it is on.
    pub(super) access: Option<AccessLog>,
    /// Requests that were refused, by reason.
    pub(super) refusals: Refusals,
    /// Makes request ids.
    pub(super) ids: RequestIds,
    /// Connections that gave way to others although they could go on: driven again in the next turn.
    pub(super) yielded: Vec<Token>,
    /// Exchanges whose connection is gone while the application is at work; their end is still to be recorded.
    pub(super) orphans: HashMap<Token, Arc<Link>>,
    /// The worker drains since then.
    pub(super) draining_since: Option<Instant>,
    /// What the master sees of this worker.
    pub(super) scoreboard: Arc<Scoreboard>,
    /// Exchanges that are over.
    pub(super) served: u64,
    /// No app thread comes back from its request: what waits for one is answered 503.
    pub(super) all_lost: bool,
}

impl Context {
    /// The context of a fresh worker.
    pub(super) fn new(
        settings: Arc<Settings>,
        shared: Arc<Shared>,
        jobs: Arc<Jobs>,
        access: Option<AccessLog>,
        scoreboard: Arc<Scoreboard>,
        now: Instant,
    ) -> Self {
        let http = &settings.http;
        let limits = Limits {
            request_line_max: http.max_request_line,
            headers_max: http.max_headers,
            header_bytes_max: http.max_header_bytes,
            body_max: http.max_body,
        };
        Self {
            limits,
            shared,
            jobs,
            now,
            time: clock::monotonic(),
            ready: VecDeque::new(),
            spare: None,
            held: Held::default(),
            forecast: Forecast::new(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            head: RequestHead::default(),
            access,
            refusals: Refusals::default(),
            ids: RequestIds::new(),
            yielded: Vec::new(),
            orphans: HashMap::new(),
            draining_since: None,
            scoreboard,
            served: 0,
            all_lost: false,
            settings,
        }
    }

    /// Reads the clock.
    pub(super) fn tick(&mut self) {
        let now = super::reactor::now();
        self.time += now.saturating_duration_since(self.now);
        self.now = now;
    }

    /// What [`Self::time`] would be if the clock were read now.
    pub(super) fn time_now(&self) -> Duration {
        self.time + super::reactor::now().saturating_duration_since(self.now)
    }

    /// An exchange for the request whose head is in [`Self::head`], in the memory of one that is over.
    pub(super) fn exchange(
        &mut self,
        token: Token,
        endpoint: &Arc<Endpoint>,
        opening: Opening,
    ) -> Box<WorkerExchange> {
        let id = self.ids.identify(Some(&self.head), endpoint);
        let Some(mut exchange) = self.spare.take() else {
            let link = self.link(token, endpoint, opening, id);
            return Box::new(WorkerExchange::new(link, Arc::clone(&self.shared)));
        };
        match exchange.renew(Kind::of(&self.head), token, self.time) {
            // A request is several hundred bytes: what it is made of goes to its place at once.
            Some(request) => {
                std::mem::swap(&mut request.head, &mut self.head);
                if !Arc::ptr_eq(&request.endpoint, endpoint) {
                    request.endpoint = Arc::clone(endpoint);
                }
                let Opening { origin, received_at } = opening;
                (request.origin, request.id, request.received_at) = (origin, id, received_at);
            }
            None => exchange.relink(self.link(token, endpoint, opening, id)),
        }
        exchange
    }

    fn link(&mut self, token: Token, endpoint: &Arc<Endpoint>, opening: Opening, id: RequestId) -> Arc<Link> {
        let (head, endpoint) = (std::mem::take(&mut self.head), Arc::clone(endpoint));
        let Opening { origin, received_at } = opening;
        Arc::new(Link::new(Request { head, endpoint, origin, id, received_at }, token, self.time))
    }

    /// Keeps the memory of an exchange that is over.
    pub(super) fn spare(&mut self, exchange: Box<WorkerExchange>) {
        self.spare = Some(exchange);
    }

    /// Takes back a request that no app thread has begun.
    pub(super) fn withdraw(&mut self, token: Token) -> Option<Box<WorkerExchange>> {
        let position = self.ready.iter().position(|exchange| exchange.token() == token);
        match position {
            Some(position) => self.ready.remove(position),
            None => self.jobs.withdraw(token),
        }
    }
}

/// How many requests were refused, by reason.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counts: BTreeMap<&'static str, u64>,
}

impl Refusals {
    /// One more.
    pub(super) fn count(&mut self, reason: &'static str) {
        *self.counts.entry(reason).or_default() += 1;
    }

    /// All of them in one line, most frequent first; `None` when there were none.
    pub(super) fn summary(&self) -> Option<String> {
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let parts: Vec<String> = counts.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::Refusals;

    #[test]
    fn refusals_are_told_with_the_most_frequent_first() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.summary(), None);
        for reason in ["bare LF", "bad Host", "bad Host"] {
            refusals.count(reason);
        }
        assert_eq!(refusals.summary().as_deref(), Some("bad Host (2), bare LF (1)"));
    }
}
