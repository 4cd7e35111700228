//! Finds the end of a request head in growing input and refuses it as soon as a byte breaks a rule.
//!
//! A head that is there as a whole and looks as usual is read by `usual` in one pass. All others are scanned line by
//! line here, and read by `head` once they are complete.
//!
//! Invariants: no byte is looked at again because more have come (that the first attempt failed is not tried again);
//! the outcome depends on the bytes alone, never on how they are split (the corpus is fed whole, byte by byte and in
//! pieces).

use bytes::{Buf, BytesMut};

use super::error::{HttpError, Reject};
use super::field::name_of_line;
use super::limits::Limits;
use super::request::RequestHead;
use super::request_line::{METHOD_BYTES_MAX, RequestLine};
use super::syntax::{is_method_byte, scan_line};
use super::{head, usual};

/// Most empty lines that are skipped before a request line. RFC 9112 §2.2 wants at least one; some clients end a body
/// with more than that.
const EMPTY_LINES_MAX: u8 = 8;

/// Finds and parses one head in growing input. Remembers how far it has looked, so that a head that arrives
/// byte by byte costs no more than one that arrives whole.
#[derive(Debug, Default)]
pub struct HeadParser {
    phase: Phase,
    /// Where the head begins in the input: behind the empty lines before it.
    head_start: usize,
    /// Start of the current line, from the start of the head.
    line_start: usize,
    /// How far the current line has been looked at, from its start.
    line_scanned: usize,
    /// How many empty lines before the request line were skipped.
    lines_skipped: u8,
}

/// What the current line is.
#[derive(Debug, Default, Clone, Copy)]
enum Phase {
    /// Nothing was looked at.
    #[default]
    New,
    /// The request line, within the method.
    Method,
    /// The request line, after the method.
    RequestLine,
    /// A field line, or the empty line at the end.
    Fields { line: RequestLine, section_start: usize, count: usize },
}

impl HeadParser {
    /// A parser for the next head.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at `input`, which holds all bytes of the connection from the start of this head on, and of what follows it
    /// as much as has come.
    ///
    /// `Some(consumed)`: the head is complete and copied into `into`, whose buffers are used again: a head that has had
    /// one of that size before allocates nothing. The caller drops the first `consumed` bytes of its input; the parser
    /// is ready for the next head. `None`: more bytes are needed. The next call gives the same bytes, with more behind
    /// them (only what [`Self::take_skipped`] returned may be dropped); what was looked at is not looked at again. An
    /// error is reported as soon as the bytes that break a rule are there, not only at the end of the head; the
    /// connection cannot be read further, and neither can the parser. A few empty lines (CRLF) before the request line
    /// are skipped (RFC 9112 §2.2) and are part of `consumed`.
    ///
    /// `into` may be any head, another one in each call: it carries nothing from one call to the next, and unless the
    /// head is complete it holds nothing of use.
    ///
    /// # Errors
    /// The rule that the client broke.
    pub fn parse_slice(
        &mut self,
        input: &[u8],
        limits: &Limits,
        into: &mut RequestHead,
    ) -> Result<Option<usize>, HttpError> {
        // Here and not in the loop, so that a usual head costs nothing else.
        if matches!(self.phase, Phase::New) {
            if let Some(consumed) = usual::read(&input[self.head_start..], limits, into) {
                return Ok(Some(std::mem::take(self).head_start + consumed));
            }
        }
        self.advance(input, limits, into).map_err(HttpError)
    }

    /// After an incomplete head: how many bytes at the start of the input are empty lines that were skipped. The caller
    /// drops them; if that is all that came, no request has begun.
    pub fn take_skipped(&mut self) -> usize {
        std::mem::take(&mut self.head_start)
    }

