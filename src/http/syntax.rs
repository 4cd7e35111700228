//! Character classes and lines: the smallest rules, shared by heads, chunk framing, trailers and responses.

use memchr::memchr2;

use super::error::Reject;
use super::words::{find_control, is_letters_and_hyphens, is_without_control};

/// Which classes each byte is in, as a table because every byte of a name, a target and a host is looked up.
static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte: u8 = 0;
    loop {
        table[byte as usize] = classes(byte);
        if byte == 255 {
            break table;
        }
        byte += 1;
    }
};

const TOKEN: u8 = 1;
const METHOD: u8 = 2;
const PATH: u8 = 4;
const QUERY: u8 = 8;
const HOST: u8 = 16;

const fn classes(byte: u8) -> u8 {
    let alphanumeric = byte.is_ascii_alphanumeric();
    let token = alphanumeric
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        );
    let method = byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let query = byte.is_ascii_graphic() && byte != b'#';
    let path = query && !matches!(byte, b'"' | b'%' | b'<' | b'>' | b'?' | b'\\' | b'`' | b'{' | b'}');
    let host = alphanumeric
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b'=' | b';'
        );
    (token as u8 * TOKEN)
        | (method as u8 * METHOD)
        | (path as u8 * PATH)
        | (query as u8 * QUERY)
        | (host as u8 * HOST)
}

fn is_of(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Whether a byte is a `tchar` (RFC 9110 §5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    is_of(byte, TOKEN)
}

/// Whether a byte may be in a method. Methods are case-sensitive tokens (RFC 9110 §9.1) and every registered one is
/// in upper case. A lower-case letter is refused as gunicorn does, for some readers take `get` for GET and others
/// not; so are the token characters that no method uses.
pub(super) fn is_method_byte(byte: u8) -> bool {
    is_of(byte, METHOD)
}

/// `pchar` and `/` (RFC 3986 §3.3) and what browsers leave unencoded; not the `%` of an encoded byte.
pub(super) fn is_path_byte(byte: u8) -> bool {
    is_of(byte, PATH)
}

/// Visible ASCII but the mark of a fragment.
pub(super) fn is_query_byte(byte: u8) -> bool {
    is_of(byte, QUERY)
}

/// Whether a byte may be in a registered name or an IPv4 address.
pub(super) fn is_host_byte(byte: u8) -> bool {
    is_of(byte, HOST)
}

/// `token`: one or more `tchar` (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    is_letters_and_hyphens(text) || (!text.is_empty() && text.iter().copied().all(is_token_byte))
}

/// Whether any byte is a control character but HTAB, which no field value may hold (RFC 9110 §5.5).
pub(super) fn has_forbidden_control(text: &[u8]) -> bool {
    !is_without_control(text) && find_control(text) < text.len()
}

/// The text without the optional white space around it (RFC 9110 §5.6.3: SP and HTAB, nothing else).
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = text.iter().position(|byte| !is_space(byte)) else { return &[] };
    let end = text.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// The elements of a comma-separated list without the white space around them, empty ones included
/// (RFC 9110 §5.6.1).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// Digits only, without overflow.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Looks for the CRLF at the end of a line of at most `length_max` bytes. The first `*scanned` bytes of `input` were
/// looked at before. Returns the length of the line without its CRLF, or `None` and moves `scanned` on.
///
/// The first offending byte decides the error, so that the outcome does not depend on how the bytes arrive.
///
/// # Errors
/// A bare CR or LF, a control character, or `too_long`.
pub(super) fn scan_line(
    input: &[u8],
    scanned: &mut usize,
    length_max: usize,
    too_long: Reject,
) -> Result<Option<usize>, Reject> {
    let from = (*scanned).min(input.len());
    let end = memchr2(b'\r', b'\n', &input[from..]).map_or(input.len(), |offset| from + offset);
    if has_forbidden_control(&input[from..end.min(length_max).max(from)]) {
        return Err(Reject::ControlCharacter);
    }
    if end > length_max {
        return Err(too_long);
    }
    match (input.get(end), input.get(end + 1)) {
        (Some(b'\n'), _) => Err(Reject::BareLf),
        (Some(_), Some(b'\n')) => Ok(Some(end)),
        (Some(_), Some(_)) => Err(Reject::BareCr),
        (Some(_), None) | (None, _) => {
            *scanned = end;
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_exactly_the_tchar_of_the_standard() {
        let tchar = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        for byte in 0..=255_u8 {
            assert_eq!(is_token_byte(byte), tchar.contains(&byte), "{byte:#x}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn forbidden_controls_are_all_but_the_tab() {
        for byte in 0..=255_u8 {
            let expected = matches!(byte, 0..=8 | 10..=31 | 127);
            assert_eq!(has_forbidden_control(&[b'a', byte]), expected, "{byte:#x}");
        }
    }

    #[test]
    fn trim_takes_spaces_and_tabs_only() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
        assert_eq!(trim(b"\x0ba\x0b"), b"\x0ba\x0b");
    }

    #[test]
    fn decimal_takes_digits_without_overflow() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b"18446744073709551616"[..], b"", b"+1", b"-1", b"1 ", b"0x1", b"1_0", b"\xb2"] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_line_ends_in_crlf_or_is_refused_at_the_first_bad_byte() {
        let scan = |input: &[u8]| scan_line(input, &mut 0, 4, Reject::HeadersTooLarge);
        assert_eq!(scan(b"abcd\r\n"), Ok(Some(4)));
        assert_eq!(scan(b"abcd\r"), Ok(None));
        assert_eq!(scan(b"abcde"), Err(Reject::HeadersTooLarge));
        assert_eq!(scan(b"abcd\0"), Err(Reject::HeadersTooLarge));
        assert_eq!(scan(b"abc\0e"), Err(Reject::ControlCharacter));
        assert_eq!(scan(b"ab\n"), Err(Reject::BareLf));
        assert_eq!(scan(b"ab\r\r\n"), Err(Reject::BareCr));
    }
}
