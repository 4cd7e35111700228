//! The app thread's side of an exchange: turns what the application answers into framed output and hands it to the
//! reactor.
//!
//! Output is gathered until it must go out (PEP 3333 wants no block delayed) or is large; a response that is whole at
//! once crosses to the reactor in one step.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mio::Token;

use crate::app::{Block, Body, BodyStream, Disconnection, Exchange, Request, RequestId, Sent};
use crate::http::{self, BodyFramer, Frame, Method, ResponseContext, ResponseHead};
use crate::sys::{at_fork, clock};

use super::berth::Berth;
use super::calls::Call;
use super::date::date_now;
use super::forecast::Kind;
use super::link::{End, HIGH_WATER_BYTES, Link, Record};
use super::notifier::Notifier;
use super::output::Segment;
use super::reactor::Reactor;
use super::rest::Rest;
use super::{request_id, spool};

/// Blocks of this size and more are shared with the application instead of being copied into the buffer.
const COPY_BYTES_MAX: usize = 4 * 1024;

/// When a client that was answered 503 may come back, in seconds.
const RETRY_AFTER_SECONDS: &str = "1";

/// What the access log says of a request whose client went away before the application was called; nginx's code for it.
const CLIENT_GONE: u16 = 499;

/// Output that is held back is written at this size, in bytes: as much as the buffer of a block that is copied.
const HELD_BYTES_MAX: u64 = 16 * 1024;

/// What all threads of a worker share.
#[derive(Debug)]
pub(super) struct Shared {
    /// `http.server_header`
    pub(super) server: String,
    /// The worker drains: every answer closes its connection.
    pub(super) draining: AtomicBool,
    /// The application asked for this worker to be replaced.
    pub(super) leaving: AtomicBool,
    /// The reactor has left the listeners because every app thread is busy, and wants to know when one is free.
    pub(super) wants_free_thread: AtomicBool,
    /// Private memory when it was last measured, in bytes.
    pub(super) private_memory: AtomicU64,
    /// Wakes the reactor.
    pub(super) notifier: Notifier,
    /// Where the reactor is while an app thread that turns it runs the application.
    pub(super) berth: Berth<Box<Reactor>>,
}

/// How far the response has come.
#[derive(Debug)]
enum Progress {
    /// No head yet.
    Waiting,
    /// The head is rendered; the framer frames the body.
    Started(BodyFramer),
    /// The exchange is over.
    Ended,
}

/// Who writes what the application answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Whoever turns the reactor, told through the link.
    Link,
    /// This app thread, which has left the reactor in the berth; the link once it was taken over.
    Berth {
        /// The app thread.
        thread: usize,
    },
}

/// One request and the way to answer it.
#[derive(Debug)]
pub(super) struct WorkerExchange {
    link: Arc<Link>,
    body: Option<Body>,
    shared: Arc<Shared>,
    kind: Kind,
    way: Way,
    /// How long it has waited for this thread, and when it is to be done, if it is run inline.
    begun: Option<(Duration, Option<Duration>)>,
    progress: Progress,
    head: Option<ResponseHead>,
    /// Rendered and not yet handed over, behind `segments`.
    gathered: Vec<u8>,
    /// A block that is shared with the application, behind `gathered`: the whole body, most often.
    large: Option<Bytes>,
    segments: Vec<Segment>,
    handed_over: bool,
    /// Some of what was handed over has gone through the link.
    linked: bool,
    /// The last block came from an application that has no more to do with it.
    is_last: bool,
    body_bytes: u64,
}

impl WorkerExchange {
    /// An exchange for a request and its body.
    pub(super) fn new(link: Arc<Link>, shared: Arc<Shared>) -> Self {
        Self {
            kind: Kind::of(&link.request.head),
            link,
            body: None,
            shared,
            way: Way::Link,
            begun: None,
            progress: Progress::Waiting,
            head: None,
            gathered: Vec::new(),
            large: None,
            segments: Vec::new(),
            handed_over: false,
            linked: false,
            is_last: false,
            body_bytes: 0,
        }
    }

