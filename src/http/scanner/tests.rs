//! Tests of the head parser that need other limits than the corpus, or look at its state between calls.

use super::*;

const LIMITS: Limits = Limits { request_line_max: 20, headers_max: 3, header_bytes_max: 40, body_max: 100 };

fn parse(input: &str) -> Result<Option<RequestHead>, Reject> {
    let whole = HeadParser::new().parse(&mut BytesMut::from(input), &LIMITS).map_err(|error| error.0);
    let mut parser = HeadParser::new();
    let mut buffer = BytesMut::new();
    let mut split = Ok(None);
    for byte in input.as_bytes() {
        buffer.extend_from_slice(&[*byte]);
        split = parser.parse(&mut buffer, &LIMITS).map_err(|error| error.0);
        if !matches!(split, Ok(None)) {
            break;
        }
    }
    assert_eq!(split.as_ref().err(), whole.as_ref().err(), "{}", input.escape_debug());
    assert_eq!(split.is_ok_and(|head| head.is_some()), whole.as_ref().is_ok_and(Option::is_some), "{input}");
    whole
}

fn refusal(input: &str) -> Option<Reject> {
    parse(input).err()
}

#[test]
fn the_request_line_has_a_limit() {
    assert!(parse("GET /678901 HTTP/1.0\r\n\r\n").unwrap().is_some());
    assert_eq!(refusal("GET /6789012 HTTP/1.0"), Some(Reject::RequestLineTooLong));
    assert_eq!(refusal("AAAAAAAAAAAAAAAAAAAAA"), Some(Reject::RequestLineTooLong));
    assert_eq!(Reject::RequestLineTooLong.status(), 414);
}

#[test]
fn the_field_section_has_a_limit_in_bytes() {
    let head = |first: usize, second: usize| {
        format!("GET / HTTP/1.0\r\nA:{}\r\nB:{}\r\n\r\n", "x".repeat(first), "y".repeat(second))
    };
    assert!(parse(&head(16, 16)).unwrap().is_some(), "40 bytes with the line ends");
    assert_eq!(refusal(&head(16, 17)), Some(Reject::HeadersTooLarge));
    assert_eq!(refusal(&head(37, 0)), Some(Reject::HeadersTooLarge));
    assert_eq!(refusal(&head(36, 0)), Some(Reject::HeadersTooLarge));
}

#[test]
fn the_field_section_has_a_limit_in_fields() {
    assert!(parse("GET / HTTP/1.0\r\nA:\r\nB:\r\nC:\r\n\r\n").unwrap().is_some());
    assert_eq!(refusal("GET / HTTP/1.0\r\nA:\r\nB:\r\nC:\r\nD:\r\n"), Some(Reject::HeadersTooMany));
}

#[test]
fn what_follows_the_head_stays_and_the_parser_starts_again() {
    let mut parser = HeadParser::new();
    let mut input = BytesMut::from("\r\nGET /1 HTTP/1.0\r\n\r\n\r\nGET /2 HTTP/1.0\r\nA: b\r\n\r\nrest");
    let first = parser.parse(&mut input, &LIMITS).unwrap().unwrap();
    assert_eq!(&input[..], b"\r\nGET /2 HTTP/1.0\r\nA: b\r\n\r\nrest");
    let second = parser.parse(&mut input, &LIMITS).unwrap().unwrap();
    assert_eq!((first.path(), second.path()), (&b"/1"[..], &b"/2"[..]));
    assert_eq!(second.fields().collect::<Vec<_>>(), [(&b"A"[..], &b"b"[..])]);
    assert_eq!(&input[..], b"rest");
}

#[test]
fn an_incomplete_head_stays_in_the_input() {
    let mut parser = HeadParser::new();
    let mut input = BytesMut::from("GET / HTTP/1.0\r\nA: b\r\n");
    assert!(parser.parse(&mut input, &LIMITS).unwrap().is_none());
    assert!(parser.parse(&mut input, &LIMITS).unwrap().is_none(), "asking again without new bytes");
    assert_eq!(input.len(), 22);
    input.extend_from_slice(b"\r\n");
    assert_eq!(parser.parse(&mut input, &LIMITS).unwrap().unwrap().field("a"), Some(&b"b"[..]));
}

#[test]
fn every_byte_in_a_field_value() {
    let limits = Limits { header_bytes_max: 100, ..LIMITS };
    for byte in 0..=255_u8 {
        let mut input = BytesMut::from(&b"GET / HTTP/1.0\r\nA: x"[..]);
        input.extend_from_slice(&[byte]);
        input.extend_from_slice(b"y\r\n\r\n");
        let accepted = HeadParser::new().parse(&mut input, &limits).is_ok();
        assert_eq!(accepted, byte == b'\t' || (byte >= 0x20 && byte != 0x7f), "{byte:#x}");
    }
}

#[test]
fn every_byte_in_a_field_name() {
    for byte in 0..=255_u8 {
        let mut input = BytesMut::from(&b"GET / HTTP/1.0\r\nx"[..]);
        input.extend_from_slice(&[byte]);
        input.extend_from_slice(b"y: z\r\n\r\n");
        // A colon ends the name, and the value goes on.
        let accepted = byte == b':' || crate::http::syntax::is_token_byte(byte);
        assert_eq!(HeadParser::new().parse(&mut input, &LIMITS).is_ok(), accepted, "{byte:#x}");
    }
}
