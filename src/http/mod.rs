//! HTTP/1 (RFC 9110, RFC 9112): bytes in, events out. Pure: no socket, no clock, no `unsafe`, and nothing
//! of this crate outside this directory is named here.
//!
//! Requests: `usual` reads a head that is there as a whole and looks as heads usually do, in one pass. For all others
//! `scanner` finds the end and refuses early, with the rules of `request_line`, `target` and `field`, and `head` reads
//! the complete field section through httparse. Both end in a [`RequestHead`], by the rules of `host` and `framing`;
//! `words` and `syntax` have the classes of bytes, `known` the names that requests usually have. `body`, `chunked` and
//! `trailer` decode what follows. Responses: `response` checks and renders the head, `framer` delimits the body,
//! `answer` holds the complete answers that the server gives by itself.
//!
//! Where the standards allow several readings, the request is refused: what two servers could read differently is
//! how requests are smuggled.

#![forbid(unsafe_code)]

pub mod answer;
pub mod body;
mod chunked;
#[cfg(test)]
mod corpus_tests;
pub mod error;
mod field;
mod framer;
mod framing;
mod head;
mod host;
mod known;
pub mod limits;
pub mod request;
mod request_line;
pub mod response;
mod scanner;
mod syntax;
mod target;
mod trailer;
mod usual;
mod words;

pub use answer::{CONTINUE, error_response, reason_phrase};
pub use body::{BodyDecoder, BodyEvent};
pub use error::{HttpError, Reject};
pub use known::{KnownField, KnownFields};
pub use limits::Limits;
pub use request::{HeadParser, Method, RequestBodyLength, RequestHead, Target, Version};
pub use response::{BodyFramer, FieldError, Frame, ResponseContext, ResponseHead};
