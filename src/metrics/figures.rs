//! Everything that is told, and under which names. Names and units follow Prometheus: seconds and bytes, `_total` for what only
//! goes up.

use std::collections::BTreeMap;

use crate::ipc::scoreboard::{REFUSALS, Totals};
use crate::sys::listen_queue::ListenQueue;

use super::restart::Restarts;
use super::text::{Kind, Text};

/// Answers by class, in the order of [`Totals::statuses`].
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// All figures of a server at one moment.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// The release.
    pub version: &'static str,
    /// What the workers have counted, those that are gone included.
    pub totals: Totals,
    /// Requests that the application is working on.
    pub in_flight: usize,
    /// Requests that wait for an app thread.
    pub queued: u64,
    /// Open connections.
    pub connections: u64,
    /// App threads of the workers that serve.
    pub app_threads: usize,
    /// Where it listens, and what waits there.
    pub listening: Vec<Listening>,
    /// The number of the generation that serves.
    pub generation: u32,
    /// How many workers there should be.
    pub workers_wanted: u32,
    /// How many workers there are, by phase. Every phase that there can be, for a graph has no gaps then.
    pub workers: Vec<(&'static str, u64)>,
    /// Private memory by slot, in bytes.
    pub private_memory: BTreeMap<u32, u64>,
    /// Workers that were replaced.
    pub restarts: Restarts,
    /// Reloads after which the new generation served.
    pub reloads_ok: u64,
    /// Reloads that were refused or discarded.
    pub reloads_failed: u64,
    /// The master itself.
    pub process: Process,
}

/// A listener.
#[derive(Debug, Clone)]
pub struct Listening {
    /// Where: `127.0.0.1:8000`, `unix:/run/app.sock`.
    pub address: String,
    /// What waits there.
    pub queue: ListenQueue,
}

/// What the kernel knows of a process; `None` for what it does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// When it was started: seconds since 1970.
    pub started_at: f64,
    /// Time on a processor.
    pub cpu_seconds: Option<f64>,
    /// Memory that it has, in bytes.
    pub resident_bytes: Option<u64>,
    /// Address space, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Open descriptors.
    pub open_fds: Option<u64>,
    /// How many it may open; `None` also for any number.
    pub fds_max: Option<u64>,
}

impl Figures {
    /// The text for Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = Text::default();
        let mut info = text.family(Kind::Gauge, "rwsgi_build_info", "The release of the server; always 1.");
        info.sample(&[("version", self.version)], 1);
        self.requests(&mut text);
        self.load(&mut text);
        self.supervision(&mut text);
        self.process.write(&mut text);
        text.finish()
    }

    fn requests(&self, text: &mut Text) {
        let totals = &self.totals;
        let mut family = text.family(
            Kind::Counter,
            "rwsgi_requests_total",
            "Requests answered, by class of status; none: the connection was cut before an answer.",
        );
        for (class, count) in CLASSES.iter().zip(totals.statuses) {
            family.sample(&[("status", class)], count);
        }
        text.histogram(
            "rwsgi_request_duration_seconds",
            "Time from the first byte of a request to the end of its answer; without those refused before the application.",
            &totals.latency,
        );
        text.histogram(
            "rwsgi_request_queue_wait_seconds",
            "Time that requests waited for an app thread.",
            &totals.queue_wait,
        );
        text.histogram(
            "rwsgi_gil_wait_seconds",
            "Time that app threads waited for Python's interpreter lock to begin a request.",
            &totals.gil_wait,
        );
        let timeouts = "Requests that were over workers.request_timeout.";
        text.single(Kind::Counter, "rwsgi_request_timeouts_total", timeouts, totals.timeouts);
        let mut family = text.family(
            Kind::Counter,
            "rwsgi_requests_refused_total",
            "Requests that the server answered by itself with an error of the client or of overload, by reason.",
        );
        for ((_, reason), count) in REFUSALS.iter().zip(totals.refusals) {
            family.sample(&[("reason", reason)], count);
        }
        let (received, sent) = ("Bytes read from clients.", "Bytes written to clients.");
        text.single(Kind::Counter, "rwsgi_received_bytes_total", received, totals.bytes_in);
        text.single(Kind::Counter, "rwsgi_sent_bytes_total", sent, totals.bytes_out);
    }

    fn load(&self, text: &mut Text) {
        let gauge = Kind::Gauge;
        let in_flight = "Requests that the application is working on.";
        text.single(gauge, "rwsgi_requests_in_flight", in_flight, self.in_flight);
        text.single(gauge, "rwsgi_requests_queued", "Requests that wait for an app thread.", self.queued);
        text.single(gauge, "rwsgi_connections", "Open connections of clients.", self.connections);
        let threads = "App threads of the workers that serve: the most requests that can be in flight.";
        text.single(gauge, "rwsgi_app_threads", threads, self.app_threads);
        let queues: BTreeMap<&str, ListenQueue> =
            self.listening.iter().map(|it| (it.address.as_str(), it.queue)).collect();
        let mut family = text.family(
            gauge,
            "rwsgi_accept_queue_length",
            "Connections that wait in the kernel for a worker to accept them.",
        );
        queues.iter().for_each(|(address, queue)| family.sample(&[("listener", address)], queue.length));
        let mut family = text.family(
            gauge,
            "rwsgi_accept_queue_limit",
            "How many connections the kernel lets wait (server.backlog, net.core.somaxconn).",
        );
        queues.iter().for_each(|(address, queue)| family.sample(&[("listener", address)], queue.limit));
    }

    fn supervision(&self, text: &mut Text) {
        let gauge = Kind::Gauge;
        let generation = "The generation that serves: 1 at the start, one more with each reload.";
        text.single(gauge, "rwsgi_generation", generation, self.generation);
        let wanted = "How many workers there should be.";
        text.single(gauge, "rwsgi_workers_wanted", wanted, self.workers_wanted);
        let mut family =
            text.family(gauge, "rwsgi_workers", "Worker processes of all generations, by phase.");
        self.workers.iter().for_each(|(phase, count)| family.sample(&[("phase", phase)], count));
        let mut family = text.family(
            gauge,
            "rwsgi_worker_private_memory_bytes",
            "Memory that the workers of a slot share with no other process, as they last measured it.",
        );
        for (slot, bytes) in &self.private_memory {
            family.sample(&[("slot", &slot.to_string())], bytes);
        }
        let mut family = text.family(
            Kind::Counter,
            "rwsgi_worker_restarts_total",
            "Workers of the serving generation that ended and were replaced, by reason.",
        );
        self.restarts.iter().for_each(|(reason, count)| family.sample(&[("reason", reason.label())], count));
        let mut family = text.family(
            Kind::Counter,
            "rwsgi_reloads_total",
            "Reloads by outcome; failure: refused, or the new generation was discarded.",
        );
        family.sample(&[("outcome", "success")], self.reloads_ok);
        family.sample(&[("outcome", "failure")], self.reloads_failed);
    }
}

