//! Response heads and the framing of response bodies (RFC 9110 §6.4, RFC 9112 §6, §7.1).

use super::request::{Method, Version};

/// A response head under construction: status and header fields, checked and rendered as they are added.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    rendered: Vec<u8>,
}

/// Why a status or a header field from the application is refused. `Display` is one sentence that says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldError {
    /// Placeholder of the skeleton.
    Malformed,
}

/// What the framing of a response depends on besides its head.
#[derive(Debug, Clone, Copy)]
pub struct ResponseContext<'a> {
    /// The request's version.
    pub version: Version,
    /// The request's method.
    pub method: Method,
    /// Whether client and server want to keep the connection.
    pub keep_alive: bool,
    /// Length of the whole body where it is known without a Content-Length of the application.
    pub body_length: Option<u64>,
    /// Value of the Server field; empty for none. Not sent if the application set its own.
    pub server: &'a str,
    /// Value of the Date field (IMF-fixdate). Not sent if the application set its own.
    pub date: &'a str,
}

impl ResponseHead {
    /// Starts a head from a status string as PEP 3333 has it: three digits, a space, a reason.
    ///
    /// # Errors
    /// Not of that form, a 1xx status, or a control character in the reason.
    pub fn new(status: &[u8]) -> Result<Self, FieldError> {
        let _ = status;
        todo!()
    }

    /// Adds a field. Refused: bad names, CR, LF, NUL and other controls in values, hop-by-hop fields (PEP 3333;
    /// RFC 9110 §7.6.1), a bad or repeated Content-Length.
    ///
    /// # Errors
    /// What is wrong with the field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), FieldError> {
        let _ = (name, value);
        todo!()
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        todo!()
    }

    /// The application's own Content-Length.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        todo!()
    }

    /// The first value of a field that the application set (name in lower case); for the access log.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let _ = name;
        todo!()
    }

    /// Renders the complete head into `out` and decides the framing of the body: none for HEAD, 204 and 304
    /// (no Content-Length added to 204; that of the application is kept for HEAD and 304), by Content-Length, by
    /// chunks for HTTP/1.1, else by closing.
    pub fn encode(&self, context: &ResponseContext<'_>, out: &mut Vec<u8>) -> BodyFramer {
        let _ = (context, out);
        todo!()
    }
}

/// Frames the blocks of one response body and enforces its length.
#[derive(Debug)]
pub struct BodyFramer {
    remaining: u64,
}

/// How one block goes out: `prefix`, the first `take` bytes of the block, `suffix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Chunk size line, or empty.
    pub prefix: ([u8; 18], usize),
    /// How many bytes of the block to send; fewer than it has when it goes past the Content-Length, zero when the
    /// response has no body (HEAD).
    pub take: u64,
    /// CRLF after a chunk, or empty.
    pub suffix: &'static [u8],
    /// True when bytes past the Content-Length were cut (not set for responses that have no body at all).
    pub excess: bool,
}

impl BodyFramer {
    /// Frames a block of `length` bytes (above zero).
    pub fn frame(&mut self, length: u64) -> Frame {
        let _ = length;
        todo!()
    }

    /// Ends the body: the last chunk or nothing; `Err(missing)` when it is `missing` bytes shorter than its
    /// Content-Length.
    ///
    /// # Errors
    /// The number of bytes missing.
    pub fn finish(&mut self) -> Result<&'static [u8], u64> {
        todo!()
    }

    /// Whether the connection must be closed after this response.
    #[must_use]
    pub fn closes(&self) -> bool {
        todo!()
    }

    /// True when no body bytes are sent at all (HEAD, 204, 304).
    #[must_use]
    pub fn is_bodiless(&self) -> bool {
        todo!()
    }
}
