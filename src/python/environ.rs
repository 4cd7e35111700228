//! The `environ` dictionary of one request (PEP 3333, "environ Variables"; CGI, RFC 3875 §4.1).
//!
//! Each thread has dictionaries to copy ([`Template`]): one without header fields, and one for each header section that it
//! has seen twice lately, because clients say the same with every request. A template is as the last request has left it:
//! of the variables that any request may change, those that differ are set before it is copied. What belongs to one request
//! alone is set in the copy.

use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::app::{Body, Identity, Request, Scheme};
use crate::config;
use crate::http::{RequestBodyLength, Target, Version};

use super::ends::Ends;
use super::fields::Fields;
use super::file_wrapper::FileWrapper;
use super::objects::Objects;
use super::targets::Targets;
use super::text::latin1;

/// Most header sections that a thread remembers: those of the clients that it serves by turns, where they are alike.
const SECTIONS_MAX: usize = 16;

/// Longest header section that is remembered, in bytes: a few times that of a browser with its cookies.
const SECTION_BYTES_MAX: usize = 4096;

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

/// Length of a body that has arrived completely.
pub(super) fn complete_length(body: &Body) -> Option<u64> {
    match body {
        Body::Memory(bytes) => Some(bytes.len() as u64),
        Body::Spooled { length, .. } => Some(*length),
        Body::Stream(_) => None,
    }
}

/// The variables that every request sets, and the last of them that only some have.
const VARIABLES: [&str; 12] = [
    "REQUEST_METHOD",
    "SERVER_PROTOCOL",
    "RAW_URI",
    "REQUEST_URI",
    "QUERY_STRING",
    "SCRIPT_NAME",
    "PATH_INFO",
    "SERVER_NAME",
    "SERVER_PORT",
    "REMOTE_ADDR",
    "wsgi.url_scheme",
    "REMOTE_PORT",
];

/// The values of [`VARIABLES`].
type Values<'py> = [Option<Bound<'py, PyString>>; VARIABLES.len()];

/// Which of the variables there are that not every request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    has_remote_port: bool,
    is_https: bool,
}

/// A dictionary to copy.
#[derive(Debug)]
struct Template<'py> {
    dict: Bound<'py, PyDict>,
    /// What it holds.
    values: Values<'py>,
}

impl<'py> Template<'py> {
    /// The environ without header fields.
    fn base(py: Python<'py>, constants: &Constants, shape: Shape) -> PyResult<Self> {
        let dict = constants.base.bind(py).copy()?;
        for (index, name) in VARIABLES.iter().enumerate() {
            if index + 1 < VARIABLES.len() || shape.has_remote_port {
                dict.set_item(name, py.None())?;
            }
        }
        if shape.is_https {
            // PEP 3333, "environ Variables": as Apache has it.
            dict.set_item(intern!(py, "HTTPS"), intern!(py, "on"))?;
        }
        // Room for what is set in the copy.
        dict.set_item(intern!(py, "wsgi.input"), py.None())?;
        dict.set_item(intern!(py, "wsgi.errors"), py.None())?;
        dict.set_item(intern!(py, "rwsgi.request_id"), py.None())?;
        dict.set_item(intern!(py, "rwsgi.client_disconnected"), py.None())?;
        Ok(Self { dict, values: Values::default() })
    }

    fn adjust(&mut self, names: &[Bound<'py, PyString>], values: Values<'py>) -> PyResult<()> {
        for ((held, value), name) in self.values.iter_mut().zip(values).zip(names) {
            let is_same = match (&*held, &value) {
                (Some(held), Some(value)) => held.is(value),
                (None, _) | (_, None) => false,
            };
            if let (false, Some(value)) = (is_same, value) {
                self.dict.set_item(name, &value)?;
                *held = Some(value);
            }
        }
        Ok(())
    }
}

/// A header section that was seen.
#[derive(Debug)]
struct Section<'py> {
    bytes: Vec<u8>,
    shape: Shape,
    /// Made when it is seen again.
    template: Option<Template<'py>>,
}

/// What a thread makes environs from.
pub(super) struct Environs<'a, 'py> {
    py: Python<'py>,
    constants: &'a Constants,
    names: Vec<Bound<'py, PyString>>,
    bases: Vec<(Shape, Template<'py>)>,
    sections: Vec<Section<'py>>,
    /// The section that gives way to the next.
    oldest: usize,
    targets: Targets<'py>,
    ends: Ends<'py>,
    fields: Fields<'py>,
}

impl<'a, 'py> Environs<'a, 'py> {
    pub(super) fn new(py: Python<'py>, constants: &'a Constants) -> Self {
        Self {
            py,
            constants,
            names: VARIABLES.iter().map(|name| PyString::intern(py, name)).collect(),
            bases: Vec::new(),
            sections: Vec::new(),
            oldest: 0,
            targets: Targets::default(),
            ends: Ends::default(),
            fields: Fields::default(),
        }
    }

