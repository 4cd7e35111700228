//! The format of access-log lines: `combined`, `json`, or gunicorn's atoms. Pure: an entry in, bytes out.
//!
//! Escaping is in `escape`, the names of atoms in `atom`. Every request pays for a line, so nothing here allocates.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::atom::{Atom, Piece, parse_pieces};
use super::clock::{LocalClock, UtcClock};
use super::escape::{push_json_string, push_value};

/// `combined`, as Apache and nginx have it.
const COMBINED: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(B)s "%(f)s" "%(a)s""#;

/// A parsed `log.access_format`.
#[derive(Debug, Clone)]
pub struct AccessFormat {
    layout: Layout,
    local: LocalClock,
    utc: UtcClock,
    process: u32,
}

#[derive(Debug, Clone)]
enum Layout {
    Text(Vec<Piece>),
    Json,
}

/// Everything that a line can tell about one exchange.
#[allow(missing_debug_implementations, reason = "holds look-up functions")]
pub struct Entry<'a> {
    /// The client's address (after trust); `None` for a unix socket.
    pub remote_address: Option<IpAddr>,
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
    /// How long it waited for the application, if it came to it.
    pub queue_wait: Option<Duration>,
    /// The request's id.
    pub request_id: &'a str,
    /// Looks up a request header (name in lower case).
    pub request_field: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    /// Looks up a response header (name in lower case).
    pub response_field: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

impl AccessFormat {
    /// Parses `combined`, `json`, or a format of atoms as gunicorn has them (`%(h)s %(l)s %(u)s %(t)s "%(r)s" …`).
    ///
    /// # Errors
    /// One sentence: the unknown atom and the nearest known one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let layout = match text {
            "json" => Layout::Json,
            "combined" => Layout::Text(parse_pieces(COMBINED)?),
            _ => Layout::Text(parse_pieces(text)?),
        };
        Ok(Self { layout, local: LocalClock::system(), utc: UtcClock::new(), process: std::process::id() })
    }

    /// Appends the line, newline included. Nothing that a client sends can break the line: control characters, quotes
    /// and backslashes are escaped.
    pub fn write(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        match &self.layout {
            Layout::Text(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                        Piece::Atom(atom) => self.write_atom(atom, entry, out),
                    }
                }
            }
            Layout::Json => self.write_json(entry, out),
        }
        out.push(b'\n');
    }

    fn write_atom(&self, atom: &Atom, entry: &Entry<'_>, out: &mut Vec<u8>) {
        match atom {
            Atom::RemoteAddress => match entry.remote_address {
                Some(address) => push_address(address, out),
                None => out.push(b'-'),
            },
            Atom::Nothing => out.push(b'-'),
            Atom::User => push_value(entry.user.as_bytes(), out),
            Atom::Time => self.local.write(entry.time, out),
            Atom::RequestLine => {
                push_value(entry.method, out);
                out.push(b' ');
                push_value(entry.target, out);
                out.push(b' ');
                push_value(entry.protocol.as_bytes(), out);
            }
            Atom::Method => push_value(entry.method, out),
            Atom::Target => push_value(entry.target, out),
            Atom::Path => push_value(split_target(entry.target).0, out),
            // As in gunicorn, an absent query is an empty string, so that `%(U)s?%(q)s` reads well.
            Atom::Query => match split_target(entry.target).1 {
                [] => {}
                query => push_value(query, out),
            },
            Atom::Protocol => push_value(entry.protocol.as_bytes(), out),
            Atom::Status => push_number(entry.status.into(), out),
            Atom::BodyBytes => push_number(entry.body_bytes, out),
            Atom::BodyBytesOrDash if entry.body_bytes == 0 => out.push(b'-'),
            Atom::BodyBytesOrDash => push_number(entry.body_bytes, out),
            Atom::Seconds => push_number(entry.duration.as_secs(), out),
            Atom::Milliseconds => push_number(microseconds(entry.duration) / 1000, out),
            Atom::Microseconds => push_number(microseconds(entry.duration), out),
            Atom::DecimalSeconds => push_seconds(entry.duration, out),
            Atom::Process => {
                out.push(b'<');
                push_number(self.process.into(), out);
                out.push(b'>');
            }
            Atom::RequestId => push_value(entry.request_id.as_bytes(), out),
            Atom::RequestField(name) => push_value((entry.request_field)(name).unwrap_or_default(), out),
            Atom::ResponseField(name) => push_value((entry.response_field)(name).unwrap_or_default(), out),
        }
    }

    fn write_json(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let field = |name| (entry.request_field)(name).unwrap_or_default();
        let (path, query) = split_target(entry.target);
        out.extend_from_slice(b"{\"time\":\"");
        self.utc.write(entry.time, out);
        out.extend_from_slice(b"\",\"remote_address\":\"");
        if let Some(address) = entry.remote_address {
            push_address(address, out);
        }
        out.push(b'"');
        for (key, value) in [
            (&b",\"user\":"[..], entry.user.as_bytes()),
            (b",\"method\":", entry.method),
            (b",\"path\":", path),
            (b",\"query\":", query),
            (b",\"protocol\":", entry.protocol.as_bytes()),
        ] {
            out.extend_from_slice(key);
            push_json_string(value, out);
        }
        out.extend_from_slice(b",\"status\":");
        push_number(entry.status.into(), out);
        out.extend_from_slice(b",\"body_bytes\":");
        push_number(entry.body_bytes, out);
        out.extend_from_slice(b",\"duration\":");
        push_seconds(entry.duration, out);
        out.extend_from_slice(b",\"queue_wait\":");
        match entry.queue_wait {
            Some(wait) => push_seconds(wait, out),
            None => out.extend_from_slice(b"null"),
        }
        for (key, value) in [
            (&b",\"referer\":"[..], field("referer")),
            (b",\"user_agent\":", field("user-agent")),
            (b",\"request_id\":", entry.request_id.as_bytes()),
        ] {
            out.extend_from_slice(key);
            push_json_string(value, out);
        }
        out.extend_from_slice(b",\"pid\":");
        push_number(self.process.into(), out);
        out.push(b'}');
    }
}

/// Path and query of a request target.
fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, &[]),
    }
}

fn push_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Seconds, to the microsecond.
fn push_seconds(duration: Duration, out: &mut Vec<u8>) {
    push_number(duration.as_secs(), out);
    let mut digits = *b".000000";
    let mut rest = duration.subsec_micros();
    for digit in digits[1..].iter_mut().rev() {
        *digit = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

fn microseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into())
}

fn push_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                push_number(octet.into(), out);
            }
        }
        // Memory takes everything.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

#[cfg(test)]
mod tests;
