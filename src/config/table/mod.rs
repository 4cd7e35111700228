//! The table of settings: what a setting is, and how to find one. Flags, environment variables, validation, help and
//! reference are all made from it.
//!
//! Invariant: a default is written nowhere else. How a value is read is not here (`resolve`).

mod definitions;

pub use definitions::SETTINGS;

/// The sections of the file in the order of the reference, each with a line about it.
pub const SECTIONS: &[(&str, &str)] = &[
    ("app", "The application and its Python environment."),
    ("server", "Listening sockets and the process."),
    ("workers", "Worker processes and their timeouts."),
    ("http", "HTTP: timeouts and limits on what a client may send."),
    ("proxy", "What a reverse proxy in front is believed."),
    ("reload", "How a reload makes sure of the new code."),
    ("log", "The error log and the access log."),
    ("control", "The socket of `rwsgi ctl`."),
    ("metrics", "Figures for Prometheus, and whether the server lives and is ready."),
    ("hooks", "Functions of the application that the server calls."),
];

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its section, without brackets.
    pub section: &'static str,
    /// Its key in the section.
    pub key: &'static str,
    /// What may be written.
    pub kind: Kind,
    /// What holds when nothing is written.
    pub default: Fallback,
    /// Sentences about it: meaning, units, what else is to know. Paragraphs are one string.
    pub doc: &'static str,
    /// Its option of the command line; `None` for the target, which is the argument itself.
    pub flag: Option<Flag>,
}

/// An option of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Long name without dashes.
    pub long: &'static str,
    /// One letter.
    pub short: Option<char>,
    /// Further long names that mean the same.
    pub aliases: &'static [&'static str],
    /// The placeholder for its value in the help.
    pub value: &'static str,
}

/// What holds when a setting is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// A value, as it would be written in the file.
    Value(&'static str),
    /// Found out at the start, or nothing at all.
    Computed {
        /// What it is, in words that follow "to use".
        words: &'static str,
        /// A value for the reference, as it would be written in the file.
        example: &'static str,
    },
    /// It must be written.
    Required {
        /// A value for the reference, as it would be written in the file.
        example: &'static str,
    },
}

/// What may be written as the value of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `MODULE[:CALLABLE]`
    Target,
    /// A string.
    Text,
    /// A path.
    Path,
    /// Paths; in the environment and on the command line separated by `:`.
    Paths,
    /// Names and values; on the command line `NAME=VALUE`, repeated.
    Map,
    /// `host:port`, `unix:/path`, `fd:3`, one or several; elsewhere separated by `,`.
    Binds,
    /// Addresses, networks, `unix`, `*`; elsewhere separated by `,`.
    Networks,
    /// URL paths; elsewhere separated by `,`.
    UrlPaths,
    /// A whole number.
    Integer {
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// A whole number or `"auto"`.
    Count {
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// A number of bytes.
    Size {
        /// The smallest allowed, in bytes.
        min: u64,
        /// The largest allowed, in bytes.
        max: u64,
    },
    /// A length of time.
    Duration {
        /// Whether `"0s"` is allowed.
        zero: bool,
    },
    /// A length of time or `"off"`.
    OptionalDuration,
    /// An octal number: permissions.
    Mode,
    /// `true` or `false`.
    Bool,
    /// `true`, `false` or `"auto"`.
    AutoBool,
    /// A number of bytes or `"off"`.
    OptionalSize {
        /// The smallest allowed, in bytes.
        min: u64,
        /// The largest allowed, in bytes.
        max: u64,
    },
    /// A percentage or a whole number.
    Jitter,
    /// `MODULE:FUNCTION`
    Hook,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A user, by name or number.
    User,
    /// A group, by name or number.
    Group,
    /// `"-"` or a path.
    ErrorLog,
    /// `"-"`, `"off"` or a path.
    AccessLog,
    /// `combined`, `json`, or a format of atoms.
    AccessFormat,
}

impl Setting {
    /// `section.key`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// `RWSGI_SECTION_KEY`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("RWSGI_{}_{}", self.section, self.key).to_uppercase()
    }
}

