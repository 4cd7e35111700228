//! `[proxy]`: what forwarding headers and the PROXY protocol make of a request, and who is believed.

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::client::{Address, Client};
use crate::harness::{Builder, Server};

fn request(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: own.example\r\n{fields}\r\n")
}

/// The environ of a request with these fields.
#[track_caller]
fn environ(server: &Server, fields: &str) -> Value {
    server.connect().send(request(fields)).response().expect(200).json()
}

const ALL: &str = "X-Forwarded-Proto: https\r\nX-Forwarded-For: 203.0.113.7\r\n\
                   X-Forwarded-Host: site.example\r\nX-Forwarded-Port: 8443\r\nX-Forwarded-Prefix: /shop\r\n";

/// What `environ` says of scheme, client, host, port and prefix.
fn origin(environ: &Value) -> [&str; 5] {
    ["wsgi.url_scheme", "REMOTE_ADDR", "HTTP_HOST", "SERVER_PORT", "SCRIPT_NAME"]
        .map(|name| environ[name].as_str().unwrap_or_else(|| panic!("{name} in {environ}")))
}

#[test]
fn scheme_alone_is_believed_by_default() {
    let server = Builder::new("environ_json").start();
    let environ = environ(&server, ALL);
    let [scheme, client, host, port, prefix] = origin(&environ);
    assert_eq!([scheme, client, host, prefix], ["https", "127.0.0.1", "own.example", ""]);
    assert_ne!(port, "8443");
}

#[test]
fn everything_is_believed_when_asked_for() {
    let server = Builder::new("environ_json").with("proxy.forwarded", "\"all\"").start();
    let all = environ(&server, ALL);
    assert_eq!(origin(&all), ["https", "203.0.113.7", "site.example", "8443", "/shop"]);
    assert_eq!(all.get("REMOTE_PORT"), None, "the port of the proxy is not the client's");
    let rfc7239 =
        environ(&server, "Forwarded: for=\"[2001:db8::7]:4711\";proto=https;host=\"site.example:8443\"\r\n");
    assert_eq!(origin(&rfc7239), ["https", "2001:db8::7", "site.example:8443", "8443", ""]);
    assert_eq!(rfc7239["REMOTE_PORT"], "4711");
    // The first address from the right that is no trusted proxy's; what is left of it may be invented.
    let chain = environ(&server, "X-Forwarded-For: 1.2.3.4, 203.0.113.7, 127.0.0.1\r\n");
    assert_eq!(chain["REMOTE_ADDR"], "203.0.113.7");
}

#[test]
fn nothing_is_believed_when_switched_off() {
    let server = Builder::new("environ_json").with("proxy.forwarded", "\"none\"").start();
    let environ = environ(&server, ALL);
    let [scheme, client, host, port, prefix] = origin(&environ);
    assert_eq!([scheme, client, host, prefix], ["http", "127.0.0.1", "own.example", ""]);
    assert_ne!(port, "8443");
}

#[test]
fn only_trusted_networks_are_believed() {
    let server = Builder::new("environ_json")
        .with("proxy.forwarded", "\"all\"")
        .with("proxy.trusted", "[\"127.5.0.0/16\", \"::1\"]")
        .start();
    for (address, believed) in [([127, 0, 0, 1], false), ([127, 5, 9, 9], true), ([127, 6, 0, 0], false)] {
        let peer = Ipv4Addr::from(address);
        let mut client = Client::connect_from(&server.address(), peer);
        let environ = client.send(request(ALL)).response().expect(200).json();
        let [scheme, client, host, _port, prefix] = origin(&environ);
        let own = peer.to_string();
        let wanted = if believed {
            ["https", "203.0.113.7", "site.example", "/shop"]
        } else {
            ["http", &own, "own.example", ""]
        };
        assert_eq!([scheme, client, host, prefix], wanted, "from {peer}");
    }
}

#[test]
fn peers_on_unix_sockets_are_trusted_by_name() {
    for (trusted, scheme) in [("[\"unix\"]", "https"), ("[\"127.0.0.1\"]", "http"), ("[]", "http")] {
        let builder = Builder::new("environ_json").with("proxy.trusted", trusted);
        let path = builder.path("socket");
        let _server = builder.bind(&[&format!("unix:{}", path.display())]).start();
        let mut client = Client::connect(&Address::Unix(path));
        let environ = client.send(request(ALL)).response().expect(200).json();
        assert_eq!(environ["wsgi.url_scheme"], scheme, "trusted = {trusted}");
    }
}