    /// Makes an exchange that is over into one for another request of that kind, in the memory of the old one. The old request is
    /// returned, for the caller to make it the new one; `None` where somebody has kept its link, and it needs another.
    pub(super) fn renew(&mut self, kind: Kind, token: Token, queued_at: Duration) -> Option<&mut Request> {
        self.kind = kind;
        self.way = Way::Link;
        self.begun = None;
        self.progress = Progress::Waiting;
        self.head = None;
        self.gathered.clear();
        self.large = None;
        self.segments.clear();
        self.handed_over = false;
        self.linked = false;
        self.is_last = false;
        self.body_bytes = 0;
        Some(Arc::get_mut(&mut self.link)?.renew(token, queued_at))
    }

    /// Gives it another link.
    pub(super) fn relink(&mut self, link: Arc<Link>) {
        self.link = link;
    }

    /// Gives it its body.
    pub(super) fn put_body(&mut self, body: Body) {
        self.body = Some(body);
    }

    /// The connection that it is on.
    pub(super) fn token(&self) -> Token {
        self.link.token()
    }

    /// What the reactor keeps of it.
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The kind of its request.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The request's id.
    pub(super) fn id(&self) -> &RequestId {
        &self.link.request.id
    }

    /// The request and its link, for who watches over it.
    pub(super) fn call(&self) -> Call {
        Call { link: Arc::clone(&self.link) }
    }

    /// Whether the application reads its body while it arrives, and so waits for a reactor that turns.
    pub(super) fn is_streamed(&self) -> bool {
        matches!(self.body, Some(Body::Stream(_)))
    }

    /// App thread `thread` runs it from `started` on and leaves the reactor in the berth meanwhile.
    pub(super) fn run_inline(&mut self, thread: usize, started: Duration, limit: Option<Duration>) {
        self.way = Way::Berth { thread };
        self.begun = Some(self.link.begin(started, limit));
    }

    /// Answers 503 instead of calling the application, which was too busy.
    pub(super) fn shed(mut self: Box<Self>) {
        self.answer_with(503, &[("Retry-After", RETRY_AFTER_SECONDS)]);
    }

    /// Ends it without calling the application: its client is gone.
    pub(super) fn cancel(mut self: Box<Self>) {
        self.end(false, CLIENT_GONE);
    }

    /// Gathers a framed block.
    fn gather(&mut self, frame: &Frame, block: Block<'_>) {
        self.gather_bytes(&frame.prefix.0[..frame.prefix.1]);
        let take = usize::try_from(frame.take).unwrap_or(usize::MAX);
        match block {
            Block::Shared(bytes) if take >= COPY_BYTES_MAX => {
                if self.large.is_some() {
                    self.seal();
                }
                self.large = Some(bytes.slice(..take));
            }
            Block::Shared(bytes) => self.gather_bytes(&bytes[..take]),
            Block::Borrowed(bytes) => self.gather_bytes(&bytes[..take]),
        }
        self.gather_bytes(frame.suffix);
        self.body_bytes += frame.take;
    }

    fn gather_bytes(&mut self, bytes: &[u8]) {
        if self.large.is_some() && !bytes.is_empty() {
            self.seal();
        }
        self.gathered.extend_from_slice(bytes);
    }

    /// Output that is not handed over yet, in bytes.
    fn gathered_bytes(&self) -> u64 {
        let large = self.large.as_ref().map_or(0, Bytes::len);
        self.segments.iter().map(Segment::len).sum::<u64>() + (self.gathered.len() + large) as u64
    }

    /// Turns gathered bytes into segments.
    fn seal(&mut self) {
        if !self.gathered.is_empty() {
            self.segments.push(Segment::Memory(Bytes::from(std::mem::take(&mut self.gathered))));
        }
        self.segments.extend(self.large.take().map(Segment::Memory));
    }

    /// Forgets what was gathered.
    fn forget_output(&mut self) {
        self.segments.clear();
        self.gathered.clear();
        self.large = None;
    }

    /// If all of the response is gathered, whether the connection can take another request after it.
    fn is_whole(&self) -> Option<bool> {
        let Progress::Started(framer) = &self.progress else { return None };
        let is_whole = framer.is_complete()
            && !self.handed_over
            && self.segments.is_empty()
            && !self.gathered.is_empty();
        is_whole.then(|| !framer.closes())
    }

