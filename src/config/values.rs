//! Readers of plain values: what was written becomes a typed value, or a clause that says what is wrong. Nothing outside
//! the value is looked at; paths and accounts are in `places`.

use std::time::Duration;

use super::resolved::Jitter;
use super::table::{Fallback, Kind};
use super::written::{Given, Origin, Raw};
use super::{duration, nearest, size};

/// A string.
pub(super) fn text(given: &Given) -> Result<&str, String> {
    match &given.raw {
        Raw::Text(text) | Raw::Word(text) => Ok(text),
        Raw::Integer(_) | Raw::Bool(_) | Raw::List(_) | Raw::Map(_) | Raw::Other(_) => Err(wrong_type(given)),
    }
}

/// The strings of a list; a single string is a list of one.
pub(super) fn list(given: &Given) -> Result<Vec<&str>, String> {
    match &given.raw {
        Raw::Text(text) | Raw::Word(text) => Ok(vec![text]),
        Raw::List(items) => items
            .iter()
            .map(|item| match item {
                Raw::Text(text) | Raw::Word(text) => Ok(text.as_str()),
                Raw::Integer(_) | Raw::Bool(_) | Raw::List(_) | Raw::Map(_) | Raw::Other(_) => {
                    Err(format!("has {} in the list: every item is a string in quotes", item.type_words()))
                }
            })
            .collect(),
        Raw::Integer(_) | Raw::Bool(_) | Raw::Map(_) | Raw::Other(_) => Err(wrong_type(given)),
    }
}

/// A truth value.
pub(super) fn boolean(given: &Given) -> Result<bool, String> {
    match &given.raw {
        Raw::Bool(value) => Ok(*value),
        Raw::Word(word) if word == "true" => Ok(true),
        Raw::Word(word) if word == "false" => Ok(false),
        Raw::Word(_) => Err("must be true or false".to_owned()),
        Raw::Text(_) | Raw::Integer(_) | Raw::List(_) | Raw::Map(_) | Raw::Other(_) => {
            Err(format!("is {}: write true or false, without quotes", given.raw.type_words()))
        }
    }
}

/// A whole number within the bounds of its kind.
pub(super) fn integer(given: &Given) -> Result<u64, String> {
    let number = match &given.raw {
        Raw::Integer(number) => *number,
        Raw::Word(word) => match word.parse() {
            Ok(number) => Some(number),
            Err(_) if is_number(word) => None,
            Err(_) => return Err(format!("is not a whole number{}", remedy(given))),
        },
        Raw::Text(text) if is_number(text) => {
            return Err(format!("is a string: write the number without quotes, {text}"));
        }
        Raw::Text(_) | Raw::Bool(_) | Raw::List(_) | Raw::Map(_) | Raw::Other(_) => {
            return Err(wrong_type(given));
        }
    };
    let (Kind::Integer { min, max } | Kind::Count { min, max }) = given.setting.kind else {
        return Err(wrong_type(given));
    };
    let is_negative = matches!(given.written.trim_start().as_bytes().first(), Some(b'-'));
    match number.map(u64::try_from) {
        Some(Ok(number)) if number >= min && number <= max => Ok(number),
        Some(Ok(number)) if number < min => Err(format!("must be at least {min}{}", remedy(given))),
        Some(Err(_)) => Err(format!("must be at least {min}{}", remedy(given))),
        None if is_negative => Err(format!("must be at least {min}{}", remedy(given))),
        Some(Ok(_)) | None => Err(format!("must be at most {max}{}", remedy(given))),
    }
}

/// A whole number, or `None` for `"auto"`.
pub(super) fn count(given: &Given) -> Result<Option<u64>, String> {
    match &given.raw {
        Raw::Text(word) | Raw::Word(word) if word == "auto" => Ok(None),
        Raw::Word(word) if !is_number(word) => Err("is neither a number nor auto".to_owned()),
        Raw::Text(text) if !is_number(text) => Err("is neither a number nor \"auto\"".to_owned()),
        Raw::Text(_)
        | Raw::Word(_)
        | Raw::Integer(_)
        | Raw::Bool(_)
        | Raw::List(_)
        | Raw::Map(_)
        | Raw::Other(_) => integer(given).map(Some),
    }
}

