//! Tests of response heads: what is refused and how it is said, and the head and framing for every kind of request.

use super::*;

const CONTEXT: ResponseContext<'static> = ResponseContext {
    version: Version::Http11,
    method: Method::Get,
    keep_alive: true,
    body_length: None,
    server: "rwsgi",
    date: "DATE",
};

fn head(status: &str, fields: &[(&str, &str)]) -> ResponseHead {
    let mut head = ResponseHead::new(status.as_bytes()).unwrap();
    for (name, value) in fields {
        head.push(name.as_bytes(), value.as_bytes()).unwrap();
    }
    head
}

/// The fields that the server added, without Date and Server, and the framing.
fn added(head: &ResponseHead, context: ResponseContext<'_>) -> (String, Mode, bool) {
    let mut out = Vec::new();
    let framer = head.encode(&context, &mut out);
    let text = String::from_utf8(out).unwrap();
    let own = String::from_utf8(head.rendered.clone()).unwrap();
    let rest = text.strip_prefix(&own).unwrap().strip_suffix("\r\n\r\n").unwrap();
    let ours = |line: &&str| !line.starts_with("Date") && !line.starts_with("Server");
    let closes = framer.closes();
    (rest.split("\r\n").filter(ours).collect::<Vec<_>>().join("|"), framer.mode(), closes)
}

