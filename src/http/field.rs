//! Rules for one field line, in heads and in trailers alike, and for the values of Connection and Expect.

use memchr::memchr;

use super::error::Reject;
use super::syntax::{is_token_byte, list};

/// Checks the syntax of a field line (without its CRLF and known to be free of controls) and returns its name.
///
/// # Errors
/// RFC 9112 §5, §5.1: no colon, no name, white space before the colon, a name that is no token.
pub(super) fn name_of_line(line: &[u8]) -> Result<&[u8], Reject> {
    let colon = memchr(b':', line).ok_or(Reject::MissingColon)?;
    let name = &line[..colon];
    if name.is_empty() {
        return Err(Reject::EmptyName);
    }
    match name.iter().position(|byte| !is_token_byte(*byte)) {
        None => Ok(name),
        Some(bad) if name[bad..].iter().all(|byte| matches!(byte, b' ' | b'\t')) => {
            Err(Reject::SpaceBeforeColon)
        }
        Some(_) => Err(Reject::FieldName),
    }
}

/// What the Connection fields of a request ask for (RFC 9112 §9.3). Other options are ignored, Upgrade among them.
#[derive(Debug, Default)]
pub(super) struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
}

impl ConnectionOptions {
    /// Takes in one Connection field.
    pub(super) fn add(&mut self, value: &[u8]) {
        // What nearly every client sends.
        if value == b"keep-alive" {
            self.keep_alive = true;
            return;
        }
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Whether the connection persists: unless closed in 1.1, only if asked for in 1.0 (RFC 9112 §9.3).
    pub(super) fn persists(&self, persistent_by_default: bool) -> bool {
        !self.close && (persistent_by_default || self.keep_alive)
    }
}

/// Checks a value of Expect: only `100-continue` is known (RFC 9110 §10.1.1).
///
/// # Errors
/// Another expectation.
pub(super) fn check_expectation(value: &[u8]) -> Result<(), Reject> {
    if value.eq_ignore_ascii_case(b"100-continue") { Ok(()) } else { Err(Reject::Expectation) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_lines() {
        type Outcome = Result<&'static [u8], Reject>;
        let cases: [(&[u8], Outcome); 10] = [
            (b"Host: a", Ok(b"Host")),
            (b"a:", Ok(b"a")),
            (b"a::b", Ok(b"a")),
            (b"Host", Err(Reject::MissingColon)),
            (b": a", Err(Reject::EmptyName)),
            (b"Host : a", Err(Reject::SpaceBeforeColon)),
            (b"Host\t: a", Err(Reject::SpaceBeforeColon)),
            (b"Ho st: a", Err(Reject::FieldName)),
            (b"Ho(st): a", Err(Reject::FieldName)),
            (b"H\xf6st: a", Err(Reject::FieldName)),
        ];
        for (line, expected) in cases {
            assert_eq!(name_of_line(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn close_wins_over_keep_alive() {
        let persists = |values: &[&[u8]], default| {
            let mut options = ConnectionOptions::default();
            values.iter().for_each(|value| options.add(value));
            options.persists(default)
        };
        assert!(persists(&[], true));
        assert!(!persists(&[], false));
        assert!(persists(&[b"Keep-Alive"], false));
        assert!(persists(&[b"TE", b"x, keep-alive"], false));
        assert!(!persists(&[b"keep-alive, Close"], false));
        assert!(!persists(&[b"close", b"keep-alive"], true));
        assert!(persists(&[b"closed, upgrade"], true));
    }

    #[test]
    fn only_100_continue_is_an_expectation() {
        assert_eq!(check_expectation(b"100-Continue"), Ok(()));
        for bad in [&b""[..], b"200-ok", b"100-continue, x", b"100-continue;q=1", b"\"100-continue\""] {
            assert_eq!(check_expectation(bad), Err(Reject::Expectation), "{}", bad.escape_ascii());
        }
    }
}
