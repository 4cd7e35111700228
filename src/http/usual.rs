//! A head that arrives whole and looks as heads usually do, read in one pass: every byte is checked once, and nothing
//! is allocated.
//!
//! Invariants: a head is taken here only if it keeps every rule; of all others nothing is said, they are for the
//! scanner, which knows the reason and remembers how far it has looked. So what is accepted here is what the scanner
//! and httparse accept, with the same outcome: the tests and the fuzzers compare them on each input that they split.

use super::head::Facts;
use super::known::{KnownField, NameWords, WORDS};
use super::limits::Limits;
use super::request::{FieldSpan, RequestHead, Span, Target, Version};
use super::request_line::{METHOD_BYTES_MAX, RequestLine, method_kind};
use super::syntax::{is_method_byte, is_path_byte, is_query_byte, is_token_byte};
use super::words::{LOWER, WORD, before, find_control, no_letter_or_hyphen};

/// Reads the head at the start of `input` and returns how many bytes it has. `None`: it is not complete, or unusual;
/// `into` holds nothing of use then.
pub(super) fn read(input: &[u8], limits: &Limits, into: &mut RequestHead) -> Option<usize> {
    // What a span can hold.
    if input.len() > u32::MAX as usize {
        return None;
    }
    into.clear();
    let (line, section_start) = request_line(input, limits)?;
    let mut facts = Facts::new(line.version);
    let mut at = section_start;
    let mut room = limits.headers_max;
    while *input.get(at)? != b'\r' {
        room = room.checked_sub(1)?;
        at = field(input, at, &mut facts, into)?;
    }
    if *input.get(at + 1)? != b'\n' || at - section_start > limits.header_bytes_max {
        return None;
    }
    let length = at + 2;
    facts.finish(&input[..length], &line, section_start, into).ok()?;
    Some(length)
}

/// Reads a request line with a path as its target; also returns where the next line begins.
fn request_line(input: &[u8], limits: &Limits) -> Option<(RequestLine, usize)> {
    let method_end = if input.starts_with(b"GET ") { 3 } else { method(input)? };
    let target_start = method_end + 1;
    if *input.get(target_start)? != b'/' {
        return None;
    }
    let path_end = path(input, target_start)?;
    let (query, target_end) = match input[path_end] {
        b'?' => {
            let start = path_end + 1;
            let end = start + input[start..].iter().position(|byte| !is_query_byte(*byte))?;
            (Span::within(start, end), end)
        }
        _ => (Span::default(), path_end),
    };
    let version = match input.get(target_end..)?.first_chunk()? {
        b" HTTP/1.1\r\n" => Version::Http11,
        b" HTTP/1.0\r\n" => Version::Http10,
        _ => return None,
    };
    let length = target_end + 9;
    let line = RequestLine {
        method: Span::within(0, method_end),
        method_kind: method_kind(&input[..method_end]),
        target: Span::within(target_start, target_end),
        form: Target::Origin,
        path: Span::within(target_start, path_end),
        query,
        authority: None,
        version,
    };
    (length <= limits.request_line_max).then_some((line, length + 2))
}

/// Where the method ends.
fn method(input: &[u8]) -> Option<usize> {
    let end = input.iter().take(METHOD_BYTES_MAX + 1).position(|byte| !is_method_byte(*byte))?;
    (end > 0 && input[end] == b' ' && input[..end] != *b"CONNECT").then_some(end)
}

/// Where the path ends that begins at `at`: at a byte that is there.
fn path(input: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += input[at..].iter().position(|byte| !is_path_byte(*byte))?;
        if input[at] != b'%' {
            return Some(at);
        }
        match input[at + 1..] {
            [b'0', b'0', ..] => return None,
            [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => at += 3,
            _ => return None,
        }
    }
}

/// Reads the field line at `at` and returns where the next line begins.
#[inline(always)]
fn field(input: &[u8], at: usize, facts: &mut Facts, into: &mut RequestHead) -> Option<usize> {
    let Name { end: name_end, known, is_dropped } = name(input, at)?;
    let mut start = name_end + 1;
    while is_space(*input.get(start)?) {
        start += 1;
    }
    let line_end = start + find_control(&input[start..]);
    if *input.get(line_end..)?.first_chunk()? != *b"\r\n" {
        return None;
    }
    let mut end = line_end;
    while end > start && is_space(input[end - 1]) {
        end -= 1;
    }
    if !is_dropped {
        let span = FieldSpan { name: Span::within(at, name_end), value: Span::within(start, end), known };
        facts.add(span, &input[start..end], into).ok()?;
    }
    Some(line_end + 2)
}

/// The white space around values (RFC 9110 §5.6.3).
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The name of a field line.
struct Name {
    /// Where its colon is.
    end: usize,
    known: Option<KnownField>,
    /// Whether it has an underscore.
    is_dropped: bool,
}

/// Reads a name and finds its colon.
#[inline(always)]
fn name(input: &[u8], start: usize) -> Option<Name> {
    let mut words: NameWords = [0; WORDS];
    let mut end = start;
    let mut rest = input.get(start..)?;
    for lower in &mut words {
        let Some((word, after)) = rest.split_first_chunk::<WORD>() else { break };
        let word = u64::from_le_bytes(*word);
        let stop = no_letter_or_hyphen(word);
        if stop == 0 {
            *lower = word | LOWER;
            end += WORD;
            rest = after;
            continue;
        }
        let length = before(stop);
        // A shift by less than the word's bits: at most seven bytes come before the mark.
        *lower = (word | LOWER) & ((1 << (8 * length)) - 1);
        end += length;
        if end > start && *input.get(end)? == b':' {
            return Some(Name { end, known: KnownField::of_words(&words), is_dropped: false });
        }
        break;
    }
    unusual_name(input, start, end)
}

/// The rest, from `scanned` on, of a name that is long, has other characters, or is at the end of the input.
#[cold]
fn unusual_name(input: &[u8], start: usize, scanned: usize) -> Option<Name> {
    let end = scanned + input.get(scanned..)?.iter().position(|byte| !is_token_byte(*byte))?;
    if end == start || input[end] != b':' {
        return None;
    }
    let name = &input[start..end];
    Some(Name { end, known: KnownField::of(name), is_dropped: name.contains(&b'_') })
}
