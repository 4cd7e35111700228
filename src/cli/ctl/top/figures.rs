//! What two statuses say together: rates and latencies of the time between them, worker by worker. Pure: a moment is what
//! the server says about its own age, no clock is read here.

use crate::ipc::control::{Status, WorkerStatus};

/// Index of the 5xx answers in [`WorkerStatus::answers`], and of the connections that were cut without an answer.
const SERVER_ERRORS: usize = 4;
const CUT: usize = 5;

/// Everything that is shown of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Snapshot {
    /// The later status.
    pub(super) status: Status,
    /// How much time the rates cover; `None` without an earlier status of the same server.
    pub(super) seconds: Option<f64>,
    pub(super) total: Figures,
    pub(super) workers: Vec<Worker>,
    /// Requests that applications work on, the longest first.
    pub(super) running: Vec<Running>,
}

/// One worker.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Worker {
    pub(super) status: WorkerStatus,
    pub(super) figures: Figures,
}

/// What happened since the earlier status; all zero and without latencies where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Figures {
    /// Requests answered in a second; this and the next three are `None` when no time was covered.
    pub(super) requests: Option<f64>,
    /// Answers of 5xx in a second.
    pub(super) errors: Option<f64>,
    /// Connections cut without an answer in a second.
    pub(super) cut: Option<f64>,
    /// Bytes written in a second.
    pub(super) bytes_out: Option<f64>,
    /// Half of the requests took at most this long; `None` without requests.
    pub(super) p50: Option<Latency>,
    /// 99 of 100 requests took at most this long.
    pub(super) p99: Option<Latency>,
}

/// How long a request took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Latency {
    /// About so many microseconds.
    Micros(u64),
    /// Longer than the last bound of the histogram, in microseconds.
    Over(u64),
}

/// One request that an application works on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Running {
    pub(super) age_seconds: f64,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) slot: u32,
    pub(super) thread: usize,
    pub(super) pid: Option<i32>,
}

/// What was counted, of one worker or of all.
#[derive(Debug, Clone, Default)]
struct Counted {
    requests: u64,
    errors: u64,
    cut: u64,
    bytes_out: u64,
    latency: Vec<u64>,
}

impl Snapshot {
    /// Of this status alone.
    pub(super) fn first(status: Status) -> Self {
        Self::of(status, None)
    }

    /// Of this status, and of what has happened since an earlier one.
    pub(super) fn since(before: &Status, status: Status) -> Self {
        let is_same = before.pid == status.pid && before.started_at == status.started_at;
        Self::of(status, is_same.then_some(before))
    }

    fn of(status: Status, before: Option<&Status>) -> Self {
        let seconds = before.map(|before| age_of(&status) - age_of(before)).filter(|seconds| *seconds > 0.0);
        let mut sum = Counted::default();
        let mut workers = Vec::new();
        let mut running = Vec::new();
        for worker in &status.workers {
            // A worker that was not there before has begun since then.
            let earlier = before.and_then(|before| {
                before.workers.iter().find(|it| it.pid == worker.pid && it.generation == worker.generation)
            });
            let counted = Counted::of(worker).less(&earlier.map(Counted::of).unwrap_or_default());
            sum.add(&counted);
            let figures = counted.figures(seconds, &status.latency_bounds_micros);
            workers.push(Worker { status: worker.clone(), figures });
            running.extend(worker.tasks.iter().map(|task| Running {
                age_seconds: task.age_seconds,
                method: task.method.clone(),
                path: task.path.clone(),
                slot: worker.slot,
                thread: task.thread,
                pid: worker.pid,
            }));
        }
        running.sort_by(|one, other| other.age_seconds.total_cmp(&one.age_seconds));
        let total = sum.figures(seconds, &status.latency_bounds_micros);
        Self { status, seconds, total, workers, running }
    }

    /// A sum over all workers.
    pub(super) fn sum(&self, of: impl Fn(&WorkerStatus) -> u64) -> u64 {
        self.status.workers.iter().map(of).sum()
    }
}

impl Counted {
    fn of(worker: &WorkerStatus) -> Self {
        let answers = |class: usize| worker.answers.get(class).copied().unwrap_or_default();
        Self {
            requests: worker.requests,
            errors: answers(SERVER_ERRORS),
            cut: answers(CUT),
            bytes_out: worker.bytes_out,
            latency: worker.latency.clone(),
        }
    }

    fn less(mut self, earlier: &Self) -> Self {
        self.requests = self.requests.saturating_sub(earlier.requests);
        self.errors = self.errors.saturating_sub(earlier.errors);
        self.cut = self.cut.saturating_sub(earlier.cut);
        self.bytes_out = self.bytes_out.saturating_sub(earlier.bytes_out);
        for (count, before) in self.latency.iter_mut().zip(&earlier.latency) {
            *count = count.saturating_sub(*before);
        }
        self
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.cut += other.cut;
        self.bytes_out += other.bytes_out;
        self.latency.resize(self.latency.len().max(other.latency.len()), 0);
        for (count, more) in self.latency.iter_mut().zip(&other.latency) {
            *count += more;
        }
    }

    fn figures(&self, seconds: Option<f64>, bounds: &[u64]) -> Figures {
        let Some(seconds) = seconds else { return Figures::default() };
        let rate = |count: u64| Some(count as f64 / seconds);
        Figures {
            requests: rate(self.requests),
            errors: rate(self.errors),
            cut: rate(self.cut),
            bytes_out: rate(self.bytes_out),
            p50: quantile(&self.latency, bounds, 500),
            p99: quantile(&self.latency, bounds, 990),
        }
    }
}

