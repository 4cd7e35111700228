//! Who a request really comes from: the connection's ends, and scheme, client and host after the rules of
//! trust in proxies (`[proxy]`) were applied. Pure; how the fields are written is in `syntax` and `forwarded`.
//!
//! Invariant: a field that a client could have written itself decides nothing. Of an untrusted peer no field is
//! believed; of a trusted one only what trusted proxies added, which is at the right end of a list.
//!
//! | `proxy.forwarded` | decides | must not contradict it |
//! |---|---|---|
//! | `none` | nothing | |
//! | `scheme` | X-Forwarded-Proto | X-Forwarded-Protocol, X-Forwarded-Scheme, X-Forwarded-Ssl, Front-End-Https |
//! | `all` | also X-Forwarded-For, -Host, -Port, -Prefix and Forwarded (RFC 7239) | the same, and Forwarded against X-Forwarded-* |
//!
//! The fields of the last column never make a request `https` by themselves.

mod forwarded;
mod syntax;

use std::net::IpAddr;

use crate::config::{Forwarded, Proxy, Trusted};
use crate::http::{KnownField, KnownFields, RequestHead};

use super::address::Address;
use forwarded::Element;
use syntax::{Node, parse_host, parse_node, parse_port, parse_prefix};

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
    /// A forwarding header that cannot be read, or two that contradict each other in something else.
    Malformed,
}

/// The fields that say something about the scheme.
const SCHEME_FIELDS: [KnownField; 5] = [
    KnownField::XForwardedProto,
    KnownField::XForwardedProtocol,
    KnownField::XForwardedScheme,
    KnownField::XForwardedSsl,
    KnownField::FrontEndHttps,
];

/// All fields that are believed or must not contradict.
const ALL_FIELDS: KnownFields = KnownFields::of(&[
    SCHEME_FIELDS[0],
    SCHEME_FIELDS[1],
    SCHEME_FIELDS[2],
    SCHEME_FIELDS[3],
    SCHEME_FIELDS[4],
    KnownField::XForwardedFor,
    KnownField::XForwardedHost,
    KnownField::XForwardedPort,
    KnownField::XForwardedPrefix,
    KnownField::Forwarded,
]);

/// The fields that may decide something about a request over this connection.
fn believed(endpoint: &Endpoint, proxy: &Proxy) -> KnownFields {
    match proxy.forwarded {
        _ if !endpoint.trusted => KnownFields::default(),
        Forwarded::None => KnownFields::default(),
        Forwarded::Scheme => const { KnownFields::of(&SCHEME_FIELDS) },
        Forwarded::All => ALL_FIELDS,
    }
}

/// Applies the rules of trust to one request.
///
/// # Errors
/// A trusted proxy's headers contradict each other or cannot be read.
pub fn origin_of(head: &RequestHead, endpoint: &Endpoint, proxy: &Proxy) -> Result<Origin, OriginError> {
    let believed = believed(endpoint, proxy);
    if !head.known_fields().intersects(believed) {
        return Ok(Origin::own());
    }
    decide(head.fields_with_kind().filter_map(|(known, _, value)| Some((known?, value))), believed, proxy)
}

/// [`origin_of`] for header fields (name and value) as they are.
///
/// # Errors
/// As [`origin_of`].
pub fn origin_from<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    endpoint: &Endpoint,
    proxy: &Proxy,
) -> Result<Origin, OriginError> {
    let fields = fields.filter_map(|(name, value)| Some((KnownField::of(name)?, value)));
    decide(fields, believed(endpoint, proxy), proxy)
}

fn decide<'a>(
    fields: impl Iterator<Item = (KnownField, &'a [u8])>,
    believed: KnownFields,
    proxy: &Proxy,
) -> Result<Origin, OriginError> {
    let mut claims = Claims::default();
    for (field, value) in fields {
        if believed.contains(field) {
            claims.add(field, value)?;
        }
    }
    claims.decide(&proxy.trusted)
}

impl Origin {
    /// The origin when nothing was forwarded.
    #[must_use]
    pub const fn own() -> Self {
        Self { scheme: Scheme::Http, client: None, client_port: None, host: None, port: None, prefix: None }
    }
}

impl Trusted {
    /// Whether this peer is one of `proxy.trusted`. A peer that speaks IPv4 to an IPv6 socket (`::ffff:10.0.0.1`)
    /// counts as the IPv4 address that it is.
    #[must_use]
    pub fn contains(&self, peer: &Address) -> bool {
        match peer {
            Address::Tcp(address) => self.contains_ip(address.ip()),
            Address::Unix(_) => self.unix,
        }
    }

    fn contains_ip(&self, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&canonical) || network.contains(&address))
    }
}

/// What the fields of one request say.
#[derive(Debug, Default)]
struct Claims<'a> {
    /// X-Forwarded-Proto.
    scheme: Option<Scheme>,
    /// What the other fields about the scheme say; asked only whether they contradict.
    other_scheme: Option<Scheme>,
    /// X-Forwarded-For, a value for each line.
    chain: Vec<&'a [u8]>,
    host: Option<(&'a str, Option<u16>)>,
    port: Option<u16>,
    prefix: Option<&'a str>,
    /// Forwarded, all lines.
    elements: Vec<Element>,
}

