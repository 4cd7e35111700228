//! The chunked transfer coding of requests (RFC 9112 §7.1).
//!
//! ```text
//! Size ──┬─ CR ───────────────────────── SizeEnd ──┬─ size > 0 ── Data ── DataCr ── DataLf ── Size
//!        └─ [Space] ── ";" ── Extension ── CRLF ───┴─ size = 0 ── Trailer ── empty line ── Done
//! ```
//!
//! Invariant: every byte is checked when it arrives; only an incomplete extension or trailer line stays in the
//! input, and how far it was looked at is remembered.

use super::body::{BodyEvent, take};
use super::error::Reject;
use super::limits::Limits;
use super::syntax::{is_token_byte, scan_line};
use super::trailer::TrailerSection;

/// Most digits of a chunk size, leading zeros included: as many as 64 bits have.
const SIZE_DIGITS_MAX: u32 = 16;

/// Longest extension of one chunk, in bytes. Nobody is known to send any.
const EXTENSION_BYTES_MAX: usize = 256;

/// Most bytes of extensions over a whole body: without it they would be a body that no limit counts. hyper has the
/// same number.
const EXTENSIONS_BYTES_MAX: usize = 16 * 1024;

/// Decodes one chunked body.
#[derive(Debug)]
pub(super) struct ChunkedDecoder {
    state: State,
    limits: Limits,
    body_bytes: u64,
    extension_bytes: usize,
}

#[derive(Debug)]
enum State {
    Size {
        value: u64,
        digits: u32,
    },
    /// White space after the digits of a size, which only an extension may follow.
    Space {
        size: u64,
        spaces: usize,
    },
    /// After the `;`, which is consumed.
    Extension {
        size: u64,
        scanned: usize,
    },
    /// After the CR of a size line.
    SizeEnd {
        size: u64,
    },
    Data {
        remaining: u64,
    },
    DataCr,
    DataLf,
    Trailer(TrailerSection),
    Done,
}

impl ChunkedDecoder {
    pub(super) fn new(limits: Limits) -> Self {
        Self { state: State::Size { value: 0, digits: 0 }, limits, body_bytes: 0, extension_bytes: 0 }
    }

    /// Takes one step; see [`super::BodyDecoder::decode`].
    ///
    /// # Errors
    /// Broken framing, or a body above the limit.
    pub(super) fn decode(&mut self, input: &[u8]) -> Result<BodyEvent, Reject> {
        let mut position = 0;
        loop {
            let rest = &input[position..];
            match &mut self.state {
                State::Size { value, digits } => {
                    let Some(byte) = rest.first() else { break };
                    let (value, digits) = (*value, *digits);
                    self.state = self.size_byte(*byte, value, digits)?;
                    position += 1;
                }
                State::Space { size, spaces } => {
                    let Some(byte) = rest.first() else { break };
                    let (size, spaces) = (*size, *spaces);
                    self.state = self.space_byte(*byte, size, spaces)?;
                    position += 1;
                }
                State::Extension { size, scanned } => {
                    let too_long = Reject::ChunkExtensionTooLong;
                    let Some(length) = scan_line(rest, scanned, EXTENSION_BYTES_MAX, too_long)? else {
                        break;
                    };
                    check_extension(&rest[..length])?;
                    let size = *size;
                    self.count_extension(length)?;
                    self.state = after_size_line(size);
                    position += length + 2;
                }
                State::SizeEnd { size } => {
                    let Some(byte) = rest.first() else { break };
                    let size = *size;
                    expect_byte(*byte, b'\n', Reject::BareCr)?;
                    self.state = after_size_line(size);
                    position += 1;
                }
                State::Data { remaining: 0 } => self.state = State::DataCr,
                State::Data { remaining } => {
                    let length = take(remaining, rest.len());
                    if length == 0 {
                        break;
                    }
                    return Ok(BodyEvent::Data { start: position, length });
                }
                State::DataCr => {
                    let Some(byte) = rest.first() else { break };
                    expect_byte(*byte, b'\r', Reject::ChunkEnd)?;
                    self.state = State::DataLf;
                    position += 1;
                }
                State::DataLf => {
                    let Some(byte) = rest.first() else { break };
                    expect_byte(*byte, b'\n', Reject::BareCr)?;
                    self.state = State::Size { value: 0, digits: 0 };
                    position += 1;
                }
                State::Trailer(section) => {
                    let Some(line_bytes) = section.scan(rest, &self.limits)? else { break };
                    position += line_bytes;
                    if section.is_complete() {
                        self.state = State::Done;
                    }
                }
                State::Done => return Ok(BodyEvent::Complete { consumed: position }),
            }
        }
        Ok(BodyEvent::Incomplete { consumed: position })
    }

