//! Sizes as they are written: `64KiB`, `10MB`, `512B`, or a bare number of bytes. Pure.

/// Units by name, in bytes.
const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Reads a size in bytes.
///
/// # Errors
/// One clause: what is wrong and what to write.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if !number.is_empty() {
        if let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) {
            let number = number.parse::<u64>().ok();
            return number
                .and_then(|number| number.checked_mul(*bytes))
                .ok_or_else(|| "is larger than any size can be".to_owned());
        }
        if let Some(meant) = nearest(unit) {
            return Err(format!("has an unknown unit: write \"{number}{meant}\""));
        }
    }
    Err("is not a size: write bytes as a number, or a number with B, KB, MB, GB, KiB, MiB or GiB, as \"64KiB\""
        .to_owned())
}

/// The smallest text that means the same, for messages.
pub(super) fn text(bytes: u64) -> String {
    for (name, unit) in UNITS.iter().rev() {
        if name.ends_with("iB") && bytes >= *unit && bytes % unit == 0 {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

/// The unit that was meant by `k`, `Mb`, ` kib` and the like.
fn nearest(unit: &str) -> Option<&'static str> {
    match unit.trim().to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => Some("B"),
        "k" | "ki" | "kib" => Some("KiB"),
        "m" | "mi" | "mib" => Some("MiB"),
        "g" | "gi" | "gib" => Some("GiB"),
        "kb" => Some("KB"),
        "mb" => Some("MB"),
        "gb" => Some("GB"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit() {
        for (written, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("512B", 512),
            ("10KB", 10_000),
            ("10MB", 10_000_000),
            ("2GB", 2_000_000_000),
            ("64KiB", 65_536),
            ("1MiB", 1_048_576),
            ("1GiB", 1_073_741_824),
        ] {
            assert_eq!(parse(written), Ok(bytes), "{written}");
        }
    }

    #[test]
    fn a_unit_that_is_nearly_right_is_named() {
        for (written, meant) in
            [("64k", "64KiB"), ("64 KiB", "64KiB"), ("64kib", "64KiB"), ("1m", "1MiB"), ("1mb", "1MB")]
        {
            assert_eq!(parse(written), Err(format!("has an unknown unit: write \"{meant}\"")), "{written}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for written in ["", "B", "-1", "1.5MiB", "1TiB", "0x10", "many", "1é"] {
            let error = parse(written).unwrap_err();
            assert!(error.starts_with("is not a size: write bytes"), "{written}: {error}");
        }
        for written in ["18446744073709551616", "18446744073709551615KB"] {
            assert_eq!(parse(written), Err("is larger than any size can be".to_owned()), "{written}");
        }
    }

    #[test]
    fn text_uses_the_largest_unit_that_fits() {
        for (bytes, written) in [(0, "0B"), (64, "64B"), (8192, "8KiB"), (1500, "1500B"), (1 << 30, "1GiB")] {
            assert_eq!(text(bytes), written);
        }
    }
}
