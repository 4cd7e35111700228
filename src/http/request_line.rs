//! The request line (RFC 9112 §3): method, target and version with exactly one space between them.

use super::error::Reject;
use super::request::{Method, Span, Target, Version};
use super::target;

/// Longest method, in bytes. The longest registered one (UPDATEREDIRECTREF) has 17.
pub(super) const METHOD_BYTES_MAX: usize = 32;

/// A checked request line; spans count from the start of the head.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RequestLine {
    pub(super) method: Span,
    pub(super) method_kind: Method,
    pub(super) target: Span,
    pub(super) form: Target,
    pub(super) path: Span,
    pub(super) query: Span,
    /// Of an absolute-form target.
    pub(super) authority: Option<Span>,
    pub(super) version: Version,
}

impl RequestLine {
    /// Parses a line without its CRLF that begins with a checked method and a space.
    ///
    /// # Errors
    /// The part that is malformed; a version that is not supported.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Reject> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if target.is_empty() {
            return Err(Reject::RequestLine);
        }
        // A line of two parts is what HTTP/0.9 had; to HTTP/1 it is a malformed line (RFC 9112 §3).
        let version = version(parts.next().ok_or(Reject::RequestLine)?)?;
        if parts.next().is_some() {
            return Err(Reject::RequestLine);
        }
        let parts = target::parse(method, target)?;
        let authority = parts.authority.map(|authority| Span::of(line, authority)).transpose()?;
        Ok(Self {
            method: Span::of(line, method)?,
            method_kind: method_kind(method),
            target: Span::of(line, target)?,
            form: parts.form,
            path: Span::of(line, parts.path)?,
            query: Span::of(line, parts.query)?,
            authority,
            version,
        })
    }
}

/// The kind of a checked method.
pub(super) fn method_kind(method: &[u8]) -> Method {
    match method {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        _ => Method::Other,
    }
}

/// RFC 9112 §2.3. Other minor versions of HTTP/1 are refused too: there are none, and who sends one may mean
/// anything by it.
fn version(text: &[u8]) -> Result<Version, Reject> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Reject::VersionUnsupported)
        }
        b"" => Err(Reject::RequestLine),
        _ => Err(Reject::Version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> Option<Reject> {
        RequestLine::parse(line.as_bytes()).err()
    }

    #[test]
    fn versions() {
        assert_eq!(refusal("GET / HTTP/1.1"), None);
        assert_eq!(refusal("GET / HTTP/1.0"), None);
        for line in ["GET / HTTP/1.2", "GET / HTTP/0.9", "GET / HTTP/2.0", "GET / HTTP/3.0", "PRI * HTTP/2.0"]
        {
            assert_eq!(refusal(line), Some(Reject::VersionUnsupported), "{line}");
        }
        for version in [
            "HTTP/1",
            "http/1.1",
            "HTTP/1.10",
            "HTTP/01.1",
            "HTTP/1,1",
            "HTTP 1.1",
            "HTTP/a.1",
            "ICY/1.0",
            "1.1",
        ] {
            let line = format!("GET / {version}");
            assert_eq!(refusal(&line), Some(Reject::Version), "{line}");
        }
    }

    #[test]
    fn exactly_one_space_between_the_parts() {
        for line in [
            "GET /",
            "GET HTTP/1.1",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET / HTTP/1.1 x",
            "GET ",
        ] {
            assert_eq!(refusal(line), Some(Reject::RequestLine), "{line}");
        }
        assert_eq!(refusal("GET /a b HTTP/1.1"), Some(Reject::Version));
        assert_eq!(refusal("GET /\t HTTP/1.1"), Some(Reject::Target));
    }
}
