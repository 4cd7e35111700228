//! The control protocol between `rwsgi ctl` and the master: one JSON object a line over a unix stream socket.
//!
//! A client sends one [`Request`] and reads lines, each an [`Answer`], until the server closes the connection; of a request
//! that takes its time (a reload that is waited for, a stop) the last line counts. Unknown fields are ignored and missing ones
//! have a default, so that client and server may be of different releases.
//!
//! Types and their text only. Where the socket is: `places`; the server: `master::control`; the client: `cli::ctl`.

pub mod places;

use serde::{Deserialize, Serialize};

use super::scoreboard::{BOUNDS_MICROS, Scoreboard};

/// The longest line of a client, its end included.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// How things stand.
    Status {
        /// Memory as the workers have measured it last, up to some seconds ago: for those who ask again and again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        brief: bool,
    },
    /// A new generation from what is on disk now, as SIGHUP.
    Reload {
        /// Answer when it is over; else as soon as the configuration was accepted.
        #[serde(default)]
        wait: bool,
    },
    /// Stop gracefully, as SIGTERM. The connection is closed when the server ends.
    Stop,
    /// So many workers, until the next reload.
    Scale {
        /// The number of workers.
        count: u32,
    },
    /// The stacks of all workers.
    Dump,
    /// The text of `/metrics`.
    Metrics,
    /// Another worker in the place of this one, which serves until that one does.
    Recycle {
        /// Its process id: the slot may have another worker by now.
        pid: i32,
    },
    /// Reopen the log files, as SIGUSR1.
    ReopenLogs,
}

/// What the server says to it. Made by the constructors; `ok` and `error` never contradict each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// Whether what was asked for was done.
    pub ok: bool,
    /// Why not; may have several lines, such as a traceback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was done, as a sentence of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// To [`Request::Status`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<Status>>,
    /// To [`Request::Metrics`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// To [`Request::Dump`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stacks: Option<Vec<Stacks>>,
}

/// The stacks of one worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stacks {
    /// Its process id.
    pub pid: i32,
    /// Its generation.
    pub generation: u32,
    /// Its slot.
    pub slot: u32,
    /// As faulthandler writes them, or why there are none.
    pub text: String,
}

/// How things stand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The release of the server.
    pub version: String,
    /// `server.process_name`
    pub name: String,
    /// The master's process id.
    pub pid: i32,
    /// The generation that serves.
    pub generation: u32,
    /// The generation that is starting.
    pub pending_generation: Option<u32>,
    /// For how long the master has been running.
    pub uptime_seconds: u64,
    /// The same in milliseconds, from which rates are calculated; zero of a release that does not tell it.
    pub uptime_millis: u64,
    /// When it was started: seconds since 1970.
    pub started_at: u64,
    /// The configuration file, absolute.
    pub config: Option<String>,
    /// Where it listens, as in the log.
    pub listeners: Vec<String>,
    /// How many workers there should be.
    pub count: u32,
    /// Workers of all generations, in the order of generation and slot.
    pub workers: Vec<WorkerStatus>,
    /// Templates of all generations.
    pub templates: Vec<TemplateStatus>,
    /// What the master has counted since it was started.
    pub counters: MasterCounters,
    /// Upper bounds of the buckets of [`WorkerStatus::latency`]; one more bucket holds what is slower.
    pub latency_bounds_micros: Vec<u64>,
}

/// What the master has counted since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MasterCounters {
    /// Workers that were replaced, for whatever reason, outside of reloads.
    pub restarts: u64,
    /// Reloads after which the new generation served.
    pub reloads_ok: u64,
    /// Reloads that were refused or discarded.
    pub reloads_failed: u64,
}