#[test]
fn contradictory_headers_are_refused() {
    let server = Builder::new("environ_json").with("proxy.forwarded", "\"all\"").start();
    for fields in [
        "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n",
        "X-Forwarded-Proto: https, http\r\n",
        "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n",
        "X-Forwarded-Proto: http\r\nX-Forwarded-Scheme: https\r\n",
        "X-Forwarded-Proto: http\r\nX-Forwarded-Protocol: ssl\r\n",
        "X-Forwarded-Proto: http\r\nFront-End-Https: on\r\n",
        "X-Forwarded-Proto: http\r\nForwarded: for=203.0.113.7;proto=https\r\n",
        "X-Forwarded-Proto: gopher\r\n",
        "X-Forwarded-For: nonsense\r\n",
        "X-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.8\r\n",
        "X-Forwarded-Host: a.example\r\nX-Forwarded-Host: b.example\r\n",
        "X-Forwarded-Port: 99999\r\n",
    ] {
        let mut client = server.connect();
        let response = client.send(request(fields)).response().expect(400);
        assert_eq!(response.header("connection"), Some("close"), "{fields}");
        client.expect_end();
        // Of a stranger the same is only a header like any other.
        let mut stranger = Client::connect_from(&server.address(), Ipv4Addr::new(127, 6, 6, 6));
        let environ = stranger.send(request(fields)).response().expect(200).json();
        assert_eq!(environ["wsgi.url_scheme"], "http", "{fields}");
    }
}

/// A header of version 2 (§2.2): `command` 0 LOCAL or 1 PROXY, family 0x11 TCP over IPv4, 0x21 TCP over IPv6.
fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family][..], &length, rest].concat()
}

/// 203.0.113.7:4711 to 198.51.100.1:443.
const IPV4: [u8; 12] = [203, 0, 113, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xBB];

