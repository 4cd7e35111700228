//! How the values of forwarding fields are written: addresses, hosts, ports, prefixes. Strict: what could be read in
//! two ways is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::OriginError;

/// One party of a chain of proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// An address and, if it was given as a number, the port.
    Address(IpAddr, Option<u16>),
    /// `unknown` or an obfuscated identifier (RFC 7239 §6.2, §6.3).
    Hidden,
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, `unknown`, `_hidden`; a port may
/// be obfuscated (`:_x`, RFC 7239 §6). An IPv4 address in IPv6 form is given as IPv4.
pub(super) fn parse_node(text: &[u8]) -> Result<Node, OriginError> {
    let text = str_of(text)?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Node::Address(address.to_canonical(), None));
    }
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let address = address.parse::<Ipv6Addr>().map_err(|_| OriginError::Malformed)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => parse_node_port(port)?,
            None if rest.is_empty() => None,
            None => return Err(OriginError::Malformed),
        };
        return Ok(Node::Address(IpAddr::V6(address).to_canonical(), port));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, parse_node_port(port)?),
        None => (text, None),
    };
    if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        return Ok(Node::Hidden);
    }
    let address = name.parse::<Ipv4Addr>().map_err(|_| OriginError::Malformed)?;
    Ok(Node::Address(IpAddr::V4(address), port))
}

fn parse_node_port(text: &str) -> Result<Option<u16>, OriginError> {
    if is_obfuscated(text) { Ok(None) } else { parse_port(text.as_bytes()).map(Some) }
}

/// RFC 7239 §6.3: `_` and at least one of letters, digits, `.`, `_`, `-`.
fn is_obfuscated(text: &str) -> bool {
    text.strip_prefix('_').is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    })
}

/// `host` or `host:port`: the whole text and the port. Letters, digits, `-`, `.`, `_` and `~` in a name, or an IPv6
/// address in brackets.
pub(super) fn parse_host(text: &[u8]) -> Result<(&str, Option<u16>), OriginError> {
    let text = str_of(text)?;
    let rest = if let Some((address, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        address.parse::<Ipv6Addr>().map_err(|_| OriginError::Malformed)?;
        rest
    } else {
        let length = text.find(':').unwrap_or(text.len());
        let (name, rest) = text.split_at(length);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_plain) {
            return Err(OriginError::Malformed);
        }
        rest
    };
    match rest.strip_prefix(':') {
        Some(port) => Ok((text, Some(parse_port(port.as_bytes())?))),
        None if rest.is_empty() => Ok((text, None)),
        None => Err(OriginError::Malformed),
    }
}

/// 1 to 65535, digits only.
pub(super) fn parse_port(text: &[u8]) -> Result<u16, OriginError> {
    if text.is_empty() || text.len() > 5 || !text.iter().all(u8::is_ascii_digit) {
        return Err(OriginError::Malformed);
    }
    match str_of(text)?.parse() {
        Ok(0) | Err(_) => Err(OriginError::Malformed),
        Ok(port) => Ok(port),
    }
}

/// A path in front of the application's: begins with a slash, those at its end are cut. `//` is refused, since an
/// application that builds links from it would name another host, and so is everything that no path has.
pub(super) fn parse_prefix(text: &[u8]) -> Result<&str, OriginError> {
    let text = str_of(text)?;
    let is_plain = |byte: u8| matches!(byte, b'!'..=b'~') && !b"\"#<>?\\^`{|}".contains(&byte);
    if !text.starts_with('/') || text.contains("//") || !text.bytes().all(is_plain) {
        return Err(OriginError::Malformed);
    }
    Ok(text.strip_suffix('/').unwrap_or(text))
}

fn str_of(text: &[u8]) -> Result<&str, OriginError> {
    std::str::from_utf8(text).map_err(|_| OriginError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes() {
        let node = |text: &str| parse_node(text.as_bytes());
        let address = |address: &str, port| Ok(Node::Address(address.parse().unwrap(), port));
        assert_eq!(node("192.0.2.1"), address("192.0.2.1", None));
        assert_eq!(node("192.0.2.1:4711"), address("192.0.2.1", Some(4711)));
        assert_eq!(node("192.0.2.1:_x"), address("192.0.2.1", None));
        assert_eq!(node("2001:db8::1"), address("2001:db8::1", None));
        assert_eq!(node("[2001:db8::1]"), address("2001:db8::1", None));
        assert_eq!(node("[2001:db8::1]:80"), address("2001:db8::1", Some(80)));
        assert_eq!(node("::ffff:192.0.2.1"), address("192.0.2.1", None));
        assert_eq!(node("unknown"), Ok(Node::Hidden));
        assert_eq!(node("Unknown:80"), Ok(Node::Hidden));
        assert_eq!(node("_gazonk.1-a"), Ok(Node::Hidden));
        for broken in [
            "",
            "_",
            "a",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.4:",
            "1.2.3.4:0",
            "1.2.3.4:65536",
            "1.2.3.4:x",
            "[1.2.3.4]",
            "[::1",
            "[::1]x",
            "[::1]:",
            "::1]:80",
            "fe80::1%eth0",
            "1.2.3.4 ",
            "_ä",
            "1.2.3.4:+8",
        ] {
            assert_eq!(node(broken), Err(OriginError::Malformed), "{broken:?}");
        }
        assert_eq!(parse_node(b"\xff"), Err(OriginError::Malformed));
    }

    #[test]
    fn hosts() {
        let host = |text: &'static str| parse_host(text.as_bytes());
        assert_eq!(host("example.com"), Ok(("example.com", None)));
        assert_eq!(host("example.com:8443"), Ok(("example.com:8443", Some(8443))));
        assert_eq!(host("[::1]:80"), Ok(("[::1]:80", Some(80))));
        for broken in [
            "", ":80", "a,b", "a b", "a/b", "a@b", "a:", "a:x", "a:0", "[::1", "[x]", "[::1]x", "a\nb",
            "a%41", "ä",
        ] {
            assert_eq!(host(broken), Err(OriginError::Malformed), "{broken:?}");
        }
    }

    #[test]
    fn prefixes() {
        for (text, prefix) in [("/", ""), ("/api", "/api"), ("/api/", "/api"), ("/a/b%20c", "/a/b%20c")] {
            assert_eq!(parse_prefix(text.as_bytes()), Ok(prefix), "{text}");
        }
        for broken in
            ["", "api", "//evil.example", "/a//b", "/a//", "/a?b", "/a#b", "/a\\b", "/a b", "/\x01", "/ä"]
        {
            assert_eq!(parse_prefix(broken.as_bytes()), Err(OriginError::Malformed), "{broken:?}");
        }
    }
}
