//! The same bytes, whole and in pieces, from a buffer and from a slice, must be the same requests and the same refusal.
//! A head in pieces is read by the scanner and httparse, a whole one mostly in one pass: here they are compared.

#![no_main]

use bytes::{Buf, BytesMut};
use libfuzzer_sys::fuzz_target;
use rwsgi::http::{BodyDecoder, BodyEvent, HeadParser, HttpError, Limits, Reject, RequestHead};

const LIMITS: Limits =
    Limits { request_line_max: 512, headers_max: 16, header_bytes_max: 1024, body_max: 4096 };

/// The requests with what was parsed of their heads, their bodies, and the refusal.
type Outcome = (Vec<(String, Vec<u8>)>, Option<Reject>);

/// All that a head says, but not where in its bytes it says so.
fn summary(head: &RequestHead) -> String {
    let fields: Vec<_> = head.fields_with_kind().collect();
    let line =
        (head.method(), head.method_kind(), head.target(), head.target_form(), head.path(), head.query());
    let rest = (head.version(), head.host(), head.body_length(), head.keep_alive(), head.expects_continue());
    format!("{line:?} {rest:?} {fields:?} {:?} {:?}", head.fields_bytes(), head.known_fields())
}

#[derive(Default)]
struct Connection {
    /// Whether heads are parsed from a slice, into `head`.
    by_slice: bool,
    head: RequestHead,
    input: BytesMut,
    parser: HeadParser,
    body: Option<BodyDecoder>,
    outcome: Outcome,
}

impl Connection {
    fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while self.outcome.1.is_none() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => self.outcome.1 = Some(error.0),
            }
        }
    }

    fn parse_head(&mut self) -> Result<bool, HttpError> {
        if !self.by_slice {
            let Some(head) = self.parser.parse(&mut self.input, &LIMITS)? else { return Ok(false) };
            self.head = head;
            return Ok(true);
        }
        let consumed = self.parser.parse_slice(&self.input, &LIMITS, &mut self.head)?;
        // Empty lines may be dropped at once or with the head.
        let skipped = if self.input.len() % 2 == 0 { self.parser.take_skipped() } else { 0 };
        self.input.advance(consumed.unwrap_or(skipped));
        Ok(consumed.is_some())
    }

    /// One step; false when more bytes are needed.
    fn step(&mut self) -> Result<bool, HttpError> {
        let Some(decoder) = &mut self.body else {
            if !self.parse_head()? {
                return Ok(false);
            }
            self.outcome.0.push((summary(&self.head), Vec::new()));
            self.body = Some(BodyDecoder::new(self.head.body_length(), &LIMITS)?);
            return Ok(true);
        };
        match decoder.decode(&self.input)? {
            BodyEvent::Data { start, length } => {
                if let Some((_, body)) = self.outcome.0.last_mut() {
                    body.extend_from_slice(&self.input[start..start + length]);
                }
                self.input.advance(start + length);
                Ok(true)
            }
            BodyEvent::Incomplete { consumed } => {
                self.input.advance(consumed);
                Ok(false)
            }
            BodyEvent::Complete { consumed } => {
                self.input.advance(consumed);
                self.body = None;
                Ok(true)
            }
        }
    }
}

fn run<'a>(by_slice: bool, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut connection = Connection { by_slice, ..Connection::default() };
    pieces.for_each(|piece| connection.receive(piece));
    connection.outcome
}

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    let whole = run(false, std::iter::once(bytes));
    assert_eq!(run(true, std::iter::once(bytes)), whole);
    for by_slice in [false, true] {
        assert_eq!(run(by_slice, bytes.chunks(1)), whole);
        assert_eq!(run(by_slice, bytes.chunks(usize::from(*first).max(1))), whole);
    }
});
