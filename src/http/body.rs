//! Request bodies: by length and chunked (RFC 9112 §6, §7.1).

use super::chunked::ChunkedDecoder;
use super::error::{HttpError, Reject};
use super::limits::Limits;
use super::request::RequestBodyLength;

/// Decodes the body of one request.
#[derive(Debug)]
pub struct BodyDecoder {
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    Length { remaining: u64 },
    Chunked(ChunkedDecoder),
}

/// What a step of decoding found. Offsets are relative to the input of that step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEvent {
    /// `input[start..start + length]` is body data; `start + length` bytes are consumed.
    Data {
        /// Offset of the data.
        start: usize,
        /// Its length in bytes; never zero.
        length: usize,
    },
    /// More input is needed; `consumed` bytes (framing) can be dropped. What is left must be given again, with more
    /// after it.
    Incomplete {
        /// Bytes to drop.
        consumed: usize,
    },
    /// The body is complete; `consumed` bytes (framing, trailers) belong to it.
    Complete {
        /// Bytes to drop.
        consumed: usize,
    },
}

impl BodyDecoder {
    /// A decoder for a body that is delimited as `length` says.
    ///
    /// # Errors
    /// A Content-Length above `limits.body_max`.
    pub fn new(length: RequestBodyLength, limits: &Limits) -> Result<Self, HttpError> {
        let framing = match length {
            RequestBodyLength::None => Framing::Length { remaining: 0 },
            RequestBodyLength::Length(length) if length > limits.body_max => {
                return Err(HttpError(Reject::BodyTooLarge));
            }
            RequestBodyLength::Length(remaining) => Framing::Length { remaining },
            RequestBodyLength::Chunked => Framing::Chunked(ChunkedDecoder::new(*limits)),
        };
        Ok(Self { framing })
    }

    /// Takes one step over `input`. Call again with the rest after `Data`.
    ///
    /// # Errors
    /// Broken framing, or a body above the limit.
    pub fn decode(&mut self, input: &[u8]) -> Result<BodyEvent, HttpError> {
        match &mut self.framing {
            Framing::Length { remaining: 0 } => Ok(BodyEvent::Complete { consumed: 0 }),
            Framing::Length { remaining } => {
                let length = take(remaining, input.len());
                if length == 0 {
                    return Ok(BodyEvent::Incomplete { consumed: 0 });
                }
                Ok(BodyEvent::Data { start: 0, length })
            }
            Framing::Chunked(decoder) => decoder.decode(input).map_err(HttpError),
        }
    }
}

/// Takes as much of `available` bytes off `remaining` as it has.
pub(super) fn take(remaining: &mut u64, available: usize) -> usize {
    let length = usize::try_from(*remaining).map_or(available, |remaining| remaining.min(available));
    *remaining -= length as u64;
    length
}

#[cfg(test)]
mod tests;
