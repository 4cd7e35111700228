//! A request that is with the application: handing it over, moving bytes both ways, and the end of the exchange.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::{Buf, Bytes};

use crate::app::{Body, Sent};
use crate::http::{BodyDecoder, BodyEvent, CONTINUE, HttpError, Method, RequestBodyLength, error_response};

use super::super::calls::Call;
use super::super::context::Context;
use super::super::exchange::{Upload, WorkerExchange};
use super::super::forecast::Kind;
use super::super::link::{End, Link, Record};
use super::super::output::{Output, Segment};
use super::super::record::{self, Over};
use super::super::request_id;
use super::super::rest::Rest;
use super::body::Pace;
use super::deadline::queue_limit;
use super::head::Opening;
use super::{Connection, Fate, IN_A_ROW_MAX, Phase, Read, Step};

/// What a client got of an exchange that has timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum TimedOut {
    /// A complete 504.
    Answered,
    /// The beginning of a response.
    Cut,
    /// Its whole response; only the app thread is late.
    Complete,
}

/// A request that is with the application.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) link: Arc<Link>,
    /// The request's body is still arriving.
    pub(super) arriving: Option<Box<Arriving>>,
    /// When it was handed over.
    pub(super) queued_at: Instant,
    /// It waits for an app thread as far as is known, so the limit on that applies.
    pub(super) waiting: bool,
    /// Some of the response is with the socket, or may be.
    begun: bool,
    /// It will not be answered before the poll can tell of its client.
    pub(super) attended: bool,
    /// Set once the application is done; what is left is to write the output.
    end: Option<Box<End>>,
}

/// A body that the application reads while it arrives.
#[derive(Debug)]
pub(super) struct Arriving {
    decoder: BodyDecoder,
    pub(super) pace: Pace,
    /// The client waits for `100 Continue`.
    continue_due: bool,
    /// Nothing is read until the application has taken what is there.
    pub(super) paused: bool,
}

impl Connection {
    /// Hands a complete request over.
    pub(super) fn dispatch(&mut self, opening: Opening, body: Body, context: &mut Context) -> Step {
        let mut exchange = context.exchange(self.token, &self.endpoint, opening);
        exchange.put_body(body);
        self.hand_over(exchange, None, context)
    }

    /// Hands a request over whose body is still arriving.
    pub(super) fn dispatch_streaming(
        &mut self,
        opening: Opening,
        decoder: BodyDecoder,
        context: &mut Context,
    ) -> Step {
        let continue_due = context.head.expects_continue() && self.input.is_empty();
        let arriving = Arriving { decoder, pace: Pace::new(context.now), continue_due, paused: false };
        let mut exchange = context.exchange(self.token, &self.endpoint, opening);
        let upload = Upload { link: Arc::clone(exchange.link()), shared: Arc::clone(&context.shared) };
        exchange.put_body(Body::Stream(Box::new(upload)));
        self.hand_over(exchange, Some(Box::new(arriving)), context)
    }

    fn hand_over(
        &mut self,
        exchange: Box<WorkerExchange>,
        arriving: Option<Box<Arriving>>,
        context: &mut Context,
    ) -> Step {
        let link = Arc::clone(exchange.link());
        if self.read_closed {
            link.mark_disconnected();
        }
        if context.all_lost {
            log::debug!("[{}] no app thread comes back: answered 503", exchange.id());
            exchange.shed();
        } else {
            context.ready.push_back(exchange);
        }
        let waiting = queue_limit(&context.settings).is_some();
        let (queued_at, attended) = (context.now, arriving.is_some());
        self.phase = Phase::Exchange(Running {
            link,
            arriving,
            queued_at,
            waiting,
            begun: false,
            attended,
            end: None,
        });
        Step::Again
    }

    /// The request will not be answered at once.
    pub(in crate::worker) fn attend(&mut self) -> Fate {
        if let Phase::Exchange(running) = &mut self.phase {
            running.attended = true;
        }
        Fate::Keep
    }

