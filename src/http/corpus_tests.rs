//! Runs `tests/corpus/http1` through the request parser and the body decoder: whole, byte by byte, in random pieces,
//! behind another request and with another request behind it. However the bytes arrive, the outcome is the same.

#[allow(clippy::duplicate_mod, reason = "layers share no module, and only tests read the corpus")]
#[path = "../../tests/corpus/reader.rs"]
mod reader;

use std::collections::HashSet;

use bytes::{Buf, BytesMut};

use super::{
    BodyDecoder, BodyEvent, HeadParser, HttpError, Limits, Reject, RequestBodyLength, RequestHead, Version,
};
use reader::{Case, ExpectedError, ExpectedRequest};

/// The limits of the reference configuration.
const LIMITS: Limits =
    Limits { request_line_max: 8192, headers_max: 100, header_bytes_max: 32768, body_max: 1 << 30 };

/// A request to glue to the cases.
const OTHER: &[u8] = b"PUT /other HTTP/1.1\r\nHost: other\r\nContent-Length: 5\r\n\r\nother";

/// How many random ways to split each case.
const SPLITS: u64 = 12;

/// What came out of a connection.
#[derive(Default)]
struct Outcome {
    requests: Vec<(RequestHead, Vec<u8>)>,
    error: Option<Reject>,
    rest: usize,
}

/// One connection: the parsers in the order in which the worker uses them.
#[derive(Default)]
struct Connection {
    input: BytesMut,
    parser: HeadParser,
    /// Whether heads are parsed from a slice, into a head that was used before.
    by_slice: bool,
    used: RequestHead,
    current: Option<(RequestHead, BodyDecoder, Vec<u8>)>,
    outcome: Outcome,
}

impl Connection {
    fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while self.outcome.error.is_none() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(reject) => self.outcome.error = Some(reject),
            }
        }
    }

    /// One step; false when more bytes are needed.
    fn step(&mut self) -> Result<bool, Reject> {
        let Some((head, decoder, body)) = &mut self.current else {
            let Some(head) = self.parse_head().map_err(|error| error.0)? else { return Ok(false) };
            let decoder = BodyDecoder::new(head.body_length(), &LIMITS).map_err(|error| error.0)?;
            self.current = Some((head, decoder, Vec::new()));
            return Ok(true);
        };
        match decoder.decode(&self.input).map_err(|error| error.0)? {
            BodyEvent::Data { start, length } => {
                assert!(length > 0, "empty data");
                body.extend_from_slice(&self.input[start..start + length]);
                self.input.advance(start + length);
                Ok(true)
            }
            BodyEvent::Incomplete { consumed } => {
                self.input.advance(consumed);
                Ok(false)
            }
            BodyEvent::Complete { consumed } => {
                self.input.advance(consumed);
                self.outcome.requests.push((head.clone(), std::mem::take(body)));
                self.current = None;
                Ok(true)
            }
        }
    }

    fn parse_head(&mut self) -> Result<Option<RequestHead>, HttpError> {
        if !self.by_slice {
            return self.parser.parse(&mut self.input, &LIMITS);
        }
        let consumed = self.parser.parse_slice(&self.input, &LIMITS, &mut self.used)?;
        self.input.advance(consumed.unwrap_or_else(|| self.parser.take_skipped()));
        Ok(consumed.map(|_| self.used.clone()))
    }

    fn finish(mut self) -> Outcome {
        self.outcome.rest = self.input.len() + usize::from(self.current.is_some());
        self.outcome
    }
}

/// A generator of numbers that look random (xorshift): the same for every run with the same seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Parses from a buffer and from slices; that the outcome is the same is part of every test.
fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut by_buffer = Connection::default();
    let mut by_slice = Connection { by_slice: true, ..Connection::default() };
    for piece in pieces {
        by_buffer.receive(piece);
        by_slice.receive(piece);
    }
    let (by_buffer, by_slice) = (by_buffer.finish(), by_slice.finish());
    assert_eq!((by_slice.error, by_slice.rest), (by_buffer.error, by_buffer.rest));
    let heads = |outcome: &Outcome| outcome.requests.iter().map(|(head, _)| said(head)).collect::<Vec<_>>();
    assert_eq!(heads(&by_slice), heads(&by_buffer));
    by_buffer
}