    /// One byte of the size line before any extension: RFC 9112 §7.1 has `1*HEXDIG`, so no sign, no prefix, no white
    /// space before it, and behind it only in front of an extension (RFC 9112 §7.1.1).
    fn size_byte(&mut self, byte: u8, value: u64, digits: u32) -> Result<State, Reject> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if digits == SIZE_DIGITS_MAX {
                return Err(Reject::ChunkSize);
            }
            return Ok(State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 });
        }
        let size = match byte {
            b'\n' => return Err(Reject::BareLf),
            b'\r' | b';' | b' ' | b'\t' if digits > 0 => value,
            _ => return Err(Reject::ChunkSize),
        };
        self.body_bytes = match self.body_bytes.checked_add(size) {
            Some(total) if total <= self.limits.body_max => total,
            _ => return Err(Reject::BodyTooLarge),
        };
        match byte {
            b'\r' => Ok(State::SizeEnd { size }),
            _ => self.space_byte(byte, size, 0),
        }
    }

    /// One byte of the white space in front of an extension, after `spaces` others, or its `;`.
    fn space_byte(&mut self, byte: u8, size: u64, spaces: usize) -> Result<State, Reject> {
        match byte {
            b' ' | b'\t' if spaces == EXTENSION_BYTES_MAX => Err(Reject::ChunkExtensionTooLong),
            b' ' | b'\t' => {
                self.count_extension(1)?;
                Ok(State::Space { size, spaces: spaces + 1 })
            }
            b';' => Ok(State::Extension { size, scanned: 0 }),
            b'\n' => Err(Reject::BareLf),
            _ => Err(Reject::ChunkSize),
        }
    }

    fn count_extension(&mut self, bytes: usize) -> Result<(), Reject> {
        self.extension_bytes += bytes;
        if self.extension_bytes > EXTENSIONS_BYTES_MAX {
            return Err(Reject::ChunkExtensionTooLong);
        }
        Ok(())
    }
}

fn after_size_line(size: u64) -> State {
    if size == 0 { State::Trailer(TrailerSection::default()) } else { State::Data { remaining: size } }
}

fn expect_byte(byte: u8, expected: u8, otherwise: Reject) -> Result<(), Reject> {
    match byte {
        byte if byte == expected => Ok(()),
        b'\n' => Err(Reject::BareLf),
        _ => Err(otherwise),
    }
}

/// Checks `name[=value]*(;name[=value])`, what follows the first `;` (RFC 9112 §7.1.1). A recipient must take white
/// space before and after `;` and `=` for nothing (RFC 9110 §5.6.3); anywhere else it is refused, at the end of the
/// line too. Extensions are ignored otherwise.
fn check_extension(text: &[u8]) -> Result<(), Reject> {
    let mut rest = text;
    loop {
        rest = skip_token(skip_space(rest))?;
        if let Some(value) = skip_space(rest).strip_prefix(b"=") {
            let value = skip_space(value);
            rest = match value.strip_prefix(b"\"") {
                Some(quoted) => skip_quoted(quoted)?,
                None => skip_token(value)?,
            };
        }
        if rest.is_empty() {
            return Ok(());
        }
        rest = skip_space(rest).strip_prefix(b";").ok_or(Reject::ChunkExtension)?;
    }
}

fn skip_space(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    &text[end..]
}

fn skip_token(text: &[u8]) -> Result<&[u8], Reject> {
    let end = text.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(text.len());
    if end == 0 { Err(Reject::ChunkExtension) } else { Ok(&text[end..]) }
}

/// Skips the rest of a `quoted-string` (RFC 9110 §5.6.4); control characters are already refused.
fn skip_quoted(text: &[u8]) -> Result<&[u8], Reject> {
    let mut rest = text;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Ok(after),
            [b'\\', _, after @ ..] | [_, after @ ..] => after,
            [] => return Err(Reject::ChunkExtension),
        };
    }
}
