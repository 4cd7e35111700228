//! The PROXY protocol, versions 1 and 2: the header that a load balancer sends before the first byte of HTTP. Pure.
//!
//! After HAProxy's specification "The PROXY protocol, versions 1 & 2" (cited by section). Invariant: however the bytes
//! arrive, the result is the same, and bytes that cannot become a header are refused at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::ProxyProtocol;

/// Longest header of version 1, CRLF included (§2.1).
const TEXT_MAX: usize = 107;

/// What every header of version 2 starts with (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const BINARY_HEAD: usize = 16;

/// Most bytes after the fixed part of version 2. The format allows 65535; addresses and the usual TLVs, a TLS
/// certificate's name among them, take a few hundred.
const BINARY_REST_MAX: usize = 4096;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxied {
    /// The real ends of the connection.
    Addresses {
        /// The client.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
    /// `LOCAL`, `UNKNOWN` or a family that has no IP address: keep the socket's own addresses.
    Own,
}

/// Why a header is refused; the connection is closed without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyError {
    /// The bytes are no header of an expected version.
    Malformed,
}

type Parsed = Result<Option<(usize, Proxied)>, ProxyError>;

/// Reads the header at the start of `input`: `Ok(None)` when more bytes are needed, else how many bytes it has.
///
/// # Errors
/// As soon as the bytes cannot become a valid header.
pub fn parse(expected: ProxyProtocol, input: &[u8]) -> Parsed {
    match (expected, input.first()) {
        (ProxyProtocol::Off, _) => Ok(Some((0, Proxied::Own))),
        (_, None) => Ok(None),
        (ProxyProtocol::V1 | ProxyProtocol::Auto, Some(b'P')) => parse_text(input),
        (ProxyProtocol::V2 | ProxyProtocol::Auto, Some(b'\r')) => parse_binary(input),
        (ProxyProtocol::V1 | ProxyProtocol::V2 | ProxyProtocol::Auto, Some(_)) => Err(ProxyError::Malformed),
    }
}

