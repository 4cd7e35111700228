//! Feeds arbitrary forwarding fields of a trusted proxy: what comes out is usable as it is, an untrusted peer's decide
//! nothing, and what a client wrote in front of the chain of proxies changes nothing. The first byte chooses the
//! setting; each further line is a field.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use rwsgi::config::{Forwarded, Proxy, ProxyProtocol, Trusted};
use rwsgi::net::origin::{Origin, OriginError, origin_from};
use rwsgi::net::{Address, Endpoint, Scheme};

type Field<'a> = (&'a [u8], &'a [u8]);

fn proxy(forwarded: Forwarded) -> Proxy {
    let networks = ["127.0.0.0/8", "10.0.0.0/8"].iter().filter_map(|network| network.parse().ok()).collect();
    Proxy { trusted: Trusted { networks, unix: true }, forwarded, protocol: ProxyProtocol::Off }
}

fn origin(fields: &[Field<'_>], forwarded: Forwarded, trusted: bool) -> Result<Origin, OriginError> {
    let address = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 8000)));
    let endpoint = Endpoint { local: address.clone(), peer: address, trusted };
    origin_from(fields.iter().copied(), &endpoint, &proxy(forwarded))
}

fn is_foreign(client: IpAddr) -> bool {
    !proxy(Forwarded::All).trusted.contains(&Address::Tcp(SocketAddr::new(client, 1)))
}

/// Fields of this name alone; then with something of the client's own in front of them.
fn check_prefix(fields: &[Field<'_>], name: &str, forged: &[u8]) {
    let own: Vec<Field<'_>> =
        fields.iter().copied().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).collect();
    let Ok(plain) = origin(&own, Forwarded::All, true) else { return };
    if !plain.client.is_some_and(is_foreign) {
        return;
    }
    let line = [&[(name.as_bytes(), forged)][..], &own].concat();
    assert_eq!(origin(&line, Forwarded::All, true), Ok(plain.clone()), "a line in front");
    let first = [forged, b", ", own[0].1].concat();
    let mut joined = own.clone();
    joined[0].1 = &first;
    assert_eq!(origin(&joined, Forwarded::All, true), Ok(plain), "an element in front");
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, text)) = data.split_first() else { return };
    let forwarded = match choice % 3 {
        0 => Forwarded::None,
        1 => Forwarded::Scheme,
        _ => Forwarded::All,
    };
    let split = |line: &'_ [u8]| line.iter().position(|byte| *byte == b':');
    let fields: Vec<Field<'_>> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| split(line).map(|colon| (&line[..colon], line[colon + 1..].trim_ascii())))
        .collect();
    let nothing = Origin {
        scheme: Scheme::Http,
        client: None,
        client_port: None,
        host: None,
        port: None,
        prefix: None,
    };
    assert_eq!(origin(&fields, forwarded, false).as_ref(), Ok(&nothing));
    check_prefix(&fields, "X-Forwarded-For", b"203.0.113.9");
    check_prefix(&fields, "Forwarded", b"for=203.0.113.9;proto=https;host=evil.example");
    let Ok(found) = origin(&fields, forwarded, true) else { return };
    match forwarded {
        Forwarded::None => assert_eq!(found, nothing),
        Forwarded::Scheme => assert_eq!(Origin { scheme: Scheme::Http, ..found.clone() }, nothing),
        Forwarded::All => {}
    }
    assert!(found.client_port.is_none() || found.client.is_some());
    assert!(found.port != Some(0));
    if let Some(host) = found.host {
        assert!(
            host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte)),
            "{host:?}"
        );
    }
    if let Some(prefix) = found.prefix {
        assert!(prefix.starts_with('/') && !prefix.starts_with("//") && !prefix.ends_with('/'), "{prefix:?}");
        assert!(prefix.bytes().all(|byte| byte.is_ascii_graphic()), "{prefix:?}");
    }
});
