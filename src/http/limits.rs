//! The limits that a request is held to. Values come from the `[http]` settings.

/// Limits on what a client may send, in bytes unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line, without its CRLF (`http.max_request_line`); beyond: 414.
    pub request_line_max: usize,
    /// Most header fields (a count, `http.max_headers`); beyond: 431.
    pub headers_max: usize,
    /// Longest header section, request line not counted (`http.max_header_bytes`); beyond: 431.
    pub header_bytes_max: usize,
    /// Largest body after decoding (`http.max_body`); beyond: 413.
    pub body_max: u64,
}
