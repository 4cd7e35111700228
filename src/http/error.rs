//! What a client can do wrong, and the one place that says with which status it is answered.

/// Why a request is refused. Every variant is the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpError(pub Reject);

/// The rule that was broken (one variant a rule; see `status`). To be completed by the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// Placeholder of the skeleton.
    Malformed,
}

impl HttpError {
    /// The status code to answer with, exhaustive over all reasons.
    #[must_use]
    pub fn status(self) -> u16 {
        400
    }

    /// The reason in words, for the log at debug.
    #[must_use]
    pub fn reason(self) -> &'static str {
        "malformed"
    }
}
