//! Response heads from the application: checked as they are built, rendered once (RFC 9110 §6.4, RFC 9112 §4-§6).
//!
//! The status line and each field are rendered when they are given, into one buffer; `encode` copies it and adds the
//! fields of the server. Content-Length is kept apart, for 204 and 205 must not send the application's. What is wrong with an application's field is told in one sentence that says how to mend it.

use std::fmt;

use super::framer::Mode;
use super::request::{Method, Version};
use super::syntax::{decimal, has_forbidden_control, is_token, trim};

pub use super::framer::{BodyFramer, Frame};

/// Room for the head of a usual response, so that it is built without growing.
const HEAD_BYTES_USUAL: usize = 512;

/// A response head under construction: status and header fields, checked and rendered as they are added.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status line and all fields but Content-Length, each with its CRLF.
    rendered: Vec<u8>,
    /// Length of the status line with its CRLF.
    status_line_length: usize,
    status: u16,
    content_length: Option<ContentLength>,
    has_date: bool,
    has_server: bool,
}

/// The application's Content-Length: the number, and its digits without leading zeros.
#[derive(Debug, Clone, Copy)]
struct ContentLength {
    number: u64,
    digits: Digits,
}

/// A number in decimal digits.
#[derive(Debug, Clone, Copy)]
struct Digits {
    bytes: [u8; 20],
    length: u8,
}

impl Digits {
    fn of(number: u64) -> Self {
        let mut digits = Self { bytes: [0; 20], length: 0 };
        for byte in itoa::Buffer::new().format(number).bytes() {
            digits.bytes[usize::from(digits.length)] = byte;
            digits.length += 1;
        }
        digits
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Why a status or a header field from the application is refused. `Display` is one sentence that says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldError {
    /// Not three digits, a space and a reason.
    Status(String),
    /// A status below 200, which is no final answer.
    InformationalStatus(u16),
    /// A control character in the status.
    StatusControl,
    /// A name that is no token (RFC 9110 §5.1).
    Name(String),
    /// A control character in a value.
    ValueControl(String),
    /// A hop-by-hop field (PEP 3333, "Other HTTP Features"; RFC 9110 §7.6.1).
    HopByHop(String),
    /// A Content-Length that is no number.
    ContentLength(String),
    /// A second Content-Length.
    ContentLengthRepeated,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(
                f,
                "the status \"{status}\" is not three digits, a space and a reason: pass a string like \"200 OK\""
            ),
            Self::InformationalStatus(status) => {
                write!(f, "the status {status} is not a final answer: pass a status from 200 on")
            }
            Self::StatusControl => {
                f.write_str("the status holds a control character: pass one line of text like \"200 OK\"")
            }
            Self::Name(name) => write!(
                f,
                "the header name \"{name}\" is not valid: use letters, digits and hyphens, without a colon or a space"
            ),
            Self::ValueControl(name) => write!(
                f,
                "the value of the header \"{name}\" holds a control character: remove CR, LF and NUL from it"
            ),
            Self::HopByHop(name) => write!(
                f,
                "the header \"{name}\" is hop-by-hop and belongs to the server (PEP 3333): do not set it"
            ),
            Self::ContentLength(value) => write!(
                f,
                "the Content-Length \"{value}\" is not a number: pass the length of the body in bytes, in digits"
            ),
            Self::ContentLengthRepeated => f.write_str("Content-Length is set twice: set it once"),
        }
    }
}

impl std::error::Error for FieldError {}

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

impl Clone for ResponseHead {
    fn clone(&self) -> Self {
        let mut clone = Self::empty();
        clone.clone_from(self);
        clone
    }

    /// Keeps the buffer, so that a head that was checked once is taken over by one copy.
    fn clone_from(&mut self, source: &Self) {
        let Self { rendered, status_line_length, status, content_length, has_date, has_server } = source;
        self.rendered.clear();
        self.rendered.extend_from_slice(rendered);
        self.status_line_length = *status_line_length;
        self.status = *status;
        self.content_length = *content_length;
        self.has_date = *has_date;
        self.has_server = *has_server;
    }
}

