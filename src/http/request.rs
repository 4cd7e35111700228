//! Request heads: an incremental scanner that finds the end of the head and refuses early, then the parse.

use bytes::{Bytes, BytesMut};

use super::error::HttpError;
use super::limits::Limits;

/// HTTP/1.0 or HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// What the server needs to know about a method; its text is in the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: the answer has no body.
    Head,
    /// Any other.
    Other,
}

/// The form of the request target (RFC 9112 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`; its authority stands in for Host (RFC 9112 §3.2.2).
    Absolute,
    /// `host:port`, only with CONNECT.
    Authority,
    /// `*`, only with OPTIONS.
    Asterisk,
}

/// How the request's body is delimited (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestBodyLength {
    /// No body.
    None,
    /// Content-Length, above zero.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// A parsed request head that owns its bytes.
#[derive(Debug, Clone)]
pub struct RequestHead {
    bytes: Bytes,
}

impl RequestHead {
    /// The method's text.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        todo!()
    }
    /// The method's kind.
    #[must_use]
    pub fn method_kind(&self) -> Method {
        todo!()
    }
    /// The request target as received (`RAW_URI`).
    #[must_use]
    pub fn target(&self) -> &[u8] {
        todo!()
    }
    /// The form of the target.
    #[must_use]
    pub fn target_form(&self) -> Target {
        todo!()
    }
    /// The path as received, still percent-encoded; `*` for the asterisk form; `/` for an absolute form without one.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        todo!()
    }
    /// The query without its `?`; empty when there is none.
    #[must_use]
    pub fn query(&self) -> &[u8] {
        todo!()
    }
    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        todo!()
    }
    /// The host asked for: of an absolute-form target, else of the Host field. `None` only for HTTP/1.0 without Host.
    #[must_use]
    pub fn host(&self) -> Option<&[u8]> {
        todo!()
    }
    /// Header fields in order: name as received, value without surrounding white space. Fields whose name has an
    /// underscore are already dropped.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        std::iter::empty()
    }
    /// The first field of that name (given in lower case).
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let _ = name;
        todo!()
    }
    /// How the body is delimited.
    #[must_use]
    pub fn body_length(&self) -> RequestBodyLength {
        todo!()
    }
    /// Whether the client allows the connection to be reused after this request.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        todo!()
    }
    /// Whether the client waits for `100 Continue` (RFC 9110 §10.1.1); only with a body and HTTP/1.1.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        todo!()
    }
}

/// Finds and parses one head in a growing buffer. Remembers how far it has looked, so that a head that arrives
/// byte by byte costs no more than one that arrives whole.
#[derive(Debug, Default)]
pub struct HeadParser {
    scanned: usize,
}

impl HeadParser {
    /// A parser for the next head.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at `input`, which holds all bytes of the connection from the start of this head on. Complete: the head's
    /// bytes are split off `input`, what follows stays. `None`: more bytes are needed. An error is reported as soon
    /// as the bytes that break a rule are there, not only at the end of the head. One empty line (CRLF) before the
    /// request line is skipped (RFC 9112 §2.2). Resets itself after a complete head.
    ///
    /// # Errors
    /// The rule that the client broke.
    pub fn parse(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<Option<RequestHead>, HttpError> {
        let _ = (input, limits);
        todo!()
    }
}
