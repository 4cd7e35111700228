//! Parses arbitrary access-log formats and writes an arbitrary request with them: one request is one line of printable
//! characters. The first line is the format; the lines below it are, in turn, what the client and the application sent.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use rwsgi::log::format::{AccessFormat, Entry};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.split(|byte| *byte == b'\n');
    let Ok(format) = std::str::from_utf8(parts.next().unwrap_or_default()) else { return };
    let Ok(format) = AccessFormat::parse(format) else { return };
    let mut next = || parts.next().unwrap_or_default();
    let (method, target, user) = (next(), next(), String::from_utf8_lossy(next()));
    let seconds = next().iter().fold(0_u64, |sum, byte| sum.wrapping_mul(251).wrapping_add((*byte).into()));
    // What is left, newlines included: the value of every header.
    let value = parts.collect::<Vec<_>>().join(&b'\n');
    let field = |_: &str| Some(&value[..]);
    let entry = Entry {
        remote_address: Some(std::net::IpAddr::from([192, 0, 2, 1])),
        user: &user,
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds >> 8),
        method,
        target,
        protocol: "HTTP/1.1",
        status: 200,
        body_bytes: seconds,
        duration: Duration::from_micros(seconds),
        queue_wait: None,
        request_id: "0123456789abcdef",
        request_field: &field,
        response_field: &field,
    };
    let mut line = Vec::new();
    format.write(&entry, &mut line);
    let line = String::from_utf8(line).expect("a line is UTF-8");
    let line = line.strip_suffix('\n').expect("a line ends");
    // A tab may stand in the format itself.
    let broken = line.chars().find(|character| character.is_control() && *character != '\t');
    assert_eq!(broken, None, "{line:?}");
});
