//! What the service manager shows of this server (`STATUS=`), and when it is told anew. Pure: no socket, no clock.

use std::fmt;
use std::time::{Duration, Instant};

/// How often numbers that merely go on are told. What an operator acts upon is told at once.
const NUMBERS_EVERY: Duration = Duration::from_secs(5);
/// More of an explanation is in the log.
const TROUBLE_CHARACTERS_MAX: usize = 200;

/// The state of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::master) struct Report {
    pub(in crate::master) phase: Phase,
    /// The generation that serves, or is the first to.
    pub(in crate::master) generation: u32,
    /// How many of its workers serve.
    pub(in crate::master) workers: u32,
    /// How many should.
    pub(in crate::master) count: u32,
    /// Requests answered since the start, by all workers.
    pub(in crate::master) requests: u64,
    pub(in crate::master) in_flight: usize,
    /// Why what was asked for last has not happened.
    pub(in crate::master) trouble: Option<String>,
}

/// What the server is about to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::master) enum Phase {
    /// The first generation boots.
    #[default]
    Starting,
    Serving,
    /// This generation boots beside the one that serves.
    Reloading(u32),
    /// A new master starts.
    Upgrading,
    Stopping,
}

impl Report {
    /// The same without what changes with every request.
    fn without_numbers(&self) -> Self {
        Self { requests: 0, in_flight: 0, ..self.clone() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, generation, workers, count, requests, in_flight, trouble } = self;
        match phase {
            Phase::Starting => write!(f, "starting: generation {generation} boots, ")?,
            Phase::Serving => {}
            Phase::Reloading(pending) => write!(f, "reloading: generation {pending} boots, ")?,
            Phase::Upgrading => f.write_str("upgrading: a new master starts, ")?,
            Phase::Stopping => {
                return write!(f, "stopping: {}, {in_flight} in flight", counted(*requests, "request"));
            }
        }
        if workers < count {
            write!(f, "{workers} of ")?;
        }
        let (workers, requests) = (counted(u64::from(*count), "worker"), counted(*requests, "request"));
        write!(f, "{workers}, generation {generation}, {requests}, {in_flight} in flight")?;
        match trouble {
            Some(trouble) => write!(f, "; {trouble}, generation {generation} goes on"),
            None => Ok(()),
        }
    }
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The first line of an explanation, as much as fits one line of a terminal or two.
pub(in crate::master) fn headline(explanation: &str) -> String {
    let line = explanation.lines().next().unwrap_or_default().trim_end_matches(':');
    match line.char_indices().nth(TROUBLE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// What was told last, and when.
#[derive(Debug, Default)]
pub(super) struct Pace {
    told: Report,
    next_numbers: Option<Instant>,
}

impl Pace {
    /// Whether this is news.
    pub(super) fn is_due(&self, report: &Report, now: Instant) -> bool {
        let is_early = self.next_numbers.is_some_and(|at| now < at);
        *report != self.told && !(is_early && report.without_numbers() == self.told.without_numbers())
    }

    pub(super) fn told(&mut self, report: Report, now: Instant) {
        self.told = report;
        self.next_numbers = Some(now + NUMBERS_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving() -> Report {
        Report { phase: Phase::Serving, generation: 2, workers: 4, count: 4, ..Report::default() }
    }

    #[test]
    fn line_of_every_phase() {
        let report = Report { requests: 1234, in_flight: 3, ..serving() };
        assert_eq!(report.to_string(), "4 workers, generation 2, 1234 requests, 3 in flight");
        let starting =
            Report { phase: Phase::Starting, workers: 0, count: 1, generation: 1, requests: 1, ..serving() };
        assert_eq!(
            starting.to_string(),
            "starting: generation 1 boots, 0 of 1 worker, generation 1, 1 request, 0 in flight"
        );
        let reloading = Report { phase: Phase::Reloading(3), ..serving() };
        assert!(reloading.to_string().starts_with("reloading: generation 3 boots, 4 workers, generation 2,"));
        let failed = Report { trouble: Some("reload failed: no module".to_owned()), ..serving() };
        assert!(failed.to_string().ends_with("; reload failed: no module, generation 2 goes on"));
        let stopping = Report { phase: Phase::Stopping, in_flight: 1, ..serving() };
        assert_eq!(stopping.to_string(), "stopping: 0 requests, 1 in flight");
    }

    #[test]
    fn numbers_wait_and_changes_do_not() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.is_due(&serving(), start));
        pace.told(serving(), start);
        assert!(!pace.is_due(&serving(), start + 2 * NUMBERS_EVERY), "nothing is new");
        let busier = Report { requests: 5, ..serving() };
        assert!(!pace.is_due(&busier, start + NUMBERS_EVERY / 2));
        assert!(pace.is_due(&busier, start + NUMBERS_EVERY));
        let lost = Report { workers: 3, ..busier };
        assert!(pace.is_due(&lost, start));
    }

    #[test]
    fn explanations_are_cut_to_one_line() {
        assert_eq!(headline("it raised:\nTraceback"), "it raised");
        assert_eq!(headline(&"é".repeat(500)).chars().count(), TROUBLE_CHARACTERS_MAX + 1);
        assert_eq!(headline(""), "");
    }
}
