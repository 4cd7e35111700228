//! The configuration file: read, parsed, and its keys matched with the table. What the values mean is not here.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::nearest;
use super::table::{self, SECTIONS};
use super::written::{Given, Origin, Raw, quoted};

/// The largest configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What was found in a file.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) given: Vec<Given>,
    pub(super) problems: Vec<(Origin, String)>,
    /// Whether the file is TOML at all, so that what is missing in it can be told.
    pub(super) is_sound: bool,
}

/// Reads the file at `path`, which messages call `shown`.
pub(super) fn read(path: &Path, shown: &Path) -> Found {
    match read_text(path) {
        Ok(text) => parse(&text, shown),
        Err(said) => {
            let problem = (Origin::File(shown.to_owned(), 0), format!("{}: {said}", shown.display()));
            Found { problems: vec![problem], ..Found::default() }
        }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let without = "or run without a file: rwsgi MODULE:CALLABLE";
    if path.is_dir() {
        let inside = path.join("app.toml");
        return Err(if inside.is_file() {
            "is a directory: write app.toml after it".to_owned()
        } else {
            format!("is a directory, not a configuration file: give the file's path, {without}")
        });
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => {
            Err("is larger than 1MiB: that is no configuration file".to_owned())
        }
        Ok(_) => String::from_utf8(bytes).map_err(|error| {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|b| **b == b'\n')
                .count();
            format!("is not UTF-8 in line {line}: save it as UTF-8")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("there is no such file: correct the path, {without}"))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(format!(
            "may not be read (permission denied): let the user that starts rwsgi read it, {without}"
        )),
        Err(error) => Err(format!("cannot be read ({error}): correct the path, {without}")),
    }
}

/// Parses the text of a file and matches its keys with the table.
pub(super) fn parse(text: &str, shown: &Path) -> Found {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader =
        Reader { text, shown, broken_lines: Vec::new(), lost_after: usize::MAX, found: Found::default() };
    reader.found.is_sound = errors.is_empty();
    for error in &errors {
        reader.syntax_error(error);
    }
    for (name, value) in document.get_ref() {
        reader.section(name.get_ref(), name.span().start, value.get_ref(), value.span());
    }
    reader.found
}

struct Reader<'a> {
    text: &'a str,
    shown: &'a Path,
    /// Lines that are not TOML, so that nothing else is said of them.
    broken_lines: Vec<usize>,
    /// The line of a broken section header: which section the keys below it belong to is not known.
    lost_after: usize,
    found: Found,
}

impl Reader<'_> {
    fn syntax_error(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or(self.text.len()..self.text.len());
        let (number, column) = position(self.text, span.start);
        // What follows the first error of a line is a consequence of it.
        if self.broken_lines.contains(&number) || number > self.lost_after {
            return;
        }
        self.broken_lines.push(number);
        let line = self.text.lines().nth(number - 1).unwrap_or_default().trim();
        let at = quoted(self.text.get(span).unwrap_or_default());
        let is_header = line.starts_with('[');
        let said = if error.message().starts_with("duplicate key") {
            let remedy =
                if is_header { "put all its keys under one header" } else { "remove one of the two" };
            format!("{at} is written twice: {remedy}")
        } else {
            if is_header {
                self.lost_after = number;
            }
            let hint = unquoted(line).map(|value| format!(" (a string is written in quotes: \"{value}\")"));
            format!("not TOML: {}{}", error.message(), hint.unwrap_or_default())
        };
        let origin = Origin::File(self.shown.to_owned(), number);
        self.found.problems.push((origin.clone(), format!("{origin}:{column}: {said}")));
    }

    fn section(&mut self, name: &str, at: usize, value: &DeValue<'_>, span: Range<usize>) {
        if !SECTIONS.iter().any(|(section, _)| *section == name) {
            let said = match value {
                DeValue::Table(_) => format!("[{name}]: {}", nearest::section(name)),
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => {
                    let written = quoted(self.text.get(span).unwrap_or_default());
                    format!("{name} = {written}: {}", nearest::key("", name))
                }
            };
            return self.problem(at, &said);
        }
        let DeValue::Table(keys) = value else {
            let said = format!("{name} is a section: write [{name}] in a line of its own and its keys below");
            return self.problem(at, &said);
        };
        for (key, value) in keys {
            let written = quoted(self.text.get(value.span()).unwrap_or_default());
            let at = key.span().start;
            match table::find(name, key.get_ref()) {
                Some(setting) => {
                    let origin = self.origin(at);
                    if !self.is_broken(at..value.span().end) {
                        let raw = Raw::from_toml(value.get_ref());
                        self.found.given.push(Given { setting, raw, written, origin });
                    }
                }
                None => {
                    let key = key.get_ref();
                    self.problem(at, &format!("{name}.{key} = {written}: {}", nearest::key(name, key)));
                }
            }
        }
    }

    fn problem(&mut self, at: usize, said: &str) {
        if !self.is_broken(at..at) {
            let origin = self.origin(at);
            self.found.problems.push((origin.clone(), format!("{origin}: {said}")));
        }
    }

    fn origin(&self, at: usize) -> Origin {
        Origin::File(self.shown.to_owned(), position(self.text, at).0)
    }

    /// Whether one of these lines is broken, or where they belong is not known.
    fn is_broken(&self, span: Range<usize>) -> bool {
        // What was made up for a missing value has an empty span at the start of the text.
        let (first, last) =
            (position(self.text, span.start).0, position(self.text, span.end.max(span.start)).0);
        last > self.lost_after || self.broken_lines.iter().any(|line| (first..=last).contains(line))
    }
}

/// The value of a line `key = value` that was meant as a string.
fn unquoted(line: &str) -> Option<&str> {
    let value = line.split_once('=')?.1.split('#').next()?.trim();
    let is_bare =
        value.starts_with(|c: char| c.is_alphanumeric() || matches!(c, ':' | '/' | '.' | '-' | '*' | '_'));
    (is_bare && !value.contains(['"', '\''])).then_some(value)
}

/// Line and column, from 1, of a byte of the text; the column counts characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
