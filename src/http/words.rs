//! Eight bytes at a time: which of them end a run of usual bytes. Each test is arithmetic on one word, so that a run
//! costs a few instructions for every eight bytes instead of for each.
//!
//! The tests are exact for the lowest byte that they mark, which is the first in the text; marks above it may be too
//! many. So a caller goes on from the first mark only.

/// How many bytes a word has.
pub(super) const WORD: usize = 8;

/// The bit that makes a letter lower case, in every byte. It changes neither a hyphen nor a digit.
pub(super) const LOWER: u64 = 0x20 * ONES;

/// How many bytes are looked at together in a longer text.
const BLOCK: usize = 32;

const ONES: u64 = u64::from_ne_bytes([1; WORD]);
const HIGH: u64 = 0x80 * ONES;

/// How many bytes of a word come before its first mark.
pub(super) fn before(marks: u64) -> usize {
    marks.trailing_zeros() as usize / WORD
}

/// Marks the bytes that are neither a letter nor a hyphen: what most field names are made of.
pub(super) fn no_letter_or_hyphen(word: u64) -> u64 {
    let seven_bits = (word | LOWER) & !HIGH;
    // The sums reach the eighth bit, and never the next byte.
    let from_a = seven_bits + (0x80 - 0x61) * ONES;
    let past_z = seven_bits + (0x80 - 0x7b) * ONES;
    let letter = from_a & !past_z & !word;
    let difference = word ^ (0x2d * ONES);
    let other_than_hyphen = ((difference & !HIGH) + !HIGH) | difference;
    other_than_hyphen & !letter & HIGH
}

/// Marks the control characters, the tab among them.
fn controls(word: u64) -> u64 {
    let below_space = word.wrapping_sub(0x20 * ONES) & !word;
    let from_delete = word ^ (0x7f * ONES);
    let delete = from_delete.wrapping_sub(ONES) & !from_delete;
    (below_space | delete) & HIGH
}

/// Where the first control character but the tab is; the length of the text if there is none.
#[inline]
pub(super) fn find_control(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some((block, after)) = rest.split_first_chunk::<BLOCK>() {
        // Without a branch, so that it is vectorised.
        if block.iter().fold(false, |found, byte| found | byte.is_ascii_control()) {
            break;
        }
        rest = after;
    }
    while let Some((word, after)) = rest.split_first_chunk::<WORD>() {
        let marks = controls(u64::from_le_bytes(*word));
        if marks != 0 {
            let found = before(marks);
            if word[found & (WORD - 1)] != b'\t' {
                return text.len() - rest.len() + found;
            }
            rest = &rest[found + 1..];
            continue;
        }
        rest = after;
    }
    let in_rest = rest.iter().position(|byte| byte.is_ascii_control() && *byte != b'\t');
    text.len() - rest.len() + in_rest.unwrap_or(rest.len())
}

/// Whether all bytes of a text are letters and hyphens; false also for a text shorter than a word.
pub(super) fn is_letters_and_hyphens(text: &[u8]) -> bool {
    all_words(text, |word| no_letter_or_hyphen(word) == 0)
}

/// Whether no byte of a text is a control character, the tab among them; false also for a text shorter than a word.
pub(super) fn is_without_control(text: &[u8]) -> bool {
    all_words(text, |word| controls(word) == 0)
}

/// Whether a test holds for all words of a text, the last of which overlaps the one before.
#[inline]
fn all_words(text: &[u8], test: impl Fn(u64) -> bool) -> bool {
    let Some(last) = text.last_chunk::<WORD>() else { return false };
    let mut rest = text;
    while let Some((word, after)) = rest.split_first_chunk::<WORD>() {
        if !test(u64::from_le_bytes(*word)) {
            return false;
        }
        rest = after;
    }
    test(u64::from_le_bytes(*last))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte at every place of a word, among bytes at the edges of the classes.
    fn words() -> impl Iterator<Item = [u8; WORD]> {
        let around = [b'a', b'z', b'A', b'Z', b'-', 0x80, 0xff, 0xad];
        (0..=255_u8).flat_map(move |byte| {
            (0..WORD).flat_map(move |place| {
                around.into_iter().map(move |other| {
                    let mut word = [other; WORD];
                    word[place] = byte;
                    word
                })
            })
        })
    }

    #[test]
    fn the_first_mark_is_the_first_byte_of_another_class() {
        for word in words() {
            let first = |marks: u64| (marks != 0).then(|| before(marks));
            let value = u64::from_le_bytes(word);
            let name = word.iter().position(|byte| !byte.is_ascii_alphabetic() && *byte != b'-');
            assert_eq!(first(no_letter_or_hyphen(value)), name, "{word:x?}");
            assert_eq!(first(controls(value)), word.iter().position(u8::is_ascii_control), "{word:x?}");
        }
    }

    #[test]
    fn controls_are_found_wherever_they_are() {
        for length in 0..80 {
            for filler in [b'a', b'\t', b' ', 0x80, 0xff] {
                let mut text = vec![filler; length];
                assert_eq!(find_control(&text), length);
                let is_word = length >= WORD;
                assert_eq!(is_without_control(&text), is_word && filler != b'\t');
                assert_eq!(is_letters_and_hyphens(&text), is_word && filler == b'a');
                for place in 0..length {
                    for byte in [0, 0x1f, 0x7f, b'\r', b'\n'] {
                        text[place] = byte;
                        assert_eq!(find_control(&text), place);
                        assert!(!is_without_control(&text) && !is_letters_and_hyphens(&text));
                    }
                    text[place] = filler;
                }
            }
        }
    }
}