/// How one worker does. What the worker tells is read from its scoreboard: [`WorkerStatus::observe`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerStatus {
    /// Its process id; `None` while it is being forked.
    pub pid: Option<i32>,
    /// Its generation.
    pub generation: u32,
    /// Its slot.
    pub slot: u32,
    /// The word of the supervisor: `booting`, `serving`, `draining` and so on.
    pub phase: String,
    /// Since it was started.
    pub age_seconds: f64,
    /// Requests answered.
    pub requests: u64,
    /// Answers by the first digit of their status, 1xx first; the last are connections that were cut without one.
    pub answers: Vec<u64>,
    /// Requests by how long they took, in the buckets of [`Status::latency_bounds_micros`].
    pub latency: Vec<u64>,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
    /// Requests that the application is working on.
    pub in_flight: usize,
    /// Requests that wait for an app thread.
    pub queued: u64,
    /// Open connections.
    pub connections: u64,
    /// Memory that it shares with no other process.
    pub private_memory_bytes: Option<u64>,
    /// Its share of all memory that it uses.
    pub proportional_memory_bytes: Option<u64>,
    /// Requests that were over `workers.request_timeout`.
    pub timeouts: u64,
    /// Since its reactor last turned; `None` before it first did.
    pub silent_seconds: Option<f64>,
    /// What its app threads are doing, the longest first.
    pub tasks: Vec<TaskStatus>,
}

/// One request that the application is working on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskStatus {
    /// The app thread.
    pub thread: usize,
    /// The method; may be cut.
    pub method: String,
    /// The path without its query; may be cut.
    pub path: String,
    /// Since the application was called.
    pub age_seconds: f64,
}

/// How one template does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TemplateStatus {
    /// Its process id; `None` while it is being forked.
    pub pid: Option<i32>,
    /// Its generation.
    pub generation: u32,
    /// `booting`, `ready` or `closing`.
    pub phase: String,
    /// Since it was started.
    pub age_seconds: f64,
}

impl Request {
    /// The line of this request.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        line(self)
    }

    /// Reads a line.
    ///
    /// # Errors
    /// One sentence: it is no request.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| format!("this is no request: {error}"))
    }
}

impl Answer {
    /// It was done.
    #[must_use]
    pub fn done(message: impl Into<String>) -> Self {
        Self { ok: true, message: Some(message.into()), ..Self::default() }
    }

    /// It was not done.
    #[must_use]
    pub fn failed(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::default() }
    }

    /// How things stand.
    #[must_use]
    pub fn status(status: Status) -> Self {
        Self { ok: true, status: Some(Box::new(status)), ..Self::default() }
    }

    /// The text of `/metrics`.
    #[must_use]
    pub fn metrics(text: String) -> Self {
        Self { ok: true, metrics: Some(text), ..Self::default() }
    }

    /// The stacks of all workers.
    #[must_use]
    pub fn stacks(stacks: Vec<Stacks>) -> Self {
        Self { ok: true, stacks: Some(stacks), ..Self::default() }
    }

    /// The line of this answer.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        line(self)
    }

    /// Reads a line.
    ///
    /// # Errors
    /// One sentence: it is no answer.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| format!("the server's answer cannot be read: {error}"))
    }
}

impl Status {
    /// The buckets that [`WorkerStatus::observe`] counts in.
    pub fn describe_latency(&mut self) {
        self.latency_bounds_micros = BOUNDS_MICROS.to_vec();
    }
}

impl WorkerStatus {
    /// Takes over what the worker's scoreboard says.
    pub fn observe(&mut self, board: &Scoreboard) {
        let counters = board.counters();
        let tasks = board.tasks().into_iter().map(|task| TaskStatus {
            thread: task.thread,
            method: task.method,
            path: task.path,
            age_seconds: task.age.as_secs_f64(),
        });
        self.tasks = tasks.collect();
        self.in_flight = self.tasks.len();
        self.requests = counters.requests;
        self.answers = counters.statuses.to_vec();
        self.latency = board.totals().latency.buckets.to_vec();
        (self.bytes_in, self.bytes_out) = (counters.bytes_in, counters.bytes_out);
        self.queued = counters.queued;
        self.connections = counters.connections;
        self.timeouts = counters.timeouts;
        self.private_memory_bytes = Some(counters.private_memory).filter(|&bytes| bytes > 0);
        self.silent_seconds = counters.silent_for.map(|silent| silent.as_secs_f64());
    }
}

