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
    message: &'a str,
}

/// Appends the record with its newline.
pub(super) fn render(line: &Line<'_>, format: LogFormat, colour: bool, out: &mut String) {
    match format {
        LogFormat::Text => render_text(line, colour, out),
        LogFormat::Json => render_json(line, out),
    }
    out.push('\n');
}

fn render_text(line: &Line<'_>, colour: bool, out: &mut String) {
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
    push_message(line.message.trim_end_matches('\n'), out);
}

fn render_json(line: &Line<'_>, out: &mut String) {
    let Identity { role, pid, generation } = line.identity;
    let (role, slot) = match role {
        Role::Master => ("master", None),
        Role::Worker(slot) => ("worker", Some(slot)),
        Role::Template => ("template", None),
        Role::Command => ("command", None),
    };
    let object = Json {
        time: &format!("{:.3}", line.time),
        level: line.level.as_str(),
        role,
        slot,
        pid,
        generation: (generation > 0).then_some(generation),
        target: line.target,
        message: line.message,
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
}
