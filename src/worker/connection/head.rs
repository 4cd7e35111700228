//! The beginning of a request: PROXY protocol header, head, and what is decided from the head alone.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};

use crate::app::{Body, mount_split};
use crate::http::{BodyDecoder, CONTINUE, RequestBodyLength, Target};
use crate::net::proxy_protocol::{self, Proxied};
use crate::net::{Address, Endpoint, Origin, OriginError, origin_of};

use super::super::context::Context;
use super::super::output::Segment;
use super::super::spool::{self, Spool};
use super::body::Gathering;
use super::{Connection, Phase, Read, Step};

/// What is known of a request besides its head, on the way to the application.
#[derive(Debug)]
pub(in crate::worker) struct Opening {
    /// Who sent it, and what for.
    pub(in crate::worker) origin: Origin,
    /// When its first byte was read.
    pub(in crate::worker) received_at: Instant,
}

impl Connection {
    /// Reads the header of the PROXY protocol. A peer that is not trusted, or that sends none, is closed without an
    /// answer: it is no HTTP client that could read one.
    pub(super) fn read_preface(&mut self, context: &mut Context) -> Step {
        if !self.endpoint.trusted {
            log::debug!("closed {:?}: not in proxy.trusted, but proxy.protocol is on", self.endpoint.peer);
            return Step::Close;
        }
        match proxy_protocol::parse(context.settings.proxy.protocol, &self.input) {
            Ok(Some((length, proxied))) => {
                let _header = self.input.split_to(length);
                if let Proxied::Addresses { source, destination } = proxied {
                    // The proxy itself is trusted, so its forwarding headers stay believable.
                    let (local, peer) = (Address::Tcp(destination), Address::Tcp(source));
                    self.endpoint = Arc::new(Endpoint { local, peer, trusted: true });
                }
                self.phase = Phase::Head { begun_at: None };
                Step::Again
            }
            Ok(None) => match self.receive_input(context) {
                Read::Bytes(_) => Step::Again,
                Read::Nothing => Step::Wait,
                Read::End | Read::Broken => Step::Close,
            },
            Err(error) => {
                log::debug!("closed {:?}: no valid PROXY protocol header: {error:?}", self.endpoint.peer);
                Step::Close
            }
        }
    }

    /// Reads a request head.
    pub(super) fn read_head(&mut self, context: &mut Context) -> Step {
        // The answer before this one must be out first, or a client that only sends would fill our memory.
        if self.flush(context).is_none() {
            return Step::Close;
        }
        if !self.output.is_empty() {
            return Step::Wait;
        }
        if !self.input.is_empty() {
            let received_at = self.head_begun(context);
            let Context { head, limits, .. } = &mut *context;
            match self.parser.parse_slice(&self.input, limits, head) {
                Ok(Some(consumed)) => {
                    self.input.advance(consumed);
                    return self.open(received_at, None, context);
                }
                Ok(None) => {
                    self.input.advance(self.parser.take_skipped());
                    self.forget_empty_lines();
                }
                Err(error) => return self.reject(error.status(), error.reason(), None, context),
            }
        }
        match self.receive(context) {
            Read::Bytes(length) if self.input.is_empty() => self.read_head_in_place(length, context),
            Read::Bytes(length) => {
                self.input.extend_from_slice(&context.scratch[..length]);
                Step::Again
            }
            Read::Nothing => Step::Wait,
            Read::End if self.holds => {
                self.phase = Phase::Farewell { linger: false };
                Step::Again
            }
            Read::End | Read::Broken => Step::Close,
        }
    }

    /// Reads a head that begins where the read buffer does: most come whole, and are not copied.
    fn read_head_in_place(&mut self, length: usize, context: &mut Context) -> Step {
        let received_at = self.head_begun(context);
        let Context { head, limits, scratch, settings, .. } = &mut *context;
        let received = &scratch[..length];
        match self.parser.parse_slice(received, limits, head) {
            Ok(Some(consumed)) => {
                let rest = &received[consumed..];
                // A small body mostly comes with its head, and goes to the application as it is.
                let whole = match head.body_length() {
                    RequestBodyLength::Length(length) => usize::try_from(length).ok(),
                    RequestBodyLength::None | RequestBodyLength::Chunked => None,
                };
                let whole = whole.filter(|length| *length <= rest.len().min(settings.http.body_memory));
                let (body, behind) = rest.split_at(whole.unwrap_or(0));
                let body = whole.map(|_| Body::Memory(Bytes::copy_from_slice(body)));
                self.input.extend_from_slice(behind);
                self.open(received_at, body, context)
            }
            Ok(None) => {
                self.input.extend_from_slice(&received[self.parser.take_skipped()..]);
                self.forget_empty_lines();
                Step::Again
            }
            Err(error) => {
                // Whatever follows it: the connection is closed.
                self.input.extend_from_slice(received);
                self.reject(error.status(), error.reason(), None, context)
            }
        }
    }

    /// When the first byte of this head was read.
    fn head_begun(&mut self, context: &Context) -> Instant {
        if let Phase::Head { begun_at } = &mut self.phase {
            *begun_at.get_or_insert(context.now)
        } else {
            context.now
        }
    }

    /// Only empty lines have come, which are skipped: no request has begun.
    fn forget_empty_lines(&mut self) {
        if self.input.is_empty() {
            self.phase = Phase::Head { begun_at: None };
        }
    }

    /// Answers for the application a request whose head was read.
    fn reject_head(&mut self, status: u16, reason: &'static str, context: &mut Context) -> Step {
        let head = std::mem::take(&mut context.head);
        self.reject(status, reason, Some(head), context)
    }

    /// Decides from the head what follows: an error, a body, or the application. `whole` is its body if that is there.
    fn open(&mut self, received_at: Instant, whole: Option<Body>, context: &mut Context) -> Step {
        self.release_input();
        let mut origin = match origin_of(&context.head, &self.endpoint, &context.settings.proxy) {
            Ok(origin) => origin,
            Err(error) => {
                let reason = match error {
                    OriginError::ContradictoryScheme => "forwarding headers that name different schemes",
                    OriginError::Malformed => "a forwarding header that cannot be read",
                };
                return self.reject_head(400, reason, context);
            }
        };
        if let Some(scheme) = self.scheme {
            origin.scheme = scheme;
        }
        let head = &context.head;
        let has_path = matches!(head.target_form(), Target::Origin | Target::Absolute);
        if has_path && mount_split(head.path(), &context.settings.app.mount).is_none() {
            return self.reject_head(404, "the path is outside app.mount", context);
        }
        let length = head.body_length();
        let decoder = match BodyDecoder::new(length, &context.limits) {
            Ok(decoder) => decoder,
            Err(error) => return self.reject_head(error.status(), error.reason(), context),
        };
        let opening = Opening { origin, received_at };
        if let Some(body) = whole {
            return self.dispatch(opening, body, context);
        }
        let announced = match length {
            RequestBodyLength::None => return self.dispatch(opening, spool::no_body(), context),
            RequestBodyLength::Length(announced) => announced,
            RequestBodyLength::Chunked => 0,
        };
        if !context.settings.http.request_buffering {
            return self.dispatch_streaming(opening, decoder, context);
        }
        if context.head.expects_continue() && self.input.is_empty() {
            self.output.push(Segment::Memory(Bytes::from_static(CONTINUE)));
            self.write_progress_at = context.now;
        }
        let spool = Spool::new(announced, context.settings.http.body_memory);
        let head = std::mem::take(&mut context.head);
        self.phase = Phase::Body(Box::new(Gathering::new(head, opening, decoder, spool, context.now)));
        Step::Again
    }
}
