//! Feeds arbitrary bytes to the head parser and checks what a parsed head promises, that the parser of slices and the
//! one of buffers agree, and that httparse reads the same fields.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use rwsgi::http::{HeadParser, HttpError, KnownField, Limits, RequestHead, Target, Version};

const LIMITS: Limits =
    Limits { request_line_max: 8192, headers_max: 100, header_bytes_max: 32768, body_max: 1 << 30 };

/// Parses from a slice, with a head that was used before.
fn parse_slice(data: &[u8]) -> Result<Option<(usize, RequestHead)>, HttpError> {
    let mut head = RequestHead::default();
    let used = HeadParser::new().parse_slice(
        b"PUT /used HTTP/1.1\r\nHost: u\r\nTE: x\r\n\r\n",
        &LIMITS,
        &mut head,
    )?;
    assert!(used.is_some());
    Ok(HeadParser::new().parse_slice(data, &LIMITS, &mut head)?.map(|consumed| (consumed, head)))
}

/// The fields as httparse reads them, less those with an underscore, which are dropped.
fn by_httparse(section: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let section = [section, b"\r\n"].concat();
    let mut slots = [httparse::EMPTY_HEADER; 100];
    let Ok(httparse::Status::Complete((length, fields))) = httparse::parse_headers(&section, &mut slots)
    else {
        panic!("httparse refuses the fields");
    };
    assert_eq!(length, section.len());
    let kept = fields.iter().filter(|field| !field.name.contains('_'));
    kept.map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec())).collect()
}

fuzz_target!(|data: &[u8]| {
    let mut input = BytesMut::from(data);
    let parsed = HeadParser::new().parse(&mut input, &LIMITS);
    match (&parsed, parse_slice(data)) {
        (Ok(Some(head)), Ok(Some((consumed, by_slice)))) => {
            assert_eq!(consumed + input.len(), data.len());
            assert_eq!(format!("{head:?}"), format!("{by_slice:?}"));
        }
        (parsed, by_slice) => {
            assert_eq!(parsed.as_ref().err(), by_slice.as_ref().err());
            assert!(!matches!(parsed, Ok(Some(_))) && !matches!(by_slice, Ok(Some(_))));
        }
    }
    match parsed {
        Ok(None) => {}
        Err(error) => assert!((400..=505).contains(&error.status()), "{}", error.reason()),
        Ok(Some(head)) => {
            assert!(data.ends_with(&input), "what follows the head is as it was");
            assert!(head.path() == b"*" || head.path().starts_with(b"/"));
            assert!(head.target().iter().all(u8::is_ascii_graphic));
            assert!(head.version() == Version::Http10 || head.host().is_some());
            assert!(head.target_form() != Target::Authority);
            for (name, value) in head.fields() {
                assert!(!name.is_empty() && !name.contains(&b'_'));
                assert!(!value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
            }
            let fields = head.fields().map(|(name, value)| (name.to_vec(), value.to_vec()));
            assert_eq!(fields.collect::<Vec<_>>(), by_httparse(head.fields_bytes()));
            for (known, name, _) in head.fields_with_kind() {
                assert_eq!(known, KnownField::of(name));
            }
        }
    }
});
