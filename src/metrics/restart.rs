//! Why workers were replaced: a bounded set of reasons, told apart from how a worker ended and what was known before.

use crate::sys::process::ExitStatus;

/// Why a worker was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// It could not boot.
    Boot,
    /// The processor or the C library stopped it for a fault.
    Crash,
    /// Somebody else's signal ended it.
    Killed,
    /// The kernel ended it for want of memory.
    OutOfMemory,
    /// It ended by itself.
    Exit,
    /// It gave no sign of life and was killed.
    Unresponsive,
    /// An app thread did not come back from a request.
    Timeout,
    /// `workers.max_requests`
    MaxRequests,
    /// `workers.max_memory`
    MaxMemory,
    /// `workers.max_lifetime`
    MaxLifetime,
    /// The application raised `SystemExit`.
    ApplicationExit,
    /// It was asked for, by a signal or by a command.
    Requested,
}

/// How a worker ended that has a place among those that serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// The kernel's out-of-memory killer was at work.
    pub by_kernel: bool,
    /// The master has killed it.
    pub by_master: bool,
    /// It was ready at some time.
    pub has_served: bool,
    /// It was told to end.
    pub is_dismissed: bool,
    /// Why it was to be replaced, if it was.
    pub wanted: Option<Restart>,
}

/// How many workers were replaced, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restarts([u64; ALL.len()]);

const ALL: [Restart; 12] = [
    Restart::Boot,
    Restart::Crash,
    Restart::Killed,
    Restart::OutOfMemory,
    Restart::Exit,
    Restart::Unresponsive,
    Restart::Timeout,
    Restart::MaxRequests,
    Restart::MaxMemory,
    Restart::MaxLifetime,
    Restart::ApplicationExit,
    Restart::Requested,
];

impl Restart {
    /// The reason as a label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Crash => "crash",
            Self::Killed => "killed",
            Self::OutOfMemory => "oom",
            Self::Exit => "exit",
            Self::Unresponsive => "unresponsive",
            Self::Timeout => "timeout",
            Self::MaxRequests => "max_requests",
            Self::MaxMemory => "max_memory",
            Self::MaxLifetime => "max_lifetime",
            Self::ApplicationExit => "application_exit",
            Self::Requested => "requested",
        }
    }

    /// The reason in the clause of a worker that is to be replaced, which names the setting that it follows from.
    #[must_use]
    pub fn of_clause(clause: &str, is_stuck: bool) -> Self {
        let named = [
            ("(workers.max_requests)", Self::MaxRequests),
            ("(workers.max_memory ", Self::MaxMemory),
            ("(workers.max_lifetime)", Self::MaxLifetime),
            ("(SystemExit)", Self::ApplicationExit),
        ];
        if is_stuck {
            return Self::Timeout;
        }
        named.iter().find(|(name, _)| clause.contains(name)).map_or(Self::Requested, |(_, reason)| *reason)
    }
}

impl End {
    /// Why there will be another worker in its place; `None` when it was only one too many.
    #[must_use]
    pub fn restart(&self) -> Option<Restart> {
        if self.is_dismissed {
            return self.wanted;
        }
        Some(match self.status {
            _ if !self.has_served => Restart::Boot,
            _ if self.by_master => Restart::Unresponsive,
            _ if self.by_kernel => Restart::OutOfMemory,
            ExitStatus::Signal(
                libc::SIGSEGV
                | libc::SIGBUS
                | libc::SIGILL
                | libc::SIGFPE
                | libc::SIGABRT
                | libc::SIGTRAP
                | libc::SIGSYS,
            ) => Restart::Crash,
            ExitStatus::Signal(_) => Restart::Killed,
            ExitStatus::Code(_) => Restart::Exit,
        })
    }
}

impl Restarts {
    /// One more.
    pub fn count(&mut self, reason: Restart) {
        for (count, _) in self.0.iter_mut().zip(ALL).filter(|(_, other)| *other == reason) {
            *count += 1;
        }
    }

    /// All reasons, with how often each was.
    pub fn iter(&self) -> impl Iterator<Item = (Restart, u64)> {
        ALL.into_iter().zip(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVED: End = End {
        status: ExitStatus::Code(0),
        by_kernel: false,
        by_master: false,
        has_served: true,
        is_dismissed: false,
        wanted: None,
    };

    #[test]
    fn ends_have_reasons() {
        let signal = ExitStatus::Signal;
        for (end, reason) in [
            (SERVED, Some(Restart::Exit)),
            (End { status: signal(libc::SIGSEGV), ..SERVED }, Some(Restart::Crash)),
            (End { status: signal(libc::SIGKILL), ..SERVED }, Some(Restart::Killed)),
            (End { status: signal(libc::SIGKILL), by_kernel: true, ..SERVED }, Some(Restart::OutOfMemory)),
            (End { status: signal(libc::SIGKILL), by_master: true, ..SERVED }, Some(Restart::Unresponsive)),
            (End { has_served: false, by_master: true, ..SERVED }, Some(Restart::Boot)),
            (End { is_dismissed: true, ..SERVED }, None),
            (End { is_dismissed: true, wanted: Some(Restart::Timeout), ..SERVED }, Some(Restart::Timeout)),
            // It did not live to see its replacement.
            (
                End { status: signal(libc::SIGABRT), wanted: Some(Restart::MaxMemory), ..SERVED },
                Some(Restart::Crash),
            ),
        ] {
            assert_eq!(end.restart(), reason, "{end:?}");
        }
    }

    #[test]
    fn every_reason_is_counted_under_a_label_of_its_own() {
        let mut restarts = Restarts::default();
        for (index, reason) in ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| restarts.count(reason));
        }
        assert!(restarts.iter().map(|(_, count)| count).eq(1..=ALL.len() as u64));
        let mut labels: Vec<_> = ALL.iter().map(|reason| reason.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), ALL.len());
    }

    #[test]
    fn clauses_of_workers_name_their_setting() {
        for (clause, reason) in [
            ("it has served 1043 requests (workers.max_requests)", Restart::MaxRequests),
            ("its private memory is 401 MiB (workers.max_memory = 400 MiB)", Restart::MaxMemory),
            ("it has served for 60 s (workers.max_lifetime)", Restart::MaxLifetime),
            ("the application asked to exit (SystemExit)", Restart::ApplicationExit),
            ("it was sent SIGTERM", Restart::Requested),
        ] {
            assert_eq!(Restart::of_clause(clause, false), reason, "{clause}");
        }
        assert_eq!(Restart::of_clause("a request is stuck: GET /x", true), Restart::Timeout);
    }
}
