//! The `environ` dictionary of one request (PEP 3333, "environ Variables"; CGI, RFC 3875 §4.1).
//!
//! What is the same for all requests is made once ([`Constants`]); the names of header fields are kept by
//! each thread ([`FieldNames`]).

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::app::{Address, Body, Disconnection, Identity, Request, Scheme, mount_split, percent_decode};
use crate::config;
use crate::http::{RequestBodyLength, Target, Version};

use super::errors::Errors;
use super::file_wrapper::FileWrapper;
use super::input::Input;
use super::text::latin1;

/// Most field names that a thread remembers: clients choose them, so they must not fill the memory. Several times
/// as many as browsers and proxies use.
const FIELD_NAMES_MAX: usize = 256;

/// `SERVER_SOFTWARE`
const SERVER_SOFTWARE: &str = concat!("rwsgi/", env!("CARGO_PKG_VERSION"));

/// What all requests have in common.
#[derive(Debug)]
pub(super) struct Constants {
    base: Py<PyDict>,
    mount: String,
}

impl Constants {
    pub(super) fn new(
        py: Python<'_>,
        mount: &str,
        workers: &config::Workers,
        identity: Identity,
    ) -> PyResult<Self> {
        let base = PyDict::new(py);
        base.set_item("wsgi.version", (1, 0))?;
        base.set_item("wsgi.multithread", workers.threads > 1)?;
        base.set_item("wsgi.multiprocess", workers.count > 1)?;
        base.set_item("wsgi.run_once", false)?;
        base.set_item("wsgi.input_terminated", true)?;
        base.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        base.set_item("SERVER_SOFTWARE", SERVER_SOFTWARE)?;
        base.set_item("rwsgi.generation", identity.generation)?;
        base.set_item("rwsgi.worker", identity.slot)?;
        Ok(Self { base: base.unbind(), mount: mount.to_owned() })
    }

    /// Whose requests they are from now on.
    pub(super) fn settle(&self, py: Python<'_>, identity: Identity) -> PyResult<()> {
        let base = self.base.bind(py);
        base.set_item("rwsgi.generation", identity.generation)?;
        base.set_item("rwsgi.worker", identity.slot)
    }
}

/// `environ["rwsgi.client_disconnected"]`: tells whether the client is still there.
#[pyclass(frozen, module = "rwsgi", name = "ClientDisconnected")]
#[derive(Debug)]
pub(super) struct ClientDisconnected(Arc<dyn Disconnection>);

#[pymethods]
impl ClientDisconnected {
    fn __call__(&self) -> bool {
        self.0.is_disconnected()
    }
}

/// The objects of one request that go into its environ.
#[derive(Debug)]
pub(super) struct Objects<'a, 'py> {
    pub(super) input: &'a Bound<'py, Input>,
    pub(super) errors: &'a Bound<'py, Errors>,
    pub(super) disconnection: Arc<dyn Disconnection>,
    /// Length of the body where it is complete.
    pub(super) body_length: Option<u64>,
    /// When the application is to be done, on the clock of `time.monotonic()`.
    pub(super) deadline: Option<Duration>,
}

/// Length of a body that has arrived completely.
pub(super) fn complete_length(body: &Body) -> Option<u64> {
    match body {
        Body::Memory(bytes) => Some(bytes.len() as u64),
        Body::Spooled { length, .. } => Some(*length),
        Body::Stream(_) => None,
    }
}

/// Makes the environ of a request.
pub(super) fn environ<'py>(
    py: Python<'py>,
    constants: &Constants,
    names: &mut FieldNames,
    request: &Request,
    objects: Objects<'_, 'py>,
) -> PyResult<Bound<'py, PyDict>> {
    let environ = constants.base.bind(py).copy()?;
    set_request_line(&environ, request, &constants.mount)?;
    set_ends(&environ, request)?;
    set_fields(&environ, names, request, objects.body_length)?;
    let scheme = match request.origin.scheme {
        Scheme::Http => intern!(py, "http"),
        Scheme::Https => intern!(py, "https"),
    };
    environ.set_item(intern!(py, "wsgi.url_scheme"), scheme)?;
    if request.origin.scheme == Scheme::Https {
        // PEP 3333, "environ Variables": as Apache has it.
        environ.set_item(intern!(py, "HTTPS"), intern!(py, "on"))?;
    }
    environ.set_item(intern!(py, "wsgi.input"), objects.input)?;
    environ.set_item(intern!(py, "wsgi.errors"), objects.errors)?;
    environ.set_item(intern!(py, "rwsgi.request_id"), request.id.as_str())?;
    let disconnected = Bound::new(py, ClientDisconnected(objects.disconnection))?;
    environ.set_item(intern!(py, "rwsgi.client_disconnected"), disconnected)?;
    if let Some(deadline) = objects.deadline {
        environ.set_item(intern!(py, "rwsgi.deadline"), deadline.as_secs_f64())?;
    }
    Ok(environ)
}

