//! One moment as plain text: for pipes, files, and terminals that cannot do more. Pure; no escape sequences.

use std::fmt::Write;

use crate::cli::ctl::show::printable;

use super::figures::Snapshot;
use super::table::{COLUMNS, Column, Sort, age, bytes, latency, rate};

/// The label of the answers of 5xx.
pub(super) const SERVER_ERRORS: &str = "5xx/s";

/// The whole text, with a line break at its end.
pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for line in head(snapshot) {
        let parts = line.iter().map(|(label, value)| format!("{label} {value}").trim_start().to_owned());
        text.push_str(&parts.collect::<Vec<_>>().join("  "));
        text.push('\n');
    }
    text.push('\n');
    let titles: Vec<String> = COLUMNS.iter().map(|column| cell(column, column.title)).collect();
    let mut lines = vec![titles.join(" ")];
    for worker in Sort::Slot.apply(snapshot) {
        let cells = COLUMNS.iter().map(|column| cell(column, &(column.text)(worker)));
        lines.push(cells.collect::<Vec<_>>().join(" "));
    }
    for line in lines {
        // Writing to a string does not fail.
        writeln!(text, "{}", line.trim_end()).ok();
    }
    if !snapshot.running.is_empty() {
        text.push_str("\nin flight, the slowest first\n");
    }
    for running in &snapshot.running {
        writeln!(
            text,
            "{:>8} s  {} {}  (worker {}, thread {})",
            format!("{:.1}", running.age_seconds),
            running.method,
            running.path,
            running.slot,
            running.thread
        )
        .ok();
    }
    printable(&text)
}

/// The lines about the server as a whole: values with their labels.
pub(super) fn head(snapshot: &Snapshot) -> [Vec<(&'static str, String)>; 3] {
    let (status, total) = (&snapshot.status, &snapshot.total);
    let generation = match status.pending_generation {
        Some(pending) => format!("{} ({pending} is starting)", status.generation),
        None => status.generation.to_string(),
    };
    let serves = |phase: &str| matches!(phase, "serving" | "recycling");
    let serving = status.workers.iter().filter(|worker| serves(&worker.phase)).count();
    [
        vec![
            ("", format!("{} {}", status.name, status.version)),
            ("pid", status.pid.to_string()),
            ("generation", generation),
            ("up", age(status.uptime_seconds as f64)),
        ],
        vec![
            ("requests/s", rate(total.requests)),
            ("p50", latency(total.p50)),
            ("p99", latency(total.p99)),
            (SERVER_ERRORS, rate(total.errors)),
            ("cut/s", rate(total.cut)),
        ],
        vec![
            ("workers", format!("{serving}/{}", status.count)),
            ("busy", snapshot.running.len().to_string()),
            ("queued", snapshot.sum(|worker| worker.queued).to_string()),
            ("connections", snapshot.sum(|worker| worker.connections).to_string()),
            ("memory", bytes(snapshot.sum(|worker| worker.private_memory_bytes.unwrap_or_default()))),
            ("restarts", status.counters.restarts.to_string()),
        ],
    ]
}

/// A value in the width of its column.
pub(super) fn cell(column: &Column, text: &str) -> String {
    let width = usize::from(column.width);
    if column.is_word { format!("{text:<width$}") } else { format!("{text:>width$}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::control::{Status, TaskStatus, WorkerStatus};

    #[test]
    fn a_moment_is_text_without_escape_sequences() {
        let task =
            TaskStatus { thread: 1, method: "GET".into(), path: "/slow\u{1b}[2J".into(), age_seconds: 31.24 };
        let worker = WorkerStatus {
            pid: Some(4713),
            generation: 2,
            phase: "serving".into(),
            age_seconds: 7500.0,
            requests: 1_040,
            private_memory_bytes: Some(24_641_536),
            answers: vec![0, 1_035, 0, 0, 5, 0],
            latency: vec![1_000, 40, 0],
            ..WorkerStatus::default()
        };
        let status = |uptime_millis, workers| Status {
            name: "shop".into(),
            version: "0.1.0".into(),
            pid: 98,
            generation: 2,
            count: 1,
            uptime_millis,
            uptime_seconds: 3600,
            workers,
            latency_bounds_micros: vec![1_000, 10_000],
            ..Status::default()
        };
        let idle = WorkerStatus { pid: Some(4713), generation: 2, ..WorkerStatus::default() };
        let busy = WorkerStatus { tasks: vec![task], in_flight: 1, ..worker };
        let snapshot = Snapshot::since(&status(1_000, vec![idle]), status(3_000, vec![busy]));
        let expected = "\
shop 0.1.0  pid 98  generation 2  up 1h00m
requests/s 520  p50 0.52ms  p99 7.8ms  5xx/s 2.5  cut/s 0
workers 1/1  busy 1  queued 0  connections 0  memory 23.5M  restarts 0

SLOT     PID GEN PHASE      REQ/S    P50    P99 BUSY QUEUE CONNS    MEM     UP  5XX/S  OUT/S   REQUESTS TIMEOUTS
   0    4713   2 serving      520 0.52ms  7.8ms    1     0     0  23.5M  2h05m    2.5     0B       1040        0

in flight, the slowest first
    31.2 s  GET /slow\\u{1b}[2J  (worker 0, thread 1)
";
        assert_eq!(text(&snapshot), expected);
    }
}
