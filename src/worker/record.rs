//! What is written down when an exchange is over: the access log and slow requests.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::app::{Request, RequestId};
use crate::http::{RequestHead, ResponseHead, Version};
use crate::log::access::AccessLog;
use crate::log::basic::basic_user;
use crate::log::format::Entry;
use crate::net::{Address, Endpoint};

use super::context::Context;
use super::link::Record;

/// An exchange that is over.
#[derive(Debug)]
pub(super) struct Over<'a> {
    /// The request.
    pub(super) request: &'a Request,
    /// The application's response head; `None` when the server answered for it.
    pub(super) head: Option<&'a ResponseHead>,
    /// The status that was sent; 0 when the connection was cut before any was.
    pub(super) status: u16,
    /// Body bytes that were handed over.
    pub(super) body_bytes: u64,
    /// How long it waited for an app thread; `None` when none took it.
    pub(super) queued: Option<Duration>,
}

impl Record {
    /// What is written down of it.
    pub(super) fn over(&self) -> Over<'_> {
        let Self { link, head, status, body_bytes, queued, .. } = self;
        Over {
            request: &link.request,
            head: head.as_ref(),
            status: *status,
            body_bytes: *body_bytes,
            queued: *queued,
        }
    }
}

/// An exchange with the application is over and its response is written.
pub(super) fn exchange_over(record: &Over<'_>, context: &mut Context) {
    let request = record.request;
    let duration = context.now.saturating_duration_since(request.received_at);
    context.served += 1;
    context.scoreboard.count_answer(record.status, duration);
    if record.head.is_none() {
        context.scoreboard.count_refusal(record.status);
    }
    if let Some(queued) = record.queued {
        context.scoreboard.count_queue_wait(queued);
    }
    if context.settings.log.slow_request.is_some_and(|limit| duration >= limit) {
        log::warn!(
            "[{}] slow request: {} {} took {duration:.3?} (status {})",
            request.id,
            String::from_utf8_lossy(request.head.method()),
            String::from_utf8_lossy(request.head.target()),
            record.status,
        );
    }
    let Some(access) = &context.access else { return };
    Line {
        head: Some(&request.head),
        response: record.head,
        client: request.origin.client.or_else(|| ip_of(&request.endpoint)),
        status: record.status,
        body_bytes: record.body_bytes,
        duration,
        queue_wait: record.queued,
        id: request.id.as_str(),
    }
    .record(access);
}

/// A request was answered by the server itself.
pub(super) fn rejected(
    status: u16,
    head: Option<&RequestHead>,
    endpoint: &Endpoint,
    id: &RequestId,
    context: &mut Context,
) {
    let duration = Duration::ZERO;
    context.scoreboard.count_rejection(status);
    let Some(access) = &context.access else { return };
    let client = ip_of(endpoint);
    Line { head, response: None, client, status, body_bytes: 0, duration, queue_wait: None, id: id.as_str() }
        .record(access);
}

struct Line<'a> {
    head: Option<&'a RequestHead>,
    response: Option<&'a ResponseHead>,
    client: Option<IpAddr>,
    status: u16,
    body_bytes: u64,
    duration: Duration,
    queue_wait: Option<Duration>,
    id: &'a str,
}

impl Line<'_> {
    fn record(&self, access: &AccessLog) {
        let path = self.head.map_or(&b"-"[..], RequestHead::path);
        if !access.wants(path) {
            return;
        }
        let authorization = self.head.and_then(|head| head.field("authorization"));
        let user = authorization.and_then(basic_user).unwrap_or_default();
        let protocol = match self.head.map(RequestHead::version) {
            Some(Version::Http11) => "HTTP/1.1",
            Some(Version::Http10) => "HTTP/1.0",
            None => "-",
        };
        access.record(&Entry {
            remote_address: self.client,
            user: &user,
            time: SystemTime::now().checked_sub(self.duration).unwrap_or(SystemTime::UNIX_EPOCH),
            method: self.head.map_or(b"-", RequestHead::method),
            target: self.head.map_or(b"-", RequestHead::target),
            protocol,
            status: self.status,
            body_bytes: self.body_bytes,
            duration: self.duration,
            queue_wait: self.queue_wait,
            request_id: self.id,
            request_field: &|name| self.head.and_then(|head| head.field(name)),
            response_field: &|name| self.response.and_then(|head| head.field(name)),
        });
    }
}

fn ip_of(endpoint: &Endpoint) -> Option<IpAddr> {
    match &endpoint.peer {
        Address::Tcp(address) => Some(address.ip()),
        Address::Unix(_) => None,
    }
}
