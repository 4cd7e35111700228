//! Answers of a server as text for people. Pure.

use std::fmt::Write;

use crate::ipc::control::{Answer, Stacks, Status, WorkerStatus};

/// A worker that gave no sign of life for longer is shown as silent, as the master's log does.
const SILENT_SECONDS: f64 = 5.0;
const HEADER: [&str; 10] =
    ["PID", "GEN", "SLOT", "PHASE", "AGE", "REQUESTS", "IN FLIGHT", "QUEUED", "CONNECTIONS", "MEMORY"];
/// Columns of words; numbers are aligned to the right.
const WORDS: [usize; 1] = [3];

/// An answer that is no refusal.
pub(super) fn answer(answer: &Answer, json: bool) -> String {
    if let Some(status) = &answer.status {
        if json {
            let text = serde_json::to_string_pretty(status).unwrap_or_default();
            return format!("{text}\n");
        }
        return printable(&self::status(status));
    }
    if let Some(text) = &answer.metrics {
        return printable(text);
    }
    if let Some(all) = &answer.stacks {
        return printable(&stacks(all));
    }
    format!("{}\n", printable(answer.message.as_deref().unwrap_or("done")))
}

/// The text with everything escaped that a terminal would act upon: paths and tracebacks are made by others.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn status(status: &Status) -> String {
    let mut lines = vec![format!(
        "rwsgi {} (pid {}), up {}",
        status.version,
        status.pid,
        age(as_seconds(status.uptime_seconds))
    )];
    if let Some(config) = &status.config {
        lines.push(format!("configuration {config}"));
    }
    if !status.listeners.is_empty() {
        lines.push(format!("listening on {}", status.listeners.join(", ")));
    }
    lines.push(match status.pending_generation {
        Some(pending) => format!("generation {} serves, {pending} is starting", status.generation),
        None => format!("generation {} serves", status.generation),
    });
    let counters = status.counters;
    lines.push(format!(
        "since the start: {}, {} ({} failed)",
        counted(counters.restarts, "restart of a worker", "restarts of workers"),
        counted(counters.reloads_ok + counters.reloads_failed, "reload", "reloads"),
        counters.reloads_failed
    ));
    lines.push(String::new());
    lines.extend(table(status));
    lines.join("\n") + "\n"
}

/// The processes, each followed by what it is doing.
fn table(status: &Status) -> Vec<String> {
    let pid = |pid: Option<i32>| pid.map_or("-".to_owned(), |pid| pid.to_string());
    let mut rows = vec![(HEADER.map(str::to_owned).to_vec(), Vec::new())];
    for template in &status.templates {
        let cells = [
            pid(template.pid),
            template.generation.to_string(),
            "-".to_owned(),
            format!("template, {}", template.phase),
            age(template.age_seconds),
        ];
        rows.push((cells.to_vec(), Vec::new()));
    }
    for worker in &status.workers {
        let memory = worker.private_memory_bytes.map_or("-".to_owned(), mebibytes);
        let cells = [
            pid(worker.pid),
            worker.generation.to_string(),
            worker.slot.to_string(),
            worker.phase.clone(),
            age(worker.age_seconds),
            worker.requests.to_string(),
            worker.in_flight.to_string(),
            worker.queued.to_string(),
            worker.connections.to_string(),
            memory,
        ];
        rows.push((cells.to_vec(), doing(worker)));
    }
    let widths: Vec<usize> = (0..HEADER.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|(cells, _)| cells.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut lines = Vec::new();
    for (cells, below) in rows {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) =
                if WORDS.contains(&column) { ("", pad.as_str()) } else { (pad.as_str(), "") };
            line.push_str(&[gap, before, cell, after].concat());
        }
        lines.push(line.trim_end().to_owned());
        lines.extend(below);
    }
    lines
}

/// The lines below a worker.
fn doing(worker: &WorkerStatus) -> Vec<String> {
    let mut lines: Vec<_> = worker
        .tasks
        .iter()
        .map(|task| {
            format!(
                "    {} {} for {:.1} s (thread {})",
                task.method, task.path, task.age_seconds, task.thread
            )
        })
        .collect();
    if let Some(silent) = worker.silent_seconds.filter(|silent| *silent >= SILENT_SECONDS) {
        lines.push(format!("    no sign of life for {silent:.1} s"));
    }
    if worker.timeouts > 0 {
        let requests = counted(worker.timeouts, "request was", "requests were");
        lines.push(format!("    {requests} over workers.request_timeout"));
    }
    lines
}