/// A size within the bounds of its kind, in bytes.
pub(super) fn bytes(given: &Given) -> Result<u64, String> {
    let number = match &given.raw {
        Raw::Integer(Some(number)) => {
            u64::try_from(*number).map_err(|_| "must not be negative".to_owned())?
        }
        Raw::Integer(None) => u64::MAX,
        Raw::Text(_) | Raw::Word(_) | Raw::Bool(_) | Raw::List(_) | Raw::Map(_) | Raw::Other(_) => {
            size::parse(text(given)?)?
        }
    };
    let (Kind::Size { min, max } | Kind::OptionalSize { min, max }) = given.setting.kind else {
        return Err(wrong_type(given));
    };
    if number < min {
        return Err(format!("must be at least {}{}", size::text(min), remedy(given)));
    }
    if number > max {
        return Err(format!("must be at most {}{}", size::text(max), remedy(given)));
    }
    Ok(number)
}

/// A size within the bounds of its kind, in bytes, or `None` for `"off"`.
pub(super) fn optional_bytes(given: &Given) -> Result<Option<u64>, String> {
    if is_off(given)? { Ok(None) } else { bytes(given).map(Some) }
}

/// A boolean, or `None` for `"auto"`.
pub(super) fn auto_boolean(given: &Given) -> Result<Option<bool>, String> {
    match &given.raw {
        Raw::Text(word) | Raw::Word(word) if word == "auto" => Ok(None),
        Raw::Text(_)
        | Raw::Word(_)
        | Raw::Integer(_)
        | Raw::Bool(_)
        | Raw::List(_)
        | Raw::Map(_)
        | Raw::Other(_) => {
            boolean(given).map(Some).map_err(|_| "is neither true, false nor \"auto\"".to_owned())
        }
    }
}

/// `"10%"`, or a number of requests.
pub(super) fn jitter(given: &Given) -> Result<Jitter, String> {
    let said = || "is neither a percentage (\"10%\") nor a number of requests".to_owned();
    match &given.raw {
        Raw::Integer(Some(number)) => u64::try_from(*number).map(Jitter::Requests).map_err(|_| said()),
        Raw::Text(text) | Raw::Word(text) => match text.strip_suffix('%') {
            Some(percent) => match percent.trim().parse() {
                Ok(percent) if percent <= 100 => Ok(Jitter::Percent(percent)),
                Ok(_) | Err(_) => Err("must be a percentage from \"0%\" to \"100%\"".to_owned()),
            },
            None => text.parse().map(Jitter::Requests).map_err(|_| said()),
        },
        Raw::Integer(None) | Raw::Bool(_) | Raw::List(_) | Raw::Map(_) | Raw::Other(_) => Err(said()),
    }
}

fn is_off(given: &Given) -> Result<bool, String> {
    match &given.raw {
        Raw::Text(word) | Raw::Word(word) => Ok(word == "off"),
        Raw::Bool(false) => Err("is a boolean: write \"off\" to switch it off".to_owned()),
        Raw::Integer(_) | Raw::Bool(_) | Raw::List(_) | Raw::Map(_) | Raw::Other(_) => Ok(false),
    }
}

/// A duration; zero only where its kind allows it.
pub(super) fn length(given: &Given) -> Result<Duration, String> {
    if let Raw::Integer(_) = given.raw {
        return Err(duration::without_unit(&given.written));
    }
    let length = duration::parse(text(given)?)?;
    if length.is_zero() && given.setting.kind != (Kind::Duration { zero: true }) {
        let off = if given.setting.kind == Kind::OptionalDuration {
            " (write \"off\" to switch it off)"
        } else {
            ""
        };
        let remedy = if off.is_empty() { remedy(given) } else { off.to_owned() };
        return Err(format!("must be longer than zero{remedy}"));
    }
    Ok(length)
}

/// A duration, or `None` for `"off"`.
pub(super) fn optional_length(given: &Given) -> Result<Option<Duration>, String> {
    if is_off(given)? { Ok(None) } else { length(given).map(Some) }
}

