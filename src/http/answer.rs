//! The complete answers that the server gives by itself: errors, and `100 Continue`.

use super::response::push_field;

/// The interim answer to `Expect: 100-continue` (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What stands before the id in the body, for whoever reads it from a screen.
const REQUEST_ID_LABEL: &[u8] = b"Request id: ";

/// Appends a complete answer with a short text body that names the status and, if it is in `extra`, the request's id
/// (X-Request-Id), for the server's own 4xx and 5xx.
///
/// `extra` fields (Retry-After, Allow) are rendered as they are. `server` may be empty for none. With `close` the
/// answer says `Connection: close`; without it the caller knows that the request was read to its end, and that its
/// version is HTTP/1.1. `head_request`: the head only, as HEAD wants it.
pub fn error_response(
    status: u16,
    server: &str,
    date: &str,
    extra: &[(&str, &str)],
    head_request: bool,
    close: bool,
    out: &mut Vec<u8>,
) {
    let reason = reason_phrase(status);
    let mut digits = itoa::Buffer::new();
    let status = digits.format(status).as_bytes();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status);
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    push_field(out, b"Content-Type", b"text/plain; charset=utf-8");
    let id = extra.iter().find(|(name, _)| *name == "X-Request-Id").map(|(_, id)| id);
    // The body: status, a space, the reason, a line end; a line with the id.
    let id_length = id.map_or(0, |id| REQUEST_ID_LABEL.len() + id.len() + 1);
    let body_length = status.len() + 1 + reason.len() + 1 + id_length;
    push_field(out, b"Content-Length", itoa::Buffer::new().format(body_length).as_bytes());
    push_field(out, b"Date", date.as_bytes());
    if !server.is_empty() {
        push_field(out, b"Server", server.as_bytes());
    }
    for (name, value) in extra {
        push_field(out, name.as_bytes(), value.as_bytes());
    }
    if close {
        push_field(out, b"Connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    if !head_request {
        out.extend_from_slice(status);
        out.push(b' ');
        out.extend_from_slice(reason.as_bytes());
        out.push(b'\n');
        if let Some(id) = id {
            out.extend_from_slice(REQUEST_ID_LABEL);
            out.extend_from_slice(id.as_bytes());
            out.push(b'\n');
        }
    }
}

/// The reason phrase of a status (RFC 9110 §15, RFC 6585); of its class for others.
#[must_use]
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        other => match other / 100 {
            1 => "Informational",
            2 => "Success",
            3 => "Redirection",
            4 => "Client Error",
            _ => "Server Error",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_complete_answer() {
        let mut out = Vec::new();
        error_response(503, "rwsgi", "DATE", &[("Retry-After", "1")], false, true, &mut out);
        let expected = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
                        Content-Length: 24\r\nDate: DATE\r\nServer: rwsgi\r\nRetry-After: 1\r\n\
                        Connection: close\r\n\r\n503 Service Unavailable\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn the_answer_to_head_has_the_length_but_no_body() {
        let mut out = Vec::new();
        error_response(504, "", "DATE", &[], true, false, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("Date: DATE\r\n\r\n"), "{text}");
        assert!(text.contains("Content-Length: 20\r\n"), "{text}");
    }
}
