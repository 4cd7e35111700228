//! The table of workers: its columns, how their values are written, and the order of the rows. Pure; the terminal and the
//! plain text show the same columns.

use std::cmp::Ordering;

use super::figures::{Latency, Snapshot, Worker};

/// A worker that gave no sign of life for longer is silent, as in the master's log.
const SILENT_SECONDS: f64 = 5.0;

/// What the rows are sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Slot,
    /// Most requests a second first, and so on.
    Requests,
    P99,
    Memory,
}

/// One column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) width: u16,
    /// Words are aligned to the left, numbers to the right.
    pub(super) is_word: bool,
    /// Shown on terminals that are at least this wide.
    pub(super) terminal_width: u16,
    pub(super) sort: Option<Sort>,
    pub(super) text: fn(&Worker) -> String,
}

const fn number(title: &'static str, width: u16, text: fn(&Worker) -> String) -> Column {
    Column { title, width, is_word: false, terminal_width: 0, sort: None, text }
}

/// All columns, from left to right; those for any terminal fit into 80 columns.
pub(super) const COLUMNS: [Column; 16] = [
    Column { sort: Some(Sort::Slot), ..number("SLOT", 4, |it| it.status.slot.to_string()) },
    number("PID", 7, |it| it.status.pid.map_or_else(dash, |pid| pid.to_string())),
    number("GEN", 3, |it| it.status.generation.to_string()),
    Column { is_word: true, ..number("PHASE", 9, phase) },
    Column { sort: Some(Sort::Requests), ..number("REQ/S", 6, |it| rate(it.figures.requests)) },
    number("P50", 6, |it| latency(it.figures.p50)),
    Column { sort: Some(Sort::P99), ..number("P99", 6, |it| latency(it.figures.p99)) },
    number("BUSY", 4, |it| it.status.in_flight.to_string()),
    number("QUEUE", 5, |it| it.status.queued.to_string()),
    number("CONNS", 5, |it| it.status.connections.to_string()),
    Column {
        sort: Some(Sort::Memory),
        ..number("MEM", 6, |it| it.status.private_memory_bytes.map_or_else(dash, bytes))
    },
    number("UP", 6, |it| age(it.status.age_seconds)),
    wide(number("5XX/S", 6, |it| rate(it.figures.errors)), 100),
    wide(number("OUT/S", 6, |it| it.figures.bytes_out.map_or_else(dash, bytes_float)), 110),
    wide(number("REQUESTS", 10, |it| it.status.requests.to_string()), 120),
    wide(number("TIMEOUTS", 8, |it| it.status.timeouts.to_string()), 130),
];

const fn wide(column: Column, terminal_width: u16) -> Column {
    Column { terminal_width, ..column }
}

impl Sort {
    const ALL: [Self; 4] = [Self::Slot, Self::Requests, Self::P99, Self::Memory];

    /// The column `steps` to the right.
    pub(super) fn moved(self, steps: isize) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or_default();
        Self::ALL[at.saturating_add_signed(steps).min(Self::ALL.len() - 1)]
    }

    /// The workers in this order; those that are equal, by generation and slot.
    pub(super) fn apply(self, snapshot: &Snapshot) -> Vec<&Worker> {
        let mut workers: Vec<&Worker> = snapshot.workers.iter().collect();
        workers.sort_by(|one, other| {
            let place = |it: &Worker| (it.status.generation, it.status.slot, it.status.pid);
            self.compare(one, other).then_with(|| place(one).cmp(&place(other)))
        });
        workers
    }

    fn compare(self, one: &Worker, other: &Worker) -> Ordering {
        match self {
            Self::Slot => Ordering::Equal,
            Self::Requests => {
                let rate = |it: &Worker| it.figures.requests.unwrap_or(-1.0);
                rate(other).total_cmp(&rate(one))
            }
            Self::P99 => other.figures.p99.cmp(&one.figures.p99),
            Self::Memory => other.status.private_memory_bytes.cmp(&one.status.private_memory_bytes),
        }
    }
}

impl Worker {
    /// For how long it has given no sign of life, if that is worth a word.
    pub(super) fn silence(&self) -> Option<f64> {
        self.status.silent_seconds.filter(|silent| *silent >= SILENT_SECONDS)
    }
}

fn phase(worker: &Worker) -> String {
    match worker.silence() {
        Some(_) => "silent".to_owned(),
        None => worker.status.phase.clone(),
    }
}

fn dash() -> String {
    "-".to_owned()
}

/// `0`, `2.5`, `137`, `12.3k`.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => dash(),
        Some(0.0) => "0".to_owned(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}"),
        Some(rate) if rate < 9_999.5 => format!("{rate:.0}"),
        Some(rate) if rate < 99_950.0 => format!("{:.1}k", rate / 1e3),
        Some(rate) if rate < 999_500.0 => format!("{:.0}k", rate / 1e3),
        Some(rate) => format!("{:.1}M", rate / 1e6),
    }
}