#[test]
fn a_complete_head() {
    let mut out = b"before ".to_vec();
    head("200 OK", &[("Content-Type", "text/plain"), ("Content-Length", "2"), ("Set-Cookie", "a=b")])
        .encode(&CONTEXT, &mut out);
    let expected = "before HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\
                    Date: DATE\r\nServer: rwsgi\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn date_and_server_of_the_application_stand() {
    let mut out = Vec::new();
    head("200 OK", &[("date", "D"), ("SERVER", "S"), ("Content-Length", "0")]).encode(&CONTEXT, &mut out);
    assert_eq!(out, b"HTTP/1.1 200 OK\r\ndate: D\r\nSERVER: S\r\nContent-Length: 0\r\n\r\n");
    let mut out = Vec::new();
    head("200 OK", &[]).encode(&ResponseContext { server: "", body_length: Some(0), ..CONTEXT }, &mut out);
    assert_eq!(out, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: DATE\r\n\r\n");
}

#[test]
fn framing_of_an_ordinary_response() {
    let plain = head("200 OK", &[]);
    let sized = head("200 OK", &[("Content-Length", "7")]);
    let (length7, old) =
        (Mode::Length { remaining: 7 }, ResponseContext { version: Version::Http10, ..CONTEXT });
    let text = |text: &str| text.to_owned();
    assert_eq!(added(&plain, CONTEXT), (text("Transfer-Encoding: chunked"), Mode::Chunked, false));
    assert_eq!(added(&sized, CONTEXT), (text("Content-Length: 7"), length7, false));
    let known = ResponseContext { body_length: Some(7), ..CONTEXT };
    assert_eq!(added(&plain, known), (text("Content-Length: 7"), length7, false));
    let other = ResponseContext { body_length: Some(9), ..CONTEXT };
    assert_eq!(
        added(&sized, other),
        (text("Content-Length: 7"), length7, false),
        "the application's length stands"
    );
    let closing = ResponseContext { keep_alive: false, ..CONTEXT };
    let expected = (text("Transfer-Encoding: chunked|Connection: close"), Mode::Chunked, true);
    assert_eq!(added(&plain, closing), expected);
    assert_eq!(added(&plain, old), (text("Connection: close"), Mode::UntilClose, true));
    assert_eq!(added(&sized, old), (text("Content-Length: 7|Connection: keep-alive"), length7, false));
    let old = ResponseContext { keep_alive: false, ..old };
    assert_eq!(added(&sized, old), (text("Content-Length: 7|Connection: close"), length7, true));
}

#[test]
fn responses_without_a_body() {
    let bodiless = |status, length: Option<&str>, method, body_length| {
        let fields: Vec<_> = length.map(|length| ("Content-Length", length)).into_iter().collect();
        let (text, mode, closes) =
            added(&head(status, &fields), ResponseContext { method, body_length, ..CONTEXT });
        assert_eq!((mode, closes), (Mode::Bodiless, false), "{status}");
        text
    };
    for method in [Method::Get, Method::Head, Method::Other] {
        for body_length in [None, Some(0), Some(5)] {
            assert_eq!(bodiless("204 No Content", Some("5"), method, body_length), "");
            assert_eq!(bodiless("204 No Content", None, method, body_length), "");
            assert_eq!(bodiless("205 Reset Content", Some("5"), method, body_length), "Content-Length: 0");
            assert_eq!(bodiless("304 Not Modified", Some("5"), method, body_length), "Content-Length: 5");
            assert_eq!(bodiless("304 Not Modified", None, method, body_length), "");
        }
    }
    assert_eq!(bodiless("200 OK", Some("5"), Method::Head, Some(0)), "Content-Length: 5");
    assert_eq!(bodiless("200 OK", None, Method::Head, Some(5)), "Content-Length: 5");
    assert_eq!(bodiless("200 OK", None, Method::Head, Some(0)), "", "an empty list says nothing about GET");
    assert_eq!(bodiless("200 OK", None, Method::Head, None), "");
}

#[test]
fn statuses() {
    for (status, code) in
        [("200 OK", 200), ("404 Not Found", 404), ("200 ", 200), ("599 X", 599), ("999 X", 999)]
    {
        assert_eq!(head(status, &[]).status(), code);
    }
    assert_eq!(ResponseHead::new(b"200 caf\xe9").unwrap().status(), 200, "obs-text (RFC 9112 section 4)");
    for bad in [
        "", "200", "20 OK", "2000 OK", "200OK", " 200 OK", "abc OK", "+20 OK", "OK", "000 X", "099 X",
        "200\tOK",
    ] {
        let error = ResponseHead::new(bad.as_bytes()).unwrap_err();
        assert!(matches!(error, FieldError::Status(_)), "{bad}: {error}");
    }
    for bad in ["100 Continue", "101 Switching Protocols", "199 X"] {
        let error = ResponseHead::new(bad.as_bytes()).unwrap_err();
        assert!(matches!(error, FieldError::InformationalStatus(_)), "{bad}: {error}");
    }
    for bad in ["200 OK\r\n", "200 OK\nSet-Cookie: a=b", "200 \0", "200 a\tb", "200 \x7f"] {
        assert_eq!(ResponseHead::new(bad.as_bytes()).unwrap_err(), FieldError::StatusControl, "{bad}");
    }
}

#[test]
fn every_byte_in_names_and_values() {
    for byte in 0..=255_u8 {
        let mut head = head("200 OK", &[]);
        assert_eq!(
            head.push(&[b'x', byte], b"").is_ok(),
            crate::http::syntax::is_token_byte(byte),
            "{byte:#x}"
        );
        let allowed = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
        assert_eq!(head.push(b"x", &[b'a', byte, b'b']).is_ok(), allowed, "{byte:#x}");
    }
    assert!(head("200 OK", &[]).push(b"", b"x").is_err());
}

#[test]
fn hop_by_hop_fields_are_refused_in_any_case() {
    for name in [
        "Connection",
        "KEEP-ALIVE",
        "Proxy-Authenticate",
        "proxy-authorization",
        "TE",
        "Trailer",
        "Trailers",
        "Transfer-Encoding",
        "Upgrade",
    ] {
        let refused = head("200 OK", &[]).push(name.as_bytes(), b"x");
        assert_eq!(refused, Err(FieldError::HopByHop(name.to_owned())));
    }
}

#[test]
fn content_length_of_the_application() {
    assert_eq!(head("200 OK", &[("content-length", " 007 ")]).content_length(), Some(7));
    for bad in ["", "-1", "+1", "1,1", "1 1", "0x1", "a", "18446744073709551616"] {
        let refused = head("200 OK", &[]).push(b"Content-Length", bad.as_bytes());
        assert_eq!(refused, Err(FieldError::ContentLength(bad.to_owned())));
    }
    let twice = head("200 OK", &[("Content-Length", "1")]).push(b"content-length", b"1");
    assert_eq!(twice, Err(FieldError::ContentLengthRepeated));
}

#[test]
fn fields_are_found_again() {
    let head =
        head("200 OK", &[("X-A", " one\t"), ("x-a", "two"), ("X-Ab", "three"), ("Content-Length", "05")]);
    assert_eq!(head.field("x-a"), Some(&b"one"[..]));
    assert_eq!(head.field("x-ab"), Some(&b"three"[..]));
    assert_eq!(head.field("content-length"), Some(&b"5"[..]));
    assert_eq!(head.field("x"), None);
    assert_eq!(head.field("http/1.1 200 ok"), None);
}

#[test]
fn every_refusal_says_how_to_mend_it() {
    let mut fresh = head("200 OK", &[("Content-Length", "1")]);
    let errors = [
        ResponseHead::new(b"200").unwrap_err(),
        ResponseHead::new(b"100 Continue").unwrap_err(),
        ResponseHead::new(b"200 a\nb").unwrap_err(),
        fresh.push(b"a b\r\n", b"").unwrap_err(),
        fresh.push(b"X-A", b"a\r\nb").unwrap_err(),
        fresh.push(b"Connection", b"close").unwrap_err(),
        ResponseHead::new(b"200 OK").unwrap().push(b"Content-Length", b"\xfc").unwrap_err(),
        fresh.push(b"Content-Length", b"1").unwrap_err(),
    ];
    for error in errors {
        let sentence = error.to_string();
        assert!(sentence.contains(": "), "no advice: {sentence}");
        assert!(!sentence.contains(['\r', '\n']), "breaks the log: {sentence:?}");
    }
}

#[test]
fn a_recycled_head_and_a_copied_one_are_as_new() {
    let encoded = |head: &ResponseHead| {
        let mut out = Vec::new();
        head.encode(&CONTEXT, &mut out);
        out
    };
    let mut head = ResponseHead::new(b"404 Not Found").unwrap();
    for (name, value) in [("Date", "x"), ("Server", "y"), ("Content-Length", "7"), ("X", "z")] {
        head.push(name.as_bytes(), value.as_bytes()).unwrap();
    }
    let mut copy = ResponseHead::new(b"200 OK").unwrap();
    copy.clone_from(&head);
    assert_eq!(encoded(&copy), encoded(&head));
    assert_eq!((copy.status(), copy.field("x")), (404, Some(&b"z"[..])));
    copy.recycle(b"200 OK").unwrap();
    copy.push(b"Content-Length", b"007").unwrap();
    let mut new = ResponseHead::new(b"200 OK").unwrap();
    new.push(b"content-length", b"7").unwrap();
    assert_eq!(encoded(&copy), encoded(&new));
    assert_eq!(encoded(&new), b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nDate: DATE\r\nServer: rwsgi\r\n\r\n");
    assert_eq!(copy.recycle(b"199 x"), Err(FieldError::InformationalStatus(199)));
}
