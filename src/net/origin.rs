//! Who a request really comes from: the connection's ends, and scheme, client and host after the rules of
//! trust in proxies (`[proxy]`) were applied.

use std::net::IpAddr;

use super::address::Address;

/// The two ends of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Our end.
    pub local: Address,
    /// The client's end (or what the PROXY protocol says of it).
    pub peer: Address,
    /// True when the peer is one of `proxy.trusted`.
    pub trusted: bool,
}

/// `wsgi.url_scheme`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// Scheme, client, host and prefix of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `wsgi.url_scheme`.
    pub scheme: Scheme,
    /// The client's address when a trusted proxy named it (`REMOTE_ADDR`); else the peer's is used.
    pub client: Option<IpAddr>,
    /// The client's port when a trusted proxy named it (`REMOTE_PORT`).
    pub client_port: Option<u16>,
    /// The host that the client asked for, when a trusted proxy named it (`HTTP_HOST`).
    pub host: Option<String>,
    /// The port that the client asked for, when a trusted proxy named it (`SERVER_PORT`).
    pub port: Option<u16>,
    /// Prefix of the application's URLs, when a trusted proxy named it (in front of `SCRIPT_NAME`).
    pub prefix: Option<String>,
}

/// Why the forwarding headers of a trusted proxy are refused (status 400).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginError {
    /// Two headers name different schemes.
    ContradictoryScheme,
    /// A forwarding header that cannot be read.
    Malformed,
}

/// Applies the rules of trust to one request.
///
/// # Errors
/// A trusted proxy's headers contradict each other or cannot be read.
pub fn origin_of(
    head: &crate::http::RequestHead,
    endpoint: &Endpoint,
    proxy: &crate::config::Proxy,
) -> Result<Origin, OriginError> {
    let _ = (head, endpoint, proxy);
    todo!()
}