    /// Has what was gathered transmitted. Where that is the whole response it does not wait for the application's `close()`,
    /// which may take its time. Other output is held back until there is more of it while the reactor is in the berth: the
    /// standby transmits at its next look what is held back then (PEP 3333, "Buffering and Streaming": another thread
    /// guarantees it).
    fn hand_over(&mut self) -> Sent {
        if at_fork::is_copy() {
            return Sent::Gone;
        }
        if let Way::Berth { thread } = self.way
            && let Some(keep_alive) = self.is_whole()
        {
            let (link, gathered, large) = (&self.link, &mut self.gathered, &mut self.large);
            match self
                .shared
                .berth
                .with(thread, |reactor| reactor.transmit(link, gathered, large, keep_alive))
            {
                Some(sent) => {
                    self.handed_over = true;
                    return sent;
                }
                None => self.way = Way::Link,
            }
        }
        self.seal();
        if self.segments.is_empty() {
            return Sent::Ready;
        }
        self.handed_over = true;
        self.linked = true;
        if let Way::Berth { thread } = self.way {
            let (link, segments) = (&self.link, &mut self.segments);
            let held = self.shared.berth.with_soon(thread, |reactor| {
                let sent = link.hold_back(segments);
                if link.pending_bytes() < HELD_BYTES_MAX {
                    return sent;
                }
                reactor.pump(link.token());
                link.fill_level()
            });
            if let Some(sent) = held {
                return sent;
            }
            self.way = Way::Link;
        }
        self.link.push(&mut self.segments, &self.shared.notifier)
    }

    fn end(&mut self, keep_alive: bool, status: u16) {
        self.progress = Progress::Ended;
        // The socket and the reactor are the parent's.
        if at_fork::is_copy() {
            return;
        }
        if let Way::Berth { thread } = self.way {
            let rest = Rest {
                segments: &mut self.segments,
                gathered: &mut self.gathered,
                large: &mut self.large,
                keep_alive,
                status,
                head: &mut self.head,
                body_bytes: self.body_bytes,
                linked: self.linked,
                is_last: self.is_last,
                queued: self.begun.map(|(queued, _)| queued),
            };
            let link = &self.link;
            if self.shared.berth.with(thread, |reactor| reactor.answer(link, rest)).is_some() {
                return;
            }
            self.way = Way::Link;
        }
        self.seal();
        let record = Record {
            link: Arc::clone(&self.link),
            head: self.head.take(),
            status,
            body_bytes: self.body_bytes,
            queued: self.link.queued(),
            worked: Some(self.link.age(clock::monotonic())),
        };
        self.link.end(&mut self.segments, Box::new(End { keep_alive, record }), &self.shared.notifier);
    }

    /// Answers for the application, with an answer that is complete.
    fn answer(&mut self, status: u16) {
        self.answer_with(status, &[]);
    }

    fn answer_with(&mut self, status: u16, fields: &[(&str, &str)]) {
        self.forget_output();
        self.head = None;
        self.body_bytes = 0;
        let date = httpdate::fmt_http_date(SystemTime::now());
        let is_head = self.link.request.head.method_kind() == Method::Head;
        let server = &self.shared.server;
        let told = request_id::told(status, &self.link.request.id);
        let fields: Vec<_> = fields.iter().copied().chain(told).collect();
        http::error_response(status, server, &date, &fields, is_head, true, &mut self.gathered);
        self.end(false, status);
    }
}

impl Exchange for WorkerExchange {
    fn request(&self) -> &Request {
        &self.link.request
    }

    fn take_body(&mut self) -> Body {
        self.body.take().unwrap_or_else(spool::no_body)
    }

    fn disconnected(&self) -> Arc<dyn Disconnection> {
        Arc::clone(&self.link) as Arc<dyn Disconnection>
    }

    fn deadline(&self) -> Option<Duration> {
        self.begun.map_or_else(|| self.link.deadline(), |(_, deadline)| deadline)
    }

