//! Tests of both versions, each vector whole, byte by byte and with a request behind it.

#[allow(clippy::duplicate_mod, reason = "layers share no module, and only tests read the corpus")]
#[path = "../../../tests/corpus/reader.rs"]
mod reader;

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

fn proxied(source: &str, destination: &str) -> Proxied {
    Proxied::Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// The outcome when the bytes come one by one: the first that is not "more", and after how many bytes.
fn one_by_one(expected: ProxyProtocol, input: &[u8]) -> (usize, Parsed) {
    for length in 0..=input.len() {
        let parsed = parse(expected, &input[..length]);
        if parsed != Ok(None) {
            return (length, parsed);
        }
    }
    (input.len(), Ok(None))
}

fn accepts(expected: ProxyProtocol, header: &[u8], meaning: Proxied) {
    let parsed = Ok(Some((header.len(), meaning)));
    assert_eq!(parse(expected, header), parsed, "whole: {header:?}");
    assert_eq!(parse(expected, &[header, REQUEST].concat()), parsed, "glued: {header:?}");
    assert_eq!(one_by_one(expected, header), (header.len(), parsed), "byte by byte: {header:?}");
}

fn refuses(expected: ProxyProtocol, header: &[u8]) {
    let glued = [header, REQUEST].concat();
    assert_eq!(parse(expected, &glued), Err(ProxyError::Malformed), "glued: {header:?}");
    assert_eq!(one_by_one(expected, &glued).1, Err(ProxyError::Malformed), "byte by byte: {header:?}");
}

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0, 80];

#[test]
fn text_with_addresses() {
    for expected in [ProxyProtocol::V1, ProxyProtocol::Auto] {
        accepts(
            expected,
            b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n",
            proxied("192.0.2.1:4711", "198.51.100.1:80"),
        );
        accepts(
            expected,
            b"PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n",
            proxied("[2001:db8::1]:65535", "[2001:db8::2]:0"),
        );
        accepts(
            expected,
            b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 1 2\r\n",
            proxied("192.0.2.1:1", "198.51.100.1:2"),
        );
    }
}

#[test]
fn text_of_an_unknown_family_keeps_the_sockets_addresses() {
    accepts(ProxyProtocol::V1, b"PROXY UNKNOWN\r\n", Proxied::Own);
    let mut longest = b"PROXY UNKNOWN ".to_vec();
    longest.resize(TEXT_MAX - 2, b'f');
    longest.extend(b"\r\n");
    accepts(ProxyProtocol::V1, &longest, Proxied::Own);
    longest.insert(20, b'f');
    refuses(ProxyProtocol::V1, &longest);
}

#[test]
fn broken_text_is_refused() {
    for header in [
        &b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\n"[..],
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 80 \r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n",
        b"PROXY TCP4 192.0.2.1  198.51.100.1 4711 80\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 80\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 080 80\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 +80 80\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 80 80\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.1 80 80\r\n",
        b"PROXY TCP4 ::1 ::1 80 80\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.1 80 80\r\n",
        b"PROXY TCP6 ::g ::1 80 80\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 47\r11 80\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UNKNOWN a\rb\r\n",
        b"PROXY UNKNOWN\r\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.1 80 80\r\n",
        b"PROXY\r\n",
        b"proxy UNKNOWN\r\n",
        b"PUT / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\n",
    ] {
        refuses(ProxyProtocol::V1, header);
        refuses(ProxyProtocol::Auto, header);
    }
}

#[test]
fn text_is_refused_at_the_first_byte_that_cannot_fit() {
    for (header, length) in [
        (&b"G"[..], 1),
        (b"PU", 2),
        (b"PROXY TCP5", 10),
        (b"PROXY TCP4 x", 12),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 x", 28),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 123456", 33),
    ] {
        assert_eq!(one_by_one(ProxyProtocol::V1, header), (length, Err(ProxyError::Malformed)), "{header:?}");
    }
}