/// All that a head says, but not where in its bytes it says so.
fn said(head: &RequestHead) -> String {
    let fields: Vec<_> = head.fields_with_kind().collect();
    let line =
        (head.method(), head.method_kind(), head.target(), head.target_form(), head.path(), head.query());
    let rest = (head.version(), head.host(), head.body_length(), head.keep_alive(), head.expects_continue());
    format!("{line:?} {rest:?} {fields:?} {:?} {:?}", head.fields_bytes(), head.known_fields())
}

/// Splits at random places; pieces are short more often than long.
fn random_pieces(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut random = Random::new(seed);
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let longest = 1 << random.below(8);
        let (piece, tail) = rest.split_at((random.below(longest) + 1).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

fn check_request(expected: &ExpectedRequest, head: &RequestHead, body: &[u8], context: &str) {
    let version = match head.version() {
        Version::Http10 => &b"HTTP/1.0"[..],
        Version::Http11 => b"HTTP/1.1",
    };
    let seen = [head.method(), head.target(), version].join(&b' ').escape_ascii().to_string();
    let wanted = [&expected.method[..], &expected.target, &expected.version].join(&b' ');
    assert_eq!(seen, wanted.escape_ascii().to_string(), "{context}");
    if let Some(path) = &expected.path {
        assert_eq!(head.path(), path, "{context}: path");
    }
    if let Some(query) = &expected.query {
        assert_eq!(head.query(), query, "{context}: query");
    }
    if let Some(host) = &expected.host {
        assert_eq!(head.host(), host.as_deref(), "{context}: host");
    }
    for (name, value) in &expected.fields {
        assert_eq!(head.field(name), value.as_deref(), "{context}: field {name}");
    }
    if let Some(keep_alive) = expected.keep_alive {
        assert_eq!(head.keep_alive(), keep_alive, "{context}: keep-alive");
    }
    if let Some(expects_continue) = expected.expects_continue {
        assert_eq!(head.expects_continue(), expects_continue, "{context}: continue");
    }
    if let Some(has_body) = expected.has_body {
        assert_eq!(head.body_length() != RequestBodyLength::None, has_body, "{context}: has a body");
    }
    assert!(body == expected.body, "{context}: body is {}", body.escape_ascii());
}

/// Checks the requests and the error of a case, with `before` and `after` other requests around them.
fn check(case: &Case, outcome: &Outcome, before: usize, after: usize, way: &str) {
    let context = format!("{} ({way})", case.name);
    let error =
        outcome.error.map(|reject| ExpectedError { status: reject.status(), reason: format!("{reject:?}") });
    assert_eq!(error, case.error, "{context}");
    // Behind a refusal nothing is read.
    let after = if error.is_none() { after } else { 0 };
    assert_eq!(outcome.requests.len(), before + case.requests.len() + after, "{context}: number of requests");
    if error.is_none() {
        assert_eq!(outcome.rest, 0, "{context}: bytes left over");
    }
    for (index, (head, body)) in outcome.requests.iter().enumerate() {
        match index.checked_sub(before).and_then(|index| case.requests.get(index)) {
            Some(expected) => check_request(expected, head, body, &context),
            None => assert_eq!((head.path(), &body[..]), (&b"/other"[..], &b"other"[..]), "{context}"),
        }
    }
}

fn check_all_ways(case: &Case) {
    let input = &case.input[..];
    let (whole, split) = (run([input]), run(input.chunks(1)));
    check(case, &whole, 0, 0, "whole");
    check(case, &split, 0, 0, "byte by byte");
    // A head in pieces is read by the scanner and httparse, a whole one mostly in one pass.
    for ((whole, _), (split, _)) in whole.requests.iter().zip(&split.requests) {
        assert_eq!(said(whole), said(split), "{}", case.name);
    }
    for seed in 1..=SPLITS {
        check(case, &run(random_pieces(input, seed)), 0, 0, &format!("split with seed {seed}"));
    }
    let behind = [input, OTHER].concat();
    check(case, &run([&behind[..]]), 0, 1, "a request behind");
    check(case, &run(behind.chunks(1)), 0, 1, "a request behind, byte by byte");
    check(case, &run(random_pieces(&behind, 99)), 0, 1, "a request behind, split");
    let before = [OTHER, input].concat();
    check(case, &run([&before[..]]), 1, 0, "a request before");
    check(case, &run(random_pieces(&before, 77)), 1, 0, "a request before, split");
}

#[test]
fn valid_requests_are_read_however_they_arrive() {
    let cases = reader::load("http1/valid").unwrap();
    for case in &cases {
        assert!(case.error.is_none(), "{}: an error among the valid cases", case.name);
        check_all_ways(case);
    }
}

#[test]
fn invalid_requests_are_refused_however_they_arrive() {
    let cases = reader::load("http1/invalid").unwrap();
    for case in &cases {
        assert!(case.error.is_some(), "{}: no error among the invalid cases", case.name);
        check_all_ways(case);
    }
}

/// Broken cases have no expectation, but the way they arrive must not matter for them either: a server that reads a
/// request differently when it is split is one that can be tricked.
#[test]
fn broken_cases_end_the_same_however_they_arrive() {
    const TELLING: &[u8] = b"\r\n\t \0:;,%#?/*\"\\@[_0aAfFgG\x7f\x80\xff";
    let cases = ["http1/valid", "http1/invalid"].map(|folder| reader::load(folder).unwrap());
    for case in cases.iter().flatten().filter(|case| case.input.len() < 2000) {
        for seed in 0..40 {
            let mut random = Random::new(seed + 1);
            let mut input = case.input.clone();
            let (at, byte) = (random.below(input.len()), TELLING[random.below(TELLING.len())]);
            match random.below(3) {
                0 => input[at] = byte,
                1 => input.insert(at, byte),
                _ => drop(input.remove(at)),
            }
            let summary = |outcome: Outcome| {
                let said = outcome.requests.into_iter().map(|(head, body)| (said(&head), body));
                (said.collect::<Vec<_>>(), outcome.error)
            };
            let whole = summary(run([&input[..]]));
            let context = input.escape_ascii();
            assert_eq!(summary(run(input.chunks(1))), whole, "{} byte by byte: {context}", case.name);
            assert_eq!(summary(run(random_pieces(&input, seed))), whole, "{} split: {context}", case.name);
        }
    }
}

#[test]
fn the_corpus_knows_every_reason() {
    let cases = reader::load("http1/invalid").unwrap();
    let known: HashSet<&str> =
        cases.iter().flat_map(|case| &case.error).map(|error| &error.reason[..]).collect();
    for reject in Reject::ALL {
        assert!(known.contains(&format!("{reject:?}")[..]), "no case is refused as {reject:?}");
    }
}

/// A refusal comes with the byte that breaks the rule, not at the end of the head: without the last byte of the
/// shortest refused prefix nothing is wrong, and nothing behind that byte is waited for.
#[test]
fn refusals_do_not_wait_for_the_end_of_the_head() {
    for (input, offending) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\nA\0"[..], 1),
        (b"get", 3),
        (b"\x16", 1),
        (b"GET / HTTP/1.1\n", 1),
        (b"GET / HTTP/1.1\r\nHost: a\r\n ", 1),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA\r\n", 1),
        (b"GET / HTTP/2.0\r\n", 1),
    ] {
        assert!(run([input]).error.is_some(), "{}", input.escape_ascii());
        assert!(run([&input[..input.len() - offending]]).error.is_none(), "{}", input.escape_ascii());
    }
}
