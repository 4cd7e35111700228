//! Values as they were written, before they mean anything, each with its origin.

use std::fmt;
use std::path::PathBuf;

use toml::de::DeValue;

use super::table::Setting;

/// The longest quotation of a value in a message, in characters.
const QUOTED_MAX: usize = 60;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// Nowhere: the table's default.
    Table,
    /// The file as the user gave it, and the line.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// An option or argument of the command line.
    CommandLine(String),
}

impl Origin {
    /// What to do to go back to the default: "… to use …".
    pub(super) fn removal(&self) -> &'static str {
        match self {
            Self::Table | Self::File(..) => "remove the line",
            Self::Environment(_) => "unset the variable",
            Self::CommandLine(_) => "leave the option out",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) | Self::CommandLine(name) => f.write_str(name),
        }
    }
}

/// The shape of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Raw {
    /// A string of the file.
    Text(String),
    /// Words of the environment or the command line: what they mean depends on the setting.
    Word(String),
    /// A whole number of the file; `None` when it is too large for any setting.
    Integer(Option<i64>),
    /// A truth value of the file.
    Bool(bool),
    /// A list; on the command line one item an option.
    List(Vec<Self>),
    /// A table of the file.
    Map(Vec<(String, Self)>),
    /// What no setting takes: the name of the type, with its article.
    Other(&'static str),
}

impl Raw {
    /// The shape of a value of the file.
    pub(super) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Integer(number) => {
                Self::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
            }
            DeValue::Boolean(value) => Self::Bool(*value),
            DeValue::Array(items) => {
                Self::List(items.iter().map(|item| Self::from_toml(item.get_ref())).collect())
            }
            DeValue::Table(table) => Self::Map(
                table
                    .iter()
                    .map(|(name, value)| {
                        (name.get_ref().clone().into_owned(), Self::from_toml(value.get_ref()))
                    })
                    .collect(),
            ),
            DeValue::Float(_) => Self::Other("a fraction"),
            DeValue::Datetime(_) => Self::Other("a date"),
        }
    }

    /// The type in words, with its article.
    pub(super) fn type_words(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Word(_) => "a string",
            Self::Integer(_) => "a number",
            Self::Bool(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Map(_) => "a table",
            Self::Other(words) => words,
        }
    }
}

/// A setting that was written somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// Which one.
    pub(super) setting: &'static Setting,
    /// Its value.
    pub(super) raw: Raw,
    /// The value as written, for messages: one line, shortened.
    pub(super) written: String,
    /// Where.
    pub(super) origin: Origin,
}

/// A value as it is quoted in messages: on one line, without control characters, shortened.
pub(super) fn quoted(written: &str) -> String {
    let line = written.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut quoted: String =
        line.chars().take(QUOTED_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if line.chars().count() > QUOTED_MAX {
        quoted.push('…');
    }
    quoted
}
