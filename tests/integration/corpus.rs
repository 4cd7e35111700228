//! Every case of `tests/corpus/http1` against a live server: whole, byte by byte, split at random places, and with
//! another request glued behind.
//!
//! The application notes what it saw, with the client's address, and each connection has an address of its own out of
//! 127.0.0.0/8. So what reached the application is known for each connection, for refused requests as well.

use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::client::{Client, Response};
use crate::harness::{Builder, Server, quoted};
use crate::reader::{self, Case, ExpectedRequest};

/// The beginning and the end of a case go byte by byte, the middle of a long one in one piece: it is filler.
const SINGLE_BYTES_MAX: usize = 1500;

const GLUED: &[u8] = b"GET /glued HTTP/1.1\r\nHost: glued\r\nConnection: close\r\n\r\n";

/// How a case is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    ByteByByte,
    Split,
    Glued,
}

const FORMS: [Form; 4] = [Form::Whole, Form::ByteByByte, Form::Split, Form::Glued];

impl Form {
    /// The pieces of `input` as they are sent; `seed` decides the splits.
    fn pieces(self, input: &[u8], seed: u64) -> Vec<Vec<u8>> {
        let cuts: Vec<usize> = match self {
            Self::Whole => Vec::new(),
            Self::Glued => return vec![[input, GLUED].concat()],
            Self::ByteByByte => {
                (1..input.len()).filter(|at| *at.min(&(input.len() - at)) < SINGLE_BYTES_MAX).collect()
            }
            Self::Split => {
                let mut random = Random(seed);
                let mut cuts: Vec<usize> = (0..4).map(|_| random.below(input.len())).collect();
                cuts.sort_unstable();
                cuts
            }
        };
        let ends = cuts.iter().copied().chain([input.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        starts.zip(ends).filter(|(from, to)| from < to).map(|(from, to)| input[from..to].to_vec()).collect()
    }
}

/// Marsaglia's xorshift: the same splits in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

/// The address of the client that sends case `index` in `form`.
fn client_address(index: usize, form: Form) -> Ipv4Addr {
    let byte = |number: usize| u8::try_from(number).unwrap();
    Ipv4Addr::new(127, byte(form as usize + 1), byte(index / 250), byte(index % 250 + 1))
}

/// Sends a case and checks the answers; an error says what is wrong with them.
fn exchange(server: &Server, case: &Case, index: usize, form: Form) -> Result<(), String> {
    let mut client = Client::connect_from(&server.address(), client_address(index, form));
    for piece in form.pieces(&case.input, 0x9E37_79B9_7F4A_7C15 ^ (index as u64 + 1)) {
        if let Err(error) = client.try_send(&piece) {
            // A server that has refused may be gone before all was sent.
            if case.error.is_none() {
                return Err(format!("send: {error}"));
            }
        }
    }
    let mut open = true;
    for (number, request) in case.requests.iter().enumerate() {
        let response = final_response(&mut client, request.method == b"HEAD")
            .map_err(|error| format!("response {number}: {error}"))?;
        open = !says_close(&response);
        if response.status != 200 {
            return Err(format!("response {number}: status {}", response.status));
        }
        let wanted = request.keep_alive.or((number + 1 < case.requests.len()).then_some(true));
        if wanted.is_some_and(|wanted| wanted != open) {
            return Err(format!("response {number}: kept alive: {open}"));
        }
    }
    if let Some(error) = &case.error {
        let to_head = case.input.starts_with(b"HEAD ");
        let response = final_response(&mut client, to_head).map_err(|error| format!("refusal: {error}"))?;
        if response.status != error.status {
            return Err(format!("status {} instead of {}", response.status, error.status));
        }
        open = !says_close(&response);
        if open {
            return Err("the refusal does not say Connection: close".to_owned());
        }
    } else if form == Form::Glued && open {
        let response = final_response(&mut client, false).map_err(|error| format!("glued: {error}"))?;
        open = !says_close(&response);
        if (response.status, open) != (200, false) {
            return Err(format!("the glued request got {response:?}"));
        }
    }
    if !open {
        let rest = client.read_to_end().map_err(|error| format!("no end: {error}"))?;
        if !rest.is_empty() {
            return Err(format!("more than the answer: {:?}", String::from_utf8_lossy(&rest)));
        }
    }
    Ok(())
}

/// The next response that is not `100 Continue`.
fn final_response(client: &mut Client, to_head: bool) -> Result<Response, String> {
    let response = client.read_response(to_head)?;
    if response.status == 100 { client.read_response(to_head) } else { Ok(response) }
}

fn says_close(response: &Response) -> bool {
    response.headers("connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
}

/// What the application saw, by the client's address.
fn seen(server: &Server) -> HashMap<String, Vec<Value>> {
    let mut seen = HashMap::<String, Vec<Value>>::new();
    for entry in fs::read_dir(server.path("seen")).unwrap() {
        for line in fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            let request: Value = serde_json::from_str(line).unwrap();
            seen.entry(request["REMOTE_ADDR"].as_str().unwrap().to_owned()).or_default().push(request);
        }
    }
    seen
}

/// Compares what the application saw of a case with what it should have.
fn compare(case: &Case, form: Form, seen: &[Value]) -> Result<(), String> {
    let glued = form == Form::Glued && case.error.is_none();
    let glued = seen.last().filter(|last| glued && last["PATH_INFO"] == "/glued");
    let own = &seen[..seen.len() - usize::from(glued.is_some())];
    if own.len() != case.requests.len() {
        let targets: Vec<&Value> = seen.iter().map(|request| &request["RAW_URI"]).collect();
        return Err(format!("the application was called {} times: {targets:?}", seen.len()));
    }
    for (number, (expected, request)) in case.requests.iter().zip(own).enumerate() {
        compare_request(expected, request).map_err(|error| format!("request {number}: {error}"))?;
    }
    Ok(())
}

fn compare_request(expected: &ExpectedRequest, request: &Value) -> Result<(), String> {
    expect(request, "REQUEST_METHOD", &expected.method)?;
    expect(request, "RAW_URI", &expected.target)?;
    expect(request, "SERVER_PROTOCOL", &expected.version)?;
    if let Some(path) = &expected.path {
        // The asterisk stands for the server and is no path.
        let path = if expected.target == b"*" { Vec::new() } else { percent_decoded(path) };
        expect(request, "PATH_INFO", &path)?;
    }
    if let Some(query) = &expected.query {
        expect(request, "QUERY_STRING", query)?;
    }
    match &expected.host {
        Some(Some(host)) => expect(request, "HTTP_HOST", host)?,
        Some(None) if request.get("HTTP_HOST").is_some() => return Err("a host".to_owned()),
        Some(None) | None => {}
    }
    let mut present = Vec::new();
    for (name, value) in &expected.fields {
        // The variable holds the host that counts, which the field may contradict; it was compared above.
        if let Some(first) = value.as_ref().filter(|_| name != "host") {
            expect_first(request, &variable(name), first)?;
            present.push(variable(name));
        }
    }
    for (name, value) in &expected.fields {
        // With X-A and X_A in the head, the variable is that of X-A, whose value was compared.
        let variable = variable(name);
        if value.is_none() && !present.contains(&variable) && request.get(&variable).is_some() {
            return Err(format!("{variable} is there"));
        }
    }
    let body: String = expected.body.iter().map(|byte| format!("{byte:02x}")).collect();
    if request["body"] != body {
        return Err(format!("body {} instead of {body}", request["body"]));
    }
    let length = request["CONTENT_LENGTH"].as_str().unwrap_or("0");
    if length.parse() != Ok(expected.body.len()) && expected.has_body.is_some() {
        return Err(format!("CONTENT_LENGTH = {length:?} with {} bytes", expected.body.len()));
    }
    Ok(())
}

fn expect(request: &Value, variable: &str, bytes: &[u8]) -> Result<(), String> {
    let expected = latin1(bytes);
    if request[variable] == expected {
        return Ok(());
    }
    Err(format!("{variable} = {} instead of {expected:?}", request[variable]))
}

fn variable(field: &str) -> String {
    format!("HTTP_{}", field.to_uppercase().replace('-', "_"))
}

/// Fields of one name are joined in the environ.
fn expect_first(request: &Value, variable: &str, bytes: &[u8]) -> Result<(), String> {
    let (value, first) = (request[variable].as_str().unwrap_or_default(), latin1(bytes));
    match value.strip_prefix(&first) {
        Some(rest) if rest.is_empty() || rest.starts_with(',') || rest.starts_with("; ") => Ok(()),
        _ => Err(format!("{variable} = {value:?} instead of {first:?}")),
    }
}

/// Bytes as the strings of PEP 3333 hold them.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.first_chunk::<2>().and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if byte == b'%' => {
                decoded.push(value);
                rest = &tail[2..];
            }
            _ => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    decoded
}

