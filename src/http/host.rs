//! The grammar of `host[:port]` in Host and in absolute-form targets (RFC 9110 §7.2, RFC 3986 §3.2.2).
//!
//! Stricter than the grammar where readers are known to differ: no sub-delimiters and no percent-encoding in a
//! registered name (a name that resolves has neither), no IPvFuture, no zone identifier, no empty port.

use std::net::Ipv6Addr;

/// A valid authority, taken apart for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Parses `host[:port]`; `None` when it is anything else.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let host_length = if text.first() == Some(&b'[') {
            let length = text.iter().position(|byte| *byte == b']')? + 1;
            let literal = std::str::from_utf8(&text[1..length - 1]).ok()?;
            literal.parse::<Ipv6Addr>().ok()?;
            length
        } else {
            let length = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
            let is_name =
                |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
            if length == 0 || !text[..length].iter().all(is_name) {
                return None;
            }
            length
        };
        let (host, rest) = text.split_at(host_length);
        let port = match rest.split_first() {
            None => None,
            Some((b':', digits)) => Some(port(digits)?),
            Some(_) => return None,
        };
        Some(Self { host, port })
    }

    /// Whether both name the same host, with `default_port` where no port is given.
    pub(super) fn same(&self, other: &Self, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    // Five digits hold every port; more would only be a way to write one port differently.
    if digits.len() > 5 {
        return None;
    }
    super::syntax::decimal(digits).and_then(|number| u16::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_authorities() {
        for good in [
            "example.com",
            "EXAMPLE.com:80",
            "localhost",
            "a_b.example",
            "127.0.0.1:8000",
            "[::1]",
            "[::1]:443",
            "[2001:db8::1]",
            "[::ffff:1.2.3.4]:1",
            "example.com.",
            "a~b",
            "x:65535",
        ] {
            assert!(Authority::parse(good.as_bytes()).is_some(), "{good}");
        }
    }

    #[test]
    fn invalid_authorities() {
        for bad in [
            "",
            ":80",
            "a b",
            "a,b",
            "user@host",
            "user:pw@host",
            "host:",
            "host:x",
            "host:+80",
            "host:65536",
            "host:080000",
            "host:80:80",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[]",
            "[1.2.3.4]",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "[v1.a]",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a%41",
            "http://a",
            "a;b",
            "a=b",
            "h\u{f6}st",
            "a\tb",
            "a\"b",
            "<a>",
        ] {
            assert!(Authority::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn default_ports_compare_equal() {
        let same = |a: &str, b: &str, default_port| {
            let (a, b) = (Authority::parse(a.as_bytes()), Authority::parse(b.as_bytes()));
            a.unwrap().same(&b.unwrap(), default_port)
        };
        assert!(same("Example.com", "example.COM:80", 80));
        assert!(!same("example.com", "example.com:80", 443));
        assert!(!same("example.com", "example.org", 80));
        assert!(!same("example.com:80", "example.com:8080", 80));
    }
}