/// `0.25ms`, `1.8ms`, `42ms`, `1.25s`, `>10s`.
pub(super) fn latency(latency: Option<Latency>) -> String {
    match latency {
        None => dash(),
        Some(Latency::Over(micros)) => format!(">{}s", micros / 1_000_000),
        Some(Latency::Micros(micros)) => {
            let millis = micros as f64 / 1e3;
            match micros {
                0..1_000 => format!("{millis:.2}ms"),
                1_000..9_950 => format!("{millis:.1}ms"),
                9_950..999_500 => format!("{millis:.0}ms"),
                _ => format!("{:.2}s", millis / 1e3),
            }
        }
    }
}

/// `980B`, `23.5M`, `1.2G`.
pub(super) fn bytes(bytes: u64) -> String {
    bytes_float(bytes as f64)
}

fn bytes_float(bytes: f64) -> String {
    if bytes < 1024.0 {
        return format!("{bytes:.0}B");
    }
    let mut rest = bytes;
    let mut unit = "";
    for next in ["K", "M", "G", "T"] {
        if rest < 999.5 {
            break;
        }
        (rest, unit) = (rest / 1024.0, next);
    }
    if rest < 99.95 { format!("{rest:.1}{unit}") } else { format!("{rest:.0}{unit}") }
}

/// `12s`, `3m05s`, `2h05m`, `4d01h`.
pub(super) fn age(seconds: f64) -> String {
    let whole = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::top::figures::Figures;
    use crate::ipc::control::WorkerStatus;

    #[test]
    fn the_columns_for_any_terminal_fit_into_80() {
        let narrow = COLUMNS.iter().filter(|column| column.terminal_width <= 80);
        let width: u16 = narrow.map(|column| column.width + 1).sum();
        assert!(width <= 80, "{width}");
        for limit in [100, 110, 120, 130] {
            let shown = COLUMNS.iter().filter(|column| column.terminal_width <= limit);
            let width: u16 = shown.map(|column| column.width + 1).sum();
            assert!(width <= limit, "{width} of {limit}");
        }
    }

    #[test]
    fn values_fit_their_columns() {
        for (value, text) in [
            (0.0, "0"),
            (0.04, "0.0"),
            (9.94, "9.9"),
            (9.97, "10"),
            (9_999.0, "9999"),
            (12_340.0, "12.3k"),
            (123_400.0, "123k"),
            (1_234_000.0, "1.2M"),
        ] {
            assert_eq!(rate(Some(value)), text);
        }
        for (value, text) in [
            (250, "0.25ms"),
            (1_800, "1.8ms"),
            (9_960, "10ms"),
            (42_400, "42ms"),
            (999_400, "999ms"),
            (1_250_000, "1.25s"),
        ] {
            assert_eq!(latency(Some(Latency::Micros(value))), text);
        }
        assert_eq!(latency(Some(Latency::Over(10_000_000))), ">10s");
        for (value, text) in
            [(0, "0B"), (980, "980B"), (1 << 20, "1.0M"), (24_641_536, "23.5M"), (1 << 30, "1.0G")]
        {
            assert_eq!(bytes(value), text);
        }
        for (value, text) in
            [(0.9, "0s"), (185.0, "3m05s"), (7_500.0, "2h05m"), (349_200.0, "4d01h"), (f64::NAN, "0s")]
        {
            assert_eq!(age(value), text);
        }
        assert_eq!((rate(None), latency(None)), ("-".to_owned(), "-".to_owned()));
    }

    fn worker(slot: u32, requests: f64, p99: Option<Latency>, memory: u64) -> Worker {
        let private_memory_bytes = Some(memory);
        let status = WorkerStatus { slot, private_memory_bytes, ..WorkerStatus::default() };
        Worker { status, figures: Figures { requests: Some(requests), p99, ..Figures::default() } }
    }

    #[test]
    fn rows_are_sorted_by_the_column_that_is_asked_for() {
        let workers = vec![
            worker(1, 5.0, None, 9),
            worker(0, 7.0, Some(Latency::Micros(3)), 4),
            worker(2, 5.0, Some(Latency::Over(3)), 6),
        ];
        let snapshot = Snapshot { workers, ..Snapshot::default() };
        let slots = |sort: Sort| sort.apply(&snapshot).iter().map(|it| it.status.slot).collect::<Vec<_>>();
        assert_eq!(slots(Sort::Slot), [0, 1, 2]);
        assert_eq!(slots(Sort::Requests), [0, 1, 2]);
        assert_eq!(slots(Sort::P99), [2, 0, 1]);
        assert_eq!(slots(Sort::Memory), [1, 2, 0]);
        assert_eq!(Sort::Slot.moved(-1), Sort::Slot);
        assert_eq!(Sort::Slot.moved(1), Sort::Requests);
        assert_eq!(Sort::Memory.moved(1), Sort::Memory);
    }
}
