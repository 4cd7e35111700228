//! Feeds arbitrary bytes to the head parser and checks what a parsed head promises.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use rwsgi::http::{HeadParser, Limits, Target, Version};

const LIMITS: Limits =
    Limits { request_line_max: 8192, headers_max: 100, header_bytes_max: 32768, body_max: 1 << 30 };

fuzz_target!(|data: &[u8]| {
    let mut input = BytesMut::from(data);
    match HeadParser::new().parse(&mut input, &LIMITS) {
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
        }
    }
});
