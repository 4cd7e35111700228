//! A parsed request head: one owner of the bytes, and spans into them.

use bytes::Bytes;

use super::error::Reject;
use super::request_line::RequestLine;

pub use super::scanner::HeadParser;

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
    /// `host:port`, only with CONNECT, which is refused: no head has it.
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

/// A range of the bytes of a head. Half the size of a `Range<usize>`, for there are two in every field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// The span of `part`, which is a slice of `whole`. An empty part has an empty span, wherever it is.
    ///
    /// # Errors
    /// A head past 4 GiB.
    pub(super) fn of(whole: &[u8], part: &[u8]) -> Result<Self, Reject> {
        if part.is_empty() {
            return Ok(Self::default());
        }
        let offset = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        match (u32::try_from(offset), u32::try_from(part.len())) {
            (Ok(start), Ok(length)) => Ok(Self { start, length }),
            _ => Err(Reject::HeadersTooLarge),
        }
    }

    /// The bytes of the span, in the head that it was made for.
    pub(super) fn slice(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        &bytes[start..start + self.length as usize]
    }
}

/// One field of a head: its name, and its value without the white space around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldSpan {
    pub(super) name: Span,
    pub(super) value: Span,
}

/// A parsed request head that owns its bytes.
#[derive(Debug, Clone)]
pub struct RequestHead {
    pub(super) bytes: Bytes,
    pub(super) line: RequestLine,
    pub(super) fields: Vec<FieldSpan>,
    pub(super) host: Option<Span>,
    pub(super) body_length: RequestBodyLength,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
}

impl RequestHead {
    /// The method's text.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.line.method.slice(&self.bytes)
    }

    /// The method's kind.
    #[must_use]
    pub fn method_kind(&self) -> Method {
        self.line.method_kind
    }

    /// The request target as received (`RAW_URI`).
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.line.target.slice(&self.bytes)
    }

    /// The form of the target.
    #[must_use]
    pub fn target_form(&self) -> Target {
        self.line.form
    }

    /// The path as received, still percent-encoded; `*` for the asterisk form; `/` for an absolute form without one
    /// (RFC 9110 §4.2.3).
    #[must_use]
    pub fn path(&self) -> &[u8] {
        match self.line.path.slice(&self.bytes) {
            b"" => b"/",
            path => path,
        }
    }

    /// The query without its `?`; empty when there is none.
    #[must_use]
    pub fn query(&self) -> &[u8] {
        self.line.query.slice(&self.bytes)
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The host asked for: of an absolute-form target, else of the Host field. `None` only for HTTP/1.0 without Host.
    #[must_use]
    pub fn host(&self) -> Option<&[u8]> {
        self.host.map(|host| host.slice(&self.bytes))
    }

    /// Header fields in order: name as received, value without surrounding white space. Fields whose name has an
    /// underscore are already dropped.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (field.name.slice(&self.bytes), field.value.slice(&self.bytes)))
    }

    /// The field lines as received. Heads of which these are equal have equal fields.
    #[must_use]
    pub fn fields_bytes(&self) -> &[u8] {
        let line_length = memchr::memchr(b'\n', &self.bytes).map_or(0, |end| end + 1);
        &self.bytes[line_length..]
    }

    /// The first field of that name (given in lower case).
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields()
            .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// How the body is delimited.
    #[must_use]
    pub fn body_length(&self) -> RequestBodyLength {
        self.body_length
    }

    /// Whether the client allows the connection to be reused after this request.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client waits for `100 Continue` (RFC 9110 §10.1.1); only with a body and HTTP/1.1.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }
}
