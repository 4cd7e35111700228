//! Request bodies: by length and chunked (RFC 9112 §6, §7.1).

use super::error::HttpError;
use super::limits::Limits;
use super::request::RequestBodyLength;

/// Decodes the body of one request.
#[derive(Debug)]
pub struct BodyDecoder {
    remaining: u64,
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
    /// More input is needed; `consumed` bytes (framing) can be dropped.
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
        let _ = (length, limits);
        todo!()
    }

    /// Takes one step over `input`. Call again with the rest after `Data`.
    ///
    /// # Errors
    /// Broken framing, or a body above the limit.
    pub fn decode(&mut self, input: &[u8]) -> Result<BodyEvent, HttpError> {
        let _ = input;
        todo!()
    }
}
