//! Durations as they are written: `30s`, `500ms`, `1m30s`. Pure.

use std::time::Duration;

/// The longest duration that a setting may have.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Units from large to small, in milliseconds.
const UNITS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration: numbers with units, from large to small.
///
/// # Errors
/// One clause: what is wrong and what to write.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(without_unit(text));
    }
    let malformed =
        || "is not a duration: write a number with a unit of ms, s, m, h or d, as \"30s\" or \"1m30s\"";
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = UNITS;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let place = units.iter().position(|(name, _)| *name == unit).ok_or_else(malformed)?;
        let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(units[place].1));
        total = millis
            .and_then(|millis| total.checked_add(millis))
            .ok_or_else(|| if number.is_empty() { malformed().to_owned() } else { too_long() })?;
        units = &units[place + 1..];
        rest = after;
    }
    if text.is_empty() {
        return Err(malformed().to_owned());
    }
    let duration = Duration::from_millis(total);
    if duration > DURATION_MAX { Err(too_long()) } else { Ok(duration) }
}

/// What is said of a number without a unit.
pub(super) fn without_unit(number: &str) -> String {
    format!("has no unit: write \"{number}s\" for seconds")
}

fn too_long() -> String {
    "must be at most \"30d\"".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_and_sums() {
        for (text, millis) in [
            ("0s", 0),
            ("1ms", 1),
            ("500ms", 500),
            ("30s", 30_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1m30s", 90_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("1s500ms", 1500),
            ("90s", 90_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_told_to_write_one() {
        assert_eq!(parse("30"), Err("has no unit: write \"30s\" for seconds".to_owned()));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", " ", "s", "30 s", "-1s", "+1s", "1.5s", "1s1m", "1s1s", "30sec", "1S", "1m30", "∞", "1é"]
        {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("is not a duration: write a number with a unit"), "{text}: {error}");
        }
    }

    #[test]
    fn too_long_is_refused_without_overflow() {
        for text in
            ["31d", "30d1ms", "99999999999999999999s", "18446744073709551615d", "18446744073709551615ms"]
        {
            assert_eq!(parse(text), Err("must be at most \"30d\"".to_owned()), "{text}");
        }
    }
}
