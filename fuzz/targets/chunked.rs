//! Feeds arbitrary bytes to the decoder of chunked bodies and checks that its steps stay within their input.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rwsgi::http::{BodyDecoder, BodyEvent, Limits, RequestBodyLength};

const LIMITS: Limits =
    Limits { request_line_max: 8192, headers_max: 100, header_bytes_max: 32768, body_max: 1 << 16 };

fuzz_target!(|data: &[u8]| {
    let mut decoder =
        BodyDecoder::new(RequestBodyLength::Chunked, &LIMITS).expect("chunked has no length to refuse");
    let (mut rest, mut body_bytes) = (data, 0);
    loop {
        match decoder.decode(rest) {
            Ok(BodyEvent::Data { start, length }) => {
                assert!(length > 0);
                body_bytes += length as u64;
                rest = &rest[start + length..];
            }
            Ok(BodyEvent::Incomplete { consumed }) => {
                assert!(consumed <= rest.len());
                break;
            }
            Ok(BodyEvent::Complete { consumed }) => {
                assert!(consumed >= 2 || body_bytes == 0);
                assert!(consumed <= rest.len());
                break;
            }
            Err(_) => break,
        }
    }
    assert!(body_bytes <= LIMITS.body_max);
});