    /// [`Self::parse_slice`] on a buffer from which the head and the empty lines before it are taken.
    ///
    /// # Errors
    /// The rule that the client broke.
    pub fn parse(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<Option<RequestHead>, HttpError> {
        let mut head = RequestHead::default();
        let consumed = self.parse_slice(input, limits, &mut head)?;
        input.advance(consumed.unwrap_or_else(|| self.take_skipped()));
        Ok(consumed.map(|_| head))
    }

    fn advance(
        &mut self,
        input: &[u8],
        limits: &Limits,
        into: &mut RequestHead,
    ) -> Result<Option<usize>, Reject> {
        loop {
            let head = &input[self.head_start..];
            let progress = match self.phase {
                Phase::New if head.is_empty() => false,
                Phase::New | Phase::Method => {
                    self.phase = Phase::Method;
                    self.scan_method(head, limits)?
                }
                Phase::RequestLine => self.scan_request_line(head, limits)?,
                Phase::Fields { line, section_start, count } => {
                    match self.scan_field(head, limits, section_start, count)? {
                        FieldScan::Incomplete => false,
                        FieldScan::Field => {
                            self.phase = Phase::Fields { line, section_start, count: count + 1 };
                            true
                        }
                        FieldScan::End(length) => {
                            head::read(&head[..length], &line, section_start, count, into)?;
                            let consumed = self.head_start + length;
                            *self = Self::default();
                            return Ok(Some(consumed));
                        }
                    }
                }
            };
            if !progress {
                return Ok(None);
            }
        }
    }

    /// The bytes up to the first space. True when the method is complete (or an empty line was skipped).
    fn scan_method(&mut self, head: &[u8], limits: &Limits) -> Result<bool, Reject> {
        match (head.first(), head.get(1)) {
            // The content type of a TLS handshake record (RFC 8446 §5.1).
            (Some(0x16), _) => return Err(Reject::TlsHello),
            (Some(b'\r'), None) if self.lines_skipped < EMPTY_LINES_MAX => return Ok(false),
            (Some(b'\r'), Some(b'\n')) if self.lines_skipped < EMPTY_LINES_MAX => {
                self.lines_skipped += 1;
                self.head_start += 2;
                self.phase = Phase::New;
                return Ok(true);
            }
            _ => {}
        }
        while let Some(byte) = head.get(self.line_scanned) {
            match byte {
                b' ' if self.line_scanned > 0 => {
                    self.phase = Phase::RequestLine;
                    return Ok(true);
                }
                b' ' | b'\r' => return Err(Reject::RequestLine),
                b'\n' => return Err(Reject::BareLf),
                _ if self.line_scanned >= limits.request_line_max => return Err(Reject::RequestLineTooLong),
                byte if is_method_byte(*byte) && self.line_scanned < METHOD_BYTES_MAX => {
                    self.line_scanned += 1
                }
                _ => return Err(Reject::Method),
            }
        }
        Ok(false)
    }

    /// The rest of the request line. True when it is complete and well-formed.
    fn scan_request_line(&mut self, head: &[u8], limits: &Limits) -> Result<bool, Reject> {
        let too_long = Reject::RequestLineTooLong;
        let Some(length) = scan_line(head, &mut self.line_scanned, limits.request_line_max, too_long)? else {
            return Ok(false);
        };
        let line = RequestLine::parse(&head[..length])?;
        self.next_line(length);
        self.phase = Phase::Fields { line, section_start: self.line_start, count: 0 };
        Ok(true)
    }

    /// One line of the field section; `count` fields came before it.
    fn scan_field(
        &mut self,
        head: &[u8],
        limits: &Limits,
        section_start: usize,
        count: usize,
    ) -> Result<FieldScan, Reject> {
        let rest = &head[self.line_start..];
        // RFC 9112 §5.2; also white space before the first field (RFC 9112 §2.2).
        if matches!(rest.first(), Some(b' ' | b'\t')) {
            return Err(Reject::ObsFold);
        }
        let room = limits.header_bytes_max.saturating_sub(self.line_start - section_start);
        let Some(length) = scan_line(rest, &mut self.line_scanned, room, Reject::HeadersTooLarge)? else {
            return Ok(FieldScan::Incomplete);
        };
        if length == 0 {
            return Ok(FieldScan::End(self.line_start + 2));
        }
        if length + 2 > room {
            return Err(Reject::HeadersTooLarge);
        }
        if count >= limits.headers_max {
            return Err(Reject::HeadersTooMany);
        }
        name_of_line(&rest[..length])?;
        self.next_line(length);
        Ok(FieldScan::Field)
    }

    fn next_line(&mut self, length: usize) {
        self.line_start += length + 2;
        self.line_scanned = 0;
    }
}

/// What a step over the field section found.
#[derive(Debug)]
enum FieldScan {
    Incomplete,
    Field,
    /// The empty line; the length of the whole head.
    End(usize),
}

#[cfg(test)]
mod tests;
