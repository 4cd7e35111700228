//! The pure HTTP work of one request: the head, the origin, the response's head. Without a socket and without a
//! clock: what is measured is counted in instructions, by running it under a counter with two numbers of requests and
//! dividing the difference.
//!
//! `parser N SCENARIO`: N requests of the scenario, `hello`, `browser` or `post` (all of them when it is not named; one
//! request when N is not given). A part of the work is named before it: `parse-hello`, `origin-hello`, `response-hello`,
//! `buffer-hello` for the parser that takes heads out of a buffer, and `template-hello` for a response whose head is a
//! copy of one that was checked before. `cargo bench` runs each once.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use bytes::BytesMut;
use rwsgi::config::{Forwarded, Proxy, ProxyProtocol, Trusted};
use rwsgi::http::{HeadParser, Limits, RequestHead, ResponseContext, ResponseHead};
use rwsgi::net::{Address, Endpoint, origin_of};

/// The limits of the reference configuration.
const LIMITS: Limits =
    Limits { request_line_max: 8192, headers_max: 100, header_bytes_max: 32768, body_max: 1 << 30 };

const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";

const BROWSER: &[u8] = b"GET /products/list?page=2&sort=price HTTP/1.1\r\n\
Host: shop.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-GB,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://shop.example.com/products\r\n\
Connection: keep-alive\r\n\
Cookie: sessionid=8a7b6c5d4e3f2a1b0c9d8e7f; csrftoken=Zm9vYmFyYmF6\r\n\
Upgrade-Insecure-Requests: 1\r\n\
Sec-Fetch-Dest: document\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-User: ?1\r\n\
Priority: u=0, i\r\n\
X-Forwarded-Proto: https\r\n\r\n";

const POST: &[u8] = b"POST /api/orders HTTP/1.1\r\n\
Host: api.example.com\r\n\
User-Agent: python-requests/2.32.3\r\n\
Accept-Encoding: gzip, deflate\r\n\
Accept: */*\r\n\
Connection: keep-alive\r\n\
Content-Type: application/json\r\n\
Content-Length: 27\r\n\r\n";

const DATE: &str = "Sat, 21 Nov 2026 11:33:20 GMT";

type Fields = [(&'static [u8], &'static [u8])];

const SMALL: &Fields = &[(b"Content-Type", b"text/plain"), (b"Content-Length", b"12")];

const USUAL: &Fields = &[
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"X-Frame-Options", b"DENY"),
    (b"Content-Length", b"5120"),
    (b"Vary", b"Cookie, Accept-Language"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"same-origin"),
    (b"Set-Cookie", b"sessionid=8a7b6c5d4e3f2a1b0c9d8e7f; HttpOnly; Path=/; SameSite=Lax"),
];

struct Bench {
    parser: HeadParser,
    input: Vec<u8>,
    buffer: BytesMut,
    request: RequestHead,
    endpoint: Endpoint,
    proxy: Proxy,
    response: ResponseHead,
    template: ResponseHead,
    output: Vec<u8>,
}

impl Bench {
    fn new() -> Option<Self> {
        let address = |port| Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Some(Self {
            parser: HeadParser::new(),
            input: Vec::new(),
            buffer: BytesMut::new(),
            request: RequestHead::default(),
            endpoint: Endpoint { local: address(8000), peer: address(4000), trusted: true },
            proxy: Proxy {
                trusted: Trusted { networks: Vec::new(), unix: true },
                forwarded: Forwarded::Scheme,
                protocol: ProxyProtocol::Off,
            },
            response: ResponseHead::new(b"200 OK").ok()?,
            template: ResponseHead::new(b"200 OK").ok()?,
            output: Vec::new(),
        })
    }

    /// What a worker does: the bytes are received, and the parser reads them where they are.
    fn parse(&mut self, request: &[u8]) -> Option<()> {
        self.input.clear();
        self.input.extend_from_slice(black_box(request));
        let consumed = self.parser.parse_slice(&self.input, &LIMITS, &mut self.request).ok()??;
        (black_box(consumed) == request.len()).then_some(())
    }

    fn parse_from_buffer(&mut self, request: &[u8]) -> Option<()> {
        self.buffer.extend_from_slice(black_box(request));
        let head = self.parser.parse(&mut self.buffer, &LIMITS).ok()??;
        black_box(head);
        Some(())
    }

    fn origin(&self) {
        black_box(origin_of(black_box(&self.request), &self.endpoint, &self.proxy).is_ok());
    }

    fn respond(&mut self, fields: &Fields) -> Option<()> {
        self.response.recycle(black_box(b"200 OK")).ok()?;
        for (name, value) in black_box(fields) {
            self.response.push(name, value).ok()?;
        }
        self.encode();
        Some(())
    }

    /// The head is a copy of one that was checked before.
    fn respond_from_template(&mut self) {
        self.response.clone_from(black_box(&self.template));
        self.encode();
    }

    fn encode(&mut self) {
        let context = ResponseContext {
            version: self.request.version(),
            method: self.request.method_kind(),
            keep_alive: self.request.keep_alive(),
            body_length: None,
            server: "rwsgi",
            date: DATE,
        };
        self.output.clear();
        black_box(self.response.encode(&context, &mut self.output));
        black_box(&self.output);
    }
}

fn run(scenario: &str, times: usize) -> Option<()> {
    let mut bench = Bench::new()?;
    let (part, request) =
        scenario.split_once('-').map_or(("all", scenario), |(part, request)| (part, request));
    let (request, fields) = match request {
        "hello" => (HELLO, SMALL),
        "browser" => (BROWSER, USUAL),
        "post" => (POST, SMALL),
        _ => return None,
    };
    bench.parse(request)?;
    bench.respond(fields)?;
    bench.template = bench.response.clone();
    for _ in 0..times {
        match part {
            "all" => {
                bench.parse(request)?;
                bench.origin();
                bench.respond(fields)?;
            }
            "parse" => bench.parse(request)?,
            "buffer" => bench.parse_from_buffer(request)?,
            "origin" => bench.origin(),
            "response" => bench.respond(fields)?,
            "template" => bench.respond_from_template(),
            _ => return None,
        }
    }
    Some(())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let times = arguments.next().and_then(|times| times.parse().ok()).unwrap_or(1);
    let done = match arguments.next() {
        Some(scenario) => run(&scenario, times),
        None => ["hello", "browser", "post"].iter().try_for_each(|scenario| run(scenario, times)),
    };
    done.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
