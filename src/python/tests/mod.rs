//! The bridge without sockets: applications as Python source, and an exchange that records what it is given.

mod environ;
mod files;
mod forked;
mod hooks;
mod input;
mod loading;
mod mistakes;
mod overseer;
mod pep3333;
mod process;
mod response;
mod reuse;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use pyo3::prelude::*;
use pyo3::types::PyModule;

use crate::app::{
    Address, AfterCall, Application, Block, Body, Disconnection, Endpoint, Exchange, Identity, Origin,
    Request, RequestId, Scheme, Sent,
};
use crate::config;
use crate::http::{HeadParser, Limits, RequestHead, ResponseHead};

use super::application::PythonApplication;
use super::environ::Constants;
use super::interpreter;

/// The worker that the tests are.
const IDENTITY: Identity = Identity { generation: 1, slot: 0 };

/// What an exchange was told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Start { status: u16, body_length: Option<u64> },
    Send { data: String, more: bool },
    File { data: String },
    Wait,
    Finish,
    Abort,
}

#[derive(Debug)]
struct Client {
    disconnected: AtomicBool,
}

impl Disconnection for Client {
    fn is_disconnected(&self) -> bool {
        self.disconnected.load(Ordering::Relaxed)
    }
}

/// Records what it is told. The answers to `send` are given in advance; then it is always ready.
struct Recorder {
    request: Request,
    body: Body,
    told: Vec<Told>,
    head: Option<ResponseHead>,
    answers: Vec<Sent>,
    sent: bool,
    client: Arc<Client>,
    held: Vec<Bytes>,
    deadline: Option<Duration>,
    at_finish: Option<Box<dyn FnOnce() + Send>>,
}

impl Recorder {
    fn answer(&mut self) -> Sent {
        self.sent = true;
        if self.answers.is_empty() { Sent::Ready } else { self.answers.remove(0) }
    }
}

impl Exchange for Recorder {
    fn request(&self) -> &Request {
        &self.request
    }

    fn take_body(&mut self) -> Body {
        std::mem::replace(&mut self.body, Body::Memory(Bytes::new()))
    }

    fn disconnected(&self) -> Arc<dyn Disconnection> {
        Arc::clone(&self.client) as Arc<dyn Disconnection>
    }

    fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    fn start(&mut self, head: ResponseHead, body_length: Option<u64>) {
        assert!(self.head.is_none(), "start() twice");
        self.told.push(Told::Start { status: head.status(), body_length });
        self.head = Some(head);
    }

    fn send(&mut self, block: Block<'_>, more: bool) -> Sent {
        assert!(self.head.is_some(), "send() before start()");
        let data = match block {
            Block::Borrowed(data) => String::from_utf8_lossy(data).into_owned(),
            Block::Shared(bytes) => {
                self.held.push(bytes.clone());
                format!("shared {}", bytes.len())
            }
        };
        self.told.push(Told::Send { data, more });
        self.answer()
    }

    fn send_file(&mut self, mut file: File, offset: u64, length: u64) -> Sent {
        assert!(self.head.is_some(), "send_file() before start()");
        assert!(file.as_raw_fd() > 2);
        file.seek(SeekFrom::Start(offset)).unwrap();
        let mut data = String::new();
        file.take(length).read_to_string(&mut data).unwrap();
        self.told.push(Told::File { data });
        self.answer()
    }

    fn wait(&mut self) -> Sent {
        assert_lock_is_free();
        self.told.push(Told::Wait);
        self.answer()
    }

    fn finish(&mut self) {
        self.told.push(Told::Finish);
        if let Some(at_finish) = self.at_finish.take() {
            at_finish();
        }
    }

    fn abort(&mut self) {
        self.told.push(Told::Abort);
    }

    fn head_sent(&self) -> bool {
        self.sent
    }
}

