//! Tests of the head parser that need other limits than the corpus, or look at its state between calls.

use super::super::known::{KnownField, KnownFields};
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

/// A usual head, taken whole.
fn parse_into(head: &mut RequestHead, input: &[u8]) -> Option<usize> {
    HeadParser::new().parse_slice(input, &LIMITS, head).unwrap()
}

#[test]
fn a_head_is_parsed_in_place_and_its_buffers_are_used_again() {
    let mut head = RequestHead::default();
    let first = b"PUT /a?b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(parse_into(&mut head, &[&first[..], b"more"].concat()), Some(first.len()));
    assert_eq!((head.path(), head.query(), head.host()), (&b"/a"[..], &b"b"[..], Some(&b"a"[..])));
    assert_eq!(head.known_field(KnownField::Connection), Some(&b"close"[..]));
    assert_eq!(head.fields_bytes(), b"Host: a\r\nConnection: close\r\n");
    let room = head.capacity();
    assert_eq!(parse_into(&mut head, b"GET / HTTP/1.0\r\nA: b\r\n\r\n"), Some(24));
    assert_eq!(head.capacity(), room, "nothing was allocated");
    assert_eq!((head.host(), head.known_field(KnownField::Connection), head.query()), (None, None, &b""[..]));
    assert_eq!(head.known_fields(), KnownFields::default());
    assert_eq!(head.fields().collect::<Vec<_>>(), [(&b"A"[..], &b"b"[..])]);
    head.clear();
    assert_eq!((head.path(), head.fields().count(), head.capacity()), (&b"/"[..], 0, room));
}

#[test]
fn the_bytes_of_a_split_head_are_given_again_into_any_head() {
    let input = b"\r\nGET /1 HTTP/1.0\r\nA: b\r\n\r\nrest";
    let mut parser = HeadParser::new();
    for end in 0..input.len() - 4 {
        let parsed = parser.parse_slice(&input[..end], &LIMITS, &mut RequestHead::default()).unwrap();
        assert_eq!(parsed, None, "{end}");
    }
    let mut head = RequestHead::default();
    assert_eq!(parser.parse_slice(input, &LIMITS, &mut head).unwrap(), Some(input.len() - 4));
    assert_eq!((head.path(), head.field("a")), (&b"/1"[..], Some(&b"b"[..])));
}

#[test]
fn skipped_lines_can_be_dropped() {
    let mut parser = HeadParser::new();
    let mut head = RequestHead::default();
    assert_eq!(parser.parse_slice(b"\r\n\r\n", &LIMITS, &mut head).unwrap(), None);
    assert_eq!((parser.take_skipped(), parser.take_skipped()), (4, 0));
    assert_eq!(parser.parse_slice(b"GET / HTTP/1.0\r\n\r\n", &LIMITS, &mut head).unwrap(), Some(18));
}

#[test]
fn names_of_any_length_and_spelling_are_known_or_not() {
    let names = ["A", "TE", "Host", "x_host", "Content-Type", "X-Request-Id", "x9", "Sec-CH-UA-Platform"];
    for name in names {
        for value in ["", "a"] {
            let text = format!("GET / HTTP/1.0\r\n{name}:{value}\r\n\r\n");
            let mut head = RequestHead::default();
            let mut parser = HeadParser::new();
            let whole = HeadParser::new().parse_slice(text.as_bytes(), &LIMITS, &mut head);
            if name == "Host" && value.is_empty() {
                assert_eq!(whole, Err(HttpError(Reject::HostInvalid)));
                continue;
            }
            assert_eq!(whole, Ok(Some(text.len())));
            let mut split = RequestHead::default();
            assert_eq!(parser.parse_slice(&text.as_bytes()[..9], &LIMITS, &mut split), Ok(None));
            assert_eq!(parser.parse_slice(text.as_bytes(), &LIMITS, &mut split), Ok(Some(text.len())));
            let known = |head: &RequestHead| head.fields_with_kind().map(|field| field.0).collect::<Vec<_>>();
            assert_eq!(known(&head), known(&split), "{text}");
            assert_eq!(
                known(&head),
                if name.contains('_') { vec![] } else { vec![KnownField::of(name.as_bytes())] }
            );
        }
    }
}
