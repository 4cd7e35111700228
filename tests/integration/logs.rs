//! What the logs say of a request: formats, the request's id, slow requests, and what is left out.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::client::Response;
use crate::harness::{Builder, Server, quoted};

const ID: &str = "screen-shot:4711";

fn path(file: &Path) -> String {
    quoted(file.to_str().unwrap())
}

/// Every line of a log is one JSON object.
fn objects(text: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

fn get_as(server: &Server, target: &str, id: &str) -> Response {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n\r\n");
    server.connect().send(request).response()
}

/// The id is where a user sees it and where an operator looks for it.
#[track_caller]
fn expect_told(response: &Response, id: &str) {
    assert_eq!(response.header("x-request-id"), Some(id), "{response:?}");
    assert!(response.text().ends_with(&format!("\nRequest id: {id}\n")), "{}", response.text());
}

#[test]
fn json_logs_are_objects_whatever_clients_and_applications_send() {
    let builder = Builder::new("logs");
    let (errors, access) = (builder.path("error.log"), builder.path("access.log"));
    let mut server = builder
        .with("log.format", "\"json\"")
        .with("log.file", &path(&errors))
        .with("log.access", &path(&access))
        .with("log.access_format", "\"json\"")
        .launch();
    let mut client = server.connect();
    let mut odd =
        b"GET /odd?a=%ff HTTP/1.1\r\nHost: a\r\nAuthorization: Basic 5CI6eA==\r\nReferer: ".to_vec();
    odd.extend((0x80..=0xff).chain(0x20..0x7f));
    odd.extend(b"\r\nUser-Agent: \"\\\x80\xc2\x85\xe2\x82\r\nX-Request-Id: screen-shot:4711\r\n\r\n");
    assert_eq!(client.send(&odd).response().expect(200).text(), ID);
    client.get("/raises").expect(500);
    server.connect().get("/printed").expect(200);
    server.stop();

    let lines = objects(&fs::read_to_string(&access).unwrap());
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let line = &lines[0];
    assert_eq!(line["method"], "GET");
    assert_eq!((&line["path"], &line["query"]), (&"/odd".into(), &"a=%ff".into()));
    assert_eq!((&line["protocol"], &line["status"]), (&"HTTP/1.1".into(), &200.into()));
    assert_eq!((&line["remote_address"], &line["user"]), (&"127.0.0.1".into(), &"ä\"".into()));
    assert_eq!((&line["body_bytes"], &line["request_id"]), (&ID.len().into(), &ID.into()));
    assert!(line["user_agent"].as_str().unwrap().starts_with("\"\\\u{fffd}\u{85}"), "{line}");
    assert!(line["referer"].as_str().unwrap().ends_with("xyz{|}~"), "{line}");
    assert!(line["duration"].as_f64().unwrap() >= line["queue_wait"].as_f64().unwrap(), "{line}");
    assert!(line["time"].as_str().unwrap().ends_with('Z') && line["pid"].is_u64(), "{line}");

    let records = objects(&fs::read_to_string(&errors).unwrap());
    let find = |text: &str| {
        let found = records.iter().find(|record| record["message"].as_str().unwrap().contains(text));
        found.unwrap_or_else(|| panic!("{text} is not in {records:#?}"))
    };
    let written = find("and a second line");
    assert_eq!(
        written["message"],
        "odd \u{1b}[31m \0 \u{85} \u{fffd}\u{fffd}\u{fffd} é 日本 \"quoted\" \\ \t\nand a second line"
    );
    assert_eq!((&written["request_id"], &written["level"]), (&ID.into(), &"ERROR".into()));
    assert_eq!((&written["role"], &written["slot"]), (&"worker".into(), &0.into()));
    assert_eq!((&written["generation"], &written["target"]), (&1.into(), &"wsgi.errors".into()));
    let raised = find("the application raised");
    assert_eq!(raised["request_id"], lines[1]["request_id"]);
    let trace = raised["traceback"].as_str().unwrap();
    assert!(trace.starts_with("Traceback (most recent call last):\n"), "{trace}");
    assert!(trace.ends_with("ValueError: raised"), "{trace}");
    let printed = records.iter().find(|record| record["request_id"] == lines[2]["request_id"]).unwrap();
    assert!(printed["traceback"].as_str().unwrap().ends_with("KeyError: 'printed'"), "{printed}");
    assert!(find("starts: Python application")["slot"].is_null());
}

#[test]
fn request_id_of_a_trusted_proxy_is_everywhere() {
    let builder = Builder::new("logs").with("log.slow_request", "\"100ms\"");
    let access = builder.path("access.log");
    let mut server = builder
        .with("log.access", &path(&access))
        .with("log.access_format", "'%(U)s %(s)s %(id)s'")
        .with("workers.request_timeout", "\"1s\"")
        .start();
    assert_eq!(get_as(&server, "/", ID).expect(200).text(), ID);
    assert_eq!(get_as(&server, "/", ID).header("x-request-id"), None, "not on answers of the application");
    get_as(&server, "/odd", "odd-1").expect(200);
    assert!(server.wait_for("and a second line").ends_with("[odd-1] and a second line"));
    server.wait_for("[odd-1] odd \\u{1b}[31m");
    expect_told(&get_as(&server, "/raises", "raises-1").expect(500), "raises-1");
    server.wait_for("[raises-1] GET /raises: the application raised ValueError: raised");
    get_as(&server, "/slow", "slow-1").expect(200);
    server.wait_for("[slow-1] slow request: GET /slow took ");
    expect_told(&get_as(&server, "/stuck", "stuck-1").expect(504), "stuck-1");
    server.wait_for("[stuck-1] GET /stuck timed out");
    server.stop();
    let text = fs::read_to_string(&access).unwrap();
    for line in ["/ 200 screen-shot:4711\n", "/raises 500 raises-1\n", "/stuck 504 stuck-1\n"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn request_id_of_anybody_else_is_not_believed() {
    let server = Builder::new("logs").with("proxy.trusted", "[]").start();
    let own = get_as(&server, "/", ID).expect(200).text();
    assert!(own.len() == 32 && own != ID, "{own}");
    let trusting = Builder::new("logs").start();
    for refused in ["two words", "quo\"te", "back\\slash", &"x".repeat(65)] {
        assert_eq!(get_as(&trusting, "/", refused).expect(200).text().len(), 32, "{refused}");
    }
    let failed = trusting.get("/raises").expect(500);
    let id = failed.header("x-request-id").unwrap().to_owned();
    expect_told(&failed, &id);
    trusting.wait_for(&format!("[{id}] GET /raises: the application raised"));
}

#[test]
fn request_that_no_thread_was_free_for_is_told_its_id() {
    let server = Builder::new("logs").with("http.queue_timeout", "\"50ms\"").start();
    let mut busy = server.connect();
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut shed = false;
    for _ in 0..3 {
        let response = get_as(&server, "/", "shed-1");
        shed |= response.status == 503;
        if shed {
            expect_told(&response, "shed-1");
            server.wait_for("[shed-1] no app thread was free");
            break;
        }
    }
    assert!(shed, "no request had to wait");
    busy.response().expect(200);
}

#[test]
fn excluded_paths_and_quick_requests_are_not_logged() {
    let builder = Builder::new("logs").with("log.slow_request", "\"100ms\"");
    let access = builder.path("access.log");
    let mut server = builder
        .with("log.access", &path(&access))
        .with("log.access_format", "'%(U)s'")
        .with("log.access_exclude", "[\"/healthz\", \"/static/*\"]")
        .start();
    let mut client = server.connect();
    for target in
        ["/healthz", "/healthz?full=1", "/static/a/b.css", "/static/", "/static", "/healthz/x", "/slow"]
    {
        client.get(target).expect(200);
    }
    server.stop();
    assert_eq!(fs::read_to_string(&access).unwrap(), "/static\n/healthz/x\n/slow\n");
    let log = server.log();
    assert_eq!(log.matches("slow request:").count(), 1, "{log}");
}