/// Fails when another thread cannot attach to the interpreter meanwhile.
fn assert_lock_is_free() {
    let (attached, other) = std::sync::mpsc::channel();
    std::thread::spawn(move || Python::attach(|_| attached.send(())));
    other.recv_timeout(Duration::from_secs(20)).expect("the interpreter lock is held");
}

/// A request and how it is answered, to be adjusted before it is run.
struct Case {
    /// Unique, so that the records of this request can be told from those of other tests.
    id: String,
    number: u64,
    head: String,
    body: Body,
    origin: Origin,
    local: Address,
    peer: Address,
    mount: &'static str,
    threads: u32,
    answers: Vec<Sent>,
    disconnected: bool,
    deadline: Option<Duration>,
}

/// What came of a case.
struct Outcome {
    told: Vec<Told>,
    head: Option<ResponseHead>,
    after: AfterCall,
    logged: Vec<String>,
    /// Nobody but the worker has anything of the exchange.
    is_let_go: bool,
}

impl Outcome {
    /// All blocks together.
    fn body(&self) -> String {
        let data = |told: &Told| match told {
            Told::Send { data, .. } | Told::File { data } => Some(data.clone()),
            Told::Start { .. } | Told::Wait | Told::Finish | Told::Abort => None,
        };
        self.told.iter().filter_map(data).collect()
    }

    /// The body of an answer that is complete and has this length declared.
    fn complete(&self) -> String {
        assert_eq!(self.told.last(), Some(&Told::Finish), "{:?} {:?}", self.told, self.logged);
        self.body()
    }

    /// The one record of an exchange that was given up.
    fn failure(&self) -> String {
        assert_eq!(self.told.last(), Some(&Told::Abort), "{:?}", self.told);
        assert_eq!(self.logged.len(), 1, "{:?}", self.logged);
        self.logged[0].clone()
    }
}

impl Case {
    fn request_id(&self) -> RequestId {
        RequestId::named(self.number, self.id.as_bytes()).unwrap()
    }

    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            id: format!("{number:032x}"),
            number,
            head: "GET /hello HTTP/1.1\r\nHost: example.org\r\n".to_owned(),
            body: Body::Memory(Bytes::new()),
            origin: Origin {
                scheme: Scheme::Http,
                client: None,
                client_port: None,
                host: None,
                port: None,
                prefix: None,
            },
            local: Address::Tcp("127.0.0.1:8000".parse::<SocketAddr>().unwrap()),
            peer: Address::Tcp("192.0.2.7:51000".parse::<SocketAddr>().unwrap()),
            mount: "",
            threads: 1,
            answers: Vec::new(),
            disconnected: false,
            deadline: None,
        }
    }

    fn head(mut self, head: &str) -> Self {
        self.head = format!("{head}\r\n");
        self
    }

    fn body(mut self, body: &[u8]) -> Self {
        self.head = format!("POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: {}\r\n", body.len());
        self.body = Body::Memory(Bytes::copy_from_slice(body));
        self
    }

    fn answers(mut self, answers: &[Sent]) -> Self {
        self.answers = answers.to_vec();
        self
    }

    /// Runs the `application` of a Python source.
    fn run(self, source: &str) -> Outcome {
        start_interpreter();
        let application = application(source, &self);
        self.run_on(&application)
    }

    /// Runs an application that is loaded already.
    fn run_on(self, application: &PythonApplication) -> Outcome {
        let mut recorder = self.recorder();
        let mut after = AfterCall::Continue;
        application.attach("app-1", &mut |attached| after = attached.call(&mut recorder));
        let logged = records(recorder.request.id.as_str());
        let is_let_go = Arc::strong_count(&recorder.client) == 1;
        Outcome { told: recorder.told, head: recorder.head, after, logged, is_let_go }
    }

    /// The exchange of this case.
    fn recorder(self) -> Recorder {
        let id = self.request_id();
        Recorder {
            request: Request {
                head: parse(&self.head),
                endpoint: Arc::new(Endpoint { local: self.local, peer: self.peer, trusted: false }),
                origin: self.origin,
                id,
                received_at: Instant::now(),
            },
            body: self.body,
            told: Vec::new(),
            head: None,
            answers: self.answers,
            sent: false,
            client: Arc::new(Client { disconnected: AtomicBool::new(self.disconnected) }),
            held: Vec::new(),
            deadline: self.deadline,
            at_finish: None,
        }
    }
}

