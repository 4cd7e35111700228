//! Feeds arbitrary bytes as the header of the PROXY protocol, whole and byte by byte: the outcome must be the same, and
//! a header never ends behind its bytes. The first byte chooses which versions are expected.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rwsgi::config::ProxyProtocol;
use rwsgi::net::proxy_protocol::{Proxied, parse};

/// Longest header of version 1 (§2.1 of the specification).
const TEXT_MAX: usize = 107;

fuzz_target!(|data: &[u8]| {
    let Some((choice, input)) = data.split_first() else { return };
    let expected = match choice % 3 {
        0 => ProxyProtocol::V1,
        1 => ProxyProtocol::V2,
        _ => ProxyProtocol::Auto,
    };
    let whole = parse(expected, input);
    let first =
        (0..=input.len()).map(|length| parse(expected, &input[..length])).find(|parsed| *parsed != Ok(None));
    assert_eq!(first.unwrap_or(Ok(None)), whole, "byte by byte as whole");
    let Ok(Some((length, proxied))) = whole else { return };
    assert!(length > 0 && length <= input.len());
    assert_eq!(parse(expected, &input[..length]), whole, "what follows the header does not matter");
    if input[0] == b'P' {
        assert!(length <= TEXT_MAX && input[..length].ends_with(b"\r\n"));
    }
    if let Proxied::Addresses { source, destination } = proxied {
        for address in [source.ip(), destination.ip()] {
            assert_eq!(address, address.to_canonical(), "IPv4 in the form of IPv6 is IPv4");
        }
    }
});
