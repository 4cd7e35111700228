//! The format of access-log lines: `combined`, `json`, or gunicorn's atoms. Pure: an entry in, bytes out.

use std::time::{Duration, SystemTime};

/// A parsed `log.access_format`.
#[derive(Debug, Clone)]
pub struct AccessFormat;

/// Everything that a line can tell about one exchange.
#[allow(missing_debug_implementations, reason = "holds look-up functions")]
pub struct Entry<'a> {
    /// The client's address (after trust), or empty for a unix socket.
    pub remote_address: &'a str,
    /// `REMOTE_USER` from basic authentication; empty for none.
    pub user: &'a str,
    /// When the request began.
    pub time: SystemTime,
    /// The method.
    pub method: &'a [u8],
    /// The request target as received.
    pub target: &'a [u8],
    /// `HTTP/1.1`
    pub protocol: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// Body bytes of the answer.
    pub body_bytes: u64,
    /// From the first byte of the head to the last byte of the answer.
    pub duration: Duration,
    /// The request's id.
    pub request_id: &'a str,
    /// Looks up a request header (name in lower case).
    pub request_field: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// Looks up a response header (name in lower case).
    pub response_field: &'a dyn Fn(&str) -> Option<Vec<u8>>,
}

impl AccessFormat {
    /// Parses `combined`, `json`, or a format of atoms as gunicorn has them (`%(h)s %(l)s %(u)s %(t)s "%(r)s" …`).
    ///
    /// # Errors
    /// One sentence: the unknown atom and the nearest known one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let _ = text;
        todo!()
    }

    /// Appends the line, newline included. Nothing that a client sends can break the line: control characters, quotes
    /// and backslashes are escaped.
    pub fn write(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let _ = (entry, out);
        todo!()
    }
}
