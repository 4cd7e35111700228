//! HTTP/1 (RFC 9110, RFC 9112): bytes in, events out. Pure: no socket, no clock, no `unsafe`, and nothing
//! of this crate outside this directory is named here.
//!
//! Requests: `scanner` finds the end of a head and refuses early, with the rules of `request_line`, `target` and
//! `field`; `head` reads the complete field section (through httparse) with the rules of `host` and `framing` into
//! a [`RequestHead`]; `body`, `chunked` and `trailer` decode what follows. Responses: `response` checks and renders
//! the head, `framer` delimits the body, `answer` holds the complete answers that the server gives by itself.
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
