//! What is wrong with a configuration: all of it, one line each.

use std::fmt;

/// Everything that is wrong, in the order in which it was found: the file from top to bottom, then the environment,
/// then the command line, then what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    lines: Vec<String>,
}

impl Problems {
    /// Lines that quote what was written may hold control characters; they are replaced.
    pub(super) fn new(lines: Vec<String>) -> Self {
        let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        Self { lines: lines.iter().map(|line| line.chars().map(printable).collect()).collect() }
    }

    /// The problems, each one line without a newline.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// How many there are, in words: `1 problem`, `3 problems`.
    #[must_use]
    pub fn count(&self) -> String {
        match self.lines.len() {
            1 => "1 problem".to_owned(),
            n => format!("{n} problems"),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for Problems {}
