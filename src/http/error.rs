//! What a client can do wrong, and the one place that says with which status it is answered.

use std::fmt;

/// Why a request is refused. Every variant is the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpError(pub Reject);

/// The rule that was broken, one variant a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// The first byte of a TLS handshake record.
    TlsHello,
    /// LF without CR before it, where a line of the protocol is read (RFC 9112 §2.2).
    BareLf,
    /// CR without LF after it (RFC 9112 §2.2).
    BareCr,
    /// NUL or another control character but HTAB (RFC 9110 §5.5).
    ControlCharacter,
    /// Not `method SP target SP version` (RFC 9112 §3).
    RequestLine,
    /// Longer than `http.max_request_line` (RFC 9112 §3).
    RequestLineTooLong,
    /// Not a method that this server accepts in form (RFC 9110 §9.1).
    Method,
    /// Not `HTTP/` digit `.` digit (RFC 9112 §2.3).
    Version,
    /// A well-formed version other than 1.0 and 1.1 (RFC 9110 §15.6.6).
    VersionUnsupported,
    /// CONNECT: this is no proxy (RFC 9110 §9.3.6).
    Connect,
    /// None of the four forms of a target, or a character that has no place in it (RFC 9112 §3.2).
    Target,
    /// A fragment, which is never sent (RFC 9112 §3.2.1, RFC 9110 §7.1).
    Fragment,
    /// `%` without two hexadecimal digits in the path (RFC 3986 §2.1).
    PercentEncoding,
    /// `%00` in the path.
    NulInPath,
    /// `*` with a method that does not take it (RFC 9112 §3.2.4).
    Asterisk,
    /// The authority of an absolute-form target is not `host[:port]` (RFC 9110 §4.2.1, §4.2.4).
    TargetAuthority,
    /// More fields than `http.max_headers` (RFC 6585 §5).
    HeadersTooMany,
    /// More bytes than `http.max_header_bytes` (RFC 6585 §5).
    HeadersTooLarge,
    /// A folded line, or white space before the first field (RFC 9112 §5.2, §2.2).
    ObsFold,
    /// A field line without a colon (RFC 9112 §5).
    MissingColon,
    /// A field line that begins with its colon (RFC 9112 §5).
    EmptyName,
    /// White space between field name and colon (RFC 9112 §5.1).
    SpaceBeforeColon,
    /// A field name that is no token (RFC 9110 §5.1).
    FieldName,
    /// HTTP/1.1 without Host (RFC 9112 §3.2).
    HostMissing,
    /// More than one Host (RFC 9112 §3.2).
    HostRepeated,
    /// Host is not `host[:port]` (RFC 9110 §7.2).
    HostInvalid,
    /// More than one Content-Length, even of the same value (RFC 9110 §8.6; stricter).
    ContentLengthRepeated,
    /// Content-Length is not a number of digits (RFC 9110 §8.6).
    ContentLengthInvalid,
    /// Content-Length beside Transfer-Encoding (RFC 9112 §6.1).
    LengthAndEncoding,
    /// Transfer-Encoding on HTTP/1.0 (RFC 9112 §6.1).
    EncodingOnHttp10,
    /// Transfer-Encoding is no list of plain names (RFC 9112 §6.1).
    EncodingInvalid,
    /// The last transfer coding is not chunked (RFC 9112 §6.3).
    EncodingNotChunked,
    /// Chunked more than once (RFC 9112 §7.1).
    ChunkedRepeated,
    /// A transfer coding besides chunked (RFC 9112 §6.1).
    EncodingUnsupported,
    /// An expectation other than 100-continue (RFC 9110 §10.1.1).
    Expectation,
    /// A body larger than `http.max_body` (RFC 9110 §15.5.14).
    BodyTooLarge,
    /// A chunk size that is not 1 to 16 hexadecimal digits (RFC 9112 §7.1).
    ChunkSize,
    /// A chunk extension that is malformed (RFC 9112 §7.1.1).
    ChunkExtension,
    /// Chunk extensions that are too long, in one chunk or over the body (RFC 9112 §7.1.1).
    ChunkExtensionTooLong,
    /// The data of a chunk is not followed by CRLF (RFC 9112 §7.1).
    ChunkEnd,
    /// A trailer field that may not be one (RFC 9110 §6.5.1).
    TrailerForbidden,
}

impl HttpError {
    /// The status code to answer with, exhaustive over all reasons.
    #[must_use]
    pub fn status(self) -> u16 {
        self.0.status()
    }

    /// The reason in words, for the log at debug.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.0.reason()
    }
}

