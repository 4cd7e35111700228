//! The format of access-log lines: `combined`, `json`, or gunicorn's atoms. Pure: an entry in, bytes out.
//!
//! Escaping is in `escape`, the names of atoms in `atom`.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use super::atom::{Atom, Piece, parse_pieces};
use super::clock::LocalClock;
use super::escape::{push_json, push_value};

/// `combined`, as Apache and nginx have it.
const COMBINED: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(B)s "%(f)s" "%(a)s""#;

/// A parsed `log.access_format`.
#[derive(Debug, Clone)]
pub struct AccessFormat {
    layout: Layout,
    clock: LocalClock,
}

#[derive(Debug, Clone)]
enum Layout {
    Text(Vec<Piece>),
    Json,
}

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

#[derive(Serialize)]
struct Json<'a> {
    time: &'a str,
    remote_address: &'a str,
    user: &'a str,
    method: &'a str,
    target: &'a str,
    protocol: &'a str,
    status: u16,
    body_bytes: u64,
    duration: f64,
    referer: &'a str,
    user_agent: &'a str,
    request_id: &'a str,
    pid: u32,
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
        Ok(Self { layout, clock: LocalClock::system() })
    }

    /// Appends the line, newline included. Nothing that a client sends can break the line: control characters, quotes
    /// and backslashes are escaped.
    pub fn write(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        match &self.layout {
            Layout::Text(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Literal(text) => out.extend(text.as_bytes()),
                        Piece::Atom(atom) => self.write_atom(atom, entry, out),
                    }
                }
            }
            Layout::Json => write_json(entry, out),
        }
        out.push(b'\n');
    }

    fn write_atom(&self, atom: &Atom, entry: &Entry<'_>, out: &mut Vec<u8>) {
        match atom {
            Atom::RemoteAddress => push_value(entry.remote_address.as_bytes(), out),
            Atom::Nothing => out.push(b'-'),
            Atom::User => push_value(entry.user.as_bytes(), out),
            Atom::Time => self.clock.write(entry.time, out),
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
            Atom::BodyBytes => push_number(entry.body_bytes.into(), out),
            Atom::BodyBytesOrDash if entry.body_bytes == 0 => out.push(b'-'),
            Atom::BodyBytesOrDash => push_number(entry.body_bytes.into(), out),
            Atom::Seconds => push_number(entry.duration.as_secs().into(), out),
            Atom::Milliseconds => push_number(entry.duration.as_millis(), out),
            Atom::Microseconds => push_number(entry.duration.as_micros(), out),
            Atom::DecimalSeconds => {
                push_number(entry.duration.as_secs().into(), out);
                out.extend(format!(".{:06}", entry.duration.subsec_micros()).bytes());
            }
            Atom::Process => out.extend(format!("<{}>", std::process::id()).bytes()),
            Atom::RequestId => push_value(entry.request_id.as_bytes(), out),
            Atom::RequestField(name) => push_value(&(entry.request_field)(name).unwrap_or_default(), out),
            Atom::ResponseField(name) => push_value(&(entry.response_field)(name).unwrap_or_default(), out),
        }
    }
}

fn write_json(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let field = |name| String::from_utf8_lossy(&(entry.request_field)(name).unwrap_or_default()).into_owned();
    let object = Json {
        time: &format!("{:.3}", Timestamp::try_from(entry.time).unwrap_or_default()),
        remote_address: entry.remote_address,
        user: entry.user,
        method: &String::from_utf8_lossy(entry.method),
        target: &String::from_utf8_lossy(entry.target),
        protocol: entry.protocol,
        status: entry.status,
        body_bytes: entry.body_bytes,
        duration: entry.duration.as_secs_f64(),
        referer: &field("referer"),
        user_agent: &field("user-agent"),
        request_id: entry.request_id,
        pid: std::process::id(),
    };
    let mut line = String::new();
    // Strings and numbers always serialise.
    push_json(&serde_json::to_string(&object).unwrap_or_default(), &mut line);
    out.extend(line.as_bytes());
}

/// Path and query of a request target.
fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, &[]),
    }
}

fn push_number(number: u128, out: &mut Vec<u8>) {
    out.extend(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests;