    /// Makes the environ of a request. `body_length` is the length of the body where it is complete; `deadline` is when the
    /// application is to be done, on the clock of `time.monotonic()`.
    pub(super) fn environ(
        &mut self,
        request: &Request,
        objects: &Objects<'py>,
        body_length: Option<u64>,
        deadline: Option<Duration>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let py = self.py;
        let environ = self.of_fields(request)?;
        set_overruled_fields(&environ, request, body_length)?;
        environ.set_item(intern!(py, "wsgi.input"), &objects.input)?;
        environ.set_item(intern!(py, "wsgi.errors"), &objects.errors)?;
        environ.set_item(intern!(py, "rwsgi.request_id"), latin1(py, request.id.as_str().as_bytes())?)?;
        environ.set_item(intern!(py, "rwsgi.client_disconnected"), &objects.disconnected)?;
        if let Some(deadline) = deadline {
            environ.set_item(intern!(py, "rwsgi.deadline"), deadline.as_secs_f64())?;
        }
        Ok(environ)
    }

    /// The environ with request line, ends and header fields.
    fn of_fields(&mut self, request: &Request) -> PyResult<Bound<'py, PyDict>> {
        let values = self.values(request)?;
        let shape = Shape {
            has_remote_port: values.last().is_some_and(Option::is_some),
            is_https: request.origin.scheme == Scheme::Https,
        };
        let bytes = request.head.fields_bytes();
        let is_same = |section: &Section<'py>| section.bytes == bytes && section.shape == shape;
        let Some(index) = self.sections.iter().position(is_same) else {
            self.remember(bytes, shape);
            let environ = self.without_fields(shape, values)?;
            self.fields.set(&environ, request)?;
            return Ok(environ);
        };
        if let Some(template) = &mut self.sections[index].template {
            template.adjust(&self.names, values)?;
            return template.dict.copy();
        }
        let dict = self.without_fields(shape, values.clone())?;
        self.fields.set(&dict, request)?;
        let environ = dict.copy()?;
        self.sections[index].template = Some(Template { dict, values });
        Ok(environ)
    }

    fn without_fields(&mut self, shape: Shape, values: Values<'py>) -> PyResult<Bound<'py, PyDict>> {
        let index = match self.bases.iter().position(|(other, _)| *other == shape) {
            Some(index) => index,
            None => {
                self.bases.push((shape, Template::base(self.py, self.constants, shape)?));
                self.bases.len() - 1
            }
        };
        let (_, base) = &mut self.bases[index];
        base.adjust(&self.names, values)?;
        base.dict.copy()
    }

    fn remember(&mut self, bytes: &[u8], shape: Shape) {
        if bytes.len() > SECTION_BYTES_MAX {
            return;
        }
        if self.sections.len() < SECTIONS_MAX {
            self.sections.push(Section { bytes: bytes.to_vec(), shape, template: None });
            return;
        }
        let section = &mut self.sections[self.oldest];
        self.oldest = (self.oldest + 1) % SECTIONS_MAX;
        section.bytes.clear();
        section.bytes.extend_from_slice(bytes);
        section.shape = shape;
        section.template = None;
    }

    /// The values of [`VARIABLES`], in their order.
    fn values(&mut self, request: &Request) -> PyResult<Values<'py>> {
        let py = self.py;
        let head = &request.head;
        let method = match head.method() {
            b"GET" => intern!(py, "GET").clone(),
            b"POST" => intern!(py, "POST").clone(),
            b"HEAD" => intern!(py, "HEAD").clone(),
            b"PUT" => intern!(py, "PUT").clone(),
            b"PATCH" => intern!(py, "PATCH").clone(),
            b"DELETE" => intern!(py, "DELETE").clone(),
            b"OPTIONS" => intern!(py, "OPTIONS").clone(),
            other => latin1(py, other)?,
        };
        let protocol = match head.version() {
            Version::Http10 => intern!(py, "HTTP/1.0"),
            Version::Http11 => intern!(py, "HTTP/1.1"),
        };
        let scheme = match request.origin.scheme {
            Scheme::Http => intern!(py, "http"),
            Scheme::Https => intern!(py, "https"),
        };
        let target = self.targets.of(py, request, &self.constants.mount)?;
        let server = self.ends.server(py, request)?;
        let (address, port) = self.ends.client(py, request)?;
        Ok([
            Some(method),
            Some(protocol.clone()),
            Some(target.raw.clone()),
            Some(target.raw),
            Some(target.query),
            Some(target.script),
            Some(target.path),
            Some(server.name),
            Some(server.port),
            Some(address),
            Some(scheme.clone()),
            port,
        ])
    }
}

/// The variables of header fields that something else has a say in.
fn set_overruled_fields(
    environ: &Bound<'_, PyDict>,
    request: &Request,
    body_length: Option<u64>,
) -> PyResult<()> {
    let py = environ.py();
    let head = &request.head;
    if let Some(named) = &request.origin.host {
        environ.set_item(intern!(py, "HTTP_HOST"), latin1(py, named.as_bytes())?)?;
    } else if head.target_form() == Target::Absolute {
        // RFC 9112 §3.2.2: the target's authority counts, not the Host field.
        environ.set_item(intern!(py, "HTTP_HOST"), latin1(py, head.host().unwrap_or_default())?)?;
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
