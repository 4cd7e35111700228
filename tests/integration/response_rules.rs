//! Odd and wrong responses of applications, as they appear on the wire (PEP 3333, RFC 9110, RFC 9112).

use std::fmt::Write as _;
use std::fs;

use serde_json::json;

use crate::harness::{Builder, Server};

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").unwrap();
        encoded
    })
}

#[test]
fn length_is_found_where_it_can_be() {
    let server = Builder::new("iterables").start();
    let mut client = server.connect();
    for (path, length, text) in [
        ("/one", Some("15"), "just one block\n"),
        ("/empty", Some("0"), ""),
        ("/empty-list", Some("0"), ""),
        ("/empty-blocks", Some("0"), ""),
        ("/empty-in-list", Some("2"), "ab"),
        ("/empty-between", None, "ab"),
        ("/written", None, "all was written\n"),
    ] {
        let response = client.get(path).expect(200);
        assert_eq!((response.header("content-length"), response.text().as_str()), (length, text), "{path}");
        let coding = response.header("transfer-encoding");
        assert_eq!(coding, length.is_none().then_some("chunked"), "{path}");
    }
}

#[test]
fn head_is_answered_as_get_is_without_the_body() {
    let server = Builder::new("iterables").start();
    let mut client = server.connect();
    for path in ["/one", "/empty-in-list", "/written", "/late"] {
        let get = client.get(path);
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let head = client.send(request).response_to_head().expect(get.status);
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
    }
    // An application that returns nothing to HEAD does not say that GET has nothing (RFC 9110 §8.6).
    let head = client.send("HEAD /empty HTTP/1.1\r\nHost: localhost\r\n\r\n").response_to_head().expect(200);
    assert_eq!(head.header("content-length"), None);
    assert_eq!(client.get("/one").expect(200).text(), "just one block\n", "the connection is in step");
}

#[test]
fn generator_that_starts_the_response_late() {
    let server = Builder::new("iterables").start();
    assert_eq!(server.get("/late").expect(202).text(), "late\n");
    server.get("/never").expect(500);
    server.wait_for("the application did not call start_response");
}

#[test]
fn failure_before_the_first_block_is_answered_with_500() {
    let server = Builder::new("fails_with_length").start();
    let response = server.get("/first").expect(500);
    assert_ne!(response.header("content-length"), Some("10"));
    assert!(!response.text().contains("LookupError"), "details are for the log: {}", response.text());
    server.wait_for("LookupError: before the first block");
}

#[test]
fn failure_after_some_bytes_closes_short_of_the_length() {
    let server = Builder::new("fails_with_length").start();
    for path in ["/yield", "/write"] {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let error = client.read_response(false).unwrap_err();
        assert_eq!(error, "the connection ends after 5 of 10 bytes", "{path}");
    }
    server.wait_for_nth("LookupError: after five bytes", 2);
}

/// A header that must be refused, with a word of the log record.
#[track_caller]
fn refused(server: &Server, status: &str, name: &str, value: &str, word: &str) {
    let query = percent_encoded(&json!([status, name, value]).to_string());
    let mut client = server.connect();
    let response = client.get(&format!("/?{query}")).expect(500);
    for (field, content) in &response.headers {
        let hostile = content.contains("stolen") || field == "X-Bad";
        assert!(!hostile, "{field}: {content} got out");
    }
    server.wait_for(word);
}

#[test]
fn line_breaks_and_controls_in_headers_are_refused() {
    let server = Builder::new("any_header").start();
    for value in
        ["a\r\nSet-Cookie: stolen=1", "a\nb", "a\rb", "a\0b", "\r\n", "a\r", "a\n", "\u{7f}", "\u{1}"]
    {
        refused(&server, "200 OK", "X-Bad", value, "holds a control character");
    }
    for name in ["X Bad", "X-Bad:", "", "X-Bad\r\nSet-Cookie", "X-Bad\0", "X-Bäd"] {
        refused(&server, "200 OK", name, "value", "the header name");
    }
    refused(&server, "200 OK", "X-Bad", "snow\u{2603}man", "outside latin-1");
    for status in ["200 OK\r\nSet-Cookie: stolen=1", "200 OK\n", "200 O\0K"] {
        refused(&server, status, "X-Good", "value", "the status holds a control character");
    }
    for status in ["200", "20 OK", "OK", "", "2000 OK", "200OK", "099 Low", "+20 OK"] {
        refused(&server, status, "X-Good", "value", "is not three digits, a space and a reason");
    }
    for status in ["100 Continue", "101 Switching Protocols", "103 Early Hints"] {
        refused(&server, status, "X-Good", "value", "is not a final answer");
    }
}

#[test]
fn hop_by_hop_headers_are_refused() {
    let server = Builder::new("any_header").start();
    for name in [
        "Connection",
        "KEEP-ALIVE",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "TE",
        "Trailers",
        "transfer-encoding",
        "Upgrade",
    ] {
        refused(&server, "200 OK", name, "x", &format!("\"{name}\" is hop-by-hop"));
    }
    for length in ["-1", "+5", "5,5", "0x5", "five", "", "5 5", "99999999999999999999999"] {
        refused(&server, "200 OK", "Content-Length", length, "Content-Length");
    }
}

