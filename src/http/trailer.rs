//! The trailer section of a chunked body (RFC 9112 §7.1.2): checked line by line, then dropped. WSGI has no way to
//! hand trailers over, and merging them into the head would let them past every check that was made on it.

use super::error::Reject;
use super::field::name_of_line;
use super::limits::Limits;
use super::syntax::scan_line;

/// Fields that are an attack as trailers: they frame, route, authenticate, condition or decode the message (RFC 9110
/// §6.5.1). Sorted; `proxy-*` besides. What merely describes it, as Content-Type, is dropped as any trailer: clients send
/// it, and a server that merges nothing is not misled.
const FORBIDDEN: [&str; 26] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Checks one trailer section.
#[derive(Debug, Default)]
pub(super) struct TrailerSection {
    line_scanned: usize,
    fields: usize,
    bytes: usize,
    complete: bool,
}

impl TrailerSection {
    /// Looks for the next line at the start of `input`. Returns the bytes it takes, or `None` when it is not complete.
    ///
    /// # Errors
    /// Everything that is an error in a head's field section, at the same limits, and a forbidden name.
    pub(super) fn scan(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, Reject> {
        if matches!(input.first(), Some(b' ' | b'\t')) {
            return Err(Reject::ObsFold);
        }
        let room = limits.header_bytes_max.saturating_sub(self.bytes);
        let Some(length) = scan_line(input, &mut self.line_scanned, room, Reject::HeadersTooLarge)? else {
            return Ok(None);
        };
        let line_bytes = length + 2;
        self.line_scanned = 0;
        if length == 0 {
            self.complete = true;
            return Ok(Some(line_bytes));
        }
        if line_bytes > room {
            return Err(Reject::HeadersTooLarge);
        }
        if self.fields >= limits.headers_max {
            return Err(Reject::HeadersTooMany);
        }
        if is_forbidden(name_of_line(&input[..length])?) {
            return Err(Reject::TrailerForbidden);
        }
        self.fields += 1;
        self.bytes += line_bytes;
        Ok(Some(line_bytes))
    }

    /// Whether the empty line was found.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }
}

fn is_forbidden(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.starts_with(b"proxy-") || FORBIDDEN.binary_search_by(|known| known.as_bytes().cmp(&lower)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_names_are_sorted_and_found_in_any_case() {
        assert!(FORBIDDEN.is_sorted());
        for name in FORBIDDEN {
            assert!(is_forbidden(name.to_ascii_uppercase().as_bytes()), "{name}");
        }
        assert!(is_forbidden(b"Proxy-Anything"));
        assert!(!is_forbidden(b"X-Checksum"));
        assert!(!is_forbidden(b"Server-Timing"));
    }
}
