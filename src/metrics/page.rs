//! The HTTP of the pages: which page a request asks for, and the bytes of the answer. One request a connection, `GET` and
//! `HEAD` only. Not the server's HTTP (`http`), which is for clients of the application: the master does not name it.

use std::time::SystemTime;

/// The longest head of a request.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// More fields than any scraper or load balancer sends.
const FIELDS_MAX: usize = 64;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// `/metrics`
    Metrics,
    /// `/healthz`
    Health,
    /// `/readyz`
    Readiness,
}

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Its head is not complete.
    Incomplete,
    /// It asks for a page.
    Asked {
        /// Which.
        page: Page,
        /// `HEAD`: the answer has no body.
        is_head: bool,
    },
    /// It gets this answer, whatever follows.
    Refused(Answer),
}

/// Whether requests would be served now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// A worker serves.
    Ready,
    /// None has served yet.
    Booting,
    /// None serves any more.
    NoWorker,
    /// The server stops.
    Stopping,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    content_type: &'static str,
    body: String,
    is_head: bool,
}

const PLAIN: &str = "text/plain; charset=utf-8";
/// The version is that of the text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Answer {
    /// The figures.
    #[must_use]
    pub fn metrics(text: String) -> Self {
        Self { status: 200, content_type: PROMETHEUS, body: text, is_head: false }
    }

    /// The master lives, since it answers.
    #[must_use]
    pub fn health() -> Self {
        Self::plain(200, "ok")
    }

    /// Whether a load balancer should send requests.
    #[must_use]
    pub fn readiness(readiness: Readiness) -> Self {
        match readiness {
            Readiness::Ready => Self::plain(200, "ready"),
            Readiness::Booting => Self::plain(503, "booting: no worker serves yet"),
            Readiness::NoWorker => Self::plain(503, "no worker serves"),
            Readiness::Stopping => Self::plain(503, "stopping"),
        }
    }

    /// The same, to a `HEAD` if `is_head`.
    #[must_use]
    pub fn to_head(self, is_head: bool) -> Self {
        Self { is_head, ..self }
    }

    fn plain(status: u16, sentence: &str) -> Self {
        Self { status, content_type: PLAIN, body: format!("{sentence}\n"), is_head: false }
    }

    /// The bytes of the whole response.
    #[must_use]
    pub fn encode(&self, now: SystemTime) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "Bad Request",
        };
        // RFC 9110 §10.2.1: it tells which methods there are.
        let allow = if self.status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nDate: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            self.status,
            httpdate::fmt_http_date(now),
            self.content_type,
            self.body.len(),
        );
        let body = if self.is_head { "" } else { &self.body };
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

impl Reading {
    /// Reads what has come so far.
    #[must_use]
    pub fn of(input: &[u8]) -> Self {
        let refused = |status, sentence| Self::Refused(Answer::plain(status, sentence));
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(input) {
            Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => {}
            Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES_MAX => return Self::Incomplete,
            Ok(_) => return refused(431, "the head of a request has at most 8 KiB"),
            Err(httparse::Error::TooManyHeaders) => {
                return refused(431, "a request has at most 64 header fields");
            }
            Err(_) => return refused(400, "this is no HTTP/1 request"),
        }
        let hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host")).count();
        // RFC 9112 §3.2
        if hosts > 1 || (hosts == 0 && request.version == Some(1)) {
            return refused(400, "a request of HTTP/1.1 has one Host field");
        }
        let is_head = match request.method {
            Some("GET") => false,
            Some("HEAD") => true,
            Some(_) | None => return refused(405, "only GET and HEAD are answered"),
        };
        match page_of(request.path.unwrap_or_default()) {
            Some(page) => Self::Asked { page, is_head },
            None => {
                let answer = Answer::plain(404, "there are /metrics, /healthz and /readyz");
                Self::Refused(answer.to_head(is_head))
            }
        }
    }
}

/// The page of a target in origin form, or in absolute form as a proxy gets it.
fn page_of(target: &str) -> Option<Page> {
    let path = match target.strip_prefix("http://") {
        Some(rest) => &rest[rest.find('/')?..],
        None => target,
    };
    match path.split('?').next() {
        Some("/metrics") => Some(Page::Metrics),
        Some("/healthz") => Some(Page::Health),
        Some("/readyz") => Some(Page::Readiness),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(input: &[u8]) -> u16 {
        match Reading::of(input) {
            Reading::Refused(answer) => answer.status,
            other @ (Reading::Incomplete | Reading::Asked { .. }) => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages_are_found_by_path_alone() {
        for (line, page, is_head) in [
            ("GET /metrics HTTP/1.1", Page::Metrics, false),
            ("HEAD /metrics HTTP/1.1", Page::Metrics, true),
            ("GET /metrics?name[]=x HTTP/1.1", Page::Metrics, false),
            ("GET http://localhost:9100/healthz HTTP/1.1", Page::Health, false),
            ("GET /readyz HTTP/1.0", Page::Readiness, false),
        ] {
            let input = format!("{line}\r\nHost: a\r\n\r\n");
            assert_eq!(Reading::of(input.as_bytes()), Reading::Asked { page, is_head }, "{line}");
            for length in 0..input.len() {
                assert_eq!(
                    Reading::of(&input.as_bytes()[..length]),
                    Reading::Incomplete,
                    "{length} of {line}"
                );
            }
        }
        assert!(matches!(Reading::of(b"GET /healthz HTTP/1.0\r\n\r\n"), Reading::Asked { .. }));
    }

    #[test]
    fn everything_else_is_refused() {
        for path in ["/", "/metrics/", "/metricsx", "//metrics", "*", "http://localhost"] {
            assert_eq!(refused(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()), 404, "{path}");
        }
        assert_eq!(refused(b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"), 405);
        for input in [
            &b"\x16\x03\x01\x02\x00\x01\x00"[..],
            b"GET /metrics\r\n\r\n",
            b"GET /metrics HTTP/2.0\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost : a\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            b"GET /met\0rics HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(refused(input), 400, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn a_head_has_a_limit() {
        let long = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(refused(long.as_bytes()), 431);
        assert_eq!(refused(format!("{long}\r\n\r\n").as_bytes()), 431);
        let many = format!("GET /metrics HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(FIELDS_MAX));
        assert_eq!(refused(many.as_bytes()), 431);
    }

    #[test]
    fn answers_on_the_wire() {
        let encode = |answer: Answer| String::from_utf8(answer.encode(SystemTime::UNIX_EPOCH)).unwrap();
        assert_eq!(
            encode(Answer::metrics("a 1\n".to_owned())),
            "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain; version=0.0.4; \
             charset=utf-8\r\nContent-Length: 4\r\nCache-Control: no-store\r\nConnection: close\r\n\r\na 1\n"
        );
        let head = encode(Answer::health().to_head(true));
        assert!(head.contains("Content-Length: 3\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        let unready = encode(Answer::readiness(Readiness::Stopping));
        assert!(unready.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{unready}");
        assert!(unready.ends_with("\r\n\r\nstopping\n"), "{unready}");
        let Reading::Refused(answer) = Reading::of(b"PUT /metrics HTTP/1.0\r\n\r\n") else { panic!() };
        assert!(encode(answer).contains("\r\nAllow: GET, HEAD\r\n"));
    }
}
