//! The id of a request: that of a trusted proxy, else one of our own; and how a client learns of it when the server answers an
//! error by itself.

use crate::app::{Endpoint, RequestId};
use crate::http::{KnownField, RequestHead};

use super::recycle;

/// The field in which proxies name a request, and in which our own error answers tell of it.
const FIELD: &str = "X-Request-Id";

/// Makes request ids: a random prefix for the worker, then a counter.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// The last one that was made.
    last: RequestId,
    count: u64,
}

impl RequestIds {
    /// Ids that no other worker makes.
    pub(super) fn new() -> Self {
        Self { last: RequestId::numbered(recycle::random(), 0), count: 0 }
    }

    /// The id of the next request. Anybody can send `X-Request-Id`; it counts from a trusted proxy (`proxy.trusted`), and when
    /// it can stand in a log line as it is.
    pub(super) fn identify(&mut self, head: Option<&RequestHead>, endpoint: &Endpoint) -> RequestId {
        self.count += 1;
        self.last.advance();
        let named = || RequestId::named(self.count, head?.known_field(KnownField::XRequestId)?);
        let named = if endpoint.trusted { named() } else { None };
        named.unwrap_or(self.last)
    }
}

/// The field that an answer of the server itself gets when it says that something is wrong here and not with the client.
pub(super) fn told(status: u16, id: &RequestId) -> Option<(&'static str, &str)> {
    (status >= 500).then(|| (FIELD, id.as_str()))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::app::Address;
    use crate::http::{HeadParser, Limits};

    fn head(value: &str) -> RequestHead {
        let limits = Limits { request_line_max: 99, headers_max: 9, header_bytes_max: 999, body_max: 0 };
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: {value}\r\n\r\n");
        HeadParser::new().parse(&mut BytesMut::from(text.as_bytes()), &limits).unwrap().unwrap()
    }

    #[test]
    fn a_trusted_proxy_may_name_a_request_if_a_log_line_survives_it() {
        let endpoint = |trusted| Endpoint { local: Address::Unix(None), peer: Address::Unix(None), trusted };
        let mut ids = RequestIds::new();
        let long = "x".repeat(65);
        for (value, trusted, taken) in [
            ("3fa9-b:c", true, true),
            (&long[..64], true, true),
            (&long, true, false),
            ("3fa9-b:c", false, false),
            ("two words", true, false),
            ("a\"b", true, false),
            ("a\\b", true, false),
            ("", true, false),
        ] {
            let id = ids.identify(Some(&head(value)), &endpoint(trusted));
            assert_eq!(id.as_str() == value, taken, "{value} {trusted}");
            assert!(taken || id.as_str().len() == 32, "{value} {trusted}");
        }
        let (one, two) = (ids.identify(None, &endpoint(true)), ids.identify(None, &endpoint(true)));
        assert_ne!(one.as_str(), two.as_str());
    }

    #[test]
    fn errors_of_the_client_are_not_told_an_id() {
        let id = RequestId::numbered(0, 1);
        assert_eq!(told(400, &id), None);
        assert_eq!(told(500, &id), Some(("X-Request-Id", "00000000000000000000000000000001")));
    }
}
