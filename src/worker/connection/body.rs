//! A body that is read to its end before the application is called.

use std::io;
use std::time::{Duration, Instant};

use bytes::Buf;

use crate::http::{BodyDecoder, BodyEvent, HttpError, RequestHead};

use super::super::context::Context;
use super::super::spool::Spool;
use super::head::Opening;
use super::{Connection, Phase, Read, Step};

/// A body must come at this rate on average, in bytes a second, or a client could hold a connection for ever with a
/// byte now and then. IIS has the same default (`MinBytesPerSecond`).
const RATE_MIN: u64 = 240;

/// A body that is being gathered.
#[derive(Debug)]
pub(super) struct Gathering {
    head: RequestHead,
    opening: Opening,
    decoder: BodyDecoder,
    spool: Spool,
    pace: Pace,
}

/// How fast a body comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    begun_at: Instant,
    read_at: Instant,
    received_bytes: u64,
}

impl Pace {
    /// A body of which nothing has arrived.
    pub(super) fn new(now: Instant) -> Self {
        Self { begun_at: now, read_at: now, received_bytes: 0 }
    }

    /// Bytes have arrived.
    pub(super) fn received(&mut self, bytes: usize, now: Instant) {
        self.read_at = now;
        self.received_bytes += bytes as u64;
    }

    /// When it is too slow: `timeout` after the last read, and `timeout` behind the least rate.
    pub(super) fn deadline(&self, timeout: Duration) -> Instant {
        let owed = Duration::from_secs(self.received_bytes / RATE_MIN);
        (self.read_at + timeout).min(self.begun_at + timeout + owed)
    }
}

/// Why a body could not be gathered.
#[derive(Debug)]
enum Failure {
    Http(HttpError),
    Spool(io::Error),
}

impl Gathering {
    pub(super) fn new(
        head: RequestHead,
        opening: Opening,
        decoder: BodyDecoder,
        spool: Spool,
        now: Instant,
    ) -> Self {
        Self { head, opening, decoder, spool, pace: Pace::new(now) }
    }

    pub(super) fn deadline(&self, timeout: Duration) -> Instant {
        self.pace.deadline(timeout)
    }

    /// Decodes `input`; returns how many bytes it consumed and whether the body is complete.
    fn take(&mut self, input: &[u8]) -> Result<(usize, bool), Failure> {
        let mut consumed = 0;
        loop {
            match self.decoder.decode(&input[consumed..]).map_err(Failure::Http)? {
                BodyEvent::Data { start, length } => {
                    let data = &input[consumed + start..consumed + start + length];
                    self.spool.write(data).map_err(Failure::Spool)?;
                    consumed += start + length;
                }
                BodyEvent::Incomplete { consumed: framing } => return Ok((consumed + framing, false)),
                BodyEvent::Complete { consumed: framing } => return Ok((consumed + framing, true)),
            }
        }
    }
}

impl Connection {
    /// Reads more of the body.
    pub(super) fn read_body(&mut self, context: &mut Context) -> Step {
        if self.flush(context).is_none() {
            return Step::Close;
        }
        let Phase::Body(gathering) = &mut self.phase else { return Step::Again };
        if !self.input.is_empty() {
            let taken = gathering.take(&self.input);
            return match taken {
                Ok((consumed, complete)) => {
                    self.input.advance(consumed);
                    self.release_input();
                    if complete { self.body_complete(context) } else { self.receive_body(context) }
                }
                Err(failure) => self.body_failed(&failure, context),
            };
        }
        self.receive_body(context)
    }

    fn receive_body(&mut self, context: &mut Context) -> Step {
        let length = match self.receive(context) {
            Read::Bytes(length) => length,
            Read::Nothing => return Step::Wait,
            // The client went away: the application never hears of this request.
            Read::End | Read::Broken => return Step::Close,
        };
        let now = context.now;
        let Phase::Body(gathering) = &mut self.phase else { return Step::Again };
        gathering.pace.received(length, now);
        let received = &context.scratch[..length];
        if !self.input.is_empty() {
            self.input.extend_from_slice(received);
            return Step::Again;
        }
        // The common case: straight from the read buffer into the spool.
        match gathering.take(received) {
            Ok((consumed, complete)) => {
                self.input.extend_from_slice(&received[consumed..]);
                if complete { self.body_complete(context) } else { Step::Again }
            }
            Err(failure) => self.body_failed(&failure, context),
        }
    }

    fn body_complete(&mut self, context: &mut Context) -> Step {
        let phase = std::mem::replace(&mut self.phase, Phase::Head { begun_at: None });
        let Phase::Body(gathering) = phase else { return Step::Again };
        let Gathering { head, opening, spool, .. } = *gathering;
        match spool.finish() {
            Ok(body) => {
                context.head = head;
                self.dispatch(opening, body, context)
            }
            Err(error) => {
                log::error!("cannot rewind the temporary file of a request body: {error}");
                self.reject(500, "spool", Some(head), context)
            }
        }
    }

    fn body_failed(&mut self, failure: &Failure, context: &mut Context) -> Step {
        let phase = std::mem::replace(&mut self.phase, Phase::Head { begun_at: None });
        let Phase::Body(gathering) = phase else { return Step::Again };
        let head = Some(gathering.head);
        match failure {
            Failure::Http(error) => self.reject(error.status(), error.reason(), head, context),
            Failure::Spool(error) => {
                let directory = std::env::temp_dir();
                log::error!(
                    "cannot write a request body to a temporary file in {}: {error}: free some space there, or set \
                     TMPDIR to another directory",
                    directory.display()
                );
                let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                self.reject(if full { 507 } else { 500 }, "spool", head, context)
            }
        }
    }

    /// The body is too slow.
    pub(super) fn body_expired(&mut self, context: &mut Context) -> Step {
        let phase = std::mem::replace(&mut self.phase, Phase::Head { begun_at: None });
        let Phase::Body(gathering) = phase else { return Step::Again };
        self.reject(408, "the body is too slow", Some(gathering.head), context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_drips_is_too_slow_and_one_that_flows_is_not() {
        let timeout = Duration::from_secs(30);
        let begun = Instant::now();
        let mut drip = Pace::new(begun);
        let mut flow = Pace::new(begun);
        for second in 1..=40 {
            let now = begun + Duration::from_secs(second);
            drip.received(1, now);
            flow.received(1000, now);
        }
        let now = begun + Duration::from_secs(40);
        assert!(drip.deadline(timeout) < now);
        assert!(flow.deadline(timeout) == now + timeout);
    }

    #[test]
    fn silence_expires_after_the_timeout() {
        let begun = Instant::now();
        let timeout = Duration::from_secs(30);
        assert_eq!(Pace::new(begun).deadline(timeout), begun + timeout);
    }
}
