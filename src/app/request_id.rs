//! What a request is called in logs, and by the application.

use std::fmt;

/// The identity of a request: a number that is its own in this worker, and the text that logs and `rwsgi.request_id` have.
/// Kept in place, because every request has one. Two are equal when their numbers are, whatever a client wrote.
#[derive(Clone, Copy)]
pub struct RequestId {
    number: u64,
    length: u8,
    text: [u8; Self::LENGTH_MAX],
}

impl RequestId {
    /// Longest text, in bytes; a UUID has 36.
    pub const LENGTH_MAX: usize = 64;

    /// The id of the request with this number in a worker with this prefix: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn numbered(prefix: u64, number: u64) -> Self {
        let mut text = [0; Self::LENGTH_MAX];
        for (index, digit) in text[..32].iter_mut().enumerate() {
            let (half, place) = if index < 16 { (prefix, 15 - index) } else { (number, 31 - index) };
            *digit = b"0123456789abcdef"[usize::from((half >> (4 * place)).to_le_bytes()[0] & 0xf)];
        }
        Self { number, length: 32, text }
    }

    /// From an id that was made by [`RequestId::numbered`], the one with the next number.
    pub fn advance(&mut self) {
        self.number += 1;
        // The digits count on by themselves: only the last ones change.
        for digit in self.text[16..32].iter_mut().rev() {
            match *digit {
                b'9' => *digit = b'a',
                b'f' => {
                    *digit = b'0';
                    continue;
                }
                _ => *digit += 1,
            }
            return;
        }
    }

    /// The id of the request with this number, under a text that somebody else chose. `None` when that is empty, longer than
    /// [`RequestId::LENGTH_MAX`], or anything but visible ASCII without quotes and backslashes, which could break a log line.
    #[must_use]
    pub fn named(number: u64, name: &[u8]) -> Option<Self> {
        let fits = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        let length = u8::try_from(name.len()).ok().filter(|length| *length > 0)?;
        let mut text = [0; Self::LENGTH_MAX];
        text.get_mut(..name.len())?.copy_from_slice(name);
        name.iter().all(fits).then_some(Self { number, length, text })
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The bytes of its text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for RequestId {}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({} {})", self.number, self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn request_ids() {
        let id = RequestId::numbered(0xfeed_0000_0000_0001, 0x2a);
        assert_eq!(id.as_str(), "feed000000000001000000000000002a");
        assert_eq!(
            RequestId::named(7, b"a-b.c:1").map(|id| id.as_str().to_owned()).as_deref(),
            Some("a-b.c:1")
        );
        let mut counted = RequestId::numbered(7, 0xffe);
        for number in 0xfff..0x1100a {
            counted.advance();
            let made = RequestId::numbered(7, number);
            assert_eq!((counted, counted.as_str()), (made, made.as_str()));
        }
        for bad in [&b""[..], &[b'a'; 65], b"a b", b"a\n", b"\"", b"\xff"] {
            assert_eq!(RequestId::named(7, bad), None, "{}", bad.escape_ascii());
        }
        assert_eq!(RequestId::named(7, b"x"), RequestId::named(7, b"y"));
        assert_ne!(RequestId::named(7, b"x"), RequestId::named(8, b"x"));
    }
}