impl ResponseHead {
    /// Starts a head from a status string as PEP 3333 has it: three digits, a space, a reason. The reason may be
    /// empty (RFC 9112 §4). Statuses past 599 are let through: applications behind load balancers invent them.
    ///
    /// # Errors
    /// Not of that form, a 1xx status, or a control character in the reason.
    pub fn new(status: &[u8]) -> Result<Self, FieldError> {
        let mut head = Self::empty();
        head.rendered.reserve(HEAD_BYTES_USUAL);
        head.recycle(status)?;
        Ok(head)
    }

    /// [`Self::new`] in the buffer of an earlier head, which is forgotten. After an error the head must not be encoded.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn recycle(&mut self, status: &[u8]) -> Result<(), FieldError> {
        self.clear();
        self.status = status_code(status)?;
        // RFC 9110 §2.5: the server's own version, whatever the request's.
        self.rendered.reserve(status.len() + 11);
        self.rendered.extend_from_slice(b"HTTP/1.1 ");
        self.rendered.extend_from_slice(status);
        self.rendered.extend_from_slice(b"\r\n");
        self.status_line_length = self.rendered.len();
        Ok(())
    }

    fn empty() -> Self {
        Self {
            rendered: Vec::new(),
            status_line_length: 0,
            status: 0,
            content_length: None,
            has_date: false,
            has_server: false,
        }
    }

    fn clear(&mut self) {
        self.rendered.clear();
        self.content_length = None;
        self.has_date = false;
        self.has_server = false;
    }

    /// Adds a field. Refused: bad names, CR, LF, NUL and other controls in values, hop-by-hop fields (PEP 3333;
    /// RFC 9110 §7.6.1), a bad or repeated Content-Length. White space around the value is dropped.
    ///
    /// # Errors
    /// What is wrong with the field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), FieldError> {
        if !is_token(name) {
            return Err(FieldError::Name(latin1(name)));
        }
        if has_forbidden_control(value) {
            return Err(FieldError::ValueControl(latin1(name)));
        }
        let value = trim(value);
        match Special::of(name) {
            None => {}
            Some(Special::ContentLength) => return self.set_content_length(value),
            Some(Special::HopByHop) => return Err(FieldError::HopByHop(latin1(name))),
            Some(Special::Date) => self.has_date = true,
            Some(Special::Server) => self.has_server = true,
        }
        push_field(&mut self.rendered, name, value);
        Ok(())
    }

    fn set_content_length(&mut self, value: &[u8]) -> Result<(), FieldError> {
        if self.content_length.is_some() {
            return Err(FieldError::ContentLengthRepeated);
        }
        let number = decimal(value).ok_or_else(|| FieldError::ContentLength(latin1(value)))?;
        self.content_length = Some(ContentLength { number, digits: Digits::of(number) });
        Ok(())
    }

    /// Another Content-Length in place of the one that is set.
    ///
    /// # Errors
    /// It is no number.
    pub fn replace_content_length(&mut self, value: &[u8]) -> Result<(), FieldError> {
        self.content_length = None;
        self.set_content_length(trim(value))
    }

    /// Its length as far as it is rendered, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.rendered.len()
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The application's own Content-Length.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.content_length.map(|length| length.number)
    }

    /// The first value of a field that the application set (name in lower case); for the access log.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        if name == "content-length" {
            return self.content_length.as_ref().map(|length| length.digits.as_bytes());
        }
        // Values hold neither CR nor LF, so every LF ends a field.
        self.rendered[self.status_line_length..].split(|byte| *byte == b'\n').find_map(|line| {
            let (candidate, rest) = line.split_at_checked(name.len())?;
            let value = rest.strip_prefix(b": ")?.strip_suffix(b"\r")?;
            candidate.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
        })
    }

    /// Renders the complete head into `out` and decides the framing of the body: none for HEAD, 204, 205 and 304
    /// (no Content-Length added to 204; that of the application is kept for HEAD and 304), by Content-Length, by
    /// chunks for HTTP/1.1, else by closing.
    pub fn encode(&self, context: &ResponseContext<'_>, out: &mut Vec<u8>) -> BodyFramer {
        let (length, mode) = self.framing(context);
        let closes = !context.keep_alive || mode == Mode::UntilClose;
        out.reserve(self.rendered.len() + context.server.len() + context.date.len() + 128);
        out.extend_from_slice(&self.rendered);
        // Whatever is known here is one piece, so that it is copied without a call.
        match (length, &self.content_length) {
            (Some(length), Some(own)) if own.number == length => {
                push_line(out, b"Content-Length: ", own.digits.as_bytes());
            }
            (Some(length), _) => {
                push_line(out, b"Content-Length: ", itoa::Buffer::new().format(length).as_bytes());
            }
            (None, _) => {}
        }
        if mode == Mode::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if !self.has_date {
            push_line(out, b"Date: ", context.date.as_bytes());
        }
        if !self.has_server && !context.server.is_empty() {
            push_line(out, b"Server: ", context.server.as_bytes());
        }
        if closes {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if context.version == Version::Http10 {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
        BodyFramer::new(mode, closes)
    }

    /// The Content-Length to send and how the body is delimited (RFC 9112 §6.3, from the sender's side).
    fn framing(&self, context: &ResponseContext<'_>) -> (Option<u64>, Mode) {
        let own = self.content_length();
        match self.status {
            // RFC 9110 §8.6: never a Content-Length with 204.
            204 => return (None, Mode::Bodiless),
            // RFC 9110 §15.3.6: no content, and the client must be told that there is none.
            205 => return (Some(0), Mode::Bodiless),
            // RFC 9110 §8.6: a Content-Length would be that of the 200, which only the application knows.
            304 => return (own, Mode::Bodiless),
            _ => {}
        }
        if context.method == Method::Head {
            // An application answers HEAD with an empty list without meaning that GET would be empty.
            return (own.or(context.body_length.filter(|length| *length > 0)), Mode::Bodiless);
        }
        match own.or(context.body_length) {
            Some(length) => (Some(length), Mode::Length { remaining: length }),
            None if context.version == Version::Http11 => (None, Mode::Chunked),
            None => (None, Mode::UntilClose),
        }
    }
}

/// A line that begins with a name of the server and its colon.
#[inline(always)]
fn push_line(out: &mut Vec<u8>, name: &'static [u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `name: value CRLF`. Both are checked, or ours.
pub(super) fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The code of a status string.
fn status_code(status: &[u8]) -> Result<u16, FieldError> {
    let (code, reason) = match status {
        [a, b, c, b' ', reason @ ..] => (decimal(&[*a, *b, *c]), reason),
        _ => (None, &b""[..]),
    };
    let malformed = || FieldError::Status(latin1(status));
    let code = code.and_then(|code| u16::try_from(code).ok()).ok_or_else(malformed)?;
    if reason.contains(&b'\t') || has_forbidden_control(reason) {
        return Err(FieldError::StatusControl);
    }
    match code {
        0..100 => Err(malformed()),
        // RFC 9110 §15.2; 100 is the server's to send, and WSGI has no way to switch protocols.
        100..200 => Err(FieldError::InformationalStatus(code)),
        _ => Ok(code),
    }
}

/// A field of the application that means something to the server.
#[derive(Debug, Clone, Copy)]
enum Special {
    ContentLength,
    Date,
    Server,
    /// The fields that PEP 3333 forbids (as `wsgiref.util.is_hop_by_hop` has them, after RFC 2616 §13.5.1), and the
    /// right spelling of Trailer beside it.
    HopByHop,
}

impl Special {
    fn of(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        // The length sorts out nearly all names before any letter is compared.
        let special = match name.len() {
            2 if is("te") => Self::HopByHop,
            4 if is("date") => Self::Date,
            6 if is("server") => Self::Server,
            7 if is("trailer") || is("upgrade") => Self::HopByHop,
            8 if is("trailers") => Self::HopByHop,
            10 if is("connection") || is("keep-alive") => Self::HopByHop,
            // Nearly always spelt so.
            14 if name == b"Content-Length" || is("content-length") => Self::ContentLength,
            17 if is("transfer-encoding") => Self::HopByHop,
            18 if is("proxy-authenticate") => Self::HopByHop,
            19 if is("proxy-authorization") => Self::HopByHop,
            _ => return None,
        };
        Some(special)
    }
}

/// Text for a message: each byte the character of that number, as WSGI strings are, controls escaped.
fn latin1(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for c in bytes.iter().map(|byte| char::from(*byte)) {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests;