    /// Writes a whole response as far as the socket takes it, past the output queue, which is empty; whether it took all.
    /// What it did not take is left. A broken socket is found on the next attempt. With `is_last` this direction is shut
    /// next, or closed.
    fn write_alone(
        &mut self,
        gathered: &mut Vec<u8>,
        large: &mut Option<Bytes>,
        is_last: bool,
        context: &mut Context,
    ) -> bool {
        if gathered.is_empty() && large.is_none() {
            return true;
        }
        let length = gathered.len() + large.as_ref().map_or(0, Bytes::len);
        let written = match &*large {
            None if is_last => self.socket.send_last(gathered),
            None => self.socket.send(gathered),
            Some(large) => self.socket.send_vectored(&[IoSlice::new(gathered), IoSlice::new(large)]),
        };
        let Ok(written) = written else { return false };
        context.scoreboard.count_bytes(0, written as u64);
        self.write_progress_at = context.now;
        if written == length {
            return true;
        }
        self.writable = false;
        let of_gathered = written.min(gathered.len());
        gathered.drain(..of_gathered);
        if let Some(large) = large {
            large.advance(written - of_gathered);
        }
        false
    }

    /// The application has made its whole response, and is not done with it yet: writes it now.
    pub(in crate::worker) fn transmit(
        &mut self,
        link: &Arc<Link>,
        gathered: &mut Vec<u8>,
        large: &mut Option<Bytes>,
        may_hold: bool,
        context: &mut Context,
    ) -> Sent {
        let Phase::Exchange(running) = &mut self.phase else { return Sent::Gone };
        if !Arc::ptr_eq(&running.link, link) {
            return Sent::Gone;
        }
        running.begun = true;
        if may_hold && self.hold(gathered, large, context) {
            return Sent::Ready;
        }
        self.recall(context);
        if self.output.is_empty() && self.writable && self.write_alone(gathered, large, false, context) {
            gathered.clear();
            *large = None;
            return Sent::Ready;
        }
        self.write_progress_at = context.now;
        self.output.push(Segment::Memory(Bytes::from(std::mem::take(gathered))));
        large.take().into_iter().for_each(|large| self.output.push(Segment::Memory(large)));
        // A broken socket is found on the next attempt.
        self.flush(context);
        Sent::Ready
    }

    /// The application has answered, and the reactor is with the thread that ran it: writes what is left of the response.
    /// With `may_hold` it may wait for others of the same turn.
    pub(in crate::worker) fn answer(
        &mut self,
        link: &Arc<Link>,
        rest: &mut Rest<'_>,
        may_hold: bool,
        context: &mut Context,
    ) -> Fate {
        let Phase::Exchange(running) = &mut self.phase else { return Fate::Keep };
        if !Arc::ptr_eq(&running.link, link) {
            return Fate::Keep;
        }
        let holds = self.holds_back(rest, may_hold, context);
        if !holds {
            self.recall(context);
        }
        let alone = rest.segments.is_empty() && !rest.linked && self.output.is_empty() && self.writable;
        if holds || alone && self.write_alone(rest.gathered, rest.large, !rest.keep_alive, context) {
            return match self.complete(&rest.over(&link.request), rest.keep_alive, context) {
                Step::Close => Fate::Close,
                Step::Again => self.drive(context),
                Step::Wait => Fate::Keep,
            };
        }
        // The long way: what is left goes through the output queue. A broken socket is found there as well.
        for segment in link.take_news().segments.into_iter().chain(rest.segments.drain(..)) {
            self.output.push(segment);
        }
        self.output.push(Segment::Memory(Bytes::from(std::mem::take(rest.gathered))));
        rest.large.take().into_iter().for_each(|large| self.output.push(Segment::Memory(large)));
        let record = Record {
            link: Arc::clone(link),
            head: rest.head.take(),
            status: rest.status,
            body_bytes: rest.body_bytes,
            queued: rest.queued,
            worked: None,
        };
        if let Phase::Exchange(running) = &mut self.phase {
            running.begun = true;
            running.end = Some(Box::new(End { keep_alive: rest.keep_alive, record }));
        }
        link.mark_ended();
        self.write_progress_at = context.now;
        self.drive(context)
    }