fn set_request_line(environ: &Bound<'_, PyDict>, request: &Request, mount: &str) -> PyResult<()> {
    let py = environ.py();
    let head = &request.head;
    environ.set_item(intern!(py, "REQUEST_METHOD"), latin1(py, head.method())?)?;
    let target = latin1(py, head.target())?;
    environ.set_item(intern!(py, "RAW_URI"), &target)?;
    environ.set_item(intern!(py, "REQUEST_URI"), &target)?;
    environ.set_item(intern!(py, "QUERY_STRING"), latin1(py, head.query())?)?;
    let protocol = match head.version() {
        Version::Http10 => intern!(py, "HTTP/1.0"),
        Version::Http11 => intern!(py, "HTTP/1.1"),
    };
    environ.set_item(intern!(py, "SERVER_PROTOCOL"), protocol)?;

    let (script, rest) = if head.target_form() == Target::Asterisk {
        (&b""[..], &b""[..])
    } else {
        // The worker has answered 404 already to what is outside the mount.
        mount_split(head.path(), mount).unwrap_or((b"", head.path()))
    };
    let mut script = percent_decode(script);
    if let Some(prefix) = &request.origin.prefix {
        let prefix = prefix.trim_end_matches('/').as_bytes();
        script = Cow::Owned([&percent_decode(prefix), &script[..]].concat());
    }
    let mut path = percent_decode(rest);
    if path.is_empty() && script.is_empty() && head.target_form() != Target::Asterisk {
        path = Cow::Borrowed(b"/");
    }
    environ.set_item(intern!(py, "SCRIPT_NAME"), latin1(py, &script)?)?;
    environ.set_item(intern!(py, "PATH_INFO"), latin1(py, &path)?)
}

/// The two ends: `SERVER_NAME`, `SERVER_PORT`, `REMOTE_ADDR`, `REMOTE_PORT`.
fn set_ends(environ: &Bound<'_, PyDict>, request: &Request) -> PyResult<()> {
    let py = environ.py();
    let (name, port) = server(request);
    environ.set_item(intern!(py, "SERVER_NAME"), latin1(py, name.as_bytes())?)?;
    environ.set_item(intern!(py, "SERVER_PORT"), port)?;

    let origin = &request.origin;
    let (peer, peer_port) = match &request.endpoint.peer {
        Address::Tcp(address) => (Some(address.ip()), Some(address.port())),
        Address::Unix(_) => (None, None),
    };
    let address = origin.client.or(peer).map(|address| address.to_canonical().to_string());
    environ.set_item(intern!(py, "REMOTE_ADDR"), address.unwrap_or_default())?;
    // The port of the peer says nothing about a client that a proxy named.
    let port = if origin.client.is_some() { origin.client_port } else { peer_port };
    if let Some(port) = port {
        environ.set_item(intern!(py, "REMOTE_PORT"), port.to_string())?;
    }
    Ok(())
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

/// The header fields: `CONTENT_TYPE`, `CONTENT_LENGTH` and `HTTP_*` (RFC 3875 §4.1.18).
fn set_fields(
    environ: &Bound<'_, PyDict>,
    names: &mut FieldNames,
    request: &Request,
    body_length: Option<u64>,
) -> PyResult<()> {
    let py = environ.py();
    let head = &request.head;
    let host = intern!(py, "HTTP_HOST");
    let mut fields: Vec<(Py<PyString>, Cow<'_, [u8]>)> = Vec::with_capacity(16);
    for (name, value) in head.fields() {
        let name = names.variable(py, name);
        match fields.iter_mut().find(|(other, _)| other.is(&name)) {
            None => fields.push((name, Cow::Borrowed(value))),
            Some((_, joined)) => {
                // RFC 9110 §5.3: a list; RFC 9113 §8.2.3 has the separator of cookies.
                let separator = if name.is(intern!(py, "HTTP_COOKIE")) { &b"; "[..] } else { b"," };
                *joined = Cow::Owned([joined, separator, value].concat());
            }
        }
    }
    for (name, value) in fields {
        environ.set_item(name, latin1(py, &value)?)?;
    }
    if let Some(named) = &request.origin.host {
        environ.set_item(host, latin1(py, named.as_bytes())?)?;
    } else if head.target_form() == Target::Absolute {
        // RFC 9112 §3.2.2: the target's authority counts, not the Host field.
        environ.set_item(host, latin1(py, head.host().unwrap_or_default())?)?;
    }
    if let (RequestBodyLength::Chunked, Some(length)) = (head.body_length(), body_length) {
        // The body was decoded: its coding is of no concern any more, and its length is known.
        environ.set_item(intern!(py, "CONTENT_LENGTH"), length.to_string())?;
        let coding = intern!(py, "HTTP_TRANSFER_ENCODING");
        if environ.contains(coding)? {
            environ.del_item(coding)?;
        }
    }
    Ok(())
}

/// Names of header fields, as received, and the variables that they become.
#[derive(Debug, Default)]
pub(super) struct FieldNames(HashMap<Box<[u8]>, Py<PyString>>);

impl FieldNames {
    /// The variable of a field. One object for one variable, so that they can be compared by identity.
    fn variable(&mut self, py: Python<'_>, name: &[u8]) -> Py<PyString> {
        if let Some(variable) = self.0.get(name) {
            return variable.clone_ref(py);
        }
        let variable = PyString::intern(py, &variable_of(name)).unbind();
        if self.0.len() < FIELD_NAMES_MAX {
            self.0.insert(name.into(), variable.clone_ref(py));
        }
        variable
    }
}

/// `Accept-Language` is `HTTP_ACCEPT_LANGUAGE`; the two of CGI have no prefix.
fn variable_of(name: &[u8]) -> String {
    let upper = |byte: &u8| if *byte == b'-' { '_' } else { char::from(byte.to_ascii_uppercase()) };
    let variable: String = name.iter().map(upper).collect();
    match variable.as_str() {
        "CONTENT_TYPE" | "CONTENT_LENGTH" => variable,
        _ => format!("HTTP_{variable}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{split_host, variable_of};

    #[test]
    fn field_names_become_variables() {
        assert_eq!(variable_of(b"Accept-Language"), "HTTP_ACCEPT_LANGUAGE");
        assert_eq!(variable_of(b"content-type"), "CONTENT_TYPE");
        assert_eq!(variable_of(b"Content-LENGTH"), "CONTENT_LENGTH");
        assert_eq!(variable_of(b"Content-Encoding"), "HTTP_CONTENT_ENCODING");
    }

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
