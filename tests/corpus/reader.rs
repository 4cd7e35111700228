//! Reads the files of the corpus (format: `README.md` beside this file). Its own file and free of dependencies,
//! because the unit tests of the parser and the tests of the whole server both include it.

#![allow(dead_code, reason = "whoever includes it uses a part")]

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the corpus.
#[derive(Debug)]
pub(crate) struct Case {
    /// The name of the file without its ending.
    pub(crate) name: String,
    /// The bytes that the client sends.
    pub(crate) input: Vec<u8>,
    /// The complete requests that must be seen.
    pub(crate) requests: Vec<ExpectedRequest>,
    /// The refusal after them; never in `valid`, always in `invalid`.
    pub(crate) error: Option<ExpectedError>,
}

/// A request that must be seen. `None`: not checked.
#[derive(Debug, Default)]
pub(crate) struct ExpectedRequest {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) version: Vec<u8>,
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) query: Option<Vec<u8>>,
    /// `Some(None)`: no host.
    pub(crate) host: Option<Option<Vec<u8>>>,
    /// Name in lower case and value; `None` for an absent field.
    pub(crate) fields: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) keep_alive: Option<bool>,
    pub(crate) expects_continue: Option<bool>,
    /// The head announces a body, perhaps an empty one. Not checked without a `body` line.
    pub(crate) has_body: Option<bool>,
    pub(crate) body: Vec<u8>,
}

/// A refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExpectedError {
    pub(crate) status: u16,
    /// The name of the variant of `Reject`.
    pub(crate) reason: String,
}

/// One file of a corpus other than `http1`: what is expected are lines whose meaning its test knows.
#[derive(Debug)]
pub(crate) struct PlainCase {
    /// The name of the file without its ending.
    pub(crate) name: String,
    /// The bytes to read.
    pub(crate) input: Vec<u8>,
    /// The lines behind `--- expect`, as they are.
    pub(crate) expected: Vec<String>,
}

/// All cases of a folder of `tests/corpus` (`"http1/valid"`, `"http1/invalid"`), sorted by name.
///
/// # Errors
/// A folder that cannot be read or holds nothing, a malformed file.
pub(crate) fn load(folder: &str) -> Result<Vec<Case>, String> {
    load_directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder))
}

/// All cases of a folder of `tests/corpus` that is not `http1` (`"proxy_protocol"`), sorted by name.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_plain(folder: &str) -> Result<Vec<PlainCase>, String> {
    load_plain_directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder))
}

/// All cases of a directory, sorted by name.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_directory(directory: &Path) -> Result<Vec<Case>, String> {
    read_all(directory, http_case)
}

/// [`load_plain`] for a directory.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_plain_directory(directory: &Path) -> Result<Vec<PlainCase>, String> {
    read_all(directory, Ok)
}

fn read_all<T>(directory: &Path, understand: fn(PlainCase) -> Result<T, String>) -> Result<Vec<T>, String> {
    let entries = fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    paths.sort();
    if paths.is_empty() {
        return Err(format!("{}: no cases", directory.display()));
    }
    let read = |path: &PathBuf| {
        read(path).and_then(understand).map_err(|error| format!("{}: {error}", path.display()))
    };
    paths.iter().map(read).collect()
}

fn read(path: &Path) -> Result<PlainCase, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut lines = text.lines().skip_while(|line| line.starts_with('#'));
    let bytes: String = lines.by_ref().take_while(|line| *line != "--- expect").collect();
    let expected: Vec<String> = lines.map(str::to_owned).collect();
    if expected.is_empty() {
        return Err("nothing is expected".to_owned());
    }
    Ok(PlainCase { name, input: unescape(&bytes)?, expected })
}

fn http_case(plain: PlainCase) -> Result<Case, String> {
    let mut case = Case { name: plain.name, input: plain.input, requests: Vec::new(), error: None };
    for line in &plain.expected {
        if case.error.is_some() {
            return Err(format!("a line after the error: {line}"));
        }
        expectation(&mut case, line).map_err(|error| format!("{error}: {line}"))?;
    }
    Ok(case)
}

fn expectation(case: &mut Case, line: &str) -> Result<(), String> {
    let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
    if key == "error" {
        let (status, reason) = rest.split_once(' ').ok_or("no reason")?;
        let status = status.parse().map_err(|_| "not a status".to_owned())?;
        case.error = Some(ExpectedError { status, reason: reason.to_owned() });
        return Ok(());
    }
    let value = unescape(rest)?;
    if key == "request" {
        let mut parts = value.splitn(3, |byte| *byte == b' ').map(<[u8]>::to_vec);
        let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("not a request line".to_owned());
        };
        case.requests.push(ExpectedRequest { method, target, version, ..ExpectedRequest::default() });
        return Ok(());
    }
    let request = case.requests.last_mut().ok_or("no request before")?;
    match key {
        "path" => request.path = Some(value),
        "query" => request.query = Some(value),
        "host" => request.host = Some((value != b"none").then_some(value)),
        "field" => {
            let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
            request.fields.push((name.to_owned(), Some(unescape(value)?)));
        }
        "absent" => request.fields.push((rest.to_owned(), None)),
        "keep-alive" => request.keep_alive = Some(yes(rest)?),
        "continue" => request.expects_continue = Some(yes(rest)?),
        "body" if value == b"none" => request.has_body = Some(false),
        "body" => {
            request.has_body = Some(true);
            request.body = value;
        }
        _ => return Err("unknown key".to_owned()),
    }
    Ok(())
}

fn yes(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("neither yes nor no".to_owned()),
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut rest = text.as_bytes();
    let bytes = unescape_until(&mut rest, false)?;
    if rest.is_empty() { Ok(bytes) } else { Err("unbalanced braces".to_owned()) }
}

/// Reads escaped text to its end, or within a repetition to the closing brace.
fn unescape_until(rest: &mut &[u8], repeated: bool) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some((byte, tail)) = rest.split_first() {
        *rest = tail;
        match byte {
            b'}' if repeated => return Ok(bytes),
            b'\\' => escape(rest, &mut bytes)?,
            byte => bytes.push(*byte),
        }
    }
    if repeated { Err("a repetition without an end".to_owned()) } else { Ok(bytes) }
}

fn escape(rest: &mut &[u8], bytes: &mut Vec<u8>) -> Result<(), String> {
    let (kind, tail) = rest.split_first().ok_or("a backslash at the end")?;
    *rest = tail;
    match kind {
        b'r' => bytes.push(b'\r'),
        b'n' => bytes.push(b'\n'),
        b't' => bytes.push(b'\t'),
        b'\\' => bytes.push(b'\\'),
        b'x' => {
            let (digits, tail) = rest.split_at_checked(2).ok_or("\\x without two digits")?;
            *rest = tail;
            bytes.push(number(digits, 16)?);
        }
        b'{' => {
            let star = rest.iter().position(|byte| *byte == b'*').ok_or("\\{ without *")?;
            let count: u32 = number(&rest[..star], 10)?;
            *rest = &rest[star + 1..];
            let text = unescape_until(rest, true)?;
            (0..count).for_each(|_| bytes.extend_from_slice(&text));
        }
        other => return Err(format!("unknown escape \\{}", other.escape_ascii())),
    }
    Ok(())
}

fn number<T: TryFrom<u32>>(digits: &[u8], radix: u32) -> Result<T, String> {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    let number = u32::from_str_radix(text, radix).map_err(|error| error.to_string())?;
    T::try_from(number).map_err(|_| "a number that is too large".to_owned())
}