/// [2001:db8::7]:4711 to [2001:db8::1]:443.
fn ipv6() -> Vec<u8> {
    let mut bytes = vec![0; 36];
    for (at, last) in [(0, 7), (16, 1)] {
        bytes[at..at + 4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
        bytes[at + 15] = last;
    }
    bytes[32..].copy_from_slice(&[0x12, 0x67, 0x01, 0xBB]);
    bytes
}

/// Authority, CRC-32C (not checked, only skipped), padding, and a TLS TLV with its own inside.
const TLVS: &[u8] =
    b"\x02\x00\x0csite.example\x04\x00\x02\x00\x00\x20\x00\x0f\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3";

/// Version and bytes of a header, and the address and port that the application must see; `None` for the socket's own.
type Header = (&'static str, Vec<u8>, Option<(&'static str, &'static str)>);

fn headers() -> Vec<Header> {
    let v4 = Some(("203.0.113.7", "4711"));
    let v6 = Some(("2001:db8::7", "4711"));
    vec![
        ("v1", b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n".to_vec(), v4),
        ("v1", b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(), v6),
        ("v1", b"PROXY UNKNOWN\r\n".to_vec(), None),
        ("v1", b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
        ("v2", version_2(1, 0x11, &IPV4), v4),
        ("v2", version_2(1, 0x11, &[&IPV4, TLVS].concat()), v4),
        ("v2", version_2(1, 0x21, &ipv6()), v6),
        ("v2", version_2(1, 0x21, &[&ipv6(), TLVS].concat()), v6),
        ("v2", version_2(1, 0x00, b""), None),
        ("v2", version_2(0, 0x00, b""), None),
        ("v2", version_2(0, 0x11, &IPV4), None),
    ]
}

#[test]
fn proxy_protocol_over_tcp() {
    for setting in ["v1", "v2", "auto"] {
        let server = Builder::new("environ_json").with("proxy.protocol", &format!("\"{setting}\"")).start();
        for (version, header, named) in headers() {
            let mut client = server.connect();
            if setting != "auto" && version != setting {
                // The server may be gone before the request was sent.
                client.try_send(&[&header[..], request("").as_bytes()].concat()).ok();
                client.expect_closed();
                continue;
            }
            let bytes = [&header[..], request("X-Forwarded-Proto: https\r\n").as_bytes()].concat();
            for byte in bytes {
                client.send([byte]);
            }
            let first = client.response().expect(200).json();
            let again = client.get("/").expect(200).json();
            for environ in [&first, &again] {
                let address = environ["REMOTE_ADDR"].as_str().unwrap();
                let port = environ["REMOTE_PORT"].as_str().unwrap();
                match named {
                    Some(named) => assert_eq!((address, port), named, "{}", header.escape_ascii()),
                    None => assert_eq!(address, "127.0.0.1", "{}", header.escape_ascii()),
                }
            }
            assert_eq!(first["wsgi.url_scheme"], "https", "the proxy itself stays trusted");
            assert_eq!(again["wsgi.url_scheme"], "http");
        }
    }
}

#[test]
fn proxy_protocol_over_a_unix_socket() {
    let builder = Builder::new("environ_json").with("proxy.protocol", "\"auto\"");
    let path = builder.path("socket");
    let _server = builder.bind(&[&format!("unix:{}", path.display())]).start();
    for (_version, header, named) in headers() {
        let mut client = Client::connect(&Address::Unix(path.clone()));
        let environ =
            client.send([&header[..], request("").as_bytes()].concat()).response().expect(200).json();
        match named {
            Some((address, port)) => {
                assert_eq!(environ["REMOTE_ADDR"], address);
                assert_eq!(environ["REMOTE_PORT"], port);
            }
            None => {
                assert_eq!(environ["REMOTE_ADDR"], "");
                assert_eq!(environ.get("REMOTE_PORT"), None);
            }
        }
    }
}

#[test]
fn connections_without_a_valid_proxy_header_are_closed() {
    let server = Builder::new("seen_in_log").with("proxy.protocol", "\"auto\"").start();
    let truncated_tlv = [&IPV4[..], b"\x02\x00\x0csite"].concat();
    for header in [
        b"".to_vec(),
        b"PROXY TCP4 203.0.113.7 198.51.100.1 4711\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\n".to_vec(),
        b"PROXY TCP4 2001:db8::7 198.51.100.1 4711 443\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 70000\r\n".to_vec(),
        b"proxy TCP4 203.0.113.7 198.51.100.1 4711 443\r\n".to_vec(),
        version_2(2, 0x11, &IPV4),
        version_2(1, 0x11, &IPV4[..8]),
        version_2(1, 0x12, &IPV4),
        version_2(1, 0x11, &truncated_tlv),
    ] {
        let mut client = server.connect();
        // The server may be gone before the request was sent.
        client.try_send(&[&header[..], request("").as_bytes()].concat()).ok();
        client.expect_closed();
    }
    assert!(!server.log().contains("called"), "a request came through:\n{}", server.log());
}

#[test]
fn proxy_protocol_of_a_stranger_is_closed() {
    let server = Builder::new("seen_in_log")
        .with("proxy.protocol", "\"auto\"")
        .with("proxy.trusted", "[\"127.5.0.0/16\", \"10.0.0.0/8\"]")
        .start();
    for (_version, header, _named) in headers() {
        let mut client = server.connect();
        // The server may be gone before anything was sent.
        client.try_send(&[&header[..], request("").as_bytes()].concat()).ok();
        client.expect_closed();
    }
    assert!(!server.log().contains("called"), "a request came through:\n{}", server.log());
    let mut friend = Client::connect_from(&server.address(), Ipv4Addr::new(127, 5, 0, 1));
    friend.send([&version_2(1, 0x11, &IPV4)[..], request("").as_bytes()].concat()).response().expect(200);
    server.wait_for("called");
}

#[test]
fn stranger_on_a_unix_socket_is_closed() {
    let builder =
        Builder::new("seen_in_log").with("proxy.protocol", "\"v2\"").with("proxy.trusted", "[\"127.0.0.1\"]");
    let path = builder.path("socket");
    let server = builder.bind(&[&format!("unix:{}", path.display())]).start();
    let mut stream = UnixStream::connect(&path).unwrap();
    // The server may be gone before anything was sent.
    stream.write_all(&version_2(1, 0x11, &IPV4)).ok();
    Client::from_unix(stream).expect_closed();
    assert!(!server.log().contains("called"), "{}", server.log());
}

#[test]
fn proxy_header_that_does_not_come_is_not_waited_for() {
    let server = Builder::new("environ_json")
        .with("proxy.protocol", "\"v1\"")
        .with("http.header_timeout", "\"200ms\"")
        .start();
    server.connect().expect_end();
    server.connect().send("PROXY TCP4 203.").expect_end();
}
