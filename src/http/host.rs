//! The grammar of `host[:port]` in Host and in absolute-form targets (RFC 9110 §7.2, RFC 3986 §3.2.2).
//!
//! Stricter than the grammar where readers are known to differ: no comma (two Host fields joined into one look like
//! that) and no percent-encoding in a registered name, no IPvFuture, no zone identifier, no empty port.

use std::net::Ipv6Addr;

use super::syntax::is_host_byte;

/// Whether the text is `host[:port]`.
pub(super) fn is_authority(text: &[u8]) -> bool {
    let host_length = if text.first() == Some(&b'[') { literal_length(text) } else { name_length(text) };
    let Some((_, rest)) = host_length.map(|length| text.split_at(length)) else { return false };
    match rest.split_first() {
        None => true,
        Some((b':', digits)) => is_port(digits),
        Some(_) => false,
    }
}

/// The length of `[IPv6]` at the start.
fn literal_length(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|byte| *byte == b']')?;
    std::str::from_utf8(&text[1..end]).ok()?.parse::<Ipv6Addr>().ok()?;
    Some(end + 1)
}

/// The length of a registered name or IPv4 address at the start.
fn name_length(text: &[u8]) -> Option<usize> {
    let length = text.iter().position(|byte| !is_host_byte(*byte)).unwrap_or(text.len());
    (length > 0).then_some(length)
}

fn is_port(digits: &[u8]) -> bool {
    // Five digits hold every port; more would only be a way to write one port differently.
    digits.len() <= 5 && super::syntax::decimal(digits).is_some_and(|number| number <= u16::MAX.into())
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
            "0.0.0.0=5000",
            "a;b",
            "!$&'()*+=",
            "x:65535",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
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
            "h\u{f6}st",
            "a\tb",
            "a\"b",
            "<a>",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
