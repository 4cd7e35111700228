//! What is left of a response when its application is done with it.

use std::time::Duration;

use bytes::Bytes;

use crate::app::Request;
use crate::http::ResponseHead;

use super::output::Segment;
use super::record::Over;

/// What is left of a response when it is complete.
#[derive(Debug)]
pub(super) struct Rest<'a> {
    /// Output, in front of `gathered`.
    pub(super) segments: &'a mut Vec<Segment>,
    /// More output.
    pub(super) gathered: &'a mut Vec<u8>,
    /// The last of the output.
    pub(super) large: &'a mut Option<Bytes>,
    /// Whether the connection can take another request.
    pub(super) keep_alive: bool,
    /// The status that is sent.
    pub(super) status: u16,
    /// The application's response head.
    pub(super) head: &'a mut Option<ResponseHead>,
    /// Body bytes of the whole response.
    pub(super) body_bytes: u64,
    /// Whether some of the response was handed over through the link.
    pub(super) linked: bool,
    /// Whether the application has nothing more to do with it, not even to close it.
    pub(super) is_last: bool,
    /// How long the request waited for its app thread.
    pub(super) queued: Option<Duration>,
}

impl Rest<'_> {
    /// What is written down of it.
    pub(super) fn over<'a>(&'a self, request: &'a Request) -> Over<'a> {
        let Self { head, status, body_bytes, queued, .. } = self;
        Over { request, head: head.as_ref(), status: *status, body_bytes: *body_bytes, queued: *queued }
    }
}