#[test]
fn binary_with_addresses_and_tlvs() {
    let ipv4 = proxied("192.0.2.1:4711", "198.51.100.1:80");
    for expected in [ProxyProtocol::V2, ProxyProtocol::Auto] {
        accepts(expected, &binary(0x21, 0x11, &IPV4), ipv4);
        let with_tlvs = [&IPV4[..], &[4, 0, 0], &[1, 0, 2, b'h', b'2']].concat();
        accepts(expected, &binary(0x21, 0x11, &with_tlvs), ipv4);
    }
    let mut ipv6 = Vec::new();
    ipv6.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    ipv6.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
    ipv6.extend([0x12, 0x67, 0, 80]);
    accepts(ProxyProtocol::V2, &binary(0x21, 0x21, &ipv6), proxied("[2001:db8::1]:4711", "[2001:db8::2]:80"));
}

#[test]
fn binary_without_ip_addresses_keeps_the_sockets_own() {
    accepts(ProxyProtocol::V2, &binary(0x20, 0x00, &[]), Proxied::Own);
    accepts(ProxyProtocol::V2, &binary(0x20, 0x11, &IPV4), Proxied::Own);
    accepts(ProxyProtocol::V2, &binary(0x21, 0x00, b"anything"), Proxied::Own);
    accepts(ProxyProtocol::V2, &binary(0x21, 0x31, &[0; 216]), Proxied::Own);
}

#[test]
fn broken_binary_is_refused() {
    let refused = |header: &[u8]| refuses(ProxyProtocol::V2, header);
    refused(&binary(0x11, 0x11, &IPV4));
    refused(&binary(0x22, 0x11, &IPV4));
    refused(&binary(0x21, 0x12, &IPV4));
    refused(&binary(0x21, 0x41, &IPV4));
    refused(&binary(0x21, 0x11, &IPV4[..11]));
    refused(&binary(0x21, 0x21, &IPV4));
    refused(&binary(0x21, 0x11, &[&IPV4[..], &[4, 0]].concat()));
    refused(&binary(0x21, 0x11, &[&IPV4[..], &[4, 0, 2, 0]].concat()));
    refused(&binary(0x20, 0x00, &[0; BINARY_REST_MAX + 1]));
    refused(b"\r\n\r\n\0\r\nQUIT\r\n");
}

#[test]
fn only_the_expected_version_is_taken() {
    refuses(ProxyProtocol::V2, b"PROXY UNKNOWN\r\n");
    refuses(ProxyProtocol::V1, &binary(0x20, 0x00, &[]));
    assert_eq!(parse(ProxyProtocol::Off, REQUEST), Ok(Some((0, Proxied::Own))));
}

#[test]
fn mutated_headers_mean_the_same_however_they_arrive() {
    let seed = std::env::var("RWSGI_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(0x9e37_79b9_7f4a_7c15_u64)
        .max(1);
    let mut state: u64 = seed;
    let mut random = |below: usize| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    let originals = [
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        binary(0x21, 0x11, &[&IPV4[..], &[1, 0, 2, b'h', b'2']].concat()),
    ];
    for round in 0..4000 {
        let mut input = [&originals[random(originals.len())][..], REQUEST].concat();
        for _ in 0..=random(2) {
            let at = random(input.len());
            match random(3) {
                0 => input[at] = b"\r\n 0:.\0PTx\x20\x21"[random(12)],
                1 => drop(input.remove(at)),
                _ => input.insert(at, b"\r\n 09"[random(5)]),
            }
        }
        let whole = parse(ProxyProtocol::Auto, &input);
        let (_, split) = one_by_one(ProxyProtocol::Auto, &input);
        assert_eq!(split, whole, "RWSGI_SEED={seed} round {round}: {:?}", input.escape_ascii().to_string());
    }
}

#[test]
fn corpus() {
    for case in reader::load_plain("proxy_protocol").unwrap() {
        let expected = match case.expected[0].as_str() {
            "v1" => ProxyProtocol::V1,
            "v2" => ProxyProtocol::V2,
            _ => ProxyProtocol::Auto,
        };
        let words = |parsed: Parsed| match parsed {
            Ok(None) => "more".to_owned(),
            Ok(Some((length, Proxied::Own))) => format!("own {length}"),
            Ok(Some((length, Proxied::Addresses { source, destination }))) => {
                format!("addresses {length} {source} {destination}")
            }
            Err(ProxyError::Malformed) => "refused".to_owned(),
        };
        assert_eq!(words(parse(expected, &case.input)), case.expected[1], "{}", case.name);
        assert_eq!(words(one_by_one(expected, &case.input).1), case.expected[1], "{} split", case.name);
    }
}
