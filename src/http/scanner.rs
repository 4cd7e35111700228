//! Finds the end of a request head in a growing buffer and refuses it as soon as a byte breaks a rule.
//!
//! Invariants: no byte is looked at twice for the same rule, however it arrives; the outcome depends on the bytes
//! alone, never on how they are split (the corpus is fed whole, byte by byte and in pieces).

use bytes::{Buf, BytesMut};

use super::error::{HttpError, Reject};
use super::field::name_of_line;
use super::head;
use super::limits::Limits;
use super::request::RequestHead;
use super::request_line::{METHOD_BYTES_MAX, RequestLine, is_method_byte};
use super::syntax::scan_line;

/// Most empty lines that are skipped before a request line. RFC 9112 §2.2 wants at least one; some clients end a body
/// with more than that.
const EMPTY_LINES_MAX: u8 = 8;

/// Finds and parses one head in a growing buffer. Remembers how far it has looked, so that a head that arrives
/// byte by byte costs no more than one that arrives whole.
#[derive(Debug, Default)]
pub struct HeadParser {
    phase: Phase,
    /// Start of the current line in the input.
    line_start: usize,
    /// How far the current line has been looked at, from its start.
    line_scanned: usize,
    /// How many empty lines before the request line were skipped.
    lines_skipped: u8,
}

/// What the current line is.
#[derive(Debug, Default, Clone, Copy)]
enum Phase {
    /// The request line, within the method.
    #[default]
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

    /// Looks at `input`, which holds all bytes of the connection from the start of this head on. Complete: the head's
    /// bytes are split off `input`, what follows stays. `None`: more bytes are needed. An error is reported as soon
    /// as the bytes that break a rule are there, not only at the end of the head. A few empty lines (CRLF) before
    /// the request line are skipped (RFC 9112 §2.2). Resets itself after a complete head.
    ///
    /// # Errors
    /// The rule that the client broke.
    pub fn parse(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<Option<RequestHead>, HttpError> {
        self.advance(input, limits).map_err(HttpError)
    }

    fn advance(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<Option<RequestHead>, Reject> {
        loop {
            let progress = match self.phase {
                Phase::Method => self.scan_method(input, limits)?,
                Phase::RequestLine => self.scan_request_line(input, limits)?,
                Phase::Fields { line, section_start, count } => {
                    match self.scan_field(input, limits, section_start, count)? {
                        FieldScan::Incomplete => false,
                        FieldScan::Field => {
                            self.phase = Phase::Fields { line, section_start, count: count + 1 };
                            true
                        }
                        FieldScan::End(length) => {
                            let bytes = input.split_to(length).freeze();
                            *self = Self::default();
                            return head::parse(bytes, line, section_start, count).map(Some);
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
    fn scan_method(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<bool, Reject> {
        match (input.first(), input.get(1)) {
            // The content type of a TLS handshake record (RFC 8446 §5.1).
            (Some(0x16), _) => return Err(Reject::TlsHello),
            (Some(b'\r'), None) if self.lines_skipped < EMPTY_LINES_MAX => return Ok(false),
            (Some(b'\r'), Some(b'\n')) if self.lines_skipped < EMPTY_LINES_MAX => {
                self.lines_skipped += 1;
                input.advance(2);
                return Ok(true);
            }
            _ => {}
        }
        while let Some(byte) = input.get(self.line_scanned) {
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
    fn scan_request_line(&mut self, input: &BytesMut, limits: &Limits) -> Result<bool, Reject> {
        let too_long = Reject::RequestLineTooLong;
        let Some(length) = scan_line(input, &mut self.line_scanned, limits.request_line_max, too_long)?
        else {
            return Ok(false);
        };
        let line = RequestLine::parse(&input[..length])?;
        self.next_line(length);
        self.phase = Phase::Fields { line, section_start: self.line_start, count: 0 };
        Ok(true)
    }

    /// One line of the field section; `count` fields came before it.
    fn scan_field(
        &mut self,
        input: &BytesMut,
        limits: &Limits,
        section_start: usize,
        count: usize,
    ) -> Result<FieldScan, Reject> {
        let rest = &input[self.line_start..];
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