/// JSON escapes line breaks in texts, so that the only one is the end of the line.
fn line(value: &impl Serialize) -> Vec<u8> {
    // Numbers, texts and lists of them cannot fail to be written.
    let mut line = serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec());
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn requests_are_written_as_documented() {
        for (request, text) in [
            (Request::Status { brief: false }, r#"{"command":"status"}"#),
            (Request::Status { brief: true }, r#"{"command":"status","brief":true}"#),
            (Request::Reload { wait: true }, r#"{"command":"reload","wait":true}"#),
            (Request::Stop, r#"{"command":"stop"}"#),
            (Request::Scale { count: 4 }, r#"{"command":"scale","count":4}"#),
            (Request::Dump, r#"{"command":"dump"}"#),
            (Request::Metrics, r#"{"command":"metrics"}"#),
            (Request::Recycle { pid: 7 }, r#"{"command":"recycle","pid":7}"#),
            (Request::ReopenLogs, r#"{"command":"reopen-logs"}"#),
        ] {
            assert_eq!(String::from_utf8(request.line()).unwrap(), format!("{text}\n"));
            assert_eq!(Request::parse(text.as_bytes()).unwrap(), request);
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_missing_ones_have_a_default() {
        let reload = Request::parse(br#"{"command":"reload","later":[1]}"#).unwrap();
        assert_eq!(reload, Request::Reload { wait: false });
        let answer =
            Answer::parse(br#"{"ok":true,"status":{"pid":7,"workers":[{"pid":8,"new":1}]}}"#).unwrap();
        let status = answer.status.unwrap();
        assert_eq!((status.pid, status.generation, status.workers[0].pid), (7, 0, Some(8)));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for line in [
            &b""[..],
            b"status",
            b"{}",
            b"[]",
            b"\"status\"",
            br#"{"command":"halt"}"#,
            br#"{"command":"scale"}"#,
            br#"{"command":"scale","count":-1}"#,
            br#"{"command":"scale","count":4294967296}"#,
            br#"{"command":"status"} x"#,
            b"\xff\xfe",
        ] {
            let said = Request::parse(line).unwrap_err();
            assert!(said.starts_with("this is no request: "), "{said}");
        }
    }

    #[test]
    fn answers_survive_the_round_trip_on_one_line() {
        let worker = WorkerStatus {
            pid: Some(12),
            generation: 3,
            phase: "serving".to_owned(),
            age_seconds: 1.5,
            tasks: vec![TaskStatus { path: "/a\nb".to_owned(), ..TaskStatus::default() }],
            ..WorkerStatus::default()
        };
        let status = Status { version: "0.1.0".to_owned(), workers: vec![worker], ..Status::default() };
        let stacks = Stacks { pid: 12, text: "Thread 1:\n  File".to_owned(), ..Stacks::default() };
        for answer in [
            Answer::done("generation 2 serves"),
            Answer::failed("no\nTraceback:\n  x"),
            Answer::status(status),
            Answer::stacks(vec![stacks]),
        ] {
            let line = answer.line();
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert_eq!(Answer::parse(&line).unwrap(), answer);
        }
        assert_eq!(Answer::failed("no").line(), b"{\"ok\":false,\"error\":\"no\"}\n");
    }

    #[test]
    fn a_worker_is_observed_through_its_scoreboard() {
        let board = Scoreboard::create(2).unwrap();
        board.beat(crate::sys::clock::monotonic());
        board.gauge(5, 1);
        board.count_answer(200, Duration::from_millis(3));
        board.count_timeout();
        board.begin(1, b"GET", b"/slow", crate::sys::clock::monotonic());
        let mut worker = WorkerStatus::default();
        worker.observe(&board);
        assert_eq!((worker.requests, worker.in_flight, worker.queued), (1, 1, 1));
        assert_eq!((worker.connections, worker.timeouts), (5, 1));
        let mut status = Status::default();
        status.describe_latency();
        assert_eq!(worker.answers, [0, 1, 0, 0, 0, 0]);
        let bucket = worker.latency.iter().position(|&count| count == 1).unwrap();
        assert_eq!((worker.latency.len(), status.latency_bounds_micros[bucket]), (15, 5_000));
        assert!(worker.silent_seconds.is_some());
        assert_eq!((worker.tasks[0].path.as_str(), worker.tasks[0].thread), ("/slow", 1));
    }
}