impl<'a> Claims<'a> {
    fn add(&mut self, field: KnownField, value: &'a [u8]) -> Result<(), OriginError> {
        if field == KnownField::XForwardedProto {
            // A list is written by several proxies; of two that disagree, none is believed.
            for scheme in value.split(|&byte| byte == b',') {
                agree_on_scheme(&mut self.scheme, parse_scheme(scheme.trim_ascii())?)?;
            }
        } else if matches!(field, KnownField::XForwardedProtocol | KnownField::XForwardedScheme) {
            let scheme =
                if value.eq_ignore_ascii_case(b"ssl") { Scheme::Https } else { parse_scheme(value)? };
            agree_on_scheme(&mut self.other_scheme, scheme)?;
        } else if matches!(field, KnownField::XForwardedSsl | KnownField::FrontEndHttps) {
            agree_on_scheme(&mut self.other_scheme, parse_switch(value)?)?;
        } else if field == KnownField::XForwardedFor {
            self.chain.push(value);
        } else if field == KnownField::XForwardedHost {
            agree(&mut self.host, parse_host(value)?)?;
        } else if field == KnownField::XForwardedPort {
            agree(&mut self.port, parse_port(value)?)?;
        } else if field == KnownField::XForwardedPrefix {
            agree(&mut self.prefix, parse_prefix(value)?)?;
        } else if field == KnownField::Forwarded {
            forwarded::parse(value, &mut self.elements)?;
        }
        Ok(())
    }

    fn decide(self, trusted: &Trusted) -> Result<Origin, OriginError> {
        let mut scheme = self.scheme;
        let mut client = client_of_chain(&self.chain, trusted)?;
        let mut host = self.host.map(|(host, port)| (host.to_owned(), port));
        if let Some(by_element) = client_of_elements(&self.elements, trusted)? {
            if let Some(claimed) = by_element.scheme {
                agree_on_scheme(&mut scheme, claimed)?;
            }
            if let Some(claimed) = by_element.host {
                agree(&mut host, claimed)?;
            }
            if let (Some((one, _)), Some((other, _))) = (client, by_element.client) {
                if one != other {
                    return Err(OriginError::Malformed);
                }
            }
            client = client.or(by_element.client);
        }
        if let (Some(scheme), Some(other)) = (scheme, self.other_scheme) {
            agree_on_scheme(&mut Some(scheme), other)?;
        }
        let (host, host_port) = host.unzip();
        Ok(Origin {
            scheme: scheme.unwrap_or(Scheme::Http),
            client: client.map(|(address, _)| address),
            client_port: client.and_then(|(_, port)| port),
            host,
            port: self.port.or(host_port.flatten()),
            prefix: self.prefix.filter(|prefix| !prefix.is_empty()).map(str::to_owned),
        })
    }
}

/// An address and, if it is known, the port.
type Client = (IpAddr, Option<u16>);

/// The client of X-Forwarded-For: each proxy appends the address that it was called from, so the first address from
/// the right that is no trusted proxy's is the client's; what stands left of it the client may have written itself and
/// is not looked at. When all are trusted, it is the leftmost.
fn client_of_chain(lines: &[&[u8]], trusted: &Trusted) -> Result<Option<Client>, OriginError> {
    let mut client = None;
    for node in lines.iter().rev().flat_map(|line| line.rsplit(|&byte| byte == b',')) {
        match parse_node(node.trim_ascii())? {
            Node::Address(address, port) => {
                client = Some((address, port));
                if !trusted.contains_ip(address) {
                    break;
                }
            }
            // A proxy that does not tell whom it serves: the client is not known.
            Node::Hidden => return Ok(None),
        }
    }
    Ok(client)
}

/// What the elements of Forwarded say that trusted proxies added.
#[derive(Debug, Default)]
struct ByElement {
    client: Option<Client>,
    scheme: Option<Scheme>,
    host: Option<(String, Option<u16>)>,
}

/// The same walk over the elements of Forwarded (RFC 7239 §5.2). The element that names the client was written by the
/// proxy that the client called, so its host is the one that the client asked for.
fn client_of_elements(elements: &[Element], trusted: &Trusted) -> Result<Option<ByElement>, OriginError> {
    if elements.is_empty() {
        return Ok(None);
    }
    let mut found = ByElement::default();
    for element in elements.iter().rev() {
        if let Some(proto) = &element.proto {
            agree_on_scheme(&mut found.scheme, parse_scheme(proto)?)?;
        }
        if let Some(host) = &element.host {
            let (host, port) = parse_host(host)?;
            found.host = Some((host.to_owned(), port));
        }
        match element.node.as_deref().map(parse_node).transpose()? {
            Some(Node::Address(address, port)) => {
                found.client = Some((address, port));
                if !trusted.contains_ip(address) {
                    break;
                }
            }
            Some(Node::Hidden) | None => {
                found.client = None;
                break;
            }
        }
    }
    Ok(Some(found))
}

fn parse_scheme(text: &[u8]) -> Result<Scheme, OriginError> {
    if text.eq_ignore_ascii_case(b"https") {
        Ok(Scheme::Https)
    } else if text.eq_ignore_ascii_case(b"http") {
        Ok(Scheme::Http)
    } else {
        Err(OriginError::Malformed)
    }
}

fn parse_switch(text: &[u8]) -> Result<Scheme, OriginError> {
    if text.eq_ignore_ascii_case(b"on") {
        Ok(Scheme::Https)
    } else if text.eq_ignore_ascii_case(b"off") {
        Ok(Scheme::Http)
    } else {
        Err(OriginError::Malformed)
    }
}

fn agree_on_scheme(known: &mut Option<Scheme>, claimed: Scheme) -> Result<(), OriginError> {
    agree(known, claimed).map_err(|_| OriginError::ContradictoryScheme)
}

fn agree<T: PartialEq>(known: &mut Option<T>, claimed: T) -> Result<(), OriginError> {
    match known {
        Some(known) if *known != claimed => Err(OriginError::Malformed),
        _ => {
            *known = Some(claimed);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