fn stacks(all: &[Stacks]) -> String {
    let mut text = String::new();
    for (index, worker) in all.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        let Stacks { pid, generation, slot, text: stacks } = worker;
        // Writing to a string does not fail.
        writeln!(
            text,
            "{gap}worker {slot} of generation {generation} (pid {pid})\n{}",
            stacks.trim_end_matches('\n')
        )
        .ok();
    }
    if all.is_empty() { "there are no workers\n".to_owned() } else { text }
}

fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

/// `12 s`, `3 min`, `2 h 5 min`, `4 d 1 h`.
fn age(seconds: f64) -> String {
    let whole = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        small => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => two(whole / 60, "min", whole % 60, "s"),
        3600..86_400 => two(whole / 3600, "h", whole % 3600 / 60, "min"),
        _ => two(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    }
}

fn as_seconds(seconds: u64) -> f64 {
    std::time::Duration::from_secs(seconds).as_secs_f64()
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::control::{MasterCounters, TaskStatus, TemplateStatus};

    fn busy_server() -> Status {
        let task =
            TaskStatus { thread: 1, method: "GET".into(), path: "/slow\u{1b}[2J".into(), age_seconds: 31.24 };
        let busy = WorkerStatus {
            pid: Some(4713),
            generation: 2,
            slot: 1,
            phase: "serving".into(),
            age_seconds: 7500.0,
            requests: 104_300,
            in_flight: 1,
            connections: 12,
            private_memory_bytes: Some(24_641_536),
            timeouts: 1,
            silent_seconds: Some(7.12),
            tasks: vec![task],
            ..WorkerStatus::default()
        };
        let young = WorkerStatus {
            generation: 3,
            phase: "booting".into(),
            age_seconds: 0.4,
            ..WorkerStatus::default()
        };
        let template =
            TemplateStatus { pid: Some(99), generation: 2, phase: "ready".into(), age_seconds: 90_000.0 };
        Status {
            version: "0.1.0".into(),
            pid: 98,
            generation: 2,
            pending_generation: Some(3),
            uptime_seconds: 3600,
            config: Some("/srv/app.toml".into()),
            listeners: vec!["http://127.0.0.1:8000".into(), "unix:/run/x.sock".into()],
            workers: vec![busy, young],
            templates: vec![template],
            counters: MasterCounters { restarts: 1, reloads_ok: 1, reloads_failed: 1 },
            ..Status::default()
        }
    }

    #[test]
    fn a_status_is_a_table() {
        let text = answer(&Answer::status(busy_server()), false);
        let expected = "\
rwsgi 0.1.0 (pid 98), up 1 h
configuration /srv/app.toml
listening on http://127.0.0.1:8000, unix:/run/x.sock
generation 2 serves, 3 is starting
since the start: 1 restart of a worker, 2 reloads (1 failed)

 PID  GEN  SLOT  PHASE                  AGE  REQUESTS  IN FLIGHT  QUEUED  CONNECTIONS    MEMORY
  99    2     -  template, ready    1 d 1 h
4713    2     1  serving          2 h 5 min    104300          1       0           12  23.5 MiB
    GET /slow\\u{1b}[2J for 31.2 s (thread 1)
    no sign of life for 7.1 s
    1 request was over workers.request_timeout
   -    3     0  booting                0 s         0          0       0            0         -
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_status_as_json_is_read_back() {
        let status = busy_server();
        let text = answer(&Answer::status(status.clone()), true);
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
        assert!(text.contains("\n  \"generation\": 2,\n"), "{text}");
    }

    #[test]
    fn stacks_by_worker() {
        let worker = |slot, text: &str| Stacks { pid: 7, generation: 1, slot, text: text.into() };
        let text = answer(&Answer::stacks(vec![worker(0, "Thread 1:\n  f\n"), worker(1, "none")]), false);
        assert_eq!(
            text,
            "worker 0 of generation 1 (pid 7)\nThread 1:\n  f\n\nworker 1 of generation 1 (pid 7)\nnone\n"
        );
        assert_eq!(answer(&Answer::stacks(Vec::new()), false), "there are no workers\n");
    }

    #[test]
    fn messages_and_what_a_terminal_would_act_upon() {
        assert_eq!(answer(&Answer::done("4 workers\u{7}"), false), "4 workers\\u{7}\n");
        assert_eq!(answer(&Answer { ok: true, ..Answer::default() }, false), "done\n");
        assert_eq!(printable("a\tb\nä\u{9b}\r"), "a\tb\nä\\u{9b}\\r");
    }

    #[test]
    fn ages() {
        for (seconds, text) in [
            (0.9, "0 s"),
            (59.0, "59 s"),
            (60.0, "1 min"),
            (61.0, "1 min 1 s"),
            (7200.0, "2 h"),
            (86_400.0 * 3.0 + 3600.0, "3 d 1 h"),
            (f64::NAN, "0 s"),
            (-1.0, "0 s"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }
}
