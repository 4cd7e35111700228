//! Clients as people use them, each as far as it can go. The scripts of the Python clients are in `tests/clients`.
//!
//! | client | keep-alive | large upload | chunked upload | HEAD | 100-continue | early close |
//! |---|---|---|---|---|---|---|
//! | curl | yes | yes | yes | yes | waits for it | in the answer, in the body |
//! | http.client, requests, httpx | yes | yes | yes | yes | sends it, does not wait | in the answer, in the body |
//! | aiohttp | yes | yes | yes | yes | waits for it | in the answer, in the body |
//! | ab | yes, by HTTP/1.0 | yes | cannot | yes | cannot | cannot |
//! | wrk | yes | yes | cannot | yes | cannot | in the answer, when its time is over |
//! | nginx | yes | yes | passes it on with a length | yes | answers it itself | in the answer; it waits for the whole body |

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::client::{Address, Client};
use crate::harness::{Builder, Outcome, Server, root, run_command};
use crate::tools::{self, Nginx};

fn server() -> Server {
    Builder::new("measure").with("workers.threads", "4").with("http.body_memory", "\"64KiB\"").start()
}

fn url(server: &Server) -> String {
    let Address::Tcp(address) = server.address() else { panic!("a listener on TCP") };
    format!("http://{address}")
}

/// Insists that the server took no harm: it answers, no worker was replaced, no error was logged.
#[track_caller]
fn expect_unharmed(server: &Server) {
    server.get("/").expect(200);
    let log = server.log();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    assert_eq!(server.workers().len(), 1);
    assert!(server.workers()[0].title.ends_with("gen 1"));
}

/// Runs a script of `tests/clients` and insists that all scenarios were run.
#[track_caller]
fn run_script(name: &str) {
    let server = server();
    let directory = root().join("tests/clients");
    let output = tools::python(&directory, &[name, &url(&server)], &[("NO_PROXY", Path::new("*"))]);
    let scenarios: Vec<&str> = output.lines().collect();
    let wanted = [
        "keep_alive",
        "large_upload",
        "chunked_upload",
        "head",
        "expect_continue",
        "close_in_answer",
        "close_in_body",
    ];
    assert_eq!(scenarios, wanted);
    expect_unharmed(&server);
}

#[test]
fn python_http_client() {
    run_script("with_http_client.py");
}

#[test]
fn python_requests() {
    run_script("with_requests.py");
}

#[test]
fn python_httpx() {
    run_script("with_httpx.py");
}

#[test]
fn python_aiohttp() {
    run_script("with_aiohttp.py");
}

/// Runs a program and returns how it ended.
fn run(name: &str, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(tools::program(name));
    command.args(arguments).stdin(Stdio::null());
    run_command(command)
}

/// Runs curl, insists on success and returns the answers.
#[track_caller]
fn curl(arguments: &[&str]) -> Outcome {
    let outcome =
        run("curl", &[&["-sS", "--noproxy", "*", "--fail", "--max-time", "30"], arguments].concat());
    assert!(outcome.status.success(), "curl {arguments:?}: {outcome:#?}");
    outcome
}

/// A file to upload, of `length` bytes, in the server's directory.
fn upload_file(server: &Server, length: usize) -> String {
    let path = server.path("upload");
    fs::write(&path, vec![b'x'; length]).unwrap();
    path.to_str().unwrap().to_owned()
}

#[track_caller]
fn expect_length(outcome: &Outcome, length: usize) {
    let seen: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(seen["length"], length, "{seen}");
}

