//! Escapes: nothing that a client or an application sends can forge a log line or reach a terminal as a command.

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends the text of a record: control characters except newline and tab become escapes as Rust writes them
/// (`\u{1b}`, `\r`), including C1 controls, which some terminals obey.
pub(super) fn push_message(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) =
        rest.find(|character: char| character.is_control() && !matches!(character, '\n' | '\t'))
    {
        out.push_str(&rest[..at]);
        let mut characters = rest[at..].chars();
        if let Some(control) = characters.next() {
            out.extend(control.escape_default());
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
}

/// Appends a value of an access-log line: controls, quotes, backslashes and everything that is not ASCII become
/// `\xNN`, as nginx does it; an empty value becomes `-`.
pub(super) fn push_value(value: &[u8], out: &mut Vec<u8>) {
    if value.is_empty() {
        out.push(b'-');
    }
    let mut rest = value;
    while let Some((plain, &byte, tail)) = split_plain(rest) {
        out.extend_from_slice(plain);
        out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// Appends a value of a JSON object, quotes included. What is not UTF-8 becomes U+FFFD; controls, DEL and C1 among them, are
/// escaped.
pub(super) fn push_json_string(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = value;
    while let Some((plain, &byte, tail)) = split_plain(rest) {
        out.extend_from_slice(plain);
        if byte.is_ascii() {
            push_json_ascii(byte, out);
            rest = tail;
            continue;
        }
        let foreign = &rest[plain.len()..];
        let end = foreign.iter().position(u8::is_ascii).unwrap_or(foreign.len());
        for chunk in foreign[..end].utf8_chunks() {
            for character in chunk.valid().chars() {
                match u8::try_from(character) {
                    Ok(control @ 0x80..=0x9f) => push_json_escape(control, out),
                    Ok(_) | Err(_) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        rest = &foreign[end..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn push_json_ascii(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        _ => push_json_escape(byte, out),
    }
}

fn push_json_escape(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u00");
    out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

/// Bytes that are looked at together: a vector register of every x86-64 and AArch64.
const BLOCK_BYTES: usize = 16;

/// Whether a byte stands for itself in either kind of log: printable ASCII but quotes and backslashes. Without branches, so
/// that a block of them is one comparison.
fn is_plain(byte: u8) -> bool {
    (byte.wrapping_sub(0x20) < 0x5f) & (byte != b'"') & (byte != b'\\')
}

/// What is plain at the start, the first byte that is not, and what follows that; `None` when all is plain.
fn split_plain(value: &[u8]) -> Option<(&[u8], &u8, &[u8])> {
    let blocks = value.chunks_exact(BLOCK_BYTES);
    let plain_blocks =
        blocks.take_while(|block| block.iter().fold(true, |plain, byte| plain & is_plain(*byte))).count();
    let looked_at = plain_blocks * BLOCK_BYTES;
    let at = looked_at + value[looked_at..].iter().position(|byte| !is_plain(*byte))?;
    let (byte, tail) = value[at..].split_first()?;
    Some((&value[..at], byte, tail))
}

/// Appends serialised JSON with DEL and the C1 controls escaped too, which JSON would allow as they are.
pub(super) fn push_json(json: &str, out: &mut String) {
    let mut rest = json;
    while let Some(at) = rest.find(|character: char| matches!(character, '\u{7f}'..='\u{9f}')) {
        out.push_str(&rest[..at]);
        let mut characters = rest[at..].chars();
        if let Some(control) = characters.next() {
            out.push_str(&format!("\\u{:04x}", u32::from(control)));
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let mut out = String::new();
        push_message(text, &mut out);
        out
    }

    fn value(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_value(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn messages_keep_newlines_tabs_and_letters_of_all_scripts() {
        assert_eq!(message("Grüße\n\tzweite Zeile, 日本"), "Grüße\n\tzweite Zeile, 日本");
    }

    #[test]
    fn messages_cannot_command_a_terminal() {
        assert_eq!(message("\x1b[2J\r\0\x07x\x7f\u{9b}31m"), "\\u{1b}[2J\\r\\u{0}\\u{7}x\\u{7f}\\u{9b}31m");
    }

    #[test]
    fn every_byte_of_a_value_is_printable_ascii_and_cannot_end_a_quoted_string() {
        for byte in 0..=u8::MAX {
            let text = value(&[byte]);
            let plain = matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
            assert_eq!(text.len(), if plain { 1 } else { 4 }, "{byte:#x} became {text}");
            assert!(text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"'), "{byte:#x} became {text}");
        }
        assert_eq!(value(b"a\"b\\c\r\n\xc3\xa4"), "a\\x22b\\x5Cc\\x0D\\x0A\\xC3\\xA4");
        assert_eq!(value(b""), "-");
    }

    #[test]
    fn every_pair_of_bytes_is_a_json_string() {
        for pair in 0..=u16::MAX {
            let bytes = pair.to_be_bytes();
            let mut out = Vec::new();
            push_json_string(&bytes, &mut out);
            let json = String::from_utf8(out).unwrap();
            assert!(!json.chars().any(char::is_control), "{bytes:x?} became {json}");
            let read: String = serde_json::from_str(&json).unwrap();
            assert_eq!(read, String::from_utf8_lossy(&bytes), "{bytes:x?}");
        }
        let mut out = Vec::new();
        push_json_string("a é\u{80}日本\u{fffd} \u{1f600}\n\"\\".as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "\"a é\\u0080日本\u{fffd} \u{1f600}\\u000A\\\"\\\\\"");
    }

    #[test]
    fn json_stays_equal_and_without_controls() {
        let text = "a\x1b\x7f\u{80}\u{9b}\u{9f}\u{a0}é";
        let mut out = String::new();
        push_json(&serde_json::to_string(text).unwrap(), &mut out);
        assert!(!out.chars().any(char::is_control), "{out:?}");
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }
}
