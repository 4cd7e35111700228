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

use super::calls::Call;
use super::link::{End, HIGH_WATER_BYTES, Link, Notifier, Record};
use super::output::Segment;
use super::spool;

/// Blocks of this size and more are shared with the application instead of being copied into the buffer.
const COPY_BYTES_MAX: usize = 16 * 1024;

/// When a client that was answered 503 may come back, in seconds.
const RETRY_AFTER_SECONDS: &str = "1";

/// What the access log says of a request whose client went away before the application was called; nginx's code for it.
const CLIENT_GONE: u16 = 499;

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

/// One request and the way to answer it.
#[derive(Debug)]
pub(super) struct WorkerExchange {
    request: Arc<Request>,
    body: Option<Body>,
    link: Arc<Link>,
    shared: Arc<Shared>,
    progress: Progress,
    head: Option<ResponseHead>,
    /// Rendered and not yet handed over, behind `segments`.
    gathered: Vec<u8>,
    segments: Vec<Segment>,
    handed_over: bool,
    body_bytes: u64,
}

impl WorkerExchange {
    /// An exchange for a request and its body.
    pub(super) fn new(request: Request, body: Body, link: Arc<Link>, shared: Arc<Shared>) -> Self {
        Self {
            request: Arc::new(request),
            body: Some(body),
            link,
            shared,
            progress: Progress::Waiting,
            head: None,
            gathered: Vec::new(),
            segments: Vec::new(),
            handed_over: false,
            body_bytes: 0,
        }
    }

    /// The connection that it is on.
    pub(super) fn token(&self) -> Token {
        self.link.token()
    }

    /// The request's id.
    pub(super) fn id(&self) -> &RequestId {
        &self.request.id
    }

    /// The request and its link, for who watches over it.
    pub(super) fn call(&self) -> Call {
        Call { request: Arc::clone(&self.request), link: Arc::clone(&self.link) }
    }

    /// Answers 503 instead of calling the application, which was too busy.
    pub(super) fn shed(mut self: Box<Self>) {
        self.answer_with(503, &[("Retry-After", RETRY_AFTER_SECONDS)]);
    }

    /// Ends it without calling the application: its client is gone.
    pub(super) fn cancel(mut self: Box<Self>) {
        self.end(false, CLIENT_GONE);
    }

    /// Gathers a framed block; returns whether bytes were cut.
    fn gather(&mut self, frame: &Frame, block: Block<'_>) {
        self.gathered.extend_from_slice(&frame.prefix.0[..frame.prefix.1]);
        let take = usize::try_from(frame.take).unwrap_or(usize::MAX);
        match block {
            Block::Shared(bytes) if take >= COPY_BYTES_MAX => {
                self.seal();
                self.segments.push(Segment::Memory(bytes.slice(..take)));
            }
            Block::Shared(bytes) => self.gathered.extend_from_slice(&bytes[..take]),
            Block::Borrowed(bytes) => self.gathered.extend_from_slice(&bytes[..take]),
        }
        self.gathered.extend_from_slice(frame.suffix);
        self.body_bytes += frame.take;
    }

    /// Output that is not handed over yet, in bytes.
    fn gathered_bytes(&self) -> u64 {
        self.segments.iter().map(Segment::len).sum::<u64>() + self.gathered.len() as u64
    }

    /// Turns gathered bytes into a segment.
    fn seal(&mut self) {
        if !self.gathered.is_empty() {
            self.segments.push(Segment::Memory(Bytes::from(std::mem::take(&mut self.gathered))));
        }
    }

    fn hand_over(&mut self) -> Sent {
        self.seal();
        if self.segments.is_empty() {
            return Sent::Ready;
        }
        self.handed_over = true;
        self.link.push(&mut self.segments, &self.shared.notifier)
    }

    fn end(&mut self, keep_alive: bool, status: u16) {
        self.seal();
        self.progress = Progress::Ended;
        let record = Record {
            request: Arc::clone(&self.request),
            head: self.head.take(),
            status,
            body_bytes: self.body_bytes,
            queued: self.link.queued(),
        };
        self.link.end(&mut self.segments, End { keep_alive, record }, &self.shared.notifier);
    }

    /// Answers for the application, with an answer that is complete.
    fn answer(&mut self, status: u16) {
        self.answer_with(status, &[]);
    }

    fn answer_with(&mut self, status: u16, fields: &[(&str, &str)]) {
        self.segments.clear();
        self.gathered.clear();
        self.head = None;
        self.body_bytes = 0;
        let date = httpdate::fmt_http_date(SystemTime::now());
        let is_head = self.request.head.method_kind() == Method::Head;
        let server = &self.shared.server;
        http::error_response(status, server, &date, fields, is_head, true, &mut self.gathered);
        self.end(false, status);
    }
}

impl Exchange for WorkerExchange {
    fn request(&self) -> &Request {
        &self.request
    }

    fn take_body(&mut self) -> Body {
        self.body.take().unwrap_or_else(spool::no_body)
    }

    fn disconnected(&self) -> Arc<dyn Disconnection> {
        Arc::clone(&self.link) as Arc<dyn Disconnection>
    }

    fn deadline(&self) -> Option<Duration> {
        self.link.deadline()
    }

    fn start(&mut self, head: ResponseHead, body_length: Option<u64>) {
        let request = &self.request.head;
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
            self.gathered.extend_from_slice(&frame.prefix.0[..frame.prefix.1]);
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
        self.link.wait_for_room()
    }

    fn finish(&mut self) {
        let status = self.head.as_ref().map_or(0, ResponseHead::status);
        match std::mem::replace(&mut self.progress, Progress::Ended) {
            Progress::Ended => {}
            Progress::Waiting => self.answer(500),
            Progress::Started(mut framer) => match framer.finish() {
                Ok(tail) => {
                    self.gathered.extend_from_slice(tail);
                    self.end(!framer.closes(), status);
                }
                Err(missing) => {
                    log::error!(
                        "[{}] the response is {missing} bytes shorter than its Content-Length: the connection is closed",
                        self.request.id
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
            self.gathered.clear();
            self.segments.clear();
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

/// The Date field's value, rendered at most once a second on each thread.
fn date_now() -> Arc<str> {
    use std::cell::RefCell;
    thread_local! {
        static DATE: RefCell<(u64, Arc<str>)> = RefCell::new((0, Arc::from("")));
    }
    let now = SystemTime::now();
    let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(rendered, date)| {
        if *rendered != second || date.is_empty() {
            *rendered = second;
            *date = Arc::from(httpdate::fmt_http_date(now));
        }
        Arc::clone(date)
    })
}
