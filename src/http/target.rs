//! The request target (RFC 9112 §3.2): which form it has, and its path, query and authority.
//!
//! Characters: RFC 3986 §3.3 and §3.4, and beyond them only what browsers send unencoded (the URL standard of the
//! WHATWG encodes less): `[ ] ^ |` in the path, these and `" < > \ ` { }` in the query. In the path the last six
//! are refused: `\` because some readers take it for `/`. A stray `%` in the query is left to the application;
//! in the path, which the server decodes itself, it is refused.

use memchr::memchr;

use super::error::Reject;
use super::host::is_authority;
use super::request::Target;
use super::syntax::{is_path_byte, is_query_byte};

/// The methods whose target may be `*`: OPTIONS (RFC 9112 §3.2.4), and the two that UPnP defines with it (UPnP Device
/// Architecture 2.0 §1.2.2, §1.3.2).
const ASTERISK_METHODS: [&[u8]; 3] = [b"OPTIONS", b"M-SEARCH", b"NOTIFY"];

/// A target taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TargetParts<'a> {
    pub(super) form: Target,
    /// Empty for an absolute form without a path.
    pub(super) path: &'a [u8],
    /// Without its `?`.
    pub(super) query: &'a [u8],
    /// `host[:port]` of the absolute form.
    pub(super) authority: Option<&'a [u8]>,
}

/// Parses the target of a request with this method.
///
/// # Errors
/// A target of no form, a form that the method does not take, a bad character, a fragment.
pub(super) fn parse<'a>(method: &[u8], target: &'a [u8]) -> Result<TargetParts<'a>, Reject> {
    // RFC 9110 §9.3.6: an origin server may decline CONNECT; we are no proxy, whatever its target is.
    if method == b"CONNECT" {
        return Err(Reject::Connect);
    }
    if target.contains(&b'#') {
        return Err(Reject::Fragment);
    }
    if target == b"*" {
        let asterisk = TargetParts { form: Target::Asterisk, path: target, query: b"", authority: None };
        return if ASTERISK_METHODS.contains(&method) { Ok(asterisk) } else { Err(Reject::Asterisk) };
    }
    // An origin form that begins with `//` stays a path: only a scheme makes an authority.
    let (form, authority, rest) = if target.first() == Some(&b'/') {
        (Target::Origin, None, target)
    } else {
        let (authority, rest) = split_absolute(target)?;
        (Target::Absolute, Some(authority), rest)
    };
    let (path, query) = match memchr(b'?', rest) {
        Some(mark) => (&rest[..mark], &rest[mark + 1..]),
        None => (rest, &b""[..]),
    };
    check_path(path)?;
    if !query.iter().copied().all(is_query_byte) {
        return Err(Reject::Target);
    }
    Ok(TargetParts { form, path, query, authority })
}

/// Splits `http://authority/path?query` (RFC 9112 §3.2.2) into the authority and the rest.
fn split_absolute(target: &[u8]) -> Result<(&[u8], &[u8]), Reject> {
    for scheme in [&b"http://"[..], b"https://"] {
        let Some((start, rest)) = target.split_at_checked(scheme.len()) else { continue };
        if start.eq_ignore_ascii_case(scheme) {
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            // RFC 9110 §4.2.4: user information is refused with everything else that is not host[:port].
            if !is_authority(authority) {
                return Err(Reject::TargetAuthority);
            }
            return Ok((authority, rest));
        }
    }
    Err(Reject::Target)
}

/// RFC 3986 §2.1 and §3.3, and no `%00`: a path with NUL ends early in some readers.
fn check_path(path: &[u8]) -> Result<(), Reject> {
    let mut rest = path;
    while let Some((byte, tail)) = rest.split_first() {
        rest = match byte {
            b'%' => match tail {
                [b'0', b'0', ..] => return Err(Reject::NulInPath),
                [high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
                _ => return Err(Reject::PercentEncoding),
            },
            byte if is_path_byte(*byte) => tail,
            _ => return Err(Reject::Target),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str) -> Result<(Target, &str, &str, Option<&str>), Reject> {
        let parts = parse(b"GET", target.as_bytes())?;
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let authority = parts.authority.map(text);
        Ok((parts.form, text(parts.path), text(parts.query), authority))
    }

    #[test]
    fn forms() {
        assert_eq!(parts("/"), Ok((Target::Origin, "/", "", None)));
        assert_eq!(parts("/a?b?c"), Ok((Target::Origin, "/a", "b?c", None)));
        assert_eq!(parts("//evil/a"), Ok((Target::Origin, "//evil/a", "", None)));
        assert_eq!(parts("http://h/a?b"), Ok((Target::Absolute, "/a", "b", Some("h"))));
        assert_eq!(parts("HTTPS://h:1"), Ok((Target::Absolute, "", "", Some("h:1"))));
        assert_eq!(parts("http://h?q"), Ok((Target::Absolute, "", "q", Some("h"))));
        assert_eq!(parts("*"), Err(Reject::Asterisk));
        assert_eq!(parse(b"OPTIONS", b"*").map(|parts| parts.form), Ok(Target::Asterisk));
        assert_eq!(parse(b"M-SEARCH", b"*").map(|parts| parts.form), Ok(Target::Asterisk));
        assert_eq!(parse(b"CONNECT", b"h:443"), Err(Reject::Connect));
        for bad in ["a", "h:80", "ftp://h/", "http:/h/", "http:", "?a", "mailto:a@b", "**"] {
            assert_eq!(parts(bad), Err(Reject::Target), "{bad}");
        }
        for bad in ["http://", "http:///a", "http://u@h/", "http://h:x/", "https://[::1/"] {
            assert_eq!(parts(bad), Err(Reject::TargetAuthority), "{bad}");
        }
    }

    #[test]
    fn every_byte_in_path_and_query() {
        for byte in 0..=255_u8 {
            let path = byte.is_ascii_graphic() && !b"\"#%<>?\\`{}".contains(&byte) || byte == b'?';
            assert_eq!(parse(b"GET", &[b'/', byte]).is_ok(), path, "path {byte:#x}");
            let query = byte.is_ascii_graphic() && byte != b'#';
            assert_eq!(parse(b"GET", &[b'/', b'?', byte]).is_ok(), query, "query {byte:#x}");
        }
    }

    #[test]
    fn percent_encoding_in_the_path() {
        assert!(parts("/%41%fF%2F%25").is_ok());
        assert!(parts("/?%").is_ok());
        for bad in ["/%", "/%4", "/%4g", "/%g4", "/%%41", "/%u0041"] {
            assert_eq!(parts(bad), Err(Reject::PercentEncoding), "{bad}");
        }
        assert_eq!(parts("/a%00b"), Err(Reject::NulInPath));
        assert_eq!(parts("/a#b"), Err(Reject::Fragment));
    }
}
