//! Tests of body decoding that need other limits than the corpus, or look at single steps.

use super::*;

const LIMITS: Limits = Limits { request_line_max: 100, headers_max: 2, header_bytes_max: 20, body_max: 10 };

/// Decodes all of `input`, fed in pieces of `piece` bytes; the body and the bytes that were left.
fn decode(length: RequestBodyLength, input: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>), Reject> {
    let mut decoder = BodyDecoder::new(length, &LIMITS).map_err(|error| error.0)?;
    let (mut buffer, mut body) = (Vec::new(), Vec::new());
    let mut pieces = input.chunks(piece);
    loop {
        match decoder.decode(&buffer).map_err(|error| error.0)? {
            BodyEvent::Data { start, length } => {
                body.extend_from_slice(&buffer[start..start + length]);
                buffer.drain(..start + length);
            }
            BodyEvent::Incomplete { consumed } => {
                buffer.drain(..consumed);
                buffer.extend_from_slice(pieces.next().expect("the body has no end"));
            }
            BodyEvent::Complete { consumed } => {
                buffer.drain(..consumed);
                return Ok((body, pieces.fold(buffer, |buffer, piece| [&buffer, piece].concat())));
            }
        }
    }
}

#[test]
fn a_body_by_length_takes_its_bytes_and_no_more() {
    for piece in 1..8 {
        let decoded = decode(RequestBodyLength::Length(3), b"abcdef", piece).unwrap();
        assert_eq!(decoded, (b"abc".to_vec(), b"def".to_vec()));
        assert_eq!(decode(RequestBodyLength::None, b"abc", piece).unwrap().0, b"");
    }
}

#[test]
fn a_complete_body_stays_complete() {
    for (length, input) in [(RequestBodyLength::None, &b""[..]), (RequestBodyLength::Chunked, b"0\r\n\r\n")] {
        let mut decoder = BodyDecoder::new(length, &LIMITS).unwrap();
        assert_eq!(decoder.decode(input), Ok(BodyEvent::Complete { consumed: input.len() }));
        assert_eq!(decoder.decode(b"GET"), Ok(BodyEvent::Complete { consumed: 0 }));
    }
}

#[test]
fn the_limit_holds_for_both_framings() {
    assert!(BodyDecoder::new(RequestBodyLength::Length(10), &LIMITS).is_ok());
    let error = BodyDecoder::new(RequestBodyLength::Length(11), &LIMITS).unwrap_err();
    assert_eq!((error, error.status()), (HttpError(Reject::BodyTooLarge), 413));
    let chunked = |input: &[u8]| decode(RequestBodyLength::Chunked, input, 1).map(|(body, _)| body.len());
    assert_eq!(chunked(b"4\r\nabcd\r\n6\r\nabcdef\r\n0\r\n\r\n"), Ok(10));
    assert_eq!(chunked(b"4\r\nabcd\r\n7\r"), Err(Reject::BodyTooLarge));
    assert_eq!(chunked(b"b;"), Err(Reject::BodyTooLarge));
}

#[test]
fn a_chunk_that_is_too_large_is_refused_before_its_data() {
    let mut decoder = BodyDecoder::new(RequestBodyLength::Chunked, &LIMITS).unwrap();
    assert_eq!(decoder.decode(b"ff"), Ok(BodyEvent::Incomplete { consumed: 2 }));
    assert_eq!(decoder.decode(b"\r"), Err(HttpError(Reject::BodyTooLarge)));
}

#[test]
fn data_is_handed_out_as_it_arrives() {
    let mut decoder = BodyDecoder::new(RequestBodyLength::Chunked, &LIMITS).unwrap();
    assert_eq!(decoder.decode(b"5\r\nab"), Ok(BodyEvent::Data { start: 3, length: 2 }));
    assert_eq!(decoder.decode(b""), Ok(BodyEvent::Incomplete { consumed: 0 }));
    assert_eq!(decoder.decode(b"cde\r\n"), Ok(BodyEvent::Data { start: 0, length: 3 }));
    assert_eq!(decoder.decode(b"\r\n0"), Ok(BodyEvent::Incomplete { consumed: 3 }));
}

#[test]
fn only_an_unfinished_line_stays_in_the_input() {
    let mut decoder = BodyDecoder::new(RequestBodyLength::Chunked, &LIMITS).unwrap();
    assert_eq!(decoder.decode(b"1;ext"), Ok(BodyEvent::Incomplete { consumed: 2 }));
    assert_eq!(decoder.decode(b"ext\r\n"), Ok(BodyEvent::Incomplete { consumed: 5 }));
    assert_eq!(decoder.decode(b"a\r\n0\r\nA: b\r\nC:"), Ok(BodyEvent::Data { start: 0, length: 1 }));
    assert_eq!(decoder.decode(b"\r\n0\r\nA: b\r\nC:"), Ok(BodyEvent::Incomplete { consumed: 11 }));
    assert_eq!(decoder.decode(b"C:\r\n\r\nGET"), Ok(BodyEvent::Complete { consumed: 6 }));
}

#[test]
fn trailers_are_held_to_the_limits_of_a_head() {
    let trailer = |section: &str| {
        let input = [b"0\r\n", section.as_bytes()].concat();
        let whole = decode(RequestBodyLength::Chunked, &input, input.len()).map(|_| ());
        assert_eq!(decode(RequestBodyLength::Chunked, &input, 1).map(|_| ()), whole);
        whole
    };
    assert_eq!(trailer("A: b\r\nC: d\r\n\r\n"), Ok(()));
    assert_eq!(trailer("A: b\r\nC: d\r\nE: f\r\n\r\n"), Err(Reject::HeadersTooMany));
    assert_eq!(trailer("A: 456789012345678\r\n\r\n"), Ok(()), "20 bytes with the line end");
    assert_eq!(trailer("A: 4567890123456789\r\n\r\n"), Err(Reject::HeadersTooLarge));
    assert_eq!(trailer("A: 4567890\r\nB: 4567\r\n\r\n"), Err(Reject::HeadersTooLarge));
}
