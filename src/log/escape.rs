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
    for &byte in value {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                out.extend([b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
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
    fn json_stays_equal_and_without_controls() {
        let text = "a\x1b\x7f\u{80}\u{9b}\u{9f}\u{a0}é";
        let mut out = String::new();
        push_json(&serde_json::to_string(text).unwrap(), &mut out);
        assert!(!out.chars().any(char::is_control), "{out:?}");
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }
}
