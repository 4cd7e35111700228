//! HTTP/1 (RFC 9110, RFC 9112): bytes in, events out. Pure: no socket, no clock, no `unsafe`, and nothing
//! of this crate outside this directory is named here.

#![forbid(unsafe_code)]

pub mod body;
pub mod error;
pub mod limits;
pub mod request;
pub mod response;

pub use body::{BodyDecoder, BodyEvent};
pub use error::{HttpError, Reject};
pub use limits::Limits;
pub use request::{HeadParser, Method, RequestBodyLength, RequestHead, Target, Version};
pub use response::{BodyFramer, FieldError, Frame, ResponseContext, ResponseHead};
