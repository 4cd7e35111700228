//! How a record of the error log looks, as text or as JSON. Pure: a record and an identity in, a line out.

use jiff::Timestamp;
use log::Level;
use serde::Serialize;

use crate::config::LogFormat;

use super::Role;
use super::escape::{push_json, push_message};

/// Who writes a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) role: Role,
    pub(super) pid: u32,
    /// Zero: the process belongs to no generation.
    pub(super) generation: u32,
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) time: Timestamp,
    pub(super) level: Level,
    pub(super) identity: Identity,
    /// What the record is about, when its writer named it; not the path of a module of ours.
    pub(super) target: Option<&'a str>,
    pub(super) message: &'a str,
}

/// Lines that an application writes to `wsgi.errors`.
pub(super) const WSGI_ERRORS: &str = "wsgi.errors";

/// What Python begins a traceback with; chained ones begin with that of the cause.
const TRACEBACKS: [&str; 2] =
    ["\nTraceback (most recent call last):\n", "\n  + Exception Group Traceback (most recent call last):\n"];

/// Longest id of a request, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

#[derive(Serialize)]
struct Json<'a> {
    time: &'a str,
    level: &'a str,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<u32>,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceback: Option<&'a str>,
}

/// Appends the record with its newline.
pub(super) fn render(line: &Line<'_>, format: LogFormat, colour: bool, out: &mut String) {
    match format {
        LogFormat::Text => render_text(line, colour, out),
        LogFormat::Json => render_json(line, out),
    }
    out.push('\n');
}

/// Every line of `wsgi.errors` is a record of its own, so that a search for a request's id finds them all.
fn render_text(line: &Line<'_>, colour: bool, out: &mut String) {
    let message = line.message.trim_end_matches('\n');
    let (Some(WSGI_ERRORS), (Some(id), text)) = (line.target, about_request(line)) else {
        render_prefix(line, colour, out);
        return push_message(message, out);
    };
    for (index, part) in text.trim_end_matches('\n').split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        render_prefix(line, colour, out);
        out.extend(["[", id, "] "]);
        push_message(part.trim_end_matches('\r'), out);
    }
}

fn render_prefix(line: &Line<'_>, colour: bool, out: &mut String) {
    let Identity { role, pid, generation } = line.identity;
    let (on, off) = if colour { (colour_of(line.level), "\x1b[0m") } else { ("", "") };
    out.push_str(&format!("[{:.3} {on}{:<5}{off} ", line.time, line.level));
    match role {
        Role::Master => out.push_str("master"),
        Role::Worker(slot) => out.push_str(&format!("worker/{slot}")),
        Role::Template => out.push_str("template"),
        Role::Command => out.push_str("command"),
    }
    out.push_str(&format!(" pid={pid}"));
    if generation > 0 {
        out.push_str(&format!(" gen={generation}"));
    }
    out.push_str("] ");
}

/// The id of the request that the message is about, and the rest of the message.
fn about_request<'a>(line: &Line<'a>) -> (Option<&'a str>, &'a str) {
    let may_have_one = match line.identity.role {
        Role::Worker(_) => line.target.is_none_or(|target| target == WSGI_ERRORS),
        Role::Master | Role::Template | Role::Command => false,
    };
    let parts = line.message.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match parts {
        Some((id, rest)) if may_have_one && is_request_id(id) => (Some(id), rest),
        Some(_) | None => (None, line.message),
    }
}

fn is_request_id(text: &str) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The message, and the traceback at its end.
fn split_traceback(message: &str) -> (&str, Option<&str>) {
    let at = TRACEBACKS.iter().filter_map(|begin| message.find(begin)).min();
    match at {
        Some(at) => (&message[..at], Some(&message[at + 1..])),
        // What an application prints to `wsgi.errors` in one piece.
        None if TRACEBACKS.iter().any(|begin| message.starts_with(&begin[1..])) => ("", Some(message)),
        None => (message, None),
    }
}

