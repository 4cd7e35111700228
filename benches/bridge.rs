//! The bridge's work for one request: environ, the call of the application, its response. Without a socket: the exchange
//! takes what it is given and forgets it. What is measured is counted in instructions, by running it under a counter with
//! two numbers of requests and dividing the difference (`scripts/count-instructions`).
//!
//! `bridge N SCENARIO`: N requests of the scenario (all of them when it is not named; one request when N is not given).
//! `cargo bench` runs each once.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rwsgi::app::{
    Address, AfterCall, Application, Block, Body, Disconnection, Endpoint, Exchange, Identity, Loader,
    Origin, Request, RequestId, Scheme, Sent,
};
use rwsgi::config::{FlagValues, Settings, Sources, table};
use rwsgi::http::{HeadParser, Limits, ResponseHead};
use rwsgi::python::PythonLoader;

const LIMITS: Limits =
    Limits { request_line_max: 8192, headers_max: 100, header_bytes_max: 32768, body_max: 1 << 30 };

/// Applications with an answer each; `/` is the path of `hello`.
const APPLICATION: &str = r#"
PAGE = b"x" * 1024

def application(environ, start_response):
    if environ["PATH_INFO"] == "/":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
        return [b"Hello, World!"]
    start_response("200 OK", [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(PAGE))),
        ("Cache-Control", "no-cache, private"),
        ("X-Frame-Options", "DENY"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "same-origin"),
        ("Vary", "Cookie"),
        ("Set-Cookie", "csrftoken=Zm9vYmFyYmF6" + environ["SERVER_PORT"] + "; Path=/; SameSite=Lax"),
    ])
    return [PAGE]
"#;

const HELLO: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";

/// What a browser sends; `#` stands for what differs from one client to the next.
const BROWSER: &str = "GET /products/list?page=2&sort=price HTTP/1.1\r\n\
Host: shop.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-GB,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://shop.example.com/products\r\n\
Connection: keep-alive\r\n\
Cookie: sessionid=8a7b6c5d4e3f2a1b0c9d8e7f#; csrftoken=Zm9vYmFyYmF6\r\n\
Upgrade-Insecure-Requests: 1\r\n\
Sec-Fetch-Dest: document\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-User: ?1\r\n\
Priority: u=0, i\r\n\
X-Request-Start: #\r\n\r\n";

/// A number of clients that no cache of a thread holds.
const CLIENTS: u32 = 1000;

const SCENARIOS: [&str; 4] = ["hello", "browser", "clients", "deadline"];

#[derive(Debug)]
struct Connected;

impl Disconnection for Connected {
    fn is_disconnected(&self) -> bool {
        false
    }
}

/// An exchange that takes everything; used for one request after the other.
struct Sink {
    request: Request,
    client: Arc<dyn Disconnection>,
    deadline: Option<Duration>,
    head: Option<ResponseHead>,
    finished: usize,
}

impl Exchange for Sink {
    fn request(&self) -> &Request {
        &self.request
    }

    fn take_body(&mut self) -> Body {
        Body::Memory(Bytes::new())
    }

    fn disconnected(&self) -> Arc<dyn Disconnection> {
        Arc::clone(&self.client)
    }

    fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    fn start(&mut self, head: ResponseHead, body_length: Option<u64>) {
        black_box(body_length);
        self.head = Some(head);
    }

    fn send(&mut self, block: Block<'_>, _more: bool) -> Sent {
        black_box(&block);
        Sent::Ready
    }

    fn send_file(&mut self, _file: File, _offset: u64, _length: u64) -> Sent {
        Sent::Ready
    }

    fn wait(&mut self) -> Sent {
        Sent::Ready
    }

    fn finish(&mut self) {
        self.finished += 1;
    }

    fn abort(&mut self) {}

    fn head_sent(&self) -> bool {
        false
    }
}

fn settings(directory: &Path) -> Result<Settings, Box<dyn Error>> {
    let target = table::find("app", "target").ok_or("no setting app.target")?;
    let flags = vec![FlagValues { setting: target, values: vec!["bench_app:application".to_owned()] }];
    let loaded = Sources::new(None, [], flags, directory.to_owned(), false).load();
    loaded.map_err(|problems| problems.lines().join("\n").into())
}

fn exchange(head: &str, number: u64) -> Result<Sink, Box<dyn Error>> {
    let address = |port| Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let head = HeadParser::new().parse(&mut BytesMut::from(head), &LIMITS);
    let head = head.ok().flatten().ok_or("no complete head")?;
    let origin = Origin {
        scheme: Scheme::Http,
        client: None,
        client_port: None,
        host: None,
        port: None,
        prefix: None,
    };
    Ok(Sink {
        request: Request {
            head,
            endpoint: Arc::new(Endpoint { local: address(8000), peer: address(40000), trusted: false }),
            origin,
            id: RequestId::numbered(0xfeed, number),
            received_at: Instant::now(),
        },
        client: Arc::new(Connected),
        deadline: None,
        head: None,
        finished: 0,
    })
}

fn exchanges(scenario: &str) -> Result<Vec<Sink>, Box<dyn Error>> {
    match scenario {
        "hello" => Ok(vec![exchange(HELLO, 1)?]),
        "browser" => Ok(vec![exchange(&BROWSER.replace('#', "0"), 1)?]),
        "clients" => {
            (0..CLIENTS).map(|n| exchange(&BROWSER.replace('#', &n.to_string()), n.into())).collect()
        }
        "deadline" => {
            Ok(vec![Sink { deadline: Some(Duration::from_millis(123_456)), ..exchange(HELLO, 1)? }])
        }
        other => Err(format!("no scenario {other}: one of {}", SCENARIOS.join(", ")).into()),
    }
}

fn run(application: &dyn Application, scenario: &str, times: usize) -> Result<(), Box<dyn Error>> {
    let mut exchanges = exchanges(scenario)?;
    let count = exchanges.len();
    let mut exits = 0;
    application.attach("MainThread", &mut |attached| {
        for index in 0..times {
            let exchange = &mut exchanges[index % count];
            exits += u32::from(attached.call(exchange) == AfterCall::Exit);
        }
    });
    let finished: usize = exchanges.iter().map(|exchange| exchange.finished).sum();
    let status = |exchange: &Sink| exchange.head.as_ref().is_none_or(|head| head.status() == 200);
    let answered = finished == times && exits == 0 && exchanges.iter().all(status);
    if answered { Ok(()) } else { Err(format!("{finished} of {times} answered").into()) }
}

fn measure() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let times = arguments.next().map_or(Ok(1), |times| times.parse())?;
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("bench_app.py"), APPLICATION)?;
    let settings = settings(directory.path())?;
    let application = PythonLoader
        .load(&settings, Identity { generation: 1, slot: 0 }, None)
        .map_err(|error| format!("{}\n{}", error.summary, error.traceback.unwrap_or_default()))?;
    match arguments.next() {
        Some(scenario) => run(&*application, &scenario, times),
        None => SCENARIOS.iter().try_for_each(|scenario| run(&*application, scenario, times)),
    }
}

fn main() -> ExitCode {
    let Err(error) = measure() else { return ExitCode::SUCCESS };
    match writeln!(std::io::stderr(), "{error}") {
        Ok(()) | Err(_) => ExitCode::FAILURE,
    }
}