    /// Moves bytes between the socket and the application.
    pub(super) fn pump(&mut self, context: &mut Context) -> Step {
        let Phase::Exchange(running) = &mut self.phase else { return Step::Again };
        let news = running.link.take_news();
        if !news.segments.is_empty() && self.output.is_empty() {
            self.write_progress_at = context.now;
        }
        if let Some(arriving) = &mut running.arriving {
            // RFC 9110 §10.1.1: no 100 once the final response has begun.
            if arriving.continue_due && news.body_wanted && news.segments.is_empty() && news.end.is_none() {
                arriving.continue_due = false;
                self.output.push(Segment::Memory(Bytes::from_static(CONTINUE)));
                self.write_progress_at = context.now;
            }
            if arriving.paused && news.body_pending == 0 {
                arriving.paused = false;
                arriving.pace = Pace::new(context.now);
            }
        }
        running.begun |= !news.segments.is_empty();
        for segment in news.segments {
            self.output.push(segment);
        }
        if news.end.is_some() {
            running.end = news.end;
        }
        let Some(written) = self.flush(context) else { return Step::Close };
        let Phase::Exchange(running) = &mut self.phase else { return Step::Again };
        if written > 0 {
            running.link.written(written);
        }
        if self.output.is_empty()
            && let Some(end) = running.end.take()
        {
            if let Some(worked) = end.record.worked {
                context.forecast.learn(Kind::of(&end.record.link.request.head), worked);
            }
            return self.complete(&end.record.over(), end.keep_alive, context);
        }
        self.read_streamed_body(context)
    }

    /// Reads more of a body that the application reads while it arrives.
    fn read_streamed_body(&mut self, context: &mut Context) -> Step {
        loop {
            let Phase::Exchange(running) = &mut self.phase else { return Step::Again };
            let Some(arriving) = &mut running.arriving else { return Step::Wait };
            if arriving.paused {
                return Step::Wait;
            }
            match arriving.take(&mut self.input, &running.link) {
                Ok(true) => {
                    running.link.end_body(Ok(()));
                    running.arriving = None;
                    self.release_input();
                    return Step::Wait;
                }
                Ok(false) => {}
                Err(error) => {
                    log::debug!("a streamed body is refused: {}", error.reason());
                    let too_large = error.status() == 413;
                    let kind =
                        if too_large { io::ErrorKind::FileTooLarge } else { io::ErrorKind::InvalidData };
                    running.link.end_body(Err(kind));
                    // `arriving` stays: the connection cannot be used again.
                    arriving.paused = true;
                    return Step::Wait;
                }
            }
            if running.link.body_pending() >= context.settings.http.body_memory && running.link.pause_body() {
                arriving.paused = true;
                return Step::Wait;
            }
            match self.receive_input(context) {
                Read::Bytes(length) => {
                    if let Phase::Exchange(running) = &mut self.phase
                        && let Some(arriving) = &mut running.arriving
                    {
                        arriving.pace.received(length, context.now);
                    }
                }
                Read::Nothing => return Step::Wait,
                // The application learns of it from its read; what it answers has nowhere to go.
                Read::End | Read::Broken => {
                    if let Phase::Exchange(running) = &mut self.phase {
                        running.link.end_body(Err(io::ErrorKind::UnexpectedEof));
                    }
                    return Step::Close;
                }
            }
        }
    }

    /// The whole response is written.
    fn complete(&mut self, over: &Over<'_>, keep_alive: bool, context: &mut Context) -> Step {
        let phase = std::mem::replace(&mut self.phase, Phase::Head { begun_at: None });
        let Phase::Exchange(running) = phase else { return Step::Again };
        record::exchange_over(over, context);
        self.served += 1;
        self.idle_since = context.now;
        let reusable =
            keep_alive && running.arriving.is_none() && !context.settings.http.keep_alive.is_zero();
        if reusable {
            return self.give_way(context);
        }
        // When the client asked for the close, nothing of it is on its way, unless it says more than it should.
        let head = &over.request.head;
        let client_closes = !head.keep_alive() && running.arriving.is_none();
        let linger = !client_closes || self.readable || !self.input.is_empty();
        if !linger && head.body_length() != RequestBodyLength::None {
            // Some clients send a line more after a body (RFC 9112 §2.2). A close while that is unread would take back
            // what the socket has not sent.
            self.socket.shutdown_write();
        }
        self.phase = Phase::Farewell { linger };
        Step::Again
    }