/// Runs all cases of a folder in all forms and tells of all that fail.
fn run(folder: &str) {
    let cases = reader::load(folder).unwrap();
    let builder = Builder::new("seen").with("workers.count", "2").with("http.header_timeout", "\"60s\"");
    fs::create_dir(builder.path("seen")).unwrap();
    let directory = quoted(builder.path("seen").to_str().unwrap());
    let server = builder.with("app.environment", &format!("{{ SEEN = {directory} }}")).start();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failures = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(number / FORMS.len()) else { return failures };
            let form = FORMS[number % FORMS.len()];
            if let Err(error) = exchange(&server, case, number / FORMS.len(), form) {
                failures.push(format!("{} ({form:?}): {error}", case.name));
            }
        }
    };
    let mut failures: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let seen = seen(&server);
    for (index, case) in cases.iter().enumerate() {
        for form in FORMS {
            let requests = seen.get(&client_address(index, form).to_string()).map_or(&[][..], Vec::as_slice);
            if let Err(error) = compare(case, form, requests) {
                let reason = case.error.as_ref().map(|error| &error.reason);
                failures.push(format!("{} ({form:?}, expected {reason:?}): {error}", case.name));
            }
        }
    }
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {} runs fail:\n{}",
        failures.len(),
        cases.len() * 4,
        failures.join("\n")
    );
}

#[test]
fn valid_cases_on_a_live_server() {
    run("http1/valid");
}

#[test]
fn invalid_cases_on_a_live_server() {
    run("http1/invalid");
}
