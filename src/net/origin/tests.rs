//! Tests of the rules of trust.

#[allow(clippy::duplicate_mod, reason = "layers share no module, and only tests read the corpus")]
#[path = "../../../tests/corpus/reader.rs"]
mod reader;

use std::net::SocketAddr;

use crate::config::ProxyProtocol;

use super::*;

fn proxy(forwarded: Forwarded) -> Proxy {
    let networks =
        ["127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).to_vec();
    Proxy { trusted: Trusted { networks, unix: true }, forwarded, protocol: ProxyProtocol::Off }
}

fn endpoint(trusted: bool) -> Endpoint {
    let address = |text: &str| Address::Tcp(text.parse::<SocketAddr>().unwrap());
    Endpoint { local: address("127.0.0.1:8000"), peer: address("127.0.0.1:4000"), trusted }
}

fn origin(forwarded: Forwarded, fields: &[(&str, &str)]) -> Result<Origin, OriginError> {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    origin_from(fields, &endpoint(true), &proxy(forwarded))
}

fn scheme(fields: &[(&str, &str)]) -> Result<Scheme, OriginError> {
    let by_scheme = origin(Forwarded::Scheme, fields).map(|origin| origin.scheme);
    let by_all = origin(Forwarded::All, fields).map(|origin| origin.scheme);
    assert_eq!(by_scheme, by_all, "{fields:?}");
    by_all
}

fn client(fields: &[(&str, &str)]) -> Result<Option<String>, OriginError> {
    origin(Forwarded::All, fields).map(|origin| {
        origin.client.map(|client| match origin.client_port {
            Some(port) => SocketAddr::new(client, port).to_string(),
            None => client.to_string(),
        })
    })
}

fn chain(value: &str) -> Result<Option<String>, OriginError> {
    client(&[("X-Forwarded-For", value)])
}

fn by_forwarded(value: &str) -> Result<Origin, OriginError> {
    origin(Forwarded::All, &[("Forwarded", value)])
}

const EVERYTHING: [(&str, &str); 6] = [
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-For", "192.0.2.1"),
    ("X-Forwarded-Host", "example.com"),
    ("X-Forwarded-Port", "443"),
    ("X-Forwarded-Prefix", "/api/"),
    ("Forwarded", "for=192.0.2.1;proto=https"),
];

#[test]
fn an_untrusted_peer_is_not_believed_and_not_refused() {
    for fields in [&EVERYTHING[..], &[("X-Forwarded-Proto", "nonsense"), ("Forwarded", "\"")]] {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        assert_eq!(origin_from(fields, &endpoint(false), &proxy(Forwarded::All)), Ok(Origin::own()));
    }
}

#[test]
fn each_mode_believes_what_it_says() {
    assert_eq!(origin(Forwarded::None, &EVERYTHING), Ok(Origin::own()));
    assert_eq!(origin(Forwarded::Scheme, &EVERYTHING), Ok(Origin { scheme: Scheme::Https, ..Origin::own() }));
    assert_eq!(
        origin(Forwarded::All, &EVERYTHING),
        Ok(Origin {
            scheme: Scheme::Https,
            client: Some("192.0.2.1".parse().unwrap()),
            client_port: None,
            host: Some("example.com".to_owned()),
            port: Some(443),
            prefix: Some("/api".to_owned()),
        })
    );
    assert_eq!(origin(Forwarded::All, &[("Accept", "*/*"), ("X-Other", "1")]), Ok(Origin::own()));
}

#[test]
fn the_scheme_comes_from_x_forwarded_proto_alone() {
    assert_eq!(scheme(&[]), Ok(Scheme::Http));
    assert_eq!(scheme(&[("x-forwarded-proto", "https")]), Ok(Scheme::Https));
    assert_eq!(scheme(&[("X-FORWARDED-PROTO", "HTTP")]), Ok(Scheme::Http));
    assert_eq!(scheme(&[("X-Forwarded-Proto", "https , https")]), Ok(Scheme::Https));
    assert_eq!(scheme(&[("X-Forwarded-Ssl", "on")]), Ok(Scheme::Http));
    assert_eq!(scheme(&[("Front-End-Https", "on"), ("X-Forwarded-Protocol", "ssl")]), Ok(Scheme::Http));
    assert_eq!(scheme(&[("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "on")]), Ok(Scheme::Https));
    for value in ["", "ftp", "https,", "on", "https;", "http s"] {
        assert_eq!(scheme(&[("X-Forwarded-Proto", value)]), Err(OriginError::Malformed), "{value:?}");
    }
}

#[test]
fn contradictory_schemes_are_refused_in_either_order() {
    for (one, other) in [
        (("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")),
        (("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "off")),
        (("X-Forwarded-Proto", "http"), ("X-Forwarded-Ssl", "on")),
        (("X-Forwarded-Proto", "http"), ("Front-End-Https", "On")),
        (("X-Forwarded-Proto", "http"), ("X-Forwarded-Protocol", "ssl")),
        (("X-Forwarded-Proto", "https"), ("X-Forwarded-Scheme", "http")),
    ] {
        assert_eq!(scheme(&[one, other]), Err(OriginError::ContradictoryScheme), "{one:?} {other:?}");
        assert_eq!(scheme(&[other, one]), Err(OriginError::ContradictoryScheme), "{other:?} {one:?}");
    }
    assert_eq!(scheme(&[("X-Forwarded-Proto", "https, http")]), Err(OriginError::ContradictoryScheme));
}

#[test]
fn the_client_is_the_first_from_the_right_that_is_no_proxy() {
    let is = |address: &str| Ok(Some(address.to_owned()));
    assert_eq!(chain("192.0.2.1"), is("192.0.2.1"));
    assert_eq!(chain("203.0.113.9, 192.0.2.1"), is("192.0.2.1"), "the client wrote the left one itself");
    assert_eq!(chain("192.0.2.1, 10.1.2.3,127.0.0.1"), is("192.0.2.1"));
    assert_eq!(chain("10.0.0.2, 10.0.0.1"), is("10.0.0.2"), "all trusted: the leftmost");
    assert_eq!(chain("192.0.2.1:4711, ::ffff:10.0.0.1"), is("192.0.2.1:4711"));
    assert_eq!(chain("[2001:db9::1]:80, [2001:db8::5]"), is("[2001:db9::1]:80"));
    assert_eq!(chain("192.0.2.1, unknown, 10.0.0.1"), Ok(None), "a proxy hides it");
    let lines =
        [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-For", "10.0.0.2")];
    assert_eq!(client(&lines), is("192.0.2.1"), "lines are one list");
}

#[test]
fn garbage_is_refused_where_a_proxy_wrote_it_and_ignored_where_a_client_did() {
    for value in
        ["", "garbage", "192.0.2.1,", "192.0.2.1, , 10.0.0.1", "garbage, 10.0.0.1", "192.0.2.1 10.0.0.1"]
    {
        assert_eq!(chain(value), Err(OriginError::Malformed), "{value:?}");
    }
    assert_eq!(chain("<script>, 192.0.2.1"), Ok(Some("192.0.2.1".to_owned())));
}

#[test]
fn host_port_and_prefix_are_single_and_valid() {
    let one = |name, value| origin(Forwarded::All, &[(name, value)]);
    let origin_with_port = one("X-Forwarded-Host", "example.com:8443").unwrap();
    assert_eq!(
        (origin_with_port.host.as_deref(), origin_with_port.port),
        (Some("example.com:8443"), Some(8443))
    );
    let explicit = [("X-Forwarded-Host", "example.com:8443"), ("X-Forwarded-Port", "443")];
    assert_eq!(origin(Forwarded::All, &explicit).unwrap().port, Some(443));
    assert_eq!(one("X-Forwarded-Prefix", "/").unwrap().prefix, None);
    for (name, value) in [
        ("X-Forwarded-Host", "a.example, b.example"),
        ("X-Forwarded-Port", "0"),
        ("X-Forwarded-Port", "443, 443"),
        ("X-Forwarded-Prefix", "//evil.example"),
    ] {
        assert_eq!(one(name, value), Err(OriginError::Malformed), "{name}: {value}");
    }
    for (name, first, second) in [
        ("X-Forwarded-Host", "a.example", "b.example"),
        ("X-Forwarded-Port", "80", "443"),
        ("X-Forwarded-Prefix", "/a", "/b"),
    ] {
        assert_eq!(
            origin(Forwarded::All, &[(name, first), (name, second)]),
            Err(OriginError::Malformed),
            "{name}"
        );
        assert!(origin(Forwarded::All, &[(name, first), (name, first)]).is_ok(), "{name}");
    }
}

#[test]
fn forwarded_is_walked_like_x_forwarded_for() {
    let origin = by_forwarded(
        "for=evil;host=evil.example, for=\"192.0.2.1:4711\";host=a.example;proto=https, for=10.0.0.1",
    );
    let origin = origin.unwrap();
    assert_eq!((origin.client, origin.client_port), (Some("192.0.2.1".parse().unwrap()), Some(4711)));
    assert_eq!((origin.host.as_deref(), origin.scheme), (Some("a.example"), Scheme::Https));
    let hidden = by_forwarded("for=192.0.2.1;host=evil.example, for=_secret;proto=https").unwrap();
    assert_eq!((hidden.client, hidden.host, hidden.scheme), (None, None, Scheme::Https));
    assert_eq!(by_forwarded("proto=https").unwrap().scheme, Scheme::Https);
    assert_eq!(
        by_forwarded("for=10.0.0.2;proto=https, for=10.0.0.1;proto=http"),
        Err(OriginError::ContradictoryScheme)
    );
    assert_eq!(by_forwarded("for=\"192.0.2.1"), Err(OriginError::Malformed));
    assert_eq!(by_forwarded("for=192.0.2.1;proto=gopher"), Err(OriginError::Malformed));
}

#[test]
fn forwarded_must_agree_with_x_forwarded() {
    let both = |forwarded, name, value| origin(Forwarded::All, &[("Forwarded", forwarded), (name, value)]);
    assert_eq!(both("proto=http", "X-Forwarded-Proto", "https"), Err(OriginError::ContradictoryScheme));
    assert_eq!(both("proto=https", "X-Forwarded-Ssl", "off"), Err(OriginError::ContradictoryScheme));
    assert_eq!(both("for=192.0.2.2", "X-Forwarded-For", "192.0.2.1"), Err(OriginError::Malformed));
    assert_eq!(both("host=a.example", "X-Forwarded-Host", "b.example"), Err(OriginError::Malformed));
    let agreeing = both("for=\"192.0.2.1:80\";host=a.example", "X-Forwarded-For", "192.0.2.1").unwrap();
    assert_eq!(agreeing.client, Some("192.0.2.1".parse().unwrap()));
}

#[test]
fn trust_is_by_network_and_sees_through_mapped_addresses() {
    let trusted = proxy(Forwarded::All).trusted;
    let tcp = |text: &str| trusted.contains(&Address::Tcp(text.parse().unwrap()));
    assert!(tcp("127.0.0.1:1") && tcp("10.255.0.1:1") && tcp("[2001:db8::9]:1"));
    assert!(tcp("[::ffff:10.0.0.1]:1"), "IPv4 on an IPv6 socket");
    assert!(!tcp("127.0.0.2:1") && !tcp("11.0.0.1:1") && !tcp("[::1]:1") && !tcp("[::ffff:11.0.0.1]:1"));
    assert!(trusted.contains(&Address::Unix(None)));
    assert!(!Trusted { unix: false, ..trusted }.contains(&Address::Unix(Some("/run/x".into()))));
}

#[test]
fn corpus() {
    for case in reader::load_plain("forwarding").unwrap() {
        let forwarded = match case.expected[0].as_str() {
            "none" => Forwarded::None,
            "scheme" => Forwarded::Scheme,
            _ => Forwarded::All,
        };
        let lines = case.input.split(|byte| *byte == b'\n');
        let fields = lines.map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').unwrap();
            (&line[..colon], line[colon + 1..].trim_ascii())
        });
        let found = origin_from(fields, &endpoint(true), &proxy(forwarded));
        for expected in &case.expected[1..] {
            let (what, value) = expected.split_once(' ').unwrap();
            let seen = match (&found, what) {
                (Err(error), _) => format!("{error:?}"),
                (Ok(origin), "scheme") => format!("{:?}", origin.scheme).to_lowercase(),
                (Ok(origin), "client") => origin.client.unwrap().to_string(),
                (Ok(origin), "host") => origin.host.clone().unwrap(),
                (Ok(origin), "port") => origin.port.unwrap().to_string(),
                (Ok(origin), "prefix") => origin.prefix.clone().unwrap(),
                (Ok(origin), _) => format!("{origin:?}"),
            };
            assert_eq!(seen, value, "{}: {what}", case.name);
        }
    }
}