fn render_json(line: &Line<'_>, out: &mut String) {
    let Identity { role, pid, generation } = line.identity;
    let (role, slot) = match role {
        Role::Master => ("master", None),
        Role::Worker(slot) => ("worker", Some(slot)),
        Role::Template => ("template", None),
        Role::Command => ("command", None),
    };
    let (request_id, message) = about_request(line);
    let (message, traceback) = split_traceback(message.trim_end_matches('\n'));
    let object = Json {
        time: &format!("{:.3}", line.time),
        level: line.level.as_str(),
        role,
        slot,
        pid,
        generation: (generation > 0).then_some(generation),
        target: line.target,
        request_id,
        message,
        traceback,
    };
    // Strings and numbers always serialise.
    push_json(&serde_json::to_string(&object).unwrap_or_default(), out);
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::Error => "\x1b[31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[34m",
        Level::Trace => "\x1b[36m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(role: Role, generation: u32, message: &str, format: LogFormat, colour: bool) -> String {
        let line = Line {
            time: "2026-11-20T20:00:58.123987Z".parse().unwrap(),
            level: Level::Info,
            identity: Identity { role, pid: 1234, generation },
            target: Some("wsgi.errors"),
            message,
        };
        let mut out = String::new();
        render(&line, format, colour, &mut out);
        out
    }

    #[test]
    fn text_names_time_level_role_process_and_generation() {
        let text = |role, generation| rendered(role, generation, "message", LogFormat::Text, false);
        assert_eq!(text(Role::Master, 1), "[2026-11-20T20:00:58.123Z INFO  master pid=1234 gen=1] message\n");
        assert_eq!(
            text(Role::Worker(3), 12),
            "[2026-11-20T20:00:58.123Z INFO  worker/3 pid=1234 gen=12] message\n"
        );
        assert_eq!(text(Role::Command, 0), "[2026-11-20T20:00:58.123Z INFO  command pid=1234] message\n");
    }

    #[test]
    fn only_the_level_is_coloured() {
        let text = rendered(Role::Master, 1, "\x1b[31mred", LogFormat::Text, true);
        assert_eq!(
            text,
            "[2026-11-20T20:00:58.123Z \x1b[32mINFO \x1b[0m master pid=1234 gen=1] \\u{1b}[31mred\n"
        );
    }

    #[test]
    fn a_traceback_keeps_its_lines_and_ends_with_one_newline() {
        let text =
            rendered(Role::Worker(0), 1, "Traceback:\n  File \"a.py\"\nKeyError\n\n", LogFormat::Text, false);
        assert!(text.ends_with("gen=1] Traceback:\n  File \"a.py\"\nKeyError\n"), "{text:?}");
    }

    #[test]
    fn json_is_one_line_with_every_part() {
        let text = rendered(Role::Worker(3), 12, "first\nsecond \"x\" \u{9b}", LogFormat::Json, true);
        assert_eq!(text.matches('\n').count(), 1);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            object,
            serde_json::json!({
                "time": "2026-11-20T20:00:58.123Z", "level": "INFO", "role": "worker", "slot": 3, "pid": 1234,
                "generation": 12, "target": "wsgi.errors", "message": "first\nsecond \"x\" \u{9b}",
            })
        );
    }

    #[test]
    fn json_leaves_out_what_a_command_has_not() {
        let text = rendered(Role::Command, 0, "x", LogFormat::Json, false);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(object.get("slot").is_none() && object.get("generation").is_none(), "{text}");
    }

    fn written(target: Option<&str>, message: &str, format: LogFormat) -> String {
        let line = Line {
            time: "2026-11-20T20:00:58.123987Z".parse().unwrap(),
            level: Level::Error,
            identity: Identity { role: Role::Worker(0), pid: 7, generation: 1 },
            target,
            message,
        };
        let mut out = String::new();
        render(&line, format, false, &mut out);
        out
    }

    fn object(target: Option<&str>, message: &str) -> serde_json::Value {
        serde_json::from_str(&written(target, message, LogFormat::Json)).unwrap()
    }

    #[test]
    fn json_has_the_request_and_the_traceback_apart() {
        let trace = "Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'x'";
        let raised = object(None, &format!("[0af-9] GET /: the application raised KeyError: 'x'\n{trace}\n"));
        assert_eq!(raised["request_id"], "0af-9");
        assert_eq!(raised["message"], "GET /: the application raised KeyError: 'x'");
        assert_eq!(raised["traceback"], trace);
        let printed = object(Some(WSGI_ERRORS), &format!("[0af-9] {trace}"));
        assert_eq!((&printed["message"], &printed["traceback"]), (&"".into(), &trace.into()));
        let other = object(Some("mio::poll"), "[not-an-id] x");
        assert_eq!((other.get("request_id"), &other["message"]), (None, &"[not-an-id] x".into()));
        let plain = object(None, "[Errno 2] x");
        assert_eq!((plain.get("request_id"), &plain["message"]), (None, &"[Errno 2] x".into()));
    }

    #[test]
    fn every_line_of_wsgi_errors_names_its_request_in_text() {
        let text = written(Some(WSGI_ERRORS), "[id] one\r\n  two", LogFormat::Text);
        let prefix = "[2026-11-20T20:00:58.123Z ERROR worker/0 pid=7 gen=1] [id] ";
        assert_eq!(text, format!("{prefix}one\n{prefix}  two\n"));
    }
}