/// Runs cases one after the other on one thread, on the same application.
fn run_in_turn(source: &str, cases: Vec<Case>) -> Vec<Outcome> {
    start_interpreter();
    let application = application(source, &cases[0]);
    let mut recorders: Vec<Recorder> = cases.into_iter().map(Case::recorder).collect();
    let mut afters = Vec::new();
    application.attach("app-1", &mut |attached| {
        let call = |recorder: &mut Recorder| {
            let after = attached.call(recorder);
            (after, Arc::strong_count(&recorder.client) == 1)
        };
        afters = recorders.iter_mut().map(call).collect();
    });
    let outcome = |(recorder, (after, is_let_go)): (Recorder, (AfterCall, bool))| {
        let logged = records(recorder.request.id.as_str());
        Outcome { told: recorder.told, head: recorder.head, after, logged, is_let_go }
    };
    recorders.into_iter().zip(afters).map(outcome).collect()
}

fn parse(head: &str) -> RequestHead {
    let limits =
        Limits { request_line_max: 8192, headers_max: 100, header_bytes_max: 32768, body_max: u64::MAX };
    // Each character is a byte, so that heads can hold any.
    let bytes: Vec<u8> =
        format!("{head}\r\n").chars().map(|character| u8::try_from(character).unwrap()).collect();
    HeadParser::new().parse(&mut BytesMut::from(&bytes[..]), &limits).unwrap().expect("a complete head")
}

fn application(source: &str, case: &Case) -> PythonApplication {
    let workers = workers(case.threads);
    Python::attach(|py| {
        let module = module(py, source, &format!("app_{}", case.id));
        let callable = module.getattr("application").unwrap().unbind();
        PythonApplication::new(callable, Constants::new(py, case.mount, &workers, IDENTITY).unwrap())
    })
}

fn workers(threads: u32) -> config::Workers {
    let timeout = Duration::from_secs(1);
    config::Workers {
        count: 2,
        threads,
        boot_timeout: timeout,
        graceful_timeout: timeout,
        ..config::Settings::for_tests().workers
    }
}

fn module<'py>(py: Python<'py>, source: &str, name: &str) -> Bound<'py, PyModule> {
    let text = |text: &str| std::ffi::CString::new(text).unwrap();
    PyModule::from_code(py, &text(source), &text(&format!("{name}.py")), &text(name)).unwrap()
}

/// One interpreter for all tests of the process.
fn start_interpreter() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        interpreter::start(&app_settings(std::path::Path::new("/"), "none", "application")).unwrap();
        Python::attach(super::overseer::add_module).unwrap();
        log::set_logger(&RECORDS).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
}

fn app_settings(directory: &std::path::Path, module: &str, callable: &str) -> config::App {
    config::App {
        target: config::Target { module: module.to_owned(), callable: callable.to_owned() },
        directory: directory.to_owned(),
        virtualenv: None,
        pythonpath: Vec::new(),
        environment: Vec::new(),
        mount: String::new(),
        preload: config::Preload::Never,
    }
}

struct Records(Mutex<Vec<String>>);

static RECORDS: Records = Records(Mutex::new(Vec::new()));

impl log::Log for Records {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

/// The records that name a request, without its id.
fn records(id: &str) -> Vec<String> {
    let marker = format!("[{id}] ");
    let records = RECORDS.0.lock().unwrap();
    records
        .iter()
        .filter(|record| record.contains(&marker))
        .map(|record| record.replace(&marker, ""))
        .collect()
}
