//! The two ends of a connection as variables: `SERVER_NAME`, `SERVER_PORT`, `REMOTE_ADDR`, `REMOTE_PORT`. Their texts are
//! kept by the addresses and ports that they stand for.

use std::net::{IpAddr, SocketAddr};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::app::{Address, Request, Scheme};

use super::text::latin1;

/// How many addresses and ports a thread remembers, each in the place that its number says. Powers of two; ports are those of
/// the connections that are open, one each, and few are to share a place.
const ADDRESSES: usize = 64;
const PORTS: usize = 512;

/// `SERVER_NAME` and `SERVER_PORT`
#[derive(Debug)]
pub(super) struct Server<'py> {
    pub(super) name: Bound<'py, PyString>,
    pub(super) port: Bound<'py, PyString>,
}

/// Both ends of a connection.
#[derive(Debug)]
pub(super) struct Both<'a, 'py> {
    pub(super) server: &'a Server<'py>,
    /// `REMOTE_ADDR`
    pub(super) address: &'a Bound<'py, PyString>,
    /// `REMOTE_PORT`
    pub(super) port: Option<&'a Bound<'py, PyString>>,
}

/// What a thread remembers.
#[derive(Debug, Default)]
pub(super) struct Ends<'py> {
    /// The last one, with the address of the socket if that alone says what it is.
    server: Option<(Option<SocketAddr>, Server<'py>)>,
    addresses: Places<'py, IpAddr, ADDRESSES>,
    ports: Places<'py, u16, PORTS>,
}

/// Texts, each in the place that its key says.
#[derive(Debug)]
struct Places<'py, K, const COUNT: usize>(Vec<Option<(K, Bound<'py, PyString>)>>);

impl<K, const COUNT: usize> Default for Places<'_, K, COUNT> {
    fn default() -> Self {
        Self(std::iter::repeat_with(|| None).take(COUNT).collect())
    }
}

impl<'py, K: Copy + PartialEq + ToString, const COUNT: usize> Places<'py, K, COUNT> {
    fn text(&mut self, py: Python<'py>, key: K, number: u16) -> PyResult<&Bound<'py, PyString>> {
        let place = &mut self.0[usize::from(number) % COUNT];
        let known = match place.take() {
            Some(known) if known.0 == key => known,
            Some(_) | None => (key, latin1(py, key.to_string().as_bytes())?),
        };
        Ok(&place.insert(known).1)
    }
}

impl<'py> Ends<'py> {
    /// The ends of a request's connection, or those that proxies have named.
    pub(super) fn of(&mut self, py: Python<'py>, request: &Request) -> PyResult<Both<'_, 'py>> {
        let origin = &request.origin;
        let (peer, peer_port) = match &request.endpoint.peer {
            Address::Tcp(address) => (Some(address.ip()), Some(address.port())),
            Address::Unix(_) => (None, None),
        };
        let address = match origin.client.or(peer).map(|address| address.to_canonical()) {
            Some(address) => self.addresses.text(py, address, number_of(address))?,
            None => intern!(py, ""),
        };
        // The port of the peer says nothing about a client that a proxy named.
        let port = if origin.client.is_some() { origin.client_port } else { peer_port };
        // Clients get every other port, so the lowest bit tells little.
        let port = match port {
            Some(port) => Some(self.ports.text(py, port, port >> 1)?),
            None => None,
        };
        let of_socket = match &request.endpoint.local {
            Address::Tcp(address) if request.origin.port.is_none() => Some(*address),
            Address::Tcp(_) | Address::Unix(_) => None,
        };
        let known = match self.server.take() {
            Some(known) if known.0.is_some() && known.0 == of_socket => known,
            Some(_) | None => {
                let (name, port) = server(request);
                let (name, port) = (latin1(py, name.as_bytes())?, latin1(py, port.as_bytes())?);
                (of_socket, Server { name, port })
            }
        };
        Ok(Both { server: &self.server.insert(known).1, address, port })
    }
}

/// A number that differs where addresses of clients do.
fn number_of(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(address) => {
            let [_, _, third, last] = address.octets();
            u16::from(last) ^ u16::from(third)
        }
        IpAddr::V6(address) => address.segments().iter().fold(0, |number, segment| number ^ segment),
    }
}

fn server(request: &Request) -> (String, String) {
    let origin = &request.origin;
    let (name, port) = match &request.endpoint.local {
        Address::Tcp(address) => {
            let name = match address.ip().to_canonical() {
                IpAddr::V4(address) => address.to_string(),
                // RFC 3875 §4.1.14: in brackets.
                IpAddr::V6(address) => format!("[{address}]"),
            };
            (name, Some(address.port().to_string()))
        }
        Address::Unix(_) => {
            let host = origin.host.as_deref().map(str::as_bytes).or_else(|| request.head.host());
            split_host(host.unwrap_or_default())
        }
    };
    let name = if name.is_empty() { "localhost".to_owned() } else { name };
    let default = match origin.scheme {
        Scheme::Http => "80",
        Scheme::Https => "443",
    };
    let port = origin.port.map(|port| port.to_string()).or(port).unwrap_or_else(|| default.to_owned());
    (name, port)
}

/// Splits `name:port`, `[v6]:port` or a name alone.
fn split_host(host: &[u8]) -> (String, Option<String>) {
    let host: String = host.iter().copied().map(char::from).collect();
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            (name.to_owned(), Some(port.to_owned()).filter(|port| !port.is_empty()))
        }
        Some(_) | None => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::split_host;

    #[test]
    fn hosts_are_split() {
        for (host, name, port) in [
            ("example.org", "example.org", None),
            ("example.org:81", "example.org", Some("81")),
            ("example.org:", "example.org", None),
            ("[::1]", "[::1]", None),
            ("[::1]:81", "[::1]", Some("81")),
            ("", "", None),
        ] {
            assert_eq!(split_host(host.as_bytes()), (name.to_owned(), port.map(str::to_owned)), "{host}");
        }
    }
}