/// Permission bits: an octal string, or an octal number of TOML (`0o022`).
pub(super) fn mode(given: &Given) -> Result<u32, String> {
    let malformed = || format!("is not an octal number of permissions: write {}", example(given));
    let number = match &given.raw {
        Raw::Integer(Some(number)) if given.written.starts_with("0o") => u32::try_from(*number).ok(),
        Raw::Integer(_) => {
            let digits = given.written.trim_start_matches('0');
            return Err(format!("is a decimal number: write an octal string, \"0{digits}\""));
        }
        Raw::Text(_) | Raw::Word(_) | Raw::Bool(_) | Raw::List(_) | Raw::Map(_) | Raw::Other(_) => {
            let text = text(given)?;
            let digits = text.strip_prefix("0o").unwrap_or(text);
            let is_octal = !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
            if is_octal { u32::from_str_radix(digits, 8).ok() } else { None }
        }
    };
    number.filter(|number| *number <= 0o777).ok_or_else(malformed)
}

/// One of the words of its kind.
pub(super) fn choice(given: &Given) -> Result<&'static str, String> {
    let Kind::Choice(words) = given.setting.kind else {
        return Err(wrong_type(given));
    };
    let all = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    if let Raw::Bool(_) = given.raw {
        return Err(format!("is a boolean: write one of {all}"));
    }
    let text = text(given)?;
    words.iter().find(|word| **word == text).copied().ok_or_else(|| {
        match nearest::best(&text.to_lowercase(), words.iter().copied()) {
            Some(near) => format!("must be one of {all} (did you mean \"{near}\"?)"),
            None => format!("must be one of {all}"),
        }
    })
}

/// Names and values: a table of the file, or `NAME=VALUE` elsewhere.
pub(super) fn map(given: &Given) -> Result<Vec<(String, String)>, String> {
    let pairs: Vec<(String, String)> = match &given.raw {
        Raw::Map(entries) => entries
            .iter()
            .map(|(name, value)| match value {
                Raw::Text(value) => Ok((name.clone(), value.clone())),
                Raw::Word(_)
                | Raw::Integer(_)
                | Raw::Bool(_)
                | Raw::List(_)
                | Raw::Map(_)
                | Raw::Other(_) => {
                    Err(format!("has {} as the value of {name}: write it in quotes", value.type_words()))
                }
            })
            .collect::<Result<_, _>>()?,
        Raw::List(items) if !matches!(given.origin, Origin::File(..)) => items
            .iter()
            .filter_map(|item| if let Raw::Word(word) = item { Some(word) } else { None })
            .map(|word| {
                let pair = word
                    .split_once('=')
                    .ok_or_else(|| format!("has no = in \"{word}\": write NAME=VALUE"))?;
                Ok((pair.0.to_owned(), pair.1.to_owned()))
            })
            .collect::<Result<_, String>>()?,
        Raw::Text(_) | Raw::Word(_) | Raw::Integer(_) | Raw::Bool(_) | Raw::List(_) | Raw::Other(_) => {
            return Err(format!("is {}: write a table, as {{ NAME = \"value\" }}", given.raw.type_words()));
        }
    };
    for (name, value) in &pairs {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!("\"{}\" cannot be the name of a variable", name.escape_debug()));
        }
    }
    Ok(pairs)
}

/// What to do to get the default, in parentheses; empty where there is none.
pub(super) fn remedy(given: &Given) -> String {
    given
        .setting
        .default
        .words()
        .map(|words| format!(" ({} to use {words})", given.origin.removal()))
        .unwrap_or_default()
}

/// What is said of a value of a wrong type.
pub(super) fn wrong_type(given: &Given) -> String {
    format!("is {}: write {}, as {}", given.raw.type_words(), given.setting.kind.article(), example(given))
}

fn example(given: &Given) -> &'static str {
    match given.setting.default {
        Fallback::Value("\"off\"") if matches!(given.setting.kind, Kind::OptionalSize { .. }) => "\"256MiB\"",
        Fallback::Value("\"off\"") => "\"5s\"",
        Fallback::Value("\"\"") => "\"/prefix\"",
        Fallback::Value("[]") if given.setting.kind == Kind::Paths => "[\"lib\"]",
        Fallback::Value("[]") => "[\"/healthz\"]",
        Fallback::Value("\"auto\"") => "4",
        Fallback::Value(example) | Fallback::Computed { example, .. } | Fallback::Required { example } => {
            example
        }
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
