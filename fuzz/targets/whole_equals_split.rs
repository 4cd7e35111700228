//! The same bytes, whole and in pieces, must be the same requests and the same refusal.

#![no_main]

use bytes::{Buf, BytesMut};
use libfuzzer_sys::fuzz_target;
use rwsgi::http::{BodyDecoder, BodyEvent, HeadParser, HttpError, Limits, Reject};

const LIMITS: Limits =
    Limits { request_line_max: 512, headers_max: 16, header_bytes_max: 1024, body_max: 4096 };

/// The targets and bodies of the requests, and the refusal.
type Outcome = (Vec<(Vec<u8>, Vec<u8>)>, Option<Reject>);

#[derive(Default)]
struct Connection {
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

    /// One step; false when more bytes are needed.
    fn step(&mut self) -> Result<bool, HttpError> {
        let Some(decoder) = &mut self.body else {
            let Some(head) = self.parser.parse(&mut self.input, &LIMITS)? else { return Ok(false) };
            self.outcome.0.push((head.target().to_vec(), Vec::new()));
            self.body = Some(BodyDecoder::new(head.body_length(), &LIMITS)?);
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

fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut connection = Connection::default();
    pieces.for_each(|piece| connection.receive(piece));
    connection.outcome
}

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    let whole = run(std::iter::once(bytes));
    assert_eq!(run(bytes.chunks(1)), whole);
    assert_eq!(run(bytes.chunks(usize::from(*first).max(1))), whole);
});