    /// Goes on with the next request, unless it is the turn of other connections.
    fn give_way(&mut self, context: &mut Context) -> Step {
        let more = self.readable || !self.input.is_empty();
        self.in_a_row = if more { self.in_a_row + 1 } else { 0 };
        if self.in_a_row < IN_A_ROW_MAX {
            return Step::Again;
        }
        self.in_a_row = 0;
        context.yielded.push(self.token);
        Step::Wait
    }

    /// The connection is gone, maybe in the middle of an exchange. That one is recorded all the same: a client may close
    /// when it has the last byte, before the reactor has heard that it was the last.
    pub(in crate::worker) fn abandon(mut self, context: &mut Context) {
        if self.holds {
            self.recall(context);
            self.flush(context);
        }
        let Phase::Exchange(running) = &mut self.phase else { return };
        let link = &running.link;
        link.mark_gone();
        if let Some(exchange) = context.withdraw(self.token) {
            exchange.cancel();
        }
        match running.end.take().or_else(|| link.take_news().end) {
            Some(end) => record::exchange_over(&end.record.over(), context),
            None => drop(context.orphans.insert(self.token, Arc::clone(link))),
        }
    }

    /// The application is over its time with this exchange: answers 504 if nothing of a response is out, else cuts it.
    pub(in crate::worker) fn time_out(&mut self, call: &Call, context: &mut Context) -> TimedOut {
        let Phase::Exchange(running) = &self.phase else { return TimedOut::Complete };
        if !Arc::ptr_eq(&running.link, &call.link) || call.link.time_out() {
            return TimedOut::Complete;
        }
        let begun = running.begun;
        let request = call.request();
        if begun {
            self.output = Output::default();
            self.phase = Phase::Farewell { linger: false };
        } else {
            let date = httpdate::fmt_http_date(SystemTime::now());
            let is_head = request.head.method_kind() == Method::Head;
            let mut answer = Vec::new();
            let told = request_id::told(504, &request.id);
            error_response(504, &context.shared.server, &date, told.as_slice(), is_head, true, &mut answer);
            if self.output.is_empty() {
                self.write_progress_at = context.now;
            }
            self.output.push(Segment::Memory(Bytes::from(answer)));
            self.phase = Phase::Farewell { linger: true };
        }
        let queued = call.link.queued();
        record::exchange_over(&Over { request, head: None, status: 504, body_bytes: 0, queued }, context);
        if begun { TimedOut::Cut } else { TimedOut::Answered }
    }

    /// The request waited too long for an app thread, or its body is too slow.
    pub(super) fn exchange_expired(&mut self, context: &mut Context) -> Step {
        let Phase::Exchange(running) = &mut self.phase else { return Step::Again };
        let waited = context.now.saturating_duration_since(running.queued_at);
        if running.waiting
            && let Some((limit, setting)) = queue_limit(&context.settings)
            && waited >= limit
        {
            running.waiting = false;
            if let Some(exchange) = context.withdraw(self.token) {
                log::warn!(
                    "[{}] no app thread was free for {waited:.1?} ({setting}): answered 503",
                    exchange.id()
                );
                exchange.shed();
                return Step::Again;
            }
        }
        if let Some(arriving) = &mut running.arriving
            && !arriving.paused
            && arriving.pace.deadline(context.settings.http.body_timeout) <= context.now
        {
            running.link.end_body(Err(io::ErrorKind::TimedOut));
            arriving.paused = true;
        }
        Step::Again
    }
}

impl Arriving {
    /// Decodes what is in `input` and passes it on; true when the body is complete.
    fn take(&mut self, input: &mut bytes::BytesMut, link: &Link) -> Result<bool, HttpError> {
        loop {
            match self.decoder.decode(input)? {
                BodyEvent::Data { start, length } => {
                    let _framing = input.split_to(start);
                    link.push_body(input.split_to(length).freeze());
                }
                BodyEvent::Incomplete { consumed } => {
                    let _framing = input.split_to(consumed);
                    return Ok(false);
                }
                BodyEvent::Complete { consumed } => {
                    let _framing = input.split_to(consumed);
                    return Ok(true);
                }
            }
        }
    }
}