/// How old the server is. A release that tells no milliseconds is measured in seconds.
fn age_of(status: &Status) -> f64 {
    match status.uptime_millis {
        0 => status.uptime_seconds as f64,
        millis => millis as f64 / 1000.0,
    }
}

/// What so many of a thousand requests stayed below. Within a bucket they are taken for evenly spread.
fn quantile(counts: &[u64], bounds: &[u64], permille: u64) -> Option<Latency> {
    let total: u64 = counts.iter().sum();
    let rank = total.saturating_mul(permille).div_ceil(1000);
    let mut below = 0;
    for (index, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        if below + count >= rank {
            let Some(&high) = bounds.get(index) else { break };
            let low = index.checked_sub(1).and_then(|index| bounds.get(index)).copied().unwrap_or(0);
            let width = high.saturating_sub(low);
            return Some(Latency::Micros(low + width.saturating_mul(rank - below) / count));
        }
        below += count;
    }
    bounds.last().filter(|_| total > 0).map(|&last| Latency::Over(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::control::TaskStatus;

    fn worker(pid: i32, requests: u64, latency: &[u64]) -> WorkerStatus {
        let latency = latency.to_vec();
        WorkerStatus { pid: Some(pid), generation: 1, requests, latency, ..WorkerStatus::default() }
    }

    fn status(uptime_millis: u64, workers: Vec<WorkerStatus>) -> Status {
        let latency_bounds_micros = vec![1_000, 10_000];
        Status { pid: 7, uptime_millis, workers, latency_bounds_micros, ..Status::default() }
    }

    #[test]
    fn rates_are_of_the_time_between() {
        let before = status(10_000, vec![worker(1, 100, &[100, 0, 0]), worker(2, 40, &[0, 40, 0])]);
        let mut busy = worker(1, 150, &[149, 1, 0]);
        (busy.answers, busy.bytes_out) = (vec![0, 44, 0, 0, 5, 1], 4_000);
        let later = status(12_000, vec![busy, worker(2, 40, &[0, 40, 0]), worker(3, 10, &[0, 0, 10])]);
        let snapshot = Snapshot::since(&before, later);
        assert_eq!(snapshot.seconds, Some(2.0));
        let rates: Vec<_> = snapshot.workers.iter().map(|worker| worker.figures.requests).collect();
        assert_eq!(rates, [Some(25.0), Some(0.0), Some(5.0)]);
        let first = snapshot.workers[0].figures;
        assert_eq!((first.errors, first.cut, first.bytes_out), (Some(2.5), Some(0.5), Some(2_000.0)));
        assert_eq!(snapshot.workers[1].figures.p50, None);
        assert_eq!(snapshot.workers[2].figures.p50, Some(Latency::Over(10_000)));
        assert_eq!((snapshot.total.requests, snapshot.total.p99), (Some(30.0), Some(Latency::Over(10_000))));
    }

    #[test]
    fn another_server_and_the_first_status_have_no_rates() {
        let before = status(10_000, vec![worker(1, 100, &[100])]);
        let other = Status { pid: 8, ..status(12_000, vec![worker(1, 150, &[150])]) };
        for snapshot in [Snapshot::since(&before, other), Snapshot::first(before.clone())] {
            assert_eq!((snapshot.seconds, snapshot.total), (None, Figures::default()));
        }
        // The same answer twice covers no time.
        assert_eq!(Snapshot::since(&before, before.clone()).seconds, None);
    }

    #[test]
    fn a_release_without_histograms_has_rates_in_whole_seconds() {
        let old = |uptime_seconds, requests| Status {
            pid: 7,
            uptime_seconds,
            workers: vec![worker(1, requests, &[])],
            ..Status::default()
        };
        let total = Snapshot::since(&old(5, 10), old(7, 14)).total;
        assert_eq!((total.requests, total.p50), (Some(2.0), None));
    }

    #[test]
    fn quantiles_are_spread_over_their_bucket() {
        let bounds = [1_000, 10_000];
        assert_eq!(quantile(&[], &bounds, 500), None);
        assert_eq!(quantile(&[0, 0, 0], &bounds, 500), None);
        assert_eq!(quantile(&[10, 0, 0], &bounds, 500), Some(Latency::Micros(500)));
        assert_eq!(quantile(&[50, 50, 0], &bounds, 500), Some(Latency::Micros(1_000)));
        assert_eq!(quantile(&[0, 100, 0], &bounds, 990), Some(Latency::Micros(9_910)));
        assert_eq!(quantile(&[98, 0, 2], &bounds, 990), Some(Latency::Over(10_000)));
        assert!(Latency::Over(10_000) > Latency::Micros(10_000));
    }

    #[test]
    fn what_runs_longest_comes_first() {
        let task =
            |age_seconds, path: &str| TaskStatus { age_seconds, path: path.into(), ..TaskStatus::default() };
        let mut one = worker(1, 0, &[]);
        one.tasks = vec![task(2.0, "/b"), task(0.1, "/c")];
        let mut two = worker(2, 0, &[]);
        (two.slot, two.tasks) = (1, vec![task(9.5, "/a")]);
        let running = Snapshot::first(status(1, vec![one, two])).running;
        let seen: Vec<_> = running.iter().map(|it| (it.path.as_str(), it.slot)).collect();
        assert_eq!(seen, [("/a", 1), ("/b", 0), ("/c", 0)]);
    }
}