/// §2.1: `PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n`
fn parse_text(input: &[u8]) -> Parsed {
    let window = &input[..input.len().min(TEXT_MAX)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        let possible = window.len() < TEXT_MAX && can_become_text(window);
        return if possible { Ok(None) } else { Err(ProxyError::Malformed) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(ProxyError::Malformed)?;
    if line.contains(&b'\r') {
        return Err(ProxyError::Malformed);
    }
    let proxied = match Family::of(line) {
        Some((Family::Unknown, _)) if can_become_text(line) => Proxied::Own,
        Some((family, rest)) => family.parse(rest).ok_or(ProxyError::Malformed)?,
        None => return Err(ProxyError::Malformed),
    };
    Ok(Some((end + 1, proxied)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Tcp4,
    Tcp6,
    Unknown,
}

impl Family {
    const STARTS: [(&'static [u8], Self); 3] =
        [(b"PROXY TCP4 ", Self::Tcp4), (b"PROXY TCP6 ", Self::Tcp6), (b"PROXY UNKNOWN", Self::Unknown)];

    /// The family of a line and what follows it.
    fn of(line: &[u8]) -> Option<(Self, &[u8])> {
        Self::STARTS.iter().find_map(|(start, family)| Some((*family, line.strip_prefix(*start)?)))
    }

    /// Source and destination address, source and destination port, one space between.
    fn parse(self, rest: &[u8]) -> Option<Proxied> {
        let mut words = std::str::from_utf8(rest).ok()?.split(' ');
        let mut address = || -> Option<IpAddr> {
            let word = words.next()?;
            match self {
                Self::Tcp4 => word.parse().ok().map(IpAddr::V4),
                Self::Tcp6 => word.parse().ok().map(IpAddr::V6),
                Self::Unknown => None,
            }
        };
        let (source, destination) = (address()?, address()?);
        let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
        if words.next().is_some() {
            return None;
        }
        Some(addresses((source, source_port), (destination, destination_port)))
    }
}

/// Whether bytes without a newline may be the start of a header: each byte is checked as far as it decides.
fn can_become_text(line: &[u8]) -> bool {
    // A CR is followed by LF only, so it can only be the last byte.
    let line = match line.split_last() {
        Some((b'\r', line)) if Family::of(line).is_some() => line,
        _ => line,
    };
    match Family::of(line) {
        Some((Family::Unknown, rest)) => {
            matches!(rest.first(), None | Some(b' ')) && !rest.contains(&b'\r') && !rest.contains(&0)
        }
        Some((Family::Tcp4, rest)) => can_be_words(rest, |byte| byte.is_ascii_digit() || byte == b'.'),
        Some((Family::Tcp6, rest)) => {
            can_be_words(rest, |byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
        }
        None => Family::STARTS.iter().any(|(start, _)| start.starts_with(line)),
    }
}

fn can_be_words(rest: &[u8], in_address: impl Fn(u8) -> bool) -> bool {
    rest.split(|&byte| byte == b' ').enumerate().all(|(index, word)| match index {
        0 | 1 => word.iter().all(|&byte| in_address(byte)),
        2 | 3 => word.len() <= 5 && word.iter().all(u8::is_ascii_digit),
        _ => false,
    })
}

/// §2.1: digits without a leading zero, 0 to 65535.
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if plain { word.parse().ok() } else { None }
}

/// §2.2: signature, version and command, family and transport, length, addresses, TLVs.
fn parse_binary(input: &[u8]) -> Parsed {
    let signature = &input[..input.len().min(SIGNATURE.len())];
    if !SIGNATURE.starts_with(signature) {
        return Err(ProxyError::Malformed);
    }
    // Version 2 in the upper half; LOCAL 0, PROXY 1 in the lower.
    let local = match input.get(12) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(ProxyError::Malformed),
    };
    // Bytes of addresses: UNSPEC, and TCP over IPv4, IPv6, and unix. Datagrams carry no HTTP/1.
    let needed = match input.get(13) {
        None => return Ok(None),
        // A receiver ignores the family of LOCAL.
        Some(_) if local => 0,
        Some(0x00) => 0,
        Some(0x11) => 12,
        Some(0x21) => 36,
        Some(0x31) => 216,
        Some(_) => return Err(ProxyError::Malformed),
    };
    let Some(&[high, low]) = input.get(14..BINARY_HEAD) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < needed || length > BINARY_REST_MAX {
        return Err(ProxyError::Malformed);
    }
    let present = &input[BINARY_HEAD..input.len().min(BINARY_HEAD + length)];
    // With LOCAL and UNSPEC there may be addresses that must be skipped, so TLVs cannot be told apart.
    if needed > 0 {
        check_tlvs(present.get(needed..).unwrap_or_default(), length - needed)?;
    }
    if present.len() < length {
        return Ok(None);
    }
    Ok(Some((BINARY_HEAD + length, binary_addresses(needed, present))))
}

fn binary_addresses(needed: usize, bytes: &[u8]) -> Proxied {
    if let (12, Some((&[a, b, c, d, e, f, g, h, i, j, k, l], _))) = (needed, bytes.split_first_chunk::<12>())
    {
        return addresses(
            (Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([i, j])),
            (Ipv4Addr::new(e, f, g, h).into(), u16::from_be_bytes([k, l])),
        );
    }
    if let (36, Some((source, rest))) = (needed, bytes.split_first_chunk::<16>()) {
        if let Some((destination, &[i, j, k, l, ..])) = rest.split_first_chunk::<16>() {
            return addresses(
                (Ipv6Addr::from(*source).into(), u16::from_be_bytes([i, j])),
                (Ipv6Addr::from(*destination).into(), u16::from_be_bytes([k, l])),
            );
        }
    }
    Proxied::Own
}

/// §2.2.6: a type, a length of two bytes, a value; they must fill `length` exactly. `present` may end early.
fn check_tlvs(present: &[u8], length: usize) -> Result<(), ProxyError> {
    let mut at = 0;
    while at < length {
        if length - at < 3 {
            return Err(ProxyError::Malformed);
        }
        let Some(&[high, low]) = present.get(at + 1..at + 3) else {
            return Ok(());
        };
        at += 3 + usize::from(u16::from_be_bytes([high, low]));
    }
    if at == length { Ok(()) } else { Err(ProxyError::Malformed) }
}

fn addresses(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Proxied {
    let socket = |(address, port): (IpAddr, u16)| SocketAddr::new(address.to_canonical(), port);
    Proxied::Addresses { source: socket(source), destination: socket(destination) }
}

#[cfg(test)]
mod tests;