#[test]
fn curl_in_every_way() {
    let server = server();
    let url = url(&server);
    let file = upload_file(&server, 10_000_000);
    let data = format!("@{file}");

    let kept = curl(&["-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", &url, &url]);
    assert_eq!(kept.stdout, "1 0 ", "connections made for each of two requests");

    expect_length(&curl(&["-H", "Expect:", "--data-binary", &data, &url]), 10_000_000);
    expect_length(&curl(&["-T", &file, &url]), 10_000_000);
    expect_length(&curl(&["-H", "Transfer-Encoding: chunked", "-T", &file, &url]), 10_000_000);

    let head = curl(&["--head", &url]);
    assert!(head.stdout.starts_with("HTTP/1.1 200 OK\r\n"), "{}", head.stdout);

    let waiting = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "20", "--data-binary", &data];
    let continued = curl(&[&waiting[..], &[&url]].concat());
    continued.expect_error("< HTTP/1.1 100 Continue");
    expect_length(&continued, 10_000_000);

    // Its reader goes away (23: it cannot write what it received); its time is over (28).
    let script =
        format!("{{ curl -s --noproxy '*' {url}/large; echo \"curl: $?\" >&2; }} | head -c 100 >/dev/null");
    run("sh", &["-c", &script]).expect_code(0).expect_error("curl: 23");
    let abandoned = format!("{url}/abandoned");
    let slowly = ["-sS", "--noproxy", "*", "--limit-rate", "100K", "--max-time", "1"];
    let stopped = run("curl", &[&slowly[..], &["-T", &file, &abandoned]].concat());
    assert_eq!(stopped.status.code(), Some(28), "{stopped:#?}");
    expect_unharmed(&server);
}

#[track_caller]
fn ab(arguments: &[&str]) -> String {
    let outcome = run("ab", &[&["-q", "-l", "-n", "200", "-c", "8"], arguments].concat());
    assert!(outcome.status.success(), "{outcome:#?}");
    let report = outcome.stdout;
    let lines: Vec<String> =
        report.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in ["Complete requests: 200", "Failed requests: 0"] {
        assert!(lines.iter().any(|other| other == line), "{line:?} is not in\n{report}");
    }
    assert!(!report.contains("Non-2xx"), "{report}");
    lines.join("\n")
}

#[test]
fn ab_in_every_way() {
    let server = server();
    let url = format!("{}/", url(&server));
    let file = upload_file(&server, 200_000);
    ab(&[&url]);
    assert!(ab(&["-k", &url]).contains("Keep-Alive requests: 200"));
    assert!(ab(&["-k", "-i", &url]).contains("Keep-Alive requests: 200"));
    let upload = ab(&["-k", "-p", &file, "-T", "application/octet-stream", &url]);
    assert!(upload.contains("Keep-Alive requests: 200"), "{upload}");
    expect_unharmed(&server);
}

#[track_caller]
fn wrk(arguments: &[&str]) -> String {
    let outcome = run("wrk", &[&["-t1", "-c8", "-d1s"], arguments].concat());
    assert!(outcome.status.success(), "{outcome:#?}");
    assert!(!outcome.stdout.contains("Socket errors"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("Non-2xx"), "{}", outcome.stdout);
    outcome.stdout
}

#[test]
fn wrk_in_every_way() {
    let server = server();
    let url = url(&server);
    let script = |name: &str| root().join("tests/clients").join(name).to_str().unwrap().to_owned();
    wrk(&[&url]);
    wrk(&["-s", &script("upload.lua"), &url]);
    wrk(&["-s", &script("head.lua"), &url]);
    // It leaves in the middle of answers when its time is over.
    wrk(&[&format!("{url}/large")]);
    expect_unharmed(&server);
}

#[test]
fn nginx_in_every_way() {
    let server = server();
    let nginx = Nginx::start(&server.address());
    let body = vec![b'x'; 10_000_000];

    let mut visitor = Client::connect(&nginx.address);
    let port = visitor.get("/").expect(200).json()["port"].clone();
    let again = Client::connect(&nginx.address).get("/").expect(200).json();
    assert_eq!(again["port"], port, "nginx had to connect again");

    let head = visitor.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").response_to_head().expect(200);
    assert!(head.header("content-length").is_some());

    visitor.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len()));
    assert_eq!(visitor.send(&body).response().expect(200).json()["length"], body.len());

    visitor.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.chunks(777_777) {
        visitor.send(format!("{:x}\r\n", piece.len())).send(piece).send("\r\n");
    }
    assert_eq!(visitor.send("0\r\n\r\n").response().expect(200).json()["length"], body.len());

    let expecting = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    visitor.send(expecting).response().expect(100);
    assert_eq!(visitor.send("12345").response().expect(200).json()["length"], 5);

    for _ in 0..4 {
        let mut leaver = Client::connect(&nginx.address);
        leaver.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(leaver.line().unwrap(), "HTTP/1.1 200 OK");
        let mut leaver = Client::connect(&nginx.address);
        leaver.send("POST /abandoned HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
    }
    visitor.get("/").expect(200);
    expect_unharmed(&server);
}