impl From<Reject> for HttpError {
    fn from(reject: Reject) -> Self {
        Self(reject)
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for HttpError {}

impl Reject {
    /// Every reason, in the order of the declaration.
    #[cfg(test)]
    pub(super) const ALL: [Self; 41] = [
        Self::TlsHello,
        Self::BareLf,
        Self::BareCr,
        Self::ControlCharacter,
        Self::RequestLine,
        Self::RequestLineTooLong,
        Self::Method,
        Self::Version,
        Self::VersionUnsupported,
        Self::Connect,
        Self::Target,
        Self::Fragment,
        Self::PercentEncoding,
        Self::NulInPath,
        Self::Asterisk,
        Self::TargetAuthority,
        Self::HeadersTooMany,
        Self::HeadersTooLarge,
        Self::ObsFold,
        Self::MissingColon,
        Self::EmptyName,
        Self::SpaceBeforeColon,
        Self::FieldName,
        Self::HostMissing,
        Self::HostRepeated,
        Self::HostInvalid,
        Self::ContentLengthRepeated,
        Self::ContentLengthInvalid,
        Self::LengthAndEncoding,
        Self::EncodingOnHttp10,
        Self::EncodingInvalid,
        Self::EncodingNotChunked,
        Self::ChunkedRepeated,
        Self::EncodingUnsupported,
        Self::Expectation,
        Self::BodyTooLarge,
        Self::ChunkSize,
        Self::ChunkExtension,
        Self::ChunkExtensionTooLong,
        Self::ChunkEnd,
        Self::TrailerForbidden,
    ];

    /// The status code to answer with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::TlsHello
            | Self::BareLf
            | Self::BareCr
            | Self::ControlCharacter
            | Self::RequestLine
            | Self::Method
            | Self::Version
            | Self::Target
            | Self::Fragment
            | Self::PercentEncoding
            | Self::NulInPath
            | Self::Asterisk
            | Self::TargetAuthority
            | Self::ObsFold
            | Self::MissingColon
            | Self::EmptyName
            | Self::SpaceBeforeColon
            | Self::FieldName
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostInvalid
            | Self::ContentLengthRepeated
            | Self::ContentLengthInvalid
            | Self::LengthAndEncoding
            | Self::EncodingOnHttp10
            | Self::EncodingInvalid
            | Self::EncodingNotChunked
            | Self::ChunkedRepeated
            | Self::ChunkSize
            | Self::ChunkExtension
            | Self::ChunkExtensionTooLong
            | Self::ChunkEnd
            | Self::TrailerForbidden => 400,
            Self::BodyTooLarge => 413,
            Self::RequestLineTooLong => 414,
            Self::Expectation => 417,
            Self::HeadersTooMany | Self::HeadersTooLarge => 431,
            Self::Connect | Self::EncodingUnsupported => 501,
            Self::VersionUnsupported => 505,
        }
    }

    /// The reason in words.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TlsHello => "TLS on a plain port",
            Self::BareLf => "LF without CR",
            Self::BareCr => "CR without LF",
            Self::ControlCharacter => "a control character in the head",
            Self::RequestLine => "not a request line",
            Self::RequestLineTooLong => "the request line is longer than http.max_request_line",
            Self::Method => "not a method",
            Self::Version => "not an HTTP version",
            Self::VersionUnsupported => "neither HTTP/1.0 nor HTTP/1.1",
            Self::Connect => "CONNECT, which only a proxy answers",
            Self::Target => "not a request target",
            Self::Fragment => "a fragment in the request target",
            Self::PercentEncoding => "bad percent-encoding in the path",
            Self::NulInPath => "%00 in the path",
            Self::Asterisk => "the target * with a method that takes a path",
            Self::TargetAuthority => "the authority of the target is not host[:port]",
            Self::HeadersTooMany => "more fields than http.max_headers",
            Self::HeadersTooLarge => "more bytes of fields than http.max_header_bytes",
            Self::ObsFold => "a folded field line",
            Self::MissingColon => "a field line without a colon",
            Self::EmptyName => "a field without a name",
            Self::SpaceBeforeColon => "white space before the colon of a field",
            Self::FieldName => "a bad character in a field name",
            Self::HostMissing => "HTTP/1.1 without Host",
            Self::HostRepeated => "more than one Host",
            Self::HostInvalid => "Host is not host[:port]",
            Self::ContentLengthRepeated => "more than one Content-Length",
            Self::ContentLengthInvalid => "Content-Length is not a number",
            Self::LengthAndEncoding => "Content-Length beside Transfer-Encoding",
            Self::EncodingOnHttp10 => "Transfer-Encoding on HTTP/1.0",
            Self::EncodingInvalid => "Transfer-Encoding is not a list of codings",
            Self::EncodingNotChunked => "the last transfer coding is not chunked",
            Self::ChunkedRepeated => "chunked more than once",
            Self::EncodingUnsupported => "a transfer coding besides chunked",
            Self::Expectation => "an expectation other than 100-continue",
            Self::BodyTooLarge => "the body is larger than http.max_body",
            Self::ChunkSize => "not a chunk size",
            Self::ChunkExtension => "a malformed chunk extension",
            Self::ChunkExtensionTooLong => "chunk extensions are too long",
            Self::ChunkEnd => "the data of a chunk does not end where its size says",
            Self::TrailerForbidden => "a field that may not be a trailer",
        }
    }
}