impl Fallback {
    /// What is used when the setting is not written, in words that follow "to use".
    #[must_use]
    pub fn words(&self) -> Option<&'static str> {
        match self {
            Self::Value("\"auto\"") => Some("one per CPU"),
            Self::Value(text) | Self::Computed { words: text, .. } => Some(text),
            Self::Required { .. } => None,
        }
    }
}

impl Kind {
    /// The kind in words, for the reference.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Target => "`\"MODULE[:CALLABLE]\"`".to_owned(),
            Self::Text => "string".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Paths => "list of paths".to_owned(),
            Self::Map => "table of strings".to_owned(),
            Self::Binds => "address, or list of addresses".to_owned(),
            Self::Networks => "list of addresses and networks".to_owned(),
            Self::UrlPaths => "list of URL paths".to_owned(),
            Self::Integer { min, max } => format!("integer, {min} to {max}"),
            Self::Count { min, max } => format!("integer, {min} to {max}, or `\"auto\"`"),
            Self::Size { .. } => "size".to_owned(),
            Self::Duration { zero: false } => "duration".to_owned(),
            Self::Duration { zero: true } => "duration, may be `\"0s\"`".to_owned(),
            Self::OptionalDuration => "duration, or `\"off\"`".to_owned(),
            Self::Mode => "octal string".to_owned(),
            Self::Bool => "boolean".to_owned(),
            Self::AutoBool => "boolean, or `\"auto\"`".to_owned(),
            Self::OptionalSize { .. } => "size, or `\"off\"`".to_owned(),
            Self::Jitter => "percentage, or integer".to_owned(),
            Self::Hook => "`\"MODULE:FUNCTION\"`".to_owned(),
            Self::Choice(words) => {
                words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
            }
            Self::User => "name or number of a user".to_owned(),
            Self::Group => "name or number of a group".to_owned(),
            Self::ErrorLog => "`\"-\"` or path".to_owned(),
            Self::AccessLog => "`\"-\"`, `\"off\"` or path".to_owned(),
            Self::AccessFormat => "`\"combined\"`, `\"json\"` or a format".to_owned(),
        }
    }

    /// The kind in few words with an article, for messages.
    #[must_use]
    pub fn article(&self) -> &'static str {
        match self {
            Self::Path | Self::ErrorLog | Self::AccessLog => "a path",
            Self::Paths | Self::Networks | Self::UrlPaths => "a list of strings",
            Self::Map => "a table",
            Self::Binds => "an address or a list of addresses",
            Self::Integer { .. } | Self::Count { .. } => "a whole number",
            Self::Size { .. } | Self::OptionalSize { .. } => "a size",
            Self::AutoBool => "true, false or \"auto\"",
            Self::Jitter => "a percentage",
            Self::Duration { .. } | Self::OptionalDuration => "a duration",
            Self::Mode => "an octal string",
            Self::Bool => "true or false",
            Self::User => "a user's name",
            Self::Group => "a group's name",
            Self::Target | Self::Text | Self::Choice(_) | Self::AccessFormat | Self::Hook => "a string",
        }
    }

    /// What separates the items of a list in the environment and on the command line; `None` for a single value.
    #[must_use]
    pub fn separator(&self) -> Option<char> {
        match self {
            Self::Paths => Some(':'),
            Self::Binds | Self::Networks | Self::UrlPaths | Self::Map => Some(','),
            Self::Target
            | Self::Text
            | Self::Path
            | Self::Integer { .. }
            | Self::Count { .. }
            | Self::Size { .. }
            | Self::Duration { .. }
            | Self::OptionalDuration
            | Self::Mode
            | Self::Bool
            | Self::AutoBool
            | Self::OptionalSize { .. }
            | Self::Jitter
            | Self::Hook
            | Self::Choice(_)
            | Self::User
            | Self::Group
            | Self::ErrorLog
            | Self::AccessLog
            | Self::AccessFormat => None,
        }
    }
}

/// Finds a setting by section and key.
#[must_use]
pub fn find(section: &str, key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.section == section && setting.key == key)
}

/// The keys of a section.
pub fn keys(section: &str) -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter(move |setting| setting.section == section).map(|setting| setting.key)
}