    fn start(&mut self, head: ResponseHead, body_length: Option<u64>) {
        let request = &self.link.request.head;
        let date = date_now();
        let context = ResponseContext {
            version: request.version(),
            method: request.method_kind(),
            keep_alive: request.keep_alive() && !self.shared.draining.load(Ordering::Relaxed),
            body_length,
            server: &self.shared.server,
            date: &date,
        };
        let framer = head.encode(&context, &mut self.gathered);
        self.head = Some(head);
        self.progress = Progress::Started(framer);
    }

    fn send(&mut self, block: Block<'_>, more: bool) -> Sent {
        let length = match &block {
            Block::Borrowed(bytes) => bytes.len(),
            Block::Shared(bytes) => bytes.len(),
        };
        let Progress::Started(framer) = &mut self.progress else { return Sent::Gone };
        self.is_last = more;
        let excess = if length > 0 {
            let frame = framer.frame(length as u64);
            self.gather(&frame, block);
            frame.excess
        } else {
            false
        };
        let sent =
            if more && self.gathered_bytes() < HIGH_WATER_BYTES { Sent::Ready } else { self.hand_over() };
        if excess && sent != Sent::Gone { Sent::Excess } else { sent }
    }

    fn send_file(&mut self, file: File, offset: u64, length: u64) -> Sent {
        let Progress::Started(framer) = &mut self.progress else { return Sent::Gone };
        let mut excess = false;
        if length > 0 {
            let frame = framer.frame(length);
            self.gather_bytes(&frame.prefix.0[..frame.prefix.1]);
            self.seal();
            if frame.take > 0 {
                self.segments.push(Segment::File { file, offset, remaining: frame.take });
            }
            self.gathered.extend_from_slice(frame.suffix);
            self.body_bytes += frame.take;
            excess = frame.excess;
        }
        let sent = self.hand_over();
        if excess && sent != Sent::Gone { Sent::Excess } else { sent }
    }

    fn wait(&mut self) -> Sent {
        if let Way::Berth { thread } = self.way {
            self.shared.berth.urge(thread);
            self.way = Way::Link;
        }
        self.link.wait_for_room()
    }

    fn finish(&mut self) {
        let status = self.head.as_ref().map_or(0, ResponseHead::status);
        match std::mem::replace(&mut self.progress, Progress::Ended) {
            Progress::Ended => {}
            Progress::Waiting => self.answer(500),
            Progress::Started(mut framer) => match framer.finish() {
                Ok(tail) => {
                    self.gather_bytes(tail);
                    self.end(!framer.closes(), status);
                }
                Err(missing) => {
                    log::error!(
                        "[{}] the response is {missing} bytes shorter than its Content-Length: the connection is closed",
                        self.link.request.id
                    );
                    self.end(false, status);
                }
            },
        }
    }

    fn abort(&mut self) {
        if matches!(self.progress, Progress::Ended) {
            return;
        }
        if self.handed_over {
            let status = self.head.as_ref().map_or(0, ResponseHead::status);
            // What was gathered since is dropped: the client sees a body that ends short.
            self.forget_output();
            self.end(false, status);
            return;
        }
        // An application that fails because its client's body failed is answered for what the client did.
        match self.link.body_error() {
            Some(io::ErrorKind::InvalidData) => self.answer(400),
            Some(io::ErrorKind::TimedOut) => self.answer(408),
            Some(io::ErrorKind::FileTooLarge) => self.answer(413),
            Some(_) | None => self.answer(500),
        }
    }

    fn head_sent(&self) -> bool {
        self.handed_over
    }
}

impl Drop for WorkerExchange {
    /// A bridge that forgets to end an exchange would leave the client waiting for ever.
    fn drop(&mut self) {
        self.abort();
    }
}

/// A request body that the application reads while it arrives.
#[derive(Debug)]
pub(super) struct Upload {
    /// Where the reactor puts it.
    pub(super) link: Arc<Link>,
    /// To wake the reactor when there is room.
    pub(super) shared: Arc<Shared>,
}

impl BodyStream for Upload {
    fn read(&mut self, bytes_max: usize) -> io::Result<Bytes> {
        self.link.read_body(bytes_max, &self.shared.notifier)
    }
}
