//! Tests of access-log lines.

#[allow(clippy::duplicate_mod, reason = "layers share no module, and only tests read the corpus")]
#[path = "../../../tests/corpus/reader.rs"]
mod reader;

use super::*;

fn entry<'a>(
    request: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    response: &'a dyn Fn(&str) -> Option<&'a [u8]>,
) -> Entry<'a> {
    Entry {
        remote_address: Some(IpAddr::from([127, 0, 0, 1])),
        user: "frank",
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(971_211_336),
        method: b"GET",
        target: b"/a%20b?x=1&y=2",
        protocol: "HTTP/1.1",
        status: 200,
        body_bytes: 2326,
        duration: Duration::from_micros(1_234_056),
        queue_wait: Some(Duration::from_micros(20)),
        request_id: "0123456789abcdef0123456789abcdef",
        request_field: request,
        response_field: response,
    }
}

fn request_field(name: &str) -> Option<&'static [u8]> {
    match name {
        "referer" => Some(b"http://example.com/"),
        "user-agent" => Some(b"Mozilla/5.0 \"quoted\" \xff"),
        _ => None,
    }
}

fn response_field(name: &str) -> Option<&'static [u8]> {
    (name == "content-type").then_some(b"text/html")
}

fn line(format: &str, change: impl FnOnce(&mut Entry<'_>)) -> String {
    let mut entry = entry(&request_field, &response_field);
    change(&mut entry);
    let mut out = Vec::new();
    AccessFormat::parse(format).unwrap().write(&entry, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "one line: {text:?}");
    text.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn combined_is_that_of_apache_and_nginx() {
    let text = line("combined", |_| {});
    let (head, rest) = text.split_once(" [").unwrap();
    let (time, tail) = rest.split_once("] ").unwrap();
    assert_eq!(head, "127.0.0.1 - frank");
    assert_eq!(time.len(), "10/Oct/2000:13:55:36 -0700".len());
    assert_eq!(
        tail,
        r#""GET /a%20b?x=1&y=2 HTTP/1.1" 200 2326 "http://example.com/" "Mozilla/5.0 \x22quoted\x22 \xFF""#
    );
}

#[test]
fn combined_without_anything_has_dashes_and_zero() {
    let nothing = |_: &str| None;
    let mut out = Vec::new();
    let entry = Entry { remote_address: None, user: "", body_bytes: 0, ..entry(&nothing, &nothing) };
    AccessFormat::parse("combined").unwrap().write(&entry, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("- - - ["), "{text}");
    assert!(text.ends_with("\" 200 0 \"-\" \"-\"\n"), "{text}");
}

#[test]
fn every_atom_has_the_value_that_gunicorn_gives_it() {
    let pid = format!("<{}>", std::process::id());
    for (atom, value) in [
        ("h", "127.0.0.1"),
        ("l", "-"),
        ("u", "frank"),
        ("r", "GET /a%20b?x=1&y=2 HTTP/1.1"),
        ("m", "GET"),
        ("U", "/a%20b"),
        ("q", "x=1&y=2"),
        ("H", "HTTP/1.1"),
        ("s", "200"),
        ("B", "2326"),
        ("b", "2326"),
        ("f", "http://example.com/"),
        ("a", r"Mozilla/5.0 \x22quoted\x22 \xFF"),
        ("T", "1"),
        ("M", "1234"),
        ("D", "1234056"),
        ("L", "1.234056"),
        ("p", pid.as_str()),
        ("id", "0123456789abcdef0123456789abcdef"),
        ("{Referer}i", "http://example.com/"),
        ("{X-None}i", "-"),
        ("{Content-Type}o", "text/html"),
        ("{raw_uri}e", "/a%20b?x=1&y=2"),
        ("{HTTP_REFERER}e", "http://example.com/"),
    ] {
        assert_eq!(line(&format!("%({atom})s"), |_| {}), value, "{atom}");
    }
    assert_eq!(line("%(b)s %(B)s", |entry| entry.body_bytes = 0), "- 0");
    assert_eq!(line("[%(q)s]", |entry| entry.target = b"/"), "[]");
    assert_eq!(line("%(U)s", |entry| entry.target = b"*"), "*");
    assert_eq!(line("100%% %(s)s", |_| {}), "100% 200");
}

#[test]
fn a_client_cannot_forge_a_line_or_a_field() {
    let text = line("combined", |entry| {
        entry.method = b"GE\nT";
        entry.target = b"/\" 200 1 \"\x1b[2J";
        entry.user = "a\r\nb \"c";
    });
    assert!(text.starts_with(r"127.0.0.1 - a\x0D\x0Ab \x22c ["), "{text}");
    assert!(text.contains(r#""GE\x0AT /\x22 200 1 \x22\x1B[2J HTTP/1.1" 200"#), "{text}");
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text}");
}

#[test]
fn json_has_every_part_and_survives_bytes_that_are_no_text() {
    let text = line("json", |entry| entry.target = b"/\xff\x1b\x7f\"?a=\xc2\x85");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        object,
        serde_json::json!({
            "time": "2000-10-10T20:55:36.000Z", "remote_address": "127.0.0.1", "user": "frank", "method": "GET",
            "path": "/\u{fffd}\u{1b}\u{7f}\"", "query": "a=\u{85}", "protocol": "HTTP/1.1", "status": 200,
            "body_bytes": 2326, "duration": 1.234056, "queue_wait": 0.00002, "referer": "http://example.com/",
            "user_agent": "Mozilla/5.0 \"quoted\" \u{fffd}",
            "request_id": "0123456789abcdef0123456789abcdef", "pid": std::process::id(),
        })
    );
}

/// The parts of a case are lines: the format, the method, the target, the user, the time (not used), every header.
#[test]
fn corpus() {
    for case in reader::load_plain("access_log").unwrap() {
        let mut parts = case.input.splitn(6, |byte| *byte == b'\n').map(<[u8]>::to_vec);
        let mut next = || parts.next().unwrap_or_default();
        let format = AccessFormat::parse(&String::from_utf8(next()).unwrap());
        let Ok(format) = format else {
            assert_eq!(case.expected, ["refused"], "{}", case.name);
            continue;
        };
        let (method, target, user, _time, value) = (next(), next(), next(), next(), next());
        let field = |_: &str| Some(&value[..]);
        let mut entry = entry(&field, &field);
        (entry.method, entry.target) = (&method, &target);
        entry.user = std::str::from_utf8(&user).unwrap();
        let mut out = Vec::new();
        format.write(&entry, &mut out);
        let line = String::from_utf8(out).unwrap();
        match case.expected[0].split_once(' ').unwrap() {
            ("line", expected) => assert_eq!(line, format!("{expected}\n"), "{}", case.name),
            (_, expected) => assert!(line.contains(expected), "{}: {line}", case.name),
        }
    }
}