#[test]
fn unusual_headers_are_sent_as_they_are() {
    let server = Builder::new("any_header").start();
    let mut client = server.connect();
    for (status, name, value) in [
        ("200 OK", "X-Empty", ""),
        ("299 ", "X-No-Reason", "x"),
        ("418 I'm a teapot", "x-lower", "a, b;c=\"d\""),
        ("999 Invented", "X-Tab", "a\tb"),
    ] {
        let query = percent_encoded(&json!([status, name, value]).to_string());
        let response = client.get(&format!("/?{query}"));
        assert_eq!(format!("{} {}", response.status, response.reason), status);
        assert_eq!(response.header(name), Some(value));
        assert_eq!(response.text(), "sent\n");
    }
}

#[test]
fn parts_of_files() {
    let server = Builder::new("part_of_file").start();
    let file = server.path("file");
    let content: Vec<u8> = (0..500_001_u32).map(|at| (at / 7 % 251) as u8).collect();
    fs::write(&file, &content).unwrap();
    for kind in ["file", "bytesio"] {
        for offset in [0, 1, 12_345, 500_000, 500_001, 600_000] {
            let rest = content.get(offset..).unwrap_or_default();
            let mut client = server.connect();
            let mut get = |length: &str| {
                let target = format!("/?{kind}:{offset}:{length}:{}", file.display());
                client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).read_response(false)
            };
            let case = format!("{kind} from {offset}");
            assert!(get("").unwrap().body == rest, "{case}");
            assert!(get(&rest.len().to_string()).unwrap().body == rest, "{case}: the exact length");
            assert!(get("0").unwrap().body.is_empty(), "{case}: no byte");
            let shorter = rest.len() / 2;
            assert!(get(&shorter.to_string()).unwrap().body == rest[..shorter], "{case}: shorter");
            let longer = rest.len() + 10;
            let error = get(&longer.to_string()).unwrap_err();
            assert_eq!(
                error,
                format!("the connection ends after {} of {longer} bytes", rest.len()),
                "{case}"
            );
        }
    }
    server.wait_for_nth("is 10 bytes shorter than its Content-Length", 12);
}

#[test]
fn head_of_a_file() {
    let server = Builder::new("part_of_file").start();
    let file = server.path("file");
    fs::write(&file, [7; 100_000]).unwrap();
    let mut client = server.connect();
    for kind in ["file", "bytesio"] {
        let target = format!("/?{kind}:0:100000:{}", file.display());
        let request = format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let head = client.send(request).response_to_head().expect(200);
        assert_eq!(head.header("content-length"), Some("100000"), "{kind}");
        assert_eq!(client.get(&target).expect(200).body.len(), 100_000, "{kind}");
    }
}

#[test]
fn a_head_that_is_like_an_earlier_one_is_not_taken_for_it() {
    let server = Builder::new("alike").start();
    let mut client = server.connect();
    // In every order, so that each comes after each, known or not.
    let differ = [
        "",
        "body=5",
        "value=other",
        "value=Same",
        "class&value=same",
        "name=x-value",
        "more",
        "reason=Fine",
    ];
    for first in differ {
        for second in differ {
            for query in [first, second, second] {
                let response = client.get(&format!("/?{query}")).expect(200);
                let length = if query == "body=5" { 5 } else { 3 };
                assert_eq!(response.text().len(), length, "{query}");
                assert_eq!(response.header("content-length"), Some(&*length.to_string()), "{query}");
                let value = query.strip_prefix("value=").unwrap_or("same");
                assert_eq!(response.header("x-value"), Some(value), "{query}");
                assert_eq!(response.header("x-more"), (query == "more").then_some("yes"), "{query}");
                assert_eq!(response.reason, query.strip_prefix("reason=").unwrap_or("OK"), "{query}");
                let is_small = response.headers.iter().any(|(name, _)| name == "x-value");
                assert_eq!(is_small, query == "name=x-value", "{query}: {:?}", response.headers);
            }
        }
    }
    for (query, refusal) in [
        ("value=a%0Ab", "the value of the header \"X-Value\" holds a control character"),
        ("length=three", "the Content-Length \"three\" is not a number"),
        ("length=-3", "the Content-Length \"-3\" is not a number"),
        ("name=X%20Value", "the header name \"X Value\" is not valid"),
        ("name=Content-Length&value=3", "Content-Length is set twice"),
    ] {
        server.get("/").expect(200);
        server.get(&format!("/?{query}")).expect(500);
        server.wait_for(refusal);
    }
}

#[test]
fn an_application_whose_heads_are_never_alike_is_answered_as_well() {
    let server = Builder::new("alike").start();
    let mut client = server.connect();
    for number in 0..300 {
        let response = client.get(&format!("/?value={number}")).expect(200);
        assert_eq!(response.header("x-value"), Some(&*number.to_string()));
    }
    for _ in 0..130 {
        assert_eq!(client.get("/?value=again").expect(200).header("x-value"), Some("again"));
    }
}
