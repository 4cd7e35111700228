//! The framing of response bodies: by length, by chunks or by closing (RFC 9112 §6, §7.1). The length that the head
//! promised is enforced here.

/// Frames the blocks of one response body and enforces its length.
#[derive(Debug)]
pub struct BodyFramer {
    mode: Mode,
    closes: bool,
}

/// How the end of the body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// No body bytes are sent.
    Bodiless,
    /// By Content-Length.
    Length { remaining: u64 },
    /// By the last chunk.
    Chunked,
    /// By closing the connection.
    UntilClose,
}

/// How one block goes out: `prefix`, the first `take` bytes of the block, `suffix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Chunk size line, or empty: the bytes and how many of them count.
    pub prefix: ([u8; 18], usize),
    /// How many bytes of the block to send; fewer than it has when it goes past the Content-Length, zero when the
    /// response has no body (HEAD).
    pub take: u64,
    /// CRLF after a chunk, or empty.
    pub suffix: &'static [u8],
    /// True when bytes past the Content-Length were cut (not set for responses that have no body at all).
    pub excess: bool,
}

impl BodyFramer {
    pub(super) fn new(mode: Mode, closes: bool) -> Self {
        Self { mode, closes }
    }

    #[cfg(test)]
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Frames a block of `length` bytes. An empty block is never framed: as a chunk it would end the body.
    pub fn frame(&mut self, length: u64) -> Frame {
        let plain = |take, excess| Frame { prefix: ([0; 18], 0), take, suffix: b"", excess };
        match &mut self.mode {
            _ if length == 0 => plain(0, false),
            Mode::Bodiless => plain(0, false),
            Mode::UntilClose => plain(length, false),
            Mode::Length { remaining } => {
                let take = length.min(*remaining);
                *remaining -= take;
                plain(take, take < length)
            }
            Mode::Chunked => {
                Frame { prefix: size_line(length), take: length, suffix: b"\r\n", excess: false }
            }
        }
    }

    /// Whether no more bytes of the body are to come: its Content-Length is reached, or it has none.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.mode, Mode::Length { remaining: 0 } | Mode::Bodiless)
    }

    /// Ends the body: the last chunk or nothing; `Err(missing)` when it is `missing` bytes shorter than its
    /// Content-Length. Then the connection must be closed, and [`Self::closes`] says so.
    ///
    /// # Errors
    /// The number of bytes missing.
    pub fn finish(&mut self) -> Result<&'static [u8], u64> {
        match self.mode {
            Mode::Chunked => Ok(b"0\r\n\r\n"),
            Mode::Length { remaining } if remaining > 0 => {
                self.closes = true;
                Err(remaining)
            }
            Mode::Length { .. } | Mode::Bodiless | Mode::UntilClose => Ok(b""),
        }
    }

    /// Whether the connection must be closed after this response.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.closes
    }

    /// True when no body bytes are sent at all (HEAD, 204, 205, 304).
    #[must_use]
    pub fn is_bodiless(&self) -> bool {
        self.mode == Mode::Bodiless
    }
}

/// `chunk-size CRLF` (RFC 9112 §7.1).
fn size_line(size: u64) -> ([u8; 18], usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (u64::BITS - size.leading_zeros()).div_ceil(4).max(1) as usize;
    let mut line = [0; 18];
    for (index, byte) in line[..digits].iter_mut().enumerate() {
        *byte = DIGITS[(size >> (4 * (digits - 1 - index)) & 0xf) as usize];
    }
    line[digits..digits + 2].copy_from_slice(b"\r\n");
    (line, digits + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_lines_are_the_hexadecimal_size() {
        for size in [0, 1, 9, 10, 15, 16, 255, 256, 0xdead_beef, u64::MAX] {
            let (bytes, length) = size_line(size);
            assert_eq!(bytes[..length], *format!("{size:x}\r\n").as_bytes());
        }
    }

    #[test]
    fn a_length_is_enforced_both_ways() {
        let mut framer = BodyFramer::new(Mode::Length { remaining: 5 }, false);
        assert_eq!((framer.frame(3).take, framer.frame(0).take), (3, 0));
        assert_eq!(framer.finish(), Err(2));
        assert!(framer.closes());
        let mut framer = BodyFramer::new(Mode::Length { remaining: 5 }, false);
        let frame = framer.frame(7);
        assert_eq!((frame.take, frame.excess, frame.prefix.1, frame.suffix), (5, true, 0, &b""[..]));
        assert_eq!(framer.frame(1), Frame { take: 0, ..frame });
        assert_eq!(framer.finish(), Ok(&b""[..]));
        assert!(!framer.closes());
    }

    #[test]
    fn chunks() {
        let mut framer = BodyFramer::new(Mode::Chunked, false);
        let frame = framer.frame(26);
        assert_eq!(
            (&frame.prefix.0[..frame.prefix.1], frame.take, frame.suffix),
            (&b"1a\r\n"[..], 26, &b"\r\n"[..])
        );
        assert_eq!(framer.frame(0).prefix.1, 0, "an empty chunk would end the body");
        assert_eq!(framer.finish(), Ok(&b"0\r\n\r\n"[..]));
    }

    #[test]
    fn without_a_body_nothing_is_sent_and_nothing_is_excess() {
        let mut framer = BodyFramer::new(Mode::Bodiless, false);
        let frame = framer.frame(9);
        assert_eq!((frame.take, frame.excess), (0, false));
        assert_eq!(framer.finish(), Ok(&b""[..]));
        assert!(framer.is_bodiless());
    }
}