impl Process {
    /// The names that every process of Prometheus has.
    fn write(&self, text: &mut Text) {
        let gauge = Kind::Gauge;
        let start = "When the master was started, in seconds since 1970.";
        text.single(gauge, "process_start_time_seconds", start, self.started_at);
        if let Some(seconds) = self.cpu_seconds {
            let help = "Time that the master has spent on a processor.";
            text.single(Kind::Counter, "process_cpu_seconds_total", help, seconds);
        }
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory of the master.", self.resident_bytes),
            ("process_virtual_memory_bytes", "Address space of the master.", self.virtual_bytes),
            ("process_open_fds", "Descriptors that the master has open.", self.open_fds),
            ("process_max_fds", "Descriptors that the master may open.", self.fds_max),
        ] {
            if let Some(value) = value {
                text.single(gauge, name, help, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Restart;

    #[test]
    fn figures_stand_under_their_names() {
        let mut figures = Figures { version: "1.2.3", in_flight: 4, generation: 7, ..Figures::default() };
        figures.totals.statuses = [0, 9, 0, 1, 0, 2];
        figures.totals.refusals[0] = 3;
        figures.workers = vec![("booting", 0), ("serving", 2)];
        figures.private_memory.insert(1, 4096);
        figures.restarts.count(Restart::Crash);
        figures.process.open_fds = Some(11);
        let queue = ListenQueue { length: 5, limit: 128 };
        // The same address twice, as a socket that was passed twice: one sample.
        figures.listening = [0; 2].map(|_| Listening { address: "unix:/a\"b".to_owned(), queue }).to_vec();
        let text = figures.text();
        for line in [
            "rwsgi_build_info{version=\"1.2.3\"} 1",
            "rwsgi_requests_total{status=\"2xx\"} 9",
            "rwsgi_requests_total{status=\"none\"} 2",
            "rwsgi_requests_refused_total{reason=\"malformed\"} 3",
            "rwsgi_requests_in_flight 4",
            "rwsgi_accept_queue_length{listener=\"unix:/a\\\"b\"} 5",
            "rwsgi_generation 7",
            "rwsgi_workers{phase=\"serving\"} 2",
            "rwsgi_worker_private_memory_bytes{slot=\"1\"} 4096",
            "rwsgi_worker_restarts_total{reason=\"crash\"} 1",
            "rwsgi_worker_restarts_total{reason=\"exit\"} 0",
            "process_open_fds 11",
        ] {
            assert_eq!(text.lines().filter(|other| *other == line).count(), 1, "{line} in\n{text}");
        }
        assert!(!text.contains("process_max_fds"), "not known, not told");
    }

    #[test]
    fn no_family_and_no_sample_comes_twice() {
        let text = Figures::default().text();
        let mut names: Vec<&str> = text.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{text}");
    }
}
